"""Models that were logged; registered models, their versions and aliases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tunesmith.core import tables
from tunesmith.core.db import clock
from tunesmith.core.errors import Conflict, NotFound
from tunesmith.core.tracked.runs import Point, fields, latest
from tunesmith.core.tracked.write import now_ms

OF_PROJECT = (
    "the model of this name is the project's own, and its versions are evidence: "
    "`tunesmith model retire NAME@NUMBER` takes one out of use"
)
LAST = "last"
"""What the number of a model's last version is kept as once one was deleted: no number is given
twice, as in MLflow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedModel:
    """A model that a run logged, or that came by itself."""

    id: str
    experiment: int
    name: str
    run: str
    """The run that made it; empty for none."""
    type: str
    status: str
    stage: str
    created_ms: int
    changed_ms: int
    params: Mapping[str, str]
    tags: Mapping[str, str]
    latest: Sequence[Point]


@dataclass(frozen=True, kw_only=True, slots=True)
class RegisteredVersion:
    """One version of a registered model."""

    name: str
    number: int
    owner: str
    """The run or logged model whose artefacts it is made of; empty for none ..."""
    path: str
    """... and under which path."""
    digest: str
    """Of that folder, when it was registered."""
    run: str
    description: str
    created_ms: int
    changed_ms: int
    tags: Mapping[str, str]
    aliases: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RegisteredModel:
    """A name that versions are put under."""

    name: str
    description: str
    created_ms: int
    changed_ms: int
    tags: Mapping[str, str]
    aliases: Mapping[str, int]
    """Where each points."""


# Logged models.


def create_logged(connection: Connection, values: Mapping[str, Any]) -> None:
    """Add a logged model: its id, experiment, name, run, type and status."""
    now = now_ms(connection)
    connection.execute(
        tables.tracked_logged.insert().values(
            **values, stage="active", created_ms=now, changed_ms=now
        )
    )


def change_logged(connection: Connection, id: str, **values: Any) -> None:
    """Write a new status or stage.

    Raises:
        NotFound: there is no such model.
    """
    done = connection.execute(
        tables.tracked_logged.update()
        .where(tables.tracked_logged.c.id == id)
        .values(**values, changed_ms=now_ms(connection))
    )
    if done.rowcount == 0:
        raise NotFound(f"there is no logged model {id}")


def logged(
    connection: Connection, *, id: str | None = None, experiments: Sequence[int] | None = None
) -> list[LoggedModel]:
    """The logged model of an id, or the active ones of experiments, the newest first."""
    of = tables.tracked_logged.c
    wanted = [of.id == id] if id is not None else [of.stage == "active"]
    wanted += [of.experiment.in_(experiments)] if experiments is not None else []
    rows = connection.execute(
        sa.select(tables.tracked_logged).where(*wanted).order_by(of.created_ms.desc(), of.id)
    ).all()
    ids = [row.id for row in rows]
    texts, points = fields(connection, ids), latest(connection, ids)
    return [
        LoggedModel(
            **row._mapping,
            params=texts.get((row.id, "param"), {}),
            tags=texts.get((row.id, "tag"), {}),
            latest=points.get(row.id, ()),
        )
        for row in rows
    ]


def logged_model(connection: Connection, id: str) -> LoggedModel:
    """One logged model that is not deleted.

    Raises:
        NotFound: there is none.
    """
    found = [each for each in logged(connection, id=id) if each.stage == "active"]
    if not found:
        raise NotFound(f"there is no logged model {id}")
    return found[0]


def link(connection: Connection, run: str, what: str, models: Mapping[str, int]) -> None:
    """Say which logged models a run was given ("input"), or made ("output") at which step."""
    for model, step in models.items():
        logged_model(connection, model)
        of = tables.tracked_links.c
        same = (of.run == run, of.model == model, of.what == what)
        if connection.execute(sa.select(1).where(*same)).first() is None:
            connection.execute(
                tables.tracked_links.insert().values(run=run, model=model, what=what, step=step)
            )


def links(connection: Connection, runs: Sequence[str]) -> dict[tuple[str, str], dict[str, int]]:
    """(run, "input" or "output") -> logged model -> step."""
    of = tables.tracked_links.c
    found: dict[tuple[str, str], dict[str, int]] = {}
    for start in range(0, len(runs), 500):
        for run, what, model, step in connection.execute(
            sa.select(of.run, of.what, of.model, of.step).where(
                of.run.in_(runs[start : start + 500])
            )
        ):
            found.setdefault((run, what), {})[model] = step
    return found


# Registered models.


def register(connection: Connection, name: str, description: str) -> None:
    """Add a registered model.

    Raises:
        Conflict: there is one of this name.
    """
    if registered(connection, name=name):
        raise Conflict(f"there is a registered model {name!r} already")
    now = now_ms(connection)
    connection.execute(
        tables.tracked_models.insert().values(
            name=name, description=description, created_ms=now, changed_ms=now
        )
    )


