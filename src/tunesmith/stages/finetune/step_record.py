"""One global step of a run, as its curve keeps it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRecord:
    """A line of the curve."""

    step: int
    loss: float
    """Mean over the step's label tokens, in nats."""
    num_tokens: int
    num_labels: int
    row_ids: tuple[str, ...]
