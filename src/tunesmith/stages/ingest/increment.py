"""Ask a database for what changed since the last load, and for the keys of all rows.

The rows of the last load lie in the store, each with its key and cursor. The database says the key
and the cursor of every row there is now: a row whose pair is the same did not change, one whose key
is not among them is gone, and the others are asked for. Those at the highest cursor are asked for
in any case, as more may have been written at that very moment. What results is, byte for byte, what
a whole read would give, so long as who edits a row gives it another cursor.
"""

from __future__ import annotations

import datetime
import decimal
import json
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from tunesmith.core.errors import DataError, TunesmithError
from tunesmith.core.step import Progress
from tunesmith.stages.ingest.asking import QueryConfig
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.database import (
    ROWS_AT_ONCE,
    Connection,
    Row,
    asked,
    column,
    line,
    name_of,
    rows,
)
from tunesmith.stages.ingest.kept import keep, keep_error, place_of
from tunesmith.stages.ingest.snapshot import Keeps, plain

_Name = int | str | tuple[str]
"""What a key or a cursor is known by; see `_name`."""
_KEYS_AT_ONCE = 900
"""Rows that are asked for by their keys in one statement; databases limit how many it may name."""


@dataclass(kw_only=True, slots=True)
class Increment:
    """What was found, beside the rows of the last load."""

    is_whole: bool = False
    """Whether every row was asked for."""
    why: str = ""
    """Why every row was asked for."""
    num_rows: int = 0
    num_sent: int = 0
    """Rows that the database sent, with all their columns."""
    num_new: int = 0
    num_changed: int = 0
    num_gone: int = 0
    num_missed: int = 0
    """Of those that changed: rows whose cursor is the one that they had, so that no increment would
    have seen it."""

    def said(self) -> str:
        """In a sentence."""
        sent = f"{self.num_sent} of {self.num_rows} rows sent"
        if self.is_whole:
            sent = f"all {self.num_rows} rows sent, {self.why}"
        found = f"{self.num_new} new, {self.num_changed} changed, {self.num_gone} gone; {sent}"
        if self.num_missed:
            rows = f"{self.num_missed} row{'s' if self.num_missed > 1 else ''}"
            found += f"; {rows} had changed without another cursor, which increments had missed"
        return found


def look(
    source: SourceConfig,
    *,
    project: Path,
    hosts: Collection[str],
    cache: Path,
    base: Path | None,
    keeps: Keeps,
    progress: Progress,
    whole: bool = False,
) -> tuple[SourceConfig, Path | None, Increment | None]:
    """The source with the digest of what its database answers now, where that is kept for the step,
    and what changed.

    `base` is the zip of the last load; `keeps` says which rows may be kept. Where the database does
    not answer, or its rows have no such cursor, the digest is empty, and what is kept says why. A
    source that pins its rows is left as it is.
    """
    if source.sha256:
        return source, None, None
    path = place_of(cache, source.querying())
    path.unlink(missing_ok=True)  # of a process that was killed
    without = source.erased.digests if source.erased else ()
    last = _read_base(source, base)
    try:
        with asked(project, source.querying(), hosts) as connection:
            asking = _Asking(source=source, connection=connection, keeps=keeps, progress=progress)
            try:
                if whole or last is None:
                    raise _Whole("as was wanted" if whole and last else "as no load came before")
                digest = keep(path, asking.merged(last), without)
            except _Whole as why:
                asking.begin(Increment(is_whole=True, why=str(why)))
                digest = keep(path, asking.whole(last, counts_missed=whole), without)
    except TunesmithError as error:
        keep_error(path, error)
        return source, path, None
    return source.model_copy(update={"sha256": digest}), path, asking.found


