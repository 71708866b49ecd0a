"""What training rows, and the sources that they came from, are worth. All of it is estimated."""

from __future__ import annotations

from dataclasses import dataclass

from tunesmith.core.ref import Blob
from tunesmith.records.money import Money
from tunesmith.records.rivals import Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class Vectors:
    """The rows of a dataset as a base model sees them, untuned.

    `train` and `test` are Parquet with the columns `row_id` and `vector` (float32, of length 1), in
    the order of the dataset's rows. No text is in them.
    """

    dataset: str
    base: str
    is_encoder: bool
    """Whether the base model reads both ways; else its vectors tell less of a text."""
    dims: int
    num_train: int
    num_test: int
    num_cut: int
    """Texts of which only the beginning fitted into the base model's context."""
    train: Blob
    test: Blob


@dataclass(frozen=True, kw_only=True, slots=True)
class RowValues:
    """What each training row is worth to a vote of the nearest rows (see `stages.value.shapley`).

    `rows` is Parquet with the columns `row_id`, `asset` and `value`; the values sum to `utility`.
    `tests` is Parquet with a row for each test row and data asset: `row_id`, `asset`, `value` (of
    all the asset's rows, for this test row), and whether the vote is right with it (`right`) and
    without it (`right_without`). No text is in them.
    """

    dataset: str
    base: str
    is_encoder: bool
    neighbours: int
    num_train: int
    num_test: int
    num_cut: int
    utility: float
    """The share of the nearest rows that have the test row's label, on average."""
    accuracy: float
    """The share of the test rows for which the vote of the nearest is right."""
    rows: Blob
    tests: Blob


# What people are told: derived afresh from what was stored and what runs used, and never stored.


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceValue:
    """What a source contributes to a dataset, and what it cost."""

    source: str
    num_rows: int
    """Training rows that are left of it."""
    share: float
    """Of all training rows, in [0, 1]."""
    value: Estimate
    """The sum of its rows' Shapley values; those of all sources sum to the utility."""
    without: Estimate | None
    """The accuracy without it minus the accuracy with it, on the same test rows; None where no row
    is left without it, and nobody votes."""
    cpu_s: float
    """CPU seconds of reading it in; what several sources were read from counts in equal parts."""
    cost: Money | None
    """The same and its energy, priced; None where the ledger has no prices."""
    review_s: float
    """Seconds of people who looked at its rows, in whatever review."""
    review_cost: Money | None
    """The same, priced; None where an hour of theirs has no price."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ValuedRow:
    """A training row and what it is worth."""

    row_id: str
    asset: str
    pointer: str
    label: str
    value: float
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DataValue:
    """What the sources of a dataset are worth, and the rows that help least. An estimate: of a vote
    of the nearest rows, by an untuned model's vectors."""

    dataset: str
    base: str
    is_encoder: bool
    neighbours: int
    num_train: int
    num_test: int
    num_cut: int
    utility: float
    accuracy: float
    confidence: float
    """Of the intervals, which are over test rows."""
    sources: tuple[SourceValue, ...]
    """The most valuable first."""
    num_harmful: int
    """Training rows whose value is below zero."""
    least: tuple[ValuedRow, ...]
    """The least valuable first."""
