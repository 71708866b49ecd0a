"""What a service was asked and answered, as traffic."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from tunesmith.core.blobs import Blobs
from tunesmith.records.service import Traffic

SCHEMA = pa.schema([("text", pa.string()), ("answer", pa.string())])


def gather(name: str, requests: Sequence[tuple[str, str]], blobs: Blobs) -> Traffic:
    """The (text, answer) pairs of `requests` as the traffic `name`."""
    texts, answers = zip(*requests, strict=True) if requests else ((), ())
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": texts, "answer": answers}, schema=SCHEMA), buffer)
    return Traffic(
        name=name,
        rows=blobs.put(buffer.getvalue(), "application/vnd.apache.parquet"),
        num_rows=len(requests),
        source="served",
    )
