"""Cut rows out of a Parquet file: written anew row group by row group, with the schema, the
metadata, the compression and the statistics that it had.

The numbers of the rows that were cut stand in its metadata, so that the others keep theirs.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tunesmith.stages.ingest.columnar import erased_rows
from tunesmith.stages.ingest.entry import ERASED

_DICTIONARIES = frozenset({"PLAIN_DICTIONARY", "RLE_DICTIONARY"})
_AS_IT_WAS = {"UNCOMPRESSED": "NONE"}


def cut_parquet(name: str, data: bytes, gone: Collection[str]) -> bytes:
    """`data` without the rows at the pointers `gone`.

    Raises:
        pa.ArrowException, OSError: a row group cannot be read, or not be written as it was.
    """
    table = pq.ParquetFile(io.BytesIO(data))
    before = erased_rows(table.metadata)
    numbers = _numbers(table.metadata.num_rows, before)
    stays = [f"{name}#{number}" not in gone for number in numbers]
    theirs = [number for number, kept in zip(numbers, stays, strict=True) if not kept]
    schema = _plain_schema(table.schema_arrow)
    said = {**(schema.metadata or {}), ERASED.encode(): json.dumps(sorted([*before, *theirs]))}
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema.with_metadata(said), **_settings(table.metadata)) as writer:
        at = 0
        for group in range(table.num_row_groups):
            rows = table.read_row_group(group).cast(schema)
            kept = rows.filter(pa.array(stays[at : at + rows.num_rows], pa.bool_()))
            at += rows.num_rows
            if kept.num_rows:
                writer.write_table(kept, row_group_size=kept.num_rows)
    return sink.getvalue()


def said_in_parquet(name: str, data: bytes) -> dict[str, bytes]:
    """What the rows of a file say, by pointer; of a value that Python has not, nothing."""
    table = pq.ParquetFile(io.BytesIO(data))
    numbers = _numbers(table.metadata.num_rows, erased_rows(table.metadata))
    rows = table.read()
    return {
        f"{name}#{number}": "\0".join(_shown(column[at]) for column in rows.columns).encode()
        for at, number in enumerate(numbers)
    }


def _shown(value: Any) -> str:
    try:
        return str(value.as_py())
    except (ValueError, OverflowError, pa.ArrowException, ImportError):
        return ""


def _numbers(num_rows: int, before: Collection[int]) -> list[int]:
    """The numbers of the rows that are there: those that were cut `before` had some of them."""
    gone = set(before)
    return [n for n in range(1, num_rows + len(gone) + 1) if n not in gone]


def _plain_schema(schema: pa.Schema) -> pa.Schema:
    """The schema without dictionaries in memory: these keep values that no row has any more. In
    the file it is the same."""
    return pa.schema([each.with_type(_plain(each.type)) for each in schema], schema.metadata)


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_struct(kind):
        return pa.struct([each.with_type(_plain(each.type)) for each in kind])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_plain(kind.value_type)))
    if pa.types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(_plain(kind.value_type)))
    return kind


def _settings(metadata: Any) -> Mapping[str, Any]:
    """How the first row group was written."""
    found: dict[str, Any] = {"version": metadata.format_version}
    if not metadata.num_row_groups:
        return found
    group = metadata.row_group(0)
    columns = [group.column(at) for at in range(group.num_columns)]
    return {
        **found,
        "compression": {
            each.path_in_schema: _AS_IT_WAS.get(each.compression, each.compression)
            for each in columns
        },
        "use_dictionary": [
            each.path_in_schema for each in columns if _DICTIONARIES & set(each.encodings)
        ],
        "write_statistics": [each.path_in_schema for each in columns if each.is_stats_set],
        "sorting_columns": group.sorting_columns or None,
        "use_deprecated_int96_timestamps": any(e.physical_type == "INT96" for e in columns),
        "write_page_index": any(each.has_column_index for each in columns),
    }