class _Whole(Exception):
    """Every row has to be asked for; says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Base:
    """The rows of the last load."""

    path: Path
    seen: dict[_Name, tuple[_Name, int]]
    """By key, in the order in which the database gave them: its cursor, and a hash of the row."""
    types: dict[str, set[type]]
    """By column: of what types its values are in JSON."""

    def require_same_columns(self, said: bytes) -> None:
        """See that a row has the columns that the others had, and values of the same types.

        Raises:
            _Whole: columns were added, dropped or retyped, in rows with the cursors that they had.
        """
        fields = _fields(said)
        if fields.keys() != self.types.keys():
            raise _Whole("as its columns are others")
        for name, value in fields.items():
            if value is not None and type(value) not in (known := self.types[name]) and known:
                raise _Whole(f"as the column {name!r} holds values of another type")

    def lines(self) -> Iterator[tuple[_Name, bytes]]:
        """(key, row as a line), in the order in which the database gave them."""
        with zipfile.ZipFile(self.path) as archive, archive.open(archive.namelist()[0]) as stream:
            yield from zip(self.seen, stream, strict=True)


@dataclass(kw_only=True)
class _Asking:
    """One look at a database."""

    source: SourceConfig
    connection: Connection
    keeps: Keeps
    progress: Progress
    found: Increment = field(default_factory=Increment)

    def __post_init__(self) -> None:
        self._config: QueryConfig = self.source.querying()
        self._cursors = _Cursors(self.source)

    def begin(self, found: Increment) -> None:
        """Ask anew."""
        self.found, self._cursors = found, _Cursors(self.source)

    def whole(self, base: _Base | None, *, counts_missed: bool) -> Iterator[tuple[bytes, bool]]:
        """Every row as a line, and whether it may be kept.

        Raises:
            DataError: see `rows`, `line`, and `read` of cursors.
        """
        seen = base.seen if base else {}
        num_there, highest, stale = 0, None, []
        for row in rows(self.connection, self._config):
            key, cursor, name = self._cursors.read(row)
            said = line(self._config, row)
            there, is_kept = seen.get(key), self._is_kept(said)
            self._count(there, said, is_kept)
            num_there += there is not None
            if there is not None and there[0] == name:
                highest = cursor if highest is None else max(cursor, highest)
                if there[1] != hash(said):
                    stale.append(cursor)
            self.found.num_rows += 1
            if self.found.num_rows % ROWS_AT_ONCE == 0:
                self._tell(f"{self.found.num_rows} rows")
            yield said, is_kept
        self.found.num_sent = self.found.num_rows
        self.found.num_gone = len(seen) - num_there
        if counts_missed:  # at the highest cursor an increment asks again
            self.found.num_missed = sum(cursor < highest for cursor in stale)

    def merged(self, base: _Base) -> Iterator[tuple[bytes, bool]]:
        """The same rows, of which the database sends what changed.

        Raises:
            DataError: as `whole`.
            _Whole: more than half of the rows changed, or their order or their columns did.
        """
        order, new, highest = self._compared(base)
        if highest is None or len(new) > len(order) // 2:
            raise _Whole("as more than half of them changed")
        sent = dict(self._sent(base, f"{column(self.source.cursor)} >= ?", highest))
        left = [value for key, value in new.items() if key not in sent]
        for first in range(0, len(left), _KEYS_AT_ONCE):
            keys = left[first : first + _KEYS_AT_ONCE]
            marks = ", ".join("?" * len(keys))
            sent |= self._sent(base, f"{column(self.source.key)} IN ({marks})", *keys)
        if not new.keys() <= sent.keys():
            raise _Whole("as some could not be found by their keys")
        self.found.num_sent = len(sent)
        self.found.num_gone = len(base.seen) - sum(key in base.seen for key in order)
        before = base.lines()
        for key in order:
            said = sent.get(key)
            if said is None:
                said = next((old for there, old in before if there == key), None)
                if said is None:
                    raise _Whole("as they have another order than they had")
                yield said, self._is_kept(said)
                continue
            is_kept = self._is_kept(said)
            self._count(base.seen.get(key), said, is_kept)
            yield said, is_kept

    def _compared(self, base: _Base) -> tuple[list[_Name], dict[_Name, Any], Any]:
        """The keys of all rows in order; those of rows that are new or have another cursor, as the
        driver has them; and the highest cursor of the others."""
        order: list[_Name] = []
        new: dict[_Name, Any] = {}
        highest = None
        wanted = dict.fromkeys((self.source.key, self.source.cursor))
        for row in rows(self.connection, self._config, tuple(wanted)):
            key, cursor, name = self._cursors.read(row)
            order.append(key)
            if len(order) % ROWS_AT_ONCE == 0:
                self._tell(f"{len(order)} keys")
            there = base.seen.get(key)
            if there is None or there[0] != name:
                new[key] = row[self.source.key]
            elif highest is None or cursor > highest:
                highest = cursor
        self.found.num_rows = len(order)
        return order, new, highest

    def _sent(self, base: _Base, only: str, *values: Any) -> Iterator[tuple[_Name, bytes]]:
        for row in rows(self.connection, self._config, only=only, values=values):
            said = line(self._config, row)
            base.require_same_columns(said)
            yield _name(plain(self.source.key, row[self.source.key])), said

    def _is_kept(self, said: bytes) -> bool:
        return self.keeps(name_of(self._config), said)

    def _count(self, there: tuple[_Name, int] | None, said: bytes, is_kept: bool) -> None:
        self.found.num_new += is_kept and there is None
        self.found.num_changed += there is not None and there[1] != hash(said)

    def _tell(self, note: str) -> None:
        self.progress(self.found.num_rows, 0, f"asks {self.source.origin}: {note}")


class _Cursors:
    """Reads keys and cursors, and sees that they are some."""

    def __init__(self, source: SourceConfig) -> None:
        self._source = source
        self._kind = ""

    def read(self, row: Row) -> tuple[_Name, Any, _Name]:
        """What a row is known by, its cursor as the driver has it, and as it is compared.

        Raises:
            DataError: there is no such column, it has no value, or one that has no order among the
                others; or a key that no text can stand for.
        """
        source = self._source
        if source.cursor not in row:
            raise DataError(
                f"the query of {source.origin} gives no column {source.cursor!r}",
                remedy=f"name a cursor among its columns, which are {', '.join(row)}",
            )
        value, cursor = row[source.key], row[source.cursor]
        where = f"{source.origin}, row {source.key}={value}"
        kind = _kind(cursor)
        if not kind or kind != (self._kind or kind):
            among = f", where others are {self._kind}" if kind else ", which has no order"
            said = (
                "has no value"
                if cursor is None
                else f"is of the type {type(cursor).__name__}{among}"
            )
            raise DataError(
                f"{where}: the cursor {source.cursor!r} {said}",
                remedy="name a column that is set to a later time, or a higher number, whenever a "
                "row is written, in every row and of one type, or fill it in by COALESCE or CAST "
                "in the query; or leave cursor out, and all rows are read each time",
            )
        self._kind = kind
        try:
            key = _name(plain(source.key, value))
        except TypeError as error:
            raise DataError(
                f"{where}: {error}", remedy="cast the key to text in the query"
            ) from None
        return key, cursor, _name(plain(source.cursor, cursor))


def _kind(cursor: Any) -> str:
    """What a cursor is among; empty where it has no order."""
    match cursor:
        case bool():
            return ""
        case int() | float() | decimal.Decimal():
            return "number" if cursor == cursor else ""  # NaN is not
        case str():
            return "text"
        case datetime.datetime():
            return "time" if cursor.tzinfo else "time without a zone"
        case datetime.date():
            return "date"
    return ""


def _name(value: Any) -> _Name:
    """What a JSON value is known by: 1, 1.0, true and "1" are four."""
    return value if type(value) in (int, str) else (json.dumps(value),)


def _fields(said: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(said)
    except orjson.JSONDecodeError:  # a number that JSON has not, or half of a character
        found = json.loads(said)
    assert isinstance(found, dict)
    return found


def _read_base(source: SourceConfig, base: Path | None) -> _Base | None:
    """The rows of the last load; None where there are none, or none with a cursor."""
    if base is None:
        return None
    seen: dict[_Name, tuple[_Name, int]] = {}
    shapes: set[tuple[tuple[str, ...], tuple[type, ...]]] = set()
    try:
        with zipfile.ZipFile(base) as archive, archive.open(archive.namelist()[0]) as stream:
            for said in stream:
                fields = _fields(said)
                seen[_name(fields[source.key])] = _name(fields[source.cursor]), hash(said)
                shapes.add((tuple(fields), tuple(map(type, fields.values()))))
    except (zipfile.BadZipFile, IndexError, KeyError, ValueError):
        return None
    types: dict[str, set[type]] = {}
    for names, kinds in shapes:
        for name, kind in zip(names, kinds, strict=True):
            types.setdefault(name, set()).update({kind} - {type(None)})
    return _Base(path=base, seen=seen, types=types)
