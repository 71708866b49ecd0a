"""What the rows of a split say, out of its Parquet file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pyarrow.parquet as pq

from tunesmith.core.canonical import parse
from tunesmith.core.ref import from_plain
from tunesmith.records.rows import Content

Said = TypeVar("Said", bound=Content)


def read_contents(path: Path, kind: type[Said]) -> Iterator[tuple[str, Said]]:
    """(row id, content) of each row, in the file's order; some rows are in memory at once."""
    for batch in pq.ParquetFile(path).iter_batches(columns=["row_id", "content"]):
        for row in batch.to_pylist():
            yield row["row_id"], content_of(row["content"], kind)


def content_of(text: str, kind: type[Said]) -> Said:
    """A row's content from its canonical JSON."""
    return from_plain(kind, parse(text.encode()))
