"""One global step of a run, as its curve keeps it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRecord:
    """A line of the curve."""

    step: int
    loss: float
    """The sum of the step's losses by the sum of its weights."""
    weight: float
    """That sum of weights; with "sft" the step's label tokens."""
    num_tokens: int
    num_labels: int
    row_ids: tuple[str, ...]
