"""Experiments, and runs with what was logged of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tunesmith.core import tables
from tunesmith.core.canonical import canonical_json, parse
from tunesmith.core.db import clock
from tunesmith.core.errors import Conflict, NotFound
from tunesmith.core.tracked.write import add, insert, now_ms, put

Stage = Literal["active", "deleted"]
What = Literal["param", "tag"]
AT_ONCE = 500
"""Owners whose fields are fetched by one statement."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Experiment:
    """A name that runs are put under."""

    id: int
    name: str
    stage: Stage
    created_ms: int
    changed_ms: int
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a metric."""

    key: str
    value: float
    step: int
    at_ms: int
    """What the client's clock said."""

    @property
    def said(self) -> float | str:
        """The value for JSON: what that has no number for is a text, as in protobuf's JSON."""
        if math.isfinite(self.value):
            return self.value
        return "NaN" if math.isnan(self.value) else "Infinity" if self.value > 0 else "-Infinity"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackedRun:
    """A run of another program."""

    id: str
    experiment: int
    name: str
    status: str
    """RUNNING, SCHEDULED, FINISHED, FAILED or KILLED."""
    stage: Stage
    user: str
    started_ms: int
    ended_ms: int | None
    at: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    latest: Sequence[Point]
    """Of each metric the last point."""


# Experiments.


def create_experiment(connection: Connection, name: str) -> int:
    """The id of a new experiment.

    Raises:
        Conflict: there is one of this name.
    """
    columns = tables.tracked_experiments
    found = connection.execute(sa.select(columns.c.stage).where(columns.c.name == name)).scalar()
    if found is not None:
        raise Conflict(
            f"there is an experiment {name!r} already"
            + (", which is deleted" if found == "deleted" else ""),
            remedy="restore it, or use another name" if found == "deleted" else "use that one",
        )
    now = now_ms(connection)
    made = connection.execute(
        columns.insert().values(name=name, stage="active", created_ms=now, changed_ms=now)
    )
    assert made.inserted_primary_key is not None
    return int(made.inserted_primary_key[0])


def ensure_default(connection: Connection) -> None:
    """See that experiment 0 is there, which clients use who name none."""
    now = now_ms(connection)
    row = {"id": 0, "name": "Default", "stage": "active", "created_ms": now, "changed_ms": now}
    add(connection, tables.tracked_experiments, [row])


def experiments(
    connection: Connection,
    *,
    id: int | None = None,
    name: str | None = None,
    stages: Sequence[Stage] = ("active", "deleted"),
) -> list[Experiment]:
    """Those of an id, a name and a stage, or all; the newest first."""
    columns = tables.tracked_experiments.c
    wanted: list[sa.ColumnElement[bool]] = [columns.stage.in_(stages)]
    wanted += [columns.id == id] if id is not None else []
    wanted += [columns.name == name] if name is not None else []
    rows = connection.execute(
        sa.select(tables.tracked_experiments).where(*wanted).order_by(columns.id.desc())
    ).all()
    tags = fields(connection, [f"experiment/{row.id}" for row in rows])
    return [
        Experiment(**row._asdict(), tags=tags.get((f"experiment/{row.id}", "tag"), {}))
        for row in rows
    ]


def experiment(connection: Connection, id: int) -> Experiment:
    """The experiment of an id.

    Raises:
        NotFound: there is none.
    """
    found = experiments(connection, id=id)
    if not found:
        raise NotFound(f"there is no experiment {id}")
    return found[0]


def change_experiment(connection: Connection, id: int, **values: Any) -> None:
    """Write a new name, or a stage, which its runs have from then on, too.

    Raises:
        NotFound: there is no such experiment.
        Conflict: the name is another's.
    """
    columns = tables.tracked_experiments.c
    if "name" in values and any(
        other.id != id for other in experiments(connection, name=values["name"])
    ):
        raise Conflict(f"there is an experiment {values['name']!r} already")
    done = connection.execute(
        tables.tracked_experiments.update()
        .where(columns.id == id)
        .values(**values, changed_ms=now_ms(connection))
    )
    if done.rowcount == 0:
        raise NotFound(f"there is no experiment {id}")
    if "stage" in values:
        of = tables.tracked_runs
        connection.execute(of.update().where(of.c.experiment == id).values(stage=values["stage"]))


