"""What people said of rows, and the labels that came of it: ids of rows, never their text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tunesmith.records.money import Money

UNUSABLE = "unusable"
"""What is said of a row that no label fits; it is dropped from the dataset."""
ACCEPTED = "review.accepted"
"""What the evidence calls it that reviewed labels may be used."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What one person said of one row."""

    row: str
    """Id of the row."""
    reviewer: str
    label: str
    """A label of the dataset, or `UNUSABLE`."""
    seconds: float | None
    """How long it took, without idle time; None where nobody measured it."""
    guidelines: str
    """SHA-256 of the guidelines that it was judged by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How far people agree beyond chance: 1 is always, 0 as often as by chance."""

    what: str
    """"Krippendorff's alpha", or "Cohen's kappa of ann and bob"."""
    num_rows: int
    """Rows that at least two of them judged."""
    value: float | None
    """None where it is not defined: no rows, or all of one label."""
    low: float | None
    high: float | None
    """Its 95 % interval over rows; None where it cannot be told."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReviewedLabels:
    """The labels that a review settled, frozen: what a dataset is given."""

    review: str
    labels: Mapping[str, str]
    """Row id -> label, or `UNUSABLE`."""
    per_row: int
    """How many people judged each row on their own."""
    num_adjudicated: int
    """Rows on which they differed, so that another decided."""
    guidelines: tuple[str, ...]
    """SHA-256 of each text of the guidelines that rows were judged by."""
    alpha: Agreement


@dataclass(frozen=True, kw_only=True, slots=True)
class Reviewer:
    """What one person did of a review."""

    name: str
    num_judged: int
    num_left: int
    """Rows that wait for a judgement and may have theirs."""
    num_decided: int
    """Rows on which others differed, and this one decided."""
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ReviewStatus:
    """How far a review is. num_rows == num_gone + num_open + num_disputed + num_settled."""

    review: str
    dataset: str
    guidelines: str
    """SHA-256 of those that are in force."""
    num_rows: int
    num_gone: int
    """Rows that no version of the dataset has any more, such as erased ones."""
    num_open: int
    """Rows that wait for a judgement."""
    num_disputed: int
    """Rows that wait for somebody to decide."""
    num_settled: int
    num_adjudicated: int
    num_unusable: int
    num_by_other_guidelines: int
    """Judgements by guidelines that are not in force any more."""
    num_accepted: int
    """Rows whose labels a dataset may use already."""
    people: tuple[Reviewer, ...]
    agreement: tuple[Agreement, ...]
    seconds: float
    """Time of people, over all judgements and decisions."""
    num_untimed: int
    """Judgements and decisions of which it is not known."""
    cost: Money
    cost_per_settled: Money
    """Zero where nothing is settled."""
