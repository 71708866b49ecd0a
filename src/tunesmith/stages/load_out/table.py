"""Rows as others want them: fields in columns, each with a type that follows from the data alone.

Of a data asset the fields of its records are unpacked. A field in which every value is a boolean,
an integer of 64 bits, a number or a text has that type; one that has several kinds of values, or
lists and objects, is text, in which all but texts are written as JSON. Of a dataset the columns are
those of its format (`records.rows`), lists among them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tunesmith.records.rows import FORMATS

OURS = ("row_id", "text", "label")
_BATCH_ROWS = 5_000
_MAX_INTEGER, _MAX_EXACT = 2**63, 2**53
_STRING = pa.string()
_CALL = pa.struct(
    {
        "id": _STRING,
        "type": _STRING,
        "function": pa.struct({"name": _STRING, "arguments": _STRING}),
    }
)
_TURN = {
    "role": _STRING,
    "content": _STRING,
    "tool_calls": pa.list_(_CALL),
    "tool_call_id": _STRING,
    "weight": pa.float64(),
}

_NAMES = {name: [field.name for field in fields(of)] for name, of in FORMATS.items()}

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows and the types of their columns. Lists and objects stand in `schema` as such."""

    schema: pa.Schema
    num_rows: int
    rows: Callable[[], Iterator[Row]]
    """From the first one on, as they are in the data; a field that a row lacks is not in it."""

    @property
    def flat_schema(self) -> pa.Schema:
        """The schema without lists and objects: those are JSON in a text."""
        return pa.schema(
            [(f.name, _STRING if pa.types.is_nested(f.type) else f.type) for f in self.schema]
        )

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, typed."""
        return _batches(self.schema, self.rows())

    def flat_batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, typed, without lists and objects."""
        return _batches(self.flat_schema, self.rows())


def asset_table(path: Path) -> Table:
    """The rows of a data asset: `row_id`, `text` and `label`, and the fields of their records.

    A field that has the name of one of these three gets `_field` behind it.
    """
    seen: dict[str, set[str]] = {}
    num_rows = 0
    for attributes in _read(path, "attributes"):
        num_rows += 1
        for name, value in json.loads(attributes[0]).items():
            seen.setdefault(name, set()).add(_kind(value))
    names: dict[str, str] = {}
    for name in sorted(seen):
        free = name
        while free in OURS or free in names.values() or (free != name and free in seen):
            free += "_field"
        names[name] = free
    unpacked = [(names[name], _type_of(seen[name])) for name in sorted(seen)]

    def rows() -> Iterator[Row]:
        for *ours, attributes in _read(path, *OURS, "attributes"):
            found = {names[name]: value for name, value in json.loads(attributes).items()}
            yield dict(zip(OURS, ours, strict=True)) | found

    schema = pa.schema([*((name, _STRING) for name in OURS), *unpacked])
    return Table(schema=schema, num_rows=num_rows, rows=rows)


def dataset_table(path: Path, format: str) -> Table:
    """One side of a dataset: `row_id`, `asset` and what its format says."""
    make = {"chat": _chat}.get(format, _plain)
    found: dict[str, pa.DataType] = {}
    num_rows = 0
    for (content,) in _read(path, "content"):
        num_rows += 1
        for name, type_ in make(json.loads(content))[1].items():
            found[name] = _wider(found.get(name), type_)

    def rows() -> Iterator[Row]:
        for row_id, asset, content in _read(path, "row_id", "asset", "content"):
            yield {"row_id": row_id, "asset": asset, **make(json.loads(content))[0]}

    named = [(name, found[name]) for name in _NAMES[format] if name in found]
    schema = pa.schema([("row_id", _STRING), ("asset", _STRING), *named])
    return Table(schema=schema, num_rows=num_rows, rows=rows)


