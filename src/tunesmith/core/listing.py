"""Runs as a list has them: a query for the runs, and one for their metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tunesmith.core import tables
from tunesmith.core.canonical import parse


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """A run, without what its key was made of."""

    id: int
    key: str
    step: str
    kind: str
    status: str
    """running, succeeded, failed or interrupted."""
    actor: str
    started_at: str
    finished_at: str | None
    output: str | None
    """Digest of the record that it made."""
    error: str | None
    usage: Mapping[str, Any] | None
    forecast: Mapping[str, Any] | None
    metrics: Mapping[str, float]
    """The last value of each curve; none where they were not asked for."""


def listed(
    connection: Connection, limit: int | None = None, *, with_metrics: bool = True
) -> list[Listed]:
    """The newest `limit` runs, or all, oldest first."""
    runs = tables.runs.c
    names = [each.name for each in fields(Listed) if each.name != "metrics"]
    newest = sa.select(*(runs[name] for name in names)).order_by(runs.id.desc()).limit(limit)
    rows = connection.execute(newest).all()[::-1]
    if not rows:
        return []
    last = _last_points(connection, rows[0].id) if with_metrics else {}
    return [
        Listed(
            **dict(zip(names, row[:-2], strict=False)),
            usage=_parsed(row.usage),
            forecast=_parsed(row.forecast),
            metrics=last.get(row.id, {}),
        )
        for row in rows
    ]


def _last_points(connection: Connection, first: int) -> dict[int, dict[str, float]]:
    """Of each run from the `first` on, the last value of each curve."""
    points = tables.metrics.c
    last: dict[int, dict[str, float]] = {}
    curves = sa.select(points.run_id, points.name, points.value).where(points.run_id >= first)
    # By the primary key's own order, so that no database sorts; the last point of a curve stays.
    for run_id, name, value in connection.execute(
        curves.order_by(points.run_id, points.name, points.step)
    ):
        last.setdefault(run_id, {})[name] = value
    return last


def _parsed(text: str | None) -> Any:
    return parse(text.encode()) if text else None
