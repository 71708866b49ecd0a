"""What a model predicted for each row of a test split, as a table and back."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
import torch

SCHEMA = pa.schema(
    [
        ("row_id", pa.string()),
        ("label", pa.string()),
        ("predicted", pa.string()),
        ("log_probability", pa.float64()),
        ("probabilities", pa.list_(pa.float32())),
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """Row by row, in the order of the test split."""

    row_ids: tuple[str, ...]
    truth: tuple[str, ...]
    predicted: tuple[str, ...]

    @property
    def right(self) -> list[bool]:
        """Whether each row's predicted label is the true one."""
        return [t == p for t, p in zip(self.truth, self.predicted, strict=True)]


def to_parquet(
    row_ids: Sequence[str], truth: Sequence[str], labels: Sequence[str], scores: torch.Tensor
) -> bytes:
    """Parquet of the likeliest labels; `scores` are log-probabilities, (num_rows, num_labels).

    Of two equally likely labels the first counts.
    """
    log_p = torch.log_softmax(scores.double(), dim=-1)
    best = log_p.argmax(dim=-1).tolist()
    table = pa.table(
        {
            "row_id": list(row_ids),
            "label": list(truth),
            "predicted": [labels[index] for index in best],
            "log_probability": [
                row[index] for row, index in zip(log_p.tolist(), best, strict=True)
            ],
            "probabilities": log_p.exp().tolist(),
        },
        schema=SCHEMA,
    )
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def from_parquet(data: bytes) -> Predictions:
    """The columns that a comparison needs."""
    table = pq.read_table(io.BytesIO(data), columns=["row_id", "label", "predicted"])
    return Predictions(
        row_ids=tuple(table["row_id"].to_pylist()),
        truth=tuple(table["label"].to_pylist()),
        predicted=tuple(table["predicted"].to_pylist()),
    )
