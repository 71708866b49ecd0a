"""What was shown of a run on its own model, data and machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One invariant, what was seen of it, and whether it holds."""

    name: str
    defects: tuple[int, ...]
    """Numbers of the known defects of fine-tuning that it guards against, as in
    docs/explanation/defects-of-peers.md."""
    observed: str
    required: str
    passed: bool
    when: Literal["before", "after"]
    """Before the first step, or after the last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """The checks of one run, in the order in which they were made."""

    checks: tuple[Check, ...]

    def failed(self) -> str:
        """Each check that does not hold, with what was observed and what is required."""
        return "; ".join(
            f"{check.name}: {check.observed}, required {check.required}"
            for check in self.checks
            if not check.passed
        )
