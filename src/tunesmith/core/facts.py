"""All that is stored of runs that have ended, as JSON: what their evidence vouches for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tunesmith.core import tables
from tunesmith.core.canonical import canonical_json, sha256
from tunesmith.core.errors import NotFound


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What is stored of one run."""

    run: int
    step: str
    kind: str
    status: str
    output: str | None
    """Digest of the record that it made."""
    text: str
    """Canonical JSON of all of it."""

    @property
    def digest(self) -> str:
        """What the evidence says of it."""
        return sha256(self.text.encode())


def run_facts(connection: Connection, run_id: int) -> Facts:
    """The facts of one run.

    Raises:
        NotFound: there is no such run.
    """
    for found in facts(connection, run_id):
        return found
    raise NotFound(f"there is no run {run_id}", remedy="`tunesmith runs` lists them")


def facts(connection: Connection, run_id: int | None = None) -> Iterator[Facts]:
    """The facts of every run, or of one, oldest first; a query for each table."""
    given = _by_run(connection, tables.run_inputs, ("name", "position", "digest"), run_id)
    held = _by_run(connection, tables.run_blobs, _BLOB, run_id)
    named = _by_run(connection, tables.versions, ("kind", "name", "number", "digest"), run_id)
    points = _by_run(connection, tables.metrics, ("name", "step", "value"), run_id)
    runs = sa.select(*(tables.runs.c[name] for name in (*_PLAIN, *_WRITTEN)))
    wanted = runs if run_id is None else runs.where(tables.runs.c.id == run_id)
    for row in connection.execute(wanted.order_by(tables.runs.c.id)):
        curves: dict[str, list[tuple[int, float]]] = {}
        for name, step, value in points.get(row.id, ()):
            curves.setdefault(name, []).append((step, value))
        more = {
            "inputs": _rows(given.get(row.id, ())),
            "blobs": _blobs(held.get(row.id, ())),
            "versions": _rows(named.get(row.id, ())),
            "metrics": _curves(curves),
        }
        yield Facts(
            run=row.id,
            step=row.step,
            kind=row.kind,
            status=row.status,
            output=row.output,
            text=_text(row, more),
        )


# Names are spelt out: a column that a later version adds is not in the evidence of older runs.
_PLAIN = (
    *("id", "key", "step", "kind", "status", "owner", "actor", "started_at", "finished_at"),
    *("output", "error"),
)
_WRITTEN = ("identity", "usage", "forecast")  # canonical JSON already
_BLOB = ("sha256", "num_bytes", "media_type")
_ROWS = 10_000  # taken from the database at once: one by one takes twice as long


def _text(row: Row[Any], more: Mapping[str, str]) -> str:
    """The canonical JSON of a run, put together from what is canonical already: of ten thousand
    runs, reading and writing it all anew takes seconds."""
    parts = {name: _json(getattr(row, name)) for name in _PLAIN}
    parts |= {name: getattr(row, name) or "null" for name in _WRITTEN}
    parts |= more
    return "{" + ",".join(f'"{name}":{parts[name]}' for name in sorted(parts)) + "}"


def _curves(curves: Mapping[str, Sequence[tuple[int, float]]]) -> str:
    """Canonical JSON of the points of each curve; its names are in the order of UTF-16."""
    written = []
    for name in sorted(curves, key=lambda name: name.encode("utf-16-be")):
        points = ",".join(f"[{step},{_number(value)}]" for step, value in curves[name])
        written.append(f"{_json(name)}:[{points}]")
    return "{" + ",".join(written) + "}"


def _number(value: float) -> str:
    """Canonical JSON of a number. Python writes most as JavaScript does, but for the end of a whole
    one, the sign of zero, and what has an exponent."""
    text = repr(value)
    if value == 0 or "e" in text or not text[-1].isdigit():
        return canonical_json(value).decode()
    return text.removesuffix(".0")


def _rows(rows: Sequence[tuple[str | int, ...]]) -> str:
    """Canonical JSON of rows that hold texts and whole numbers."""
    return "[" + ",".join("[" + ",".join(map(_json, row)) + "]" for row in rows) + "]"


def _blobs(rows: Sequence[tuple[str | int, ...]]) -> str:
    """Canonical JSON of what `_BLOB` names."""
    written = [
        ",".join(f'"{name}":{_json(value)}' for name, value in sorted(zip(_BLOB, row, strict=True)))
        for row in rows
    ]
    return "[" + ",".join(f"{{{each}}}" for each in written) + "]"


def _json(value: str | int | None) -> str:
    """Canonical JSON of a text or a whole number; to ask an encoder takes twice as long."""
    if value is None:
        return "null"
    return encode_basestring(value) if isinstance(value, str) else str(value)


def _by_run(
    connection: Connection, table: sa.Table, names: Sequence[str], run_id: int | None
) -> Mapping[int, list[tuple[Any, ...]]]:
    """Of each run its rows of `table`, in the order of their bytes: a server's own order of texts
    depends on its language, and the evidence would not."""
    query = sa.select(table.c.run_id, *(table.c[name] for name in names))
    found: dict[int, list[tuple[Any, ...]]] = {}
    wanted = query if run_id is None else query.where(table.c.run_id == run_id)
    for part in connection.execute(wanted).partitions(_ROWS):
        for row in part:
            found.setdefault(row[0], []).append(row[1:])
    for rows in found.values():
        rows.sort()
    return found
