"""What a source's contract finds of its rows together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """One check of a table, and what was found."""

    name: str
    what: str
    """What was counted, e.g. "duplicate_values of id"."""
    value: float
    wanted: str
    """e.g. "to be less than 5 percent"."""
    holds: bool
    severity: str
    """"error" or "warning"."""

    def said(self) -> str:
        """It in a sentence."""
        name = f"{self.name}: " if self.name else ""
        return f"{name}{self.what} is {self.value:g}, and has {self.wanted}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ContractResult:
    """What a contract, as it is now, says of what of its source is in the store."""

    source: str
    num_rows: int
    """Rows that break no rule."""
    broken: Mapping[str, int]
    """By rule, the records that do."""
    checks: tuple[CheckResult, ...]
    holds: bool
    """Whether no record breaks a rule and every check holds, warnings aside."""