# Runs.


def start_run(connection: Connection, values: Mapping[str, Any]) -> None:
    """Add a run: all of `tracked_runs` but `at` and `stage`.

    Raises:
        NotFound: there is no such experiment, or it is deleted.
    """
    columns = tables.tracked_experiments.c
    stage = connection.execute(
        sa.select(columns.stage).where(columns.id == values["experiment"])
    ).scalar()
    if stage != "active":
        what = "is deleted" if stage else "is not there"
        raise NotFound(f"experiment {values['experiment']} {what}")
    connection.execute(
        tables.tracked_runs.insert().values(stage="active", at=clock(connection), **values)
    )


def change_run(connection: Connection, id: str, **values: Any) -> None:
    """Write a new status, end, name or stage.

    Raises:
        NotFound: there is no such run.
    """
    done = connection.execute(
        tables.tracked_runs.update().where(tables.tracked_runs.c.id == id).values(**values)
    )
    if done.rowcount == 0:
        raise NotFound(f"there is no run {id}")


def require_run(connection: Connection, id: str) -> None:
    """Raise unless the run is there and not deleted.

    Raises:
        NotFound: it is not there.
        Conflict: it is deleted.
    """
    columns = tables.tracked_runs.c
    stage = connection.execute(sa.select(columns.stage).where(columns.id == id)).scalar()
    if stage is None:
        raise NotFound(f"there is no run {id}")
    if stage == "deleted":
        raise Conflict(f"run {id} is deleted", remedy="restore it to write to it")


def run(connection: Connection, id: str) -> TrackedRun:
    """One run.

    Raises:
        NotFound: there is no such run.
    """
    rows = connection.execute(
        sa.select(tables.tracked_runs).where(tables.tracked_runs.c.id == id)
    ).all()
    if not rows:
        raise NotFound(f"there is no run {id}")
    return with_fields(connection, rows)[0]


def with_fields(connection: Connection, rows: Sequence[Row[Any]]) -> list[TrackedRun]:
    """Rows of `tracked_runs` with their parameters, tags and last points, in the same order."""
    ids = [row.id for row in rows]
    texts = fields(connection, ids)
    points = latest(connection, ids)
    return [
        TrackedRun(
            **row._mapping,
            params=texts.get((row.id, "param"), {}),
            tags=texts.get((row.id, "tag"), {}),
            latest=points.get(row.id, ()),
        )
        for row in rows
    ]


# What is logged: of runs, and of everything else that has tags.


def fields(connection: Connection, owners: Sequence[str]) -> dict[tuple[str, str], dict[str, str]]:
    """(owner, "param" or "tag") -> key -> value."""
    of = tables.tracked_fields.c
    found: dict[tuple[str, str], dict[str, str]] = {}
    for some in _parts(owners):
        for owner, what, key, value in connection.execute(
            sa.select(of.owner, of.what, of.key, of.value).where(of.owner.in_(some))
        ):
            found.setdefault((owner, what), {})[key] = value
    return found


def latest(connection: Connection, owners: Sequence[str]) -> dict[str, list[Point]]:
    """Of each owner the last point of each metric."""
    of = tables.tracked_latest.c
    found: dict[str, list[Point]] = {}
    for some in _parts(owners):
        for owner, key, step, at_ms, value, is_nan in connection.execute(
            sa.select(of.owner, of.key, of.step, of.at_ms, of.value, of.is_nan).where(
                of.owner.in_(some)
            )
        ):
            point = Point(key, math.nan if is_nan else value, step, at_ms)
            found.setdefault(owner, []).append(point)
    return found


def set_tags(connection: Connection, owner: str, tags: Mapping[str, str]) -> None:
    """Write tags; a key that is there gets the new value."""
    put(connection, tables.tracked_fields, _field_rows(owner, "tag", tags))


