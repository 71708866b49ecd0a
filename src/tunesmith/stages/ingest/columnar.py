"""Parquet: typed columns, whose values become JSON; exact decimals are strings."""

from __future__ import annotations

import decimal
import json
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from tunesmith.asset import json_value
from tunesmith.stages.ingest.entry import (
    ERASED,
    Entry,
    Quarantined,
    Unreadable,
    problem_of_names,
    quarantined,
)
from tunesmith.stages.ingest.json_text import identify

ROWS_AT_ONCE = 1000
MAX_CELLS_PER_BYTE = 100
"""A column of equal values is packed tightly, but not every column of a table is one."""
_FEW_CELLS = 1 << 20
MAX_GROUP_BYTES = 4 << 30
"""Of one row group when unpacked."""
to_json = partial(json_value.to_json, texts={decimal.Decimal: str})
_NO_VALUE = (ValueError, OverflowError, pa.ArrowException, ImportError)


def read_parquet(member: str, stream: IO[bytes]) -> Iterator[Entry | Quarantined]:
    """The rows of a file.

    Raises:
        Unreadable: it is no whole Parquet file, or it unpacks to more than it can honestly hold.
    """
    with tempfile.TemporaryFile() as copy:  # a member of an archive has one direction
        shutil.copyfileobj(stream, copy, 1 << 20)
        size = copy.tell()
        try:
            yield from _rows(member, copy, size)
        except (pa.ArrowException, OSError, EOFError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise Unreadable("bad-parquet", f"not a whole Parquet file: {_said(error)}") from None


def _rows(member: str, file: IO[bytes], size: int) -> Iterator[Entry | Quarantined]:
    table = pq.ParquetFile(file)
    _check(table.metadata, size)
    if problem := problem_of_names(table.schema_arrow.names):
        raise Unreadable("bad-header", problem, ", ".join(table.schema_arrow.names))
    gone, number = set(erased_rows(table.metadata)), 0
    for batch in table.iter_batches(batch_size=ROWS_AT_ONCE):
        columns = {
            name: _values(column)
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        }
        for at in range(batch.num_rows):
            number += 1
            while number in gone:
                number += 1
            yield _row(f"{member}#{number}", {name: columns[name][at] for name in columns})


def erased_rows(metadata: Any) -> list[int]:
    """The numbers, from 1, of the rows that were cut out of a file.

    Raises:
        Unreadable: its metadata says something else there.
    """
    said = (metadata.metadata or {}).get(ERASED.encode(), b"[]")
    try:
        numbers = json.loads(said)
    except (ValueError, RecursionError):
        numbers = None
    if not isinstance(numbers, list) or not all(type(each) is int for each in numbers):
        raise Unreadable("bad-parquet", f"its {ERASED!r} is no list of numbers", repr(said[:80]))
    return numbers


def _check(metadata: Any, size: int) -> None:
    cells = metadata.num_rows * metadata.num_columns
    if cells > max(_FEW_CELLS, MAX_CELLS_PER_BYTE * size):
        raise Unreadable("hostile", f"it unpacks {size} bytes to {cells} values")
    for group in range(metadata.num_row_groups):
        unpacked = metadata.row_group(group).total_byte_size
        if unpacked > MAX_GROUP_BYTES:
            raise Unreadable("hostile", f"row group {group} unpacks to {unpacked} bytes")


def _values(column: Any) -> list[Any]:
    """The values of a column; one that Python has not is the error that says so."""
    try:
        return list(column.to_pylist())
    except _NO_VALUE:
        values: list[Any] = []
        for value in column:
            try:
                values.append(value.as_py())
            except _NO_VALUE as error:
                values.append(error)
        return values


def _row(pointer: str, values: dict[str, Any]) -> Entry | Quarantined:
    fields = {}
    for name, value in values.items():
        try:
            if isinstance(value, Exception):
                raise value
            fields[name] = to_json(value)
        except _NO_VALUE as error:
            return quarantined(pointer, "bad-value", f"the field {name!r}: {_said(error)}", "")
    try:
        return Entry(pointer=pointer, fields=fields, text=None, data=identify(fields))
    except Unreadable as error:
        return quarantined(pointer, error.rule, str(error), error.value)


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