def registered(connection: Connection, *, name: str | None = None) -> list[RegisteredModel]:
    """The model of a name, or all, by name."""
    of = tables.tracked_models.c
    wanted = [of.name == name] if name is not None else []
    rows = connection.execute(
        sa.select(tables.tracked_models).where(*wanted).order_by(of.name)
    ).all()
    tags = fields(connection, [f"model/{row.name}" for row in rows])
    return [
        RegisteredModel(
            **row._mapping,
            tags=tags.get((f"model/{row.name}", "tag"), {}),
            aliases=aliases(connection, row.name),
        )
        for row in rows
    ]


def registered_model(connection: Connection, name: str) -> RegisteredModel:
    """One registered model.

    Raises:
        NotFound: there is none.
    """
    found = registered(connection, name=name)
    if not found:
        raise NotFound(
            f"there is no registered model {name!r}",
            remedy=OF_PROJECT if is_of_project(connection, name) else "",
        )
    return found[0]


def is_of_project(connection: Connection, name: str) -> bool:
    """Whether a name is of a model of this project, which other programs neither see nor change."""
    of = tables.versions.c
    made = sa.select(1).where(of.kind == "model", of.name == name)
    return connection.execute(made).first() is not None


def describe(connection: Connection, name: str, description: str, number: int = 0) -> None:
    """Write the description of a registered model, or of one of its versions.

    Raises:
        NotFound: it is not there.
    """
    changed = {"description": description, "changed_ms": now_ms(connection)}
    if number:
        version(connection, name, number)
        of = tables.tracked_versions.c
        same = (of.name == name, of.number == number)
        connection.execute(tables.tracked_versions.update().where(*same).values(**changed))
    else:
        registered_model(connection, name)
        model = tables.tracked_models
        connection.execute(model.update().where(model.c.name == name).values(**changed))


def create_version(connection: Connection, name: str, values: Mapping[str, Any]) -> int:
    """Add a version with the next number, unless one is given; the number.

    Raises:
        NotFound: there is no such registered model.
    """
    registered_model(connection, name)
    of = tables.tracked_versions.c
    there = connection.execute(sa.select(sa.func.max(of.number)).where(of.name == name)).scalar()
    last = max(there or 0, last_number(connection, name))
    now = now_ms(connection)
    number = int(values.get("number", last + 1))  # the write lock is held
    connection.execute(
        tables.tracked_versions.insert().values(
            {**values, "name": name, "number": number, "created_ms": now, "changed_ms": now}
        )
    )
    model = tables.tracked_models
    connection.execute(model.update().where(model.c.name == name).values(changed_ms=now))
    return number


def versions(connection: Connection, name: str | None = None) -> list[RegisteredVersion]:
    """The versions of a registered model, or of all; the newest first."""
    of = tables.tracked_versions.c
    wanted = [of.name == name] if name is not None else []
    rows = connection.execute(
        sa.select(tables.tracked_versions).where(*wanted).order_by(of.name, of.number.desc())
    ).all()
    tags = fields(connection, [version_owner(row.name, row.number) for row in rows])
    standing = {each: aliases(connection, each) for each in {row.name for row in rows}}
    return [
        RegisteredVersion(
            **row._mapping,
            tags=tags.get((version_owner(row.name, row.number), "tag"), {}),
            aliases=tuple(a for a, number in standing[row.name].items() if number == row.number),
        )
        for row in rows
    ]


def version(connection: Connection, name: str, number: int) -> RegisteredVersion:
    """One version.

    Raises:
        NotFound: there is none.
    """
    for each in versions(connection, name):
        if each.number == number:
            return each
    raise NotFound(f"registered model {name!r} has no version {number}")


def last_number(connection: Connection, name: str) -> int:
    """The highest number that a version of the model has had, where one was deleted; else 0."""
    kept = fields(connection, [f"model/{name}"]).get((f"model/{name}", LAST), {})
    return int(kept.get("version", 0))


def version_owner(name: str, number: int) -> str:
    """What a version's tags are kept under."""
    return f"version/{number}/{name}"


def set_alias(connection: Connection, name: str, alias: str, number: int) -> None:
    """Point an alias at a version, or with 0 nowhere; where it pointed is kept.

    Raises:
        NotFound: there is no such version.
    """
    if number:
        version(connection, name, number)
    connection.execute(
        tables.tracked_aliases.insert().values(
            name=name, alias=alias, number=number, at=clock(connection)
        )
    )


def aliases(connection: Connection, name: str) -> dict[str, int]:
    """Where the aliases of a registered model point."""
    of = tables.tracked_aliases.c
    rows = connection.execute(sa.select(of.alias, of.number).where(of.name == name).order_by(of.id))
    now = {row.alias: row.number for row in rows}
    return {alias: number for alias, number in sorted(now.items()) if number}
