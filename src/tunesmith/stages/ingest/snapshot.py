"""What a query answered, as it lies in the store: a line of JSON a row, ordered by its key."""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from collections.abc import Iterator, Mapping
from typing import IO, Any

from tunesmith.stages.ingest.entry import Entry, Quarantined
from tunesmith.stages.ingest.json_lines import read_json_lines


def read_snapshot(member: str, stream: IO[bytes], key: str) -> Iterator[Entry | Quarantined]:
    """The rows; each is pointed at by its key, as in `crm.db#id=17`."""
    for found in read_json_lines(member, stream):
        if isinstance(found, Entry) and key in found.fields:
            yield found._replace(pointer=f"{member}#{key}={found.fields[key]}")
        else:
            yield found


def line_of(row: Mapping[str, Any]) -> bytes:
    """A row as a line of JSON, with its end.

    Times and exact decimals are strings, as they are from Parquet and XLSX. A number that JSON has
    not (NaN, infinity) is written all the same: the reader quarantines that row alone.

    Raises:
        TypeError: a value is of a type that JSON has nothing for; says the column and the type.
    """
    plain = {name: _plain(name, value) for name, value in row.items()}
    line = json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return line.encode("utf-8", "surrogatepass") + b"\n"


def _plain(column: str, value: Any) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case decimal.Decimal() | uuid.UUID():
            return format(value, "f") if isinstance(value, decimal.Decimal) else str(value)
        case list() | tuple():
            return [_plain(column, each) for each in value]
        case dict():
            return {str(name): _plain(column, each) for name, each in value.items()}
        case _:
            raise TypeError(
                f"the column {column!r} holds values of the type {type(value).__name__}"
            )
