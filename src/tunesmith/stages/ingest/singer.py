"""What a Singer tap says, message by message: which rows there are now.

A line is a message: SCHEMA says what the records of a stream are and which fields are their key,
RECORD is one, ACTIVATE_VERSION says that those of other versions are no longer there, STATE is what
the tap wants to be given next time (https://github.com/singer-io/getting-started, SPEC.md).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from tunesmith.core.errors import DataError
from tunesmith.stages.ingest import json_text
from tunesmith.stages.ingest.entry import (
    MAX_ROW_BYTES,
    Entry,
    Quarantined,
    Unreadable,
    bounded_lines,
    quarantined,
    too_large,
)
from tunesmith.stages.ingest.json_text import object_of
from tunesmith.stages.ingest.snapshot import line_of

DELETED = "_sdc_deleted_at"
"""The field that says of a record when it was deleted."""
MAX_BYTES = 1 << 30
"""Of all rows; they are held in memory, to be put in the order of their keys."""
_TYPES: Mapping[type, tuple[str, ...]] = {
    type(None): ("null",), bool: ("boolean",), int: ("integer", "number"), float: ("number",),
    str: ("string",), list: ("array",), dict: ("object",),
}  # fmt: skip


class Rekeyed(Exception):
    """The key is another than that of the rows that were taken in last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A record as it lies in the store."""

    order: tuple[tuple[bool, int, str], ...]
    line: bytes
    version: int | None


@dataclass(kw_only=True)
class Rows:
    """The rows of a stream, as far as the tap has told."""

    stream: str
    shown: str
    """The source, for people."""
    key: tuple[str, ...] = ()
    """The fields that tell records apart; empty: as the SCHEMA says."""
    known_by: tuple[str, ...] = ()
    """The key of the rows that are there from before, if there are any."""
    found: dict[tuple[str, ...], Row] = field(default_factory=dict)
    state: Any = None
    """What the tap said last; None: nothing."""
    others: set[str] = field(default_factory=set)
    """Streams that it told of and nobody asked for."""
    schema: Mapping[str, Any] | None = None
    num_records: int = 0
    _num_bytes: int = 0

    def read(self, lines: Iterable[bytes]) -> None:
        """Take in what the tap says.

        Raises:
            DataError: a line is no message, a record comes before its schema, or has no key.
            Rekeyed: the rows from before have another key.
        """
        for number, line in enumerate(lines, start=1):
            if line.strip():
                self._take(number, line)
        if self.schema is None:
            near = ", ".join(sorted(self.others)) or "none"
            raise DataError(
                f"{self.shown} has no stream {self.stream!r}",
                remedy=f"it tells of: {near}; some taps tell of those alone that a --catalog "
                "selects",
            )

    def lines(self) -> list[bytes]:
        """The rows as lines, in the order of their keys."""
        return [each.line for each in sorted(self.found.values(), key=lambda row: row.order)]

    def _take(self, number: int, line: bytes) -> None:
        try:
            message = json.loads(line.decode(), object_pairs_hook=object_of)
        except (ValueError, RecursionError) as error:
            raise self._bad(number, f"is no JSON: {error}", line) from None
        kind = message.get("type") if isinstance(message, dict) else None
        if kind == "STATE":
            self.state = message.get("value")
            return
        stream = message.get("stream") if isinstance(message, dict) else None
        if kind in ("SCHEMA", "RECORD", "ACTIVATE_VERSION") and isinstance(stream, str):
            if stream != self.stream:
                self.others.add(stream[:100])
            elif kind == "SCHEMA":
                self._take_schema(number, message, line)
            elif kind == "RECORD":
                self._take_record(number, message, line)
            else:
                self._activate(message.get("version"))
        elif not isinstance(kind, str) or kind in ("SCHEMA", "RECORD", "ACTIVATE_VERSION"):
            raise self._bad(number, "is no message of a Singer tap", line)

    def _take_schema(self, number: int, message: Mapping[str, Any], line: bytes) -> None:
        schema, said = message.get("schema"), message.get("key_properties") or []
        if not isinstance(schema, dict) or not all(isinstance(name, str) for name in said):
            raise self._bad(number, "is a SCHEMA without a schema", line)
        key = self.key or tuple(said)
        if not key:
            raise DataError(
                f"the SCHEMA of {self.stream!r} of {self.shown} names no key",
                remedy='name the field that tells its records apart: key = "id"; it has: '
                + ", ".join(schema.get("properties", ()))[:200],
            )
        if self.known_by and self.known_by != key:
            raise Rekeyed
        self.schema, self.known_by = schema, key

    def _take_record(self, number: int, message: Mapping[str, Any], line: bytes) -> None:
        record, version = message.get("record"), message.get("version")
        if self.schema is None:
            raise self._bad(number, f"is a RECORD of {self.stream!r} before its SCHEMA", line)
        if not isinstance(record, dict):
            raise self._bad(number, "is a RECORD without a record", line)
        self.num_records += 1
        reason = "; ".join(problems(self.schema, record, ""))
        try:
            json_text.identify(record)
        except Unreadable as error:
            reason = reason or f"{error.rule}: {error}"
        known_version = version if isinstance(version, int) else None
        key, made = row_of(self.known_by, record, reason, known_version)
        if record.get(DELETED) is not None:
            self.found.pop(key, None)
            return
        before = self.found.get(key)
        self._num_bytes += len(made.line) - (len(before.line) if before else 0)
        self.found[key] = made
        if self._num_bytes > MAX_BYTES:
            raise DataError(
                f"the rows of {self.shown} have more than {MAX_BYTES >> 20} MiB",
                remedy="make several sources of it, or have it tell of less",
            )

    def _activate(self, version: Any) -> None:
        self.found = {key: row for key, row in self.found.items() if row.version == version}

    def _bad(self, number: int, what: str, line: bytes) -> DataError:
        return DataError(
            f"line {number} of {self.shown} {what}: {line[:80]!r}",
            remedy="a tap prints messages and nothing else: what it logs belongs on its standard "
            "error",
        )


def row_of(
    names: Sequence[str], record: Mapping[str, Any], reason: str, version: int | None
) -> tuple[tuple[str, ...], Row]:
    """The key of a record, and the record as it lies in the store.

    What cannot be told apart by its key is told apart by what it says, and is a bad record.
    """
    values = [record.get(name) for name in names]
    plain = [v for v in values if isinstance(v, int | str) and not isinstance(v, bool) and v != ""]
    if len(plain) < len(names):
        reason = reason or f"the key {', '.join(names)} has no number or text"
        said = hashlib.sha256(line_of(record)).hexdigest()[:16]
        key: tuple[str, ...] = ("", said)
        pointer, order = f"?{said}", ((True, 0, ""), (True, 0, said))
    else:
        key = tuple(map(str, plain))
        pointer = ",".join(f"{n}={v}" for n, v in zip(names, plain, strict=True))
        order = tuple((isinstance(v, str), 0 if isinstance(v, str) else v, str(v)) for v in plain)  # type: ignore[assignment]
    stored: dict[str, Any] = {"key": pointer, "record": dict(record)}
    if reason:
        stored["reason"] = reason
    return key, Row(order=order, line=line_of(stored), version=version)


def problems(schema: Any, value: Any, where: str) -> Iterator[str]:
    """How a value breaks the types of a JSON schema; the rest of what a schema may say is not read,
    a contract says it."""
    if not isinstance(schema, dict):
        return
    choices = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(choices, list):
        if all(any(problems(each, value, where)) for each in choices):
            yield f"the field {where!r} is of none of the types that the schema allows"
        return
    wanted = schema.get("type")
    wanted = [wanted] if isinstance(wanted, str) else wanted
    is_whole = isinstance(value, float) and value.is_integer()
    found = ("integer", "number") if is_whole else _TYPES.get(type(value), ())
    if isinstance(wanted, list) and not set(found) & set(wanted):
        yield f"the field {where!r} is {found[0] if found else '?'}, not {' or '.join(wanted)}"
    elif isinstance(value, dict):
        properties = schema.get("properties", {})
        lacking = [name for name in schema.get("required", ()) if name not in value]
        yield from (f"the field {_at(where, name)!r} is missing" for name in lacking)
        for name in properties.keys() & value.keys():
            yield from problems(properties[name], value[name], _at(where, name))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from problems(schema.get("items"), each, f"{where}[{number}]")


def _at(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def stored_rows(member: str, stream: IO[bytes]) -> Iterator[tuple[Entry | Quarantined, str]]:
    """The records that lie in the store, each with what is wrong with it, empty for nothing; and
    lines that are none."""
    for number, line in enumerate(bounded_lines(stream), start=1):
        pointer = f"{member}#{number}"
        if len(line) > MAX_ROW_BYTES:
            yield too_large(pointer, repr(line[:60])), ""
            continue
        try:
            stored = json.loads(line)
            key, record, reason = str(stored["key"]), stored["record"], stored.get("reason", "")
            data = line_of(record).strip()
        except UnicodeDecodeError as error:
            yield quarantined(pointer, "not-text", f"not UTF-8: {error}", repr(line[:100])), ""
            continue
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
            if line.strip():
                yield quarantined(pointer, "bad-json", f"no row: {error}", repr(line[:100])), ""
            continue
        yield Entry(pointer=f"{member}#{key}", fields=record, text=None, data=data), reason


def read_stream(member: str, stream: IO[bytes]) -> Iterator[Entry | Quarantined]:
    """The rows; each is pointed at by its key, as in `users#id=17`."""
    for found, reason in stored_rows(member, stream):
        if reason and isinstance(found, Entry):
            said = json.dumps(found.fields, ensure_ascii=False)
            yield quarantined(found.pointer, "schema", reason, said)
        else:
            yield found
