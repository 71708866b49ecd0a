"""What a model said of each row, as a table and back."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from tunesmith.stages.evaluate.scorer import Scored

TYPES = {
    "row_id": pa.string(),
    "label": pa.string(),
    "predicted": pa.string(),
    "score": pa.float64(),
    "loss": pa.float64(),
    "log_probability": pa.float64(),
    "probabilities": pa.list_(pa.float32()),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """Row by row, in the order in which they were asked."""

    row_ids: tuple[str, ...]
    truth: tuple[str, ...]
    predicted: tuple[str, ...]
    scores: tuple[float, ...]
    losses: tuple[float, ...]

    def at(self, places: Sequence[int]) -> Predictions:
        """The rows at `places`, in that order."""
        return Predictions(
            row_ids=tuple(self.row_ids[place] for place in places),
            truth=tuple(self.truth[place] for place in places),
            predicted=tuple(self.predicted[place] for place in places),
            scores=tuple(self.scores[place] for place in places),
            losses=tuple(self.losses[place] for place in places),
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
    }
    table = pa.table({name: pa.array(values, TYPES[name]) for name, values in columns.items()})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def from_parquet(data: bytes) -> Predictions:
    """The columns that a comparison needs."""
    names = ["row_id", "label", "predicted", "score", "loss"]
    row_ids, truth, predicted, scores, losses = (
        tuple(column.to_pylist()) for column in pq.read_table(io.BytesIO(data), columns=names)
    )
    return Predictions(
        row_ids=row_ids, truth=truth, predicted=predicted, scores=scores, losses=losses
    )