def delete_tag(connection: Connection, owner: str, key: str) -> bool:
    """Take a tag away; False where there is none."""
    of = tables.tracked_fields.c
    done = connection.execute(
        tables.tracked_fields.delete().where(of.owner == owner, of.what == "tag", of.key == key)
    )
    return done.rowcount == 1


def set_params(connection: Connection, owner: str, params: Mapping[str, str]) -> None:
    """Write parameters, each once and for all.

    Raises:
        Conflict: one has another value already.
    """
    add(connection, tables.tracked_fields, _field_rows(owner, "param", params))
    of = tables.tracked_fields.c
    rows = connection.execute(
        sa.select(of.key, of.value).where(
            of.owner == owner, of.what == "param", of.key.in_(list(params))
        )
    )
    for key, value in rows:
        if value != params[key]:
            raise Conflict(
                f"parameter {key!r} is {value!r} already, and cannot become {params[key]!r}",
                remedy="a parameter is said once; log a changing value as a metric",
            )


def add_points(connection: Connection, owner: str, points: Sequence[Point]) -> None:
    """Write points of metrics; one that is there already is no error."""
    if not points:
        return
    rows: list[dict[str, Any]] = [
        {
            "owner": owner,
            "key": point.key,
            "step": point.step,
            "at_ms": point.at_ms,
            "value": 0.0 if math.isnan(point.value) else point.value,
            "is_nan": int(math.isnan(point.value)),
        }
        for point in points
    ]
    add(connection, tables.tracked_points, rows)
    last: dict[str, dict[str, Any]] = {}
    for point, row in zip(points, rows, strict=True):
        if point.key not in last or _order(row) >= _order(last[point.key]):
            last[point.key] = row
    table = tables.tracked_latest
    adding = insert(connection, table)
    new = adding.excluded
    order = ("step", "at_ms", "value")
    connection.execute(
        adding.on_conflict_do_update(
            index_elements=["owner", "key"],
            set_={name: new[name] for name in (*order, "is_nan")},
            where=sa.tuple_(*(new[name] for name in order))
            >= sa.tuple_(*(table.c[name] for name in order)),
        ),
        list(last.values()),
    )


def history(connection: Connection, owner: str, key: str, limit: int, offset: int) -> list[Point]:
    """A metric's points by time and step, as they were logged."""
    of = tables.tracked_points.c
    rows = connection.execute(
        sa.select(of.step, of.at_ms, of.value, of.is_nan)
        .where(of.owner == owner, of.key == key)
        .order_by(of.at_ms, of.step, of.value, of.is_nan)
        .limit(limit)
        .offset(offset)
    )
    return [
        Point(key, math.nan if is_nan else value, step, at_ms)
        for step, at_ms, value, is_nan in rows
    ]


def add_inputs(connection: Connection, run_id: str, inputs: Iterable[Mapping[str, Any]]) -> None:
    """Write datasets that a run was given; each `{"tags": [...], "dataset": {...}}`."""
    add(
        connection,
        tables.tracked_inputs,
        [
            {
                "run": run_id,
                "name": each["dataset"]["name"],
                "digest": each["dataset"]["digest"],
                "body": canonical_json(each).decode(),
            }
            for each in inputs
        ],
    )


def inputs(connection: Connection, run_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """The datasets of runs, in the order in which they were logged."""
    of = tables.tracked_inputs.c
    found: dict[str, list[dict[str, Any]]] = {}
    for some in _parts(run_ids):
        for run_id, body in connection.execute(
            sa.select(of.run, of.body).where(of.run.in_(some)).order_by(of.id)
        ):
            found.setdefault(run_id, []).append(parse(body.encode()))
    return found


def _order(row: Mapping[str, Any]) -> tuple[int, int, float]:
    return row["step"], row["at_ms"], row["value"]


def _field_rows(owner: str, what: What, values: Mapping[str, str]) -> list[dict[str, str]]:
    return [
        {"owner": owner, "what": what, "key": key, "value": value} for key, value in values.items()
    ]


def _parts(owners: Sequence[str]) -> Iterable[Sequence[str]]:
    return (owners[start : start + AT_ONCE] for start in range(0, len(owners), AT_ONCE))
