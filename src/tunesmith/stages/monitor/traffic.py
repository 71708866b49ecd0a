"""Requests and answers as traffic."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from tunesmith.core.blobs import Blobs
from tunesmith.core.ref import PARQUET
from tunesmith.records.service import Traffic

SCHEMA = pa.schema([("text", pa.string()), ("answer", pa.string())])


def gather(
    name: str,
    requests: Sequence[tuple[str, str]],
    source: Literal["served", "replayed"],
    blobs: Blobs,
) -> Traffic:
    """The (text, answer) pairs of `requests` as the traffic `name`; no answer is ""."""
    rows = [{"text": text, "answer": answer} for text, answer in requests]
    target = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), target)
    return Traffic(
        name=name,
        rows=blobs.put(target.getvalue(), PARQUET),
        num_rows=len(rows),
        source=source,
    )
