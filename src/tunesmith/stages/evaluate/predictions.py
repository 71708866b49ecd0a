"""What a model said of each row, as a table and back."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tunesmith.stages.evaluate.corpus import COUNTS
from tunesmith.stages.evaluate.scorer import Scored

TYPES = {
    "row_id": pa.string(),
    "label": pa.string(),
    "predicted": pa.string(),
    "score": pa.float64(),
    "loss": pa.float64(),
    "log_probability": pa.float64(),
    "probabilities": pa.list_(pa.float32()),
    "fields": pa.string(),
    "extracted": pa.string(),
    "num_tokens": pa.int64(),
    "tag_counts": pa.list_(pa.int32()),
    **dict.fromkeys(COUNTS.values(), pa.list_(pa.int32())),
}
ADDED = ("log_probability", "nats", "num_tokens", "tag_counts", *COUNTS.values())
"""Columns that metrics are made of which are no mean of the rows."""
SHOWN = 2000
"""Characters that are kept of what people compare. A generated answer is kept whole: it is
measured, and a judge reads it."""
BY_ROW = "metric "
"""What the names of the columns begin with that are of metrics beside the first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """Row by row, in the order in which they were asked."""

    row_ids: tuple[str, ...]
    truth: tuple[str, ...]
    predicted: tuple[str, ...]
    scores: tuple[float, ...]
    losses: tuple[float, ...]
    by_row: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """What each row has of metrics beside the first, by their names."""
    added: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Those of the columns of `ADDED` that there are."""

    def of(self, metric: str) -> Predictions:
        """The same with what the rows have of another metric in place of the scores."""
        return replace(self, scores=self.by_row[metric])

    def at(self, places: Sequence[int]) -> Predictions:
        """The rows at `places`, in that order."""
        return Predictions(
            row_ids=tuple(self.row_ids[place] for place in places),
            truth=tuple(self.truth[place] for place in places),
            predicted=tuple(self.predicted[place] for place in places),
            scores=tuple(self.scores[place] for place in places),
            losses=tuple(self.losses[place] for place in places),
            by_row={
                name: tuple(rows[place] for place in places) for name, rows in self.by_row.items()
            },
            added={
                name: tuple(rows[place] for place in places) for name, rows in self.added.items()
            },
        )


def to_parquet(row_ids: Sequence[str], scored: Scored) -> bytes:
    """Parquet of what was said; equal answers give equal bytes."""
    columns = {
        "row_id": list(row_ids),
        "label": list(scored.truth),
        "predicted": list(scored.predicted),
        "score": list(scored.scores),
        "loss": list(scored.losses),
        **scored.columns,
        **{f"{BY_ROW}{name}": list(rows) for name, rows in scored.by_row.items()},
    }
    table = pa.table(
        {name: pa.array(values, TYPES.get(name, pa.float64())) for name, values in columns.items()}
    )
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def from_parquet(data: bytes) -> Predictions:
    """The columns that a comparison needs."""
    file = pq.ParquetFile(io.BytesIO(data))
    more = [name for name in file.schema_arrow.names if name.startswith(BY_ROW)]
    added = [name for name in ADDED if name in file.schema_arrow.names]
    names = ["row_id", "label", "predicted", "score", "loss", *more, *added]
    columns = file.read(columns=names).select(names)
    row_ids, truth, predicted, scores, losses, *rows = (
        tuple(column.to_pylist()) for column in columns
    )
    return Predictions(
        row_ids=row_ids,
        truth=truth,
        predicted=predicted,
        scores=scores,
        losses=losses,
        by_row={
            name.removeprefix(BY_ROW): each
            for name, each in zip(more, rows[: len(more)], strict=True)
        },
        added=dict(zip(added, rows[len(more) :], strict=True)),
    )
