"""What people said of rows, and what came of it: ids of rows and digests, never their text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tunesmith.core.ref import Blob
from tunesmith.records.money import Money

UNUSABLE = "unusable"
"""What is said of a row that no label fits; it is dropped from the dataset."""
BEGUN, JUDGED, DECIDED = "review.begun", "review.judged", "review.decided"
"""What the evidence calls it that rows are to be judged, that one was, that one was decided."""
ACCEPTED = "review.accepted"
"""What the evidence calls it that reviewed labels may be used."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What one person said of one row."""

    row: str
    """Id of the row."""
    reviewer: str
    label: str
    """A label of the dataset, or `UNUSABLE`; of a row without labels the verdict on it."""
    seconds: float | None
    """How long it took, without idle time; None where nobody measured it."""
    guidelines: str
    """SHA-256 of the guidelines that it was judged by."""
    correction: Blob | None = None
    """The row as it should be, where that is what was said."""
    form: int = 0
    """Which of the different corrections of this row it is, from 1; 0 without one."""

    @property
    def said(self) -> str:
        """What agreement is counted over: two who correct a row differently said two things."""
        return f"{self.label} ({self.form})" if self.form > 1 else self.label


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
    """What a review settled, frozen: what a dataset is given."""

    review: str
    labels: Mapping[str, str]
    """Row id -> label, or `UNUSABLE`; of rows without labels the verdict."""
    per_row: int
    """How many people judged each row on their own."""
    num_adjudicated: int
    """Rows on which they differed, so that another decided."""
    guidelines: tuple[str, ...]
    """SHA-256 of each text of the guidelines that rows were judged by."""
    alpha: Agreement
    format: str = "labels"
    """Of the dataset whose rows were judged."""
    contents: Mapping[str, str] = field(default_factory=dict)
    """Row id -> digest of what was judged; of rows without labels."""
    corrections: Mapping[str, Blob] = field(default_factory=dict)
    """Row id -> the row as it should be."""


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
    """Rows that no version of the dataset has any more, such as erased ones, and that are not
    settled for good."""
    num_open: int
    """Rows that wait for a judgement."""
    num_disputed: int
    """Rows that wait for somebody to decide."""
    num_settled: int
    num_adjudicated: int
    num_unusable: int
    """Those of the settled that are left out of the dataset."""
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
