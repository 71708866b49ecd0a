"""What a query answered, as it lies in the store: a line of JSON a row, ordered by its key."""

from __future__ import annotations

import datetime
import decimal
import hashlib
import json
import uuid
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from tunesmith.stages.ingest.archive import EPOCH
from tunesmith.stages.ingest.batch import Batch, one_by_one
from tunesmith.stages.ingest.entry import Entry, Quarantined
from tunesmith.stages.ingest.json_lines import read_json_lines

Keeps = Callable[[str, bytes], bool]
"""keeps(name of what was asked, a row as a line): whether it is to be taken into the store."""


def everything(_name: str, _line: bytes) -> bool:
    """Keeps all rows."""
    return True


def digest_of(lines: Iterable[bytes]) -> str:
    """The SHA-256 of all lines."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
    return digest.hexdigest()


def pack(lines: Iterable[bytes], target: Path, name: str, keeps: Keeps) -> tuple[str, int]:
    """Write the lines that `keeps` says as one file, `name`, of a zip.

    Returns:
        The SHA-256 of all lines, and how many were left out.
    """
    digest = hashlib.sha256()
    num_left_out = 0
    with (
        zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive,
        archive.open(zipfile.ZipInfo(name, EPOCH), "w", force_zip64=True) as sink,
    ):
        for line in lines:
            digest.update(line)
            if keeps(name, line):
                sink.write(line)
            else:
                num_left_out += 1
    return digest.hexdigest(), num_left_out


def read_snapshot(
    member: str, stream: IO[bytes], key: str
) -> Iterator[Entry | Quarantined | Batch]:
    """The rows; each is pointed at by its key, as in `crm.db#id=17`."""
    for found in read_json_lines(member, stream):
        if isinstance(found, Batch) and None not in found.columns.get(key, (None,)):
            pointers = [f"{member}#{key}={value}" for value in found.columns[key]]
            yield found._replace(pointers=pointers)
            continue
        for each in one_by_one([found]):
            if isinstance(each, Entry) and key in each.fields:
                yield each._replace(pointer=f"{member}#{key}={each.fields[key]}")
            else:
                yield each


def line_of(row: Mapping[str, Any]) -> bytes:
    """A row as a line of JSON, with its end.

    Times and exact decimals are strings, as they are from Parquet and XLSX. A number that JSON has
    not (NaN, infinity) is written all the same: the reader quarantines that row alone.

    Raises:
        TypeError: a value is of a type that JSON has nothing for; says the column and the type.
    """
    said = {name: plain(name, value) for name, value in row.items()}
    line = json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return line.encode("utf-8", "surrogatepass") + b"\n"


def plain(column: str, value: Any) -> Any:
    """A value as JSON has it; see `line_of`.

    Raises:
        TypeError: it is of a type that JSON has nothing for.
    """
    match value:
        case None | bool() | int() | float() | str():
            return value
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case decimal.Decimal() | uuid.UUID():
            return format(value, "f") if isinstance(value, decimal.Decimal) else str(value)
        case list() | tuple():
            return [plain(column, each) for each in value]
        case dict():
            return {str(name): plain(column, each) for name, each in value.items()}
        case _:
            raise TypeError(
                f"the column {column!r} holds values of the type {type(value).__name__}"
            )
