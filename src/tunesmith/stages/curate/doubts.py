"""Rows of a dataset whose labels are doubtful. They are reported; nothing is dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pyarrow.parquet as pq

from tunesmith.core.blobs import Blobs
from tunesmith.core.errors import UsageError
from tunesmith.records.data import Dataset


@dataclass(frozen=True, kw_only=True, slots=True)
class DoubtfulRow:
    """A row of a dataset, its label, and the one that the others suggest."""

    pointer: str
    asset: str
    row_id: str
    side: Literal["train", "test"]
    label: str
    suggested: str
    probability: float
    """Of its label, by a model that saw no row of its near-duplicate component."""
    probability_of_suggested: float
    text: str


def doubtful_rows(dataset: Dataset, blobs: Blobs) -> list[DoubtfulRow]:
    """The rows of both sides whose labels are doubtful (see `text.doubt`), the worst first.

    Raises:
        UsageError: the rows have no labels.
    """
    from tunesmith.text.doubt import doubts  # scipy's sparse matrices, for this alone

    if dataset.format != "labels":
        raise UsageError(
            f"dataset {dataset.name!r} has no labels to doubt: its format is {dataset.format!r}",
            remedy="name a dataset of format 'labels'",
        )
    rows: list[dict[str, Any]] = []
    for side, split in (("train", dataset.train), ("test", dataset.test)):
        columns = ["pointer", "asset", "row_id", "label", "text", "component"]
        found = pq.read_table(blobs.path(split.rows), columns=columns).to_pylist()
        rows += [{**row, "side": side} for row in found]
    components = [row.pop("component") for row in rows]
    return [
        DoubtfulRow(
            **rows[doubt.row],
            suggested=doubt.suggested,
            probability=doubt.probability,
            probability_of_suggested=doubt.probability_of_suggested,
        )
        for doubt in doubts(
            [row["text"] for row in rows], [row["label"] for row in rows], components
        )
    ]
