"""Bad records as something to work on: a file of CSV or JSONL, or a table for one SQL statement.

CSV and SQL have texts alone. A text that was not touched leaves its value as it is, of whatever
type; one that was is read as what the contract says that the field is.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from tunesmith.asset.scratch import lock, scratch_database
from tunesmith.core.errors import Conflict, DataError, NotFound, UsageError
from tunesmith.records.repair import BadRecord
from tunesmith.stages.ingest import json_text
from tunesmith.stages.ingest.quarantine import as_cell

OURS = ("record", "pointer", "rule", "reason")
"""What stands before the fields of each record."""
Read = Callable[[str, str], Any]
"""read(field, text): what a text says that somebody wrote into a field."""
Edited = list[tuple[str, Mapping[str, Any] | None]]
"""(id of the record, its fields as they were edited; None where nothing was)."""


def write(path: Path, bad: Sequence[BadRecord]) -> None:
    """The records that have fields, a line each: CSV if the file's name says so, else JSONL.

    Raises:
        UsageError: the name says neither.
        NotFound: there is no such folder.
        Conflict: the file is there: somebody may have worked in it.
        DataError: the records have different fields, which CSV cannot tell.
    """
    if path.exists():
        raise Conflict(f"{path} is there already", remedy="name another file, or remove this one")
    if not path.parent.is_dir():
        raise NotFound(f"there is no folder {path.parent}", remedy="make it, or name another one")
    records = [each for each in bad if each.fields is not None]
    if path.suffix == ".jsonl":
        lines = [json.dumps(_line(each), ensure_ascii=False) for each in records]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return
    _require_csv(path)
    names = _names(records)
    if any(set(each.fields or ()) != set(names) for each in records):
        raise DataError(
            "the bad records do not all have the same fields, which CSV cannot tell",
            remedy=f"name a file of JSONL: --out {path.with_suffix('.jsonl')}",
        )
    with path.open("w", encoding="utf-8", newline="") as target:
        sheet = csv.writer(target)
        sheet.writerow([*OURS, *names])
        sheet.writerows(
            [*(getattr(each, key) for key in OURS), *_cells(each, names)] for each in records
        )


def read(path: Path, bad: Mapping[str, BadRecord], reads: Read) -> Edited:
    """What stands in a file that `write` wrote and somebody edited; lines may have been left out.

    Raises:
        NotFound: there is no such file.
        UsageError: its name says neither CSV nor JSONL.
        DataError: it is not as it was written, but for the fields.
    """
    if not path.is_file():
        raise NotFound(
            f"there is no file {path}",
            remedy="write one first: `tunesmith data quarantine SOURCE --out bad.jsonl`",
        )
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _wrong(path, 1, "the file is not UTF-8") from error
    if path.suffix == ".jsonl":
        return _once(path, list(_read_lines(path, text)))
    _require_csv(path)
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    found: Edited = []
    try:
        head = next(rows, [])
        names = head[len(OURS) :]
        if tuple(head[: len(OURS)]) != OURS or len(set(names)) < len(names):
            raise _wrong(path, 1, f"the first line is to begin {','.join(OURS)}")
        for row in rows:
            if row and len(row) != len(head):
                raise _wrong(path, rows.line_num, f"{len(row)} cells, where {len(head)} are named")
            if row:
                cells = dict(zip(names, row[len(OURS) :], strict=True))
                found.append((row[0], _edited(bad.get(row[0]), cells, names, reads)))
    except csv.Error as error:
        raise _wrong(path, rows.line_num, str(error)) from error
    return _once(path, found)


def _read_lines(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            said = json_text.read(line.encode())
            record, fields = said["record"], said["fields"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _wrong(path, number, f"no record with its fields: {error!r}"[:160]) from error
        if not (isinstance(record, str) and isinstance(fields, dict)):
            raise _wrong(path, number, "its record is no string, or its fields are no object")
        yield record, fields


def updated(bad: Sequence[BadRecord], statement: str, reads: Read) -> Edited:
    """What one UPDATE makes of the table `bad` of the records, whose columns are texts.

    It runs in a database in memory that reads no file, reaches no network and loads no extension.

    Raises:
        UsageError: it is no single UPDATE, or it fails; or two columns would have one name.
    """
    records = [each for each in bad if each.fields is not None]
    names = _names(records)
    columns = [*OURS, *(f"field_{name}" if name in OURS else name for name in names)]
    if len({column.lower() for column in columns}) < len(columns):
        raise UsageError(
            "two fields have the same name but for upper and lower case, which SQL does not tell",
            remedy="repair them in a file: `tunesmith data quarantine SOURCE --out bad.jsonl`",
        )
    with scratch_database() as connection:
        _require_update(connection, statement)
        values = [
            *([getattr(each, key) for each in records] for key in OURS),
            *([_cell(each, name) for each in records] for name in names),
        ]
        arrays = [pa.array(column, pa.string()) for column in values]
        connection.register("given", pa.Table.from_arrays(arrays, names=columns))
        connection.execute("CREATE TABLE bad AS SELECT * FROM given")
        connection.unregister("given")
        lock(connection)
        try:
            connection.execute(statement)
        except duckdb.Error as error:
            raise UsageError(
                f"--sql: {' '.join(str(error).split())[:300]}",
                remedy=f"the table `bad` has the columns {', '.join(columns)}, all of text",
            ) from error
        rows = connection.execute("SELECT * FROM bad").fetchall()
    by_id = {each.record: each for each in records}
    keys = [*OURS, *names]
    start = len(OURS)
    found: Edited = []
    for row in rows:
        cells = dict(zip(keys[start:], row[start:], strict=True))
        found.append((row[0], _edited(by_id.get(row[0]), cells, names, reads)))
    return found


def _require_update(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    try:
        kinds = [each.type for each in connection.extract_statements(statement)]
    except duckdb.Error as error:
        raise UsageError(f"--sql: {' '.join(str(error).split())[:300]}") from error
    if kinds != [duckdb.StatementType.UPDATE]:
        raise UsageError(
            "--sql takes one UPDATE and nothing else",
            remedy="write UPDATE bad SET field = ... WHERE rule = '...'",
        )


def _line(record: BadRecord) -> dict[str, Any]:
    return {**{key: getattr(record, key) for key in OURS}, "fields": dict(record.fields or {})}


def _names(records: Sequence[BadRecord]) -> list[str]:
    return list(dict.fromkeys(name for each in records for name in each.fields or ()))


def _cell(record: BadRecord, name: str) -> str | None:
    """None where the record has no such field, or nothing in it."""
    value = (record.fields or {}).get(name)
    return None if value is None else as_cell(value)


def _cells(record: BadRecord, names: Sequence[str]) -> list[str]:
    return [_cell(record, name) or "" for name in names]


def _edited(
    record: BadRecord | None,
    cells: Mapping[str, str | None],
    names: Sequence[str],
    reads: Read,
) -> Mapping[str, Any] | None:
    """The fields of a record with the cells that differ from what was written; in a file, where
    nothing and an empty text look the same, neither is a change of the other."""
    if record is None or record.fields is None:
        return None
    fields = dict(record.fields)
    for name in names:
        before, after = _cell(record, name), cells[name]
        if after == before or (after == "" and before is None):
            continue
        if after is None:
            fields.pop(name, None)
        else:
            fields[name] = reads(name, after)
    return fields


def _once(path: Path, edited: Edited) -> Edited:
    ids = [record for record, _ in edited]
    if len(set(ids)) < len(ids):
        twice = next(record for record in ids if ids.count(record) > 1)
        raise DataError(
            f"{path}: record {twice} is there twice", remedy="leave the line that is meant"
        )
    return edited


def _require_csv(path: Path) -> None:
    if path.suffix != ".csv":
        raise UsageError(
            f"{path} is neither CSV nor JSONL by its name", remedy="name it bad.csv or bad.jsonl"
        )


def _wrong(path: Path, number: int, what: str) -> DataError:
    return DataError(
        f"{path}: line {number}: {what}",
        remedy="write the file anew with `tunesmith data quarantine SOURCE --out`, and edit its "
        "fields alone",
    )