def alike(tables: Mapping[str, Table]) -> dict[str, Table]:
    """Tables of one dataset with one schema: a conversation's turns may have on one side of the
    split what they never have on the other."""
    found: dict[str, pa.DataType] = {}
    for table in tables.values():
        for field in table.schema:
            found[field.name] = _wider(found.get(field.name), field.type)
    schema = pa.schema(list(found.items()))
    return {
        side: Table(schema=schema, num_rows=table.num_rows, rows=table.rows)
        for side, table in tables.items()
    }


def _plain(content: Mapping[str, Any]) -> tuple[Row, dict[str, pa.DataType]]:
    """Texts, booleans and lists of texts, as `records.rows` has them."""
    types: dict[str, pa.DataType] = {}
    for name, value in content.items():
        is_list = isinstance(value, list)
        types[name] = (
            pa.list_(_STRING) if is_list else pa.bool_() if isinstance(value, bool) else _STRING
        )
    return dict(content), types


def _chat(content: Mapping[str, Any]) -> tuple[Row, dict[str, pa.DataType]]:
    """A conversation in OpenAI's form. What no turn says is left out, as chat templates ask whether
    it is there; arguments and tools are JSON, as they differ from call to call."""
    said: set[str] = {"role", "content"}
    turns = []
    for turn in content["messages"]:
        made = {"role": turn["role"], "content": turn["content"]}
        if turn.get("tool_calls"):
            made["tool_calls"] = [_call(call) for call in turn["tool_calls"]]
        if turn.get("tool_call_id"):
            made["tool_call_id"] = turn["tool_call_id"]
        if turn.get("weight", 1.0) != 1.0:
            made["weight"] = turn["weight"]
        said |= made.keys()
        turns.append(made)
    types = {"messages": pa.list_(pa.struct({n: t for n, t in _TURN.items() if n in said}))}
    if not content.get("tools"):
        return {"messages": turns}, types
    tools = json.dumps(content["tools"], ensure_ascii=False)
    return {"messages": turns, "tools": tools}, types | {"tools": _STRING}


def _call(call: Mapping[str, Any]) -> Row:
    arguments = json.dumps(call["arguments"], ensure_ascii=False)
    return {
        "id": call.get("id", ""),
        "type": "function",
        "function": {"name": call["name"], "arguments": arguments},
    }


def _wider(known: pa.DataType | None, type_: pa.DataType) -> pa.DataType:
    """A type for both; two differ in what the turns of conversations have, and nowhere else."""
    if known is None or known == type_:
        return type_
    names = {field.name for each in (known, type_) for field in each.value_type}
    return pa.list_(pa.struct({name: t for name, t in _TURN.items() if name in names}))


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        if not -_MAX_INTEGER <= value < _MAX_INTEGER:
            return "other"
        return "int" if abs(value) <= _MAX_EXACT else "long"
    return "float" if isinstance(value, float) else "text" if isinstance(value, str) else "other"


def _type_of(kinds: set[str]) -> pa.DataType:
    kinds = kinds - {"null"}
    if kinds == {"bool"}:
        return pa.bool_()
    if kinds and kinds <= {"int", "long"}:
        return pa.int64()
    if kinds and kinds <= {"int", "float"}:  # of a "long" a float would be another number
        return pa.float64()
    return _STRING


def _batches(schema: pa.Schema, rows: Iterator[Row]) -> Iterator[pa.RecordBatch]:
    while some := list(islice(rows, _BATCH_ROWS)):
        yield pa.record_batch(
            [
                pa.array([_cell(row.get(field.name), field.type) for row in some], field.type)
                for field in schema
            ],
            schema=schema,
        )


def _cell(value: Any, type_: pa.DataType) -> Any:
    if value is None or isinstance(value, str) or not pa.types.is_string(type_):
        return value
    return json.dumps(value, ensure_ascii=False)


def _read(path: Path, *columns: str) -> Iterator[tuple[str, ...]]:
    for batch in pq.ParquetFile(path).iter_batches(batch_size=_BATCH_ROWS, columns=list(columns)):
        found = [batch.column(name).to_pylist() for name in columns]
        yield from zip(*found, strict=True)
