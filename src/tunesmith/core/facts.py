"""All that is stored of runs that have ended, as JSON: what their evidence vouches for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tunesmith.core import tables
from tunesmith.core.canonical import parse
from tunesmith.core.errors import NotFound


def run_facts(connection: Connection, run_id: int) -> dict[str, Any]:
    """The facts of one run.

    Raises:
        NotFound: there is no such run.
    """
    found = dict(facts(connection, run_id))
    if run_id not in found:
        raise NotFound(f"there is no run {run_id}", remedy="`tunesmith runs` lists them")
    return found[run_id]


def facts(
    connection: Connection, run_id: int | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(id, facts) of every run, or of one, oldest first; a query for each table."""
    given = _by_run(connection, tables.run_inputs, ("name", "position", "digest"), run_id)
    held = _by_run(connection, tables.run_blobs, _BLOB, run_id)
    named = _by_run(connection, tables.versions, ("kind", "name", "number", "digest"), run_id)
    points = _by_run(connection, tables.metrics, ("name", "step", "value"), run_id)
    runs = sa.select(*(tables.runs.c[name] for name in _RUN)).order_by(tables.runs.c.id)
    wanted = runs if run_id is None else runs.where(tables.runs.c.id == run_id)
    for row in connection.execute(wanted):
        curves: dict[str, list[tuple[int, float]]] = {}
        for name, step, value in points.get(row.id, ()):
            curves.setdefault(name, []).append((step, value))
        yield (
            row.id,
            {
                **row._asdict(),
                **{name: _json(getattr(row, name)) for name in ("identity", "usage", "forecast")},
                "inputs": [list(each) for each in given.get(row.id, ())],
                "blobs": [dict(zip(_BLOB, each, strict=True)) for each in held.get(row.id, ())],
                "versions": [list(each) for each in named.get(row.id, ())],
                "metrics": curves,
            },
        )


# Names are spelt out: a column that a later version adds is not in the evidence of older runs.
_RUN = (
    *("id", "key", "step", "kind", "identity", "status", "owner", "actor", "started_at"),
    *("finished_at", "output", "error", "usage", "forecast"),
)
_BLOB = ("sha256", "num_bytes", "media_type")


def _by_run(
    connection: Connection, table: sa.Table, names: Sequence[str], run_id: int | None
) -> Mapping[int, list[tuple[Any, ...]]]:
    """Of each run its rows of `table`, in the order of their bytes: a server's own order of texts
    depends on its language, and the evidence would not."""
    query = sa.select(table.c.run_id, *(table.c[name] for name in names))
    found: dict[int, list[tuple[Any, ...]]] = {}
    for of_run, *values in connection.execute(
        query if run_id is None else query.where(table.c.run_id == run_id)
    ):
        found.setdefault(of_run, []).append(tuple(values))
    for rows in found.values():
        rows.sort()
    return found


def _json(text: str | None) -> Any:
    return parse(text.encode()) if text else None
