"""Runs, versions, aliases and traces: all of the store's SQL but the evidence log's.

Functions take the caller's transaction, so that what belongs together becomes visible together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tunesmith.core import tables
from tunesmith.core.canonical import canonical_json, parse
from tunesmith.core.db import clock, in_parts
from tunesmith.core.errors import NotFound
from tunesmith.core.lease import is_lapsed
from tunesmith.core.ref import Blob, to_plain


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One execution of a step."""

    id: int
    key: str
    step: str
    kind: str
    identity: Mapping[str, Any]
    status: str
    """running, succeeded, failed or interrupted."""
    owner: str
    actor: str
    started_at: str
    finished_at: str | None
    output: Blob | None
    """The record that it made."""
    error: str | None
    usage: Mapping[str, Any] | None
    forecast: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """A named record: number 1 is the first of its name."""

    kind: str
    name: str
    number: int
    digest: str
    run_id: int
    created_at: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Alias:
    """Where an alias pointed from `at` on."""

    kind: str
    name: str
    alias: str
    digest: str
    run_id: int
    at: str
    actor: str
    reason: str


def insert_run(connection: Connection, values: Mapping[str, Any], *, lease_s: float) -> int:
    """Open a run; its id is its fencing token.

    Raises:
        sqlalchemy.exc.IntegrityError: an attempt at the same key is running.
    """
    result = connection.execute(
        tables.runs.insert().values(
            **values,
            status="running",
            started_at=clock(connection),
            lease_until=clock(connection, plus_s=lease_s),
        )
    )
    assert result.inserted_primary_key is not None
    return int(result.inserted_primary_key[0])


def record_inputs(connection: Connection, run_id: int, inputs: Mapping[str, list[str]]) -> None:
    """Store the digests that a run was given, by argument name."""
    rows = [
        {"run_id": run_id, "name": name, "position": position, "digest": digest}
        for name, digests in inputs.items()
        for position, digest in enumerate(digests)
    ]
    if rows:
        connection.execute(tables.run_inputs.insert(), rows)


def extend_lease(connection: Connection, run_id: int, *, lease_s: float) -> bool:
    """Keep a running run; False when it is no longer ours to keep."""
    result = connection.execute(
        tables.runs.update()
        .where(tables.runs.c.id == run_id, tables.runs.c.status == "running")
        .values(lease_until=clock(connection, plus_s=lease_s))
    )
    return result.rowcount == 1


def close_run(connection: Connection, run_id: int, **values: Any) -> bool:
    """End a running run with `values`; False when somebody else ended it first."""
    result = connection.execute(
        tables.runs.update()
        .where(tables.runs.c.id == run_id, tables.runs.c.status == "running")
        .values(finished_at=clock(connection), **values)
    )
    return result.rowcount == 1


def record_blobs(connection: Connection, run_id: int, blobs: Iterable[Blob]) -> None:
    """Store which blobs a run's output needs."""
    unique = {blob.sha256: blob for blob in blobs}
    rows = [to_plain(blob) | {"run_id": run_id} for blob in unique.values()]
    if rows:
        connection.execute(tables.run_blobs.insert(), rows)


def record_metrics(
    connection: Connection, run_id: int, points: Mapping[tuple[str, int], float]
) -> None:
    """Store a run's curves: (name, step) -> value."""
    rows = [
        {"run_id": run_id, "name": name, "step": step, "value": value}
        for (name, step), value in points.items()
    ]
    if rows:
        connection.execute(tables.metrics.insert(), rows)


def record_version(connection: Connection, kind: str, name: str, digest: str, run_id: int) -> int:
    """The number of this record among those of its name; a new one unless it was there before."""
    versions = tables.versions
    same = sa.and_(versions.c.kind == kind, versions.c.name == name)
    found = connection.execute(
        sa.select(versions.c.number).where(same, versions.c.digest == digest)
    ).scalar()
    if found is not None:
        return int(found)
    # The write lock is held, so counting cannot race.
    last = connection.execute(sa.select(sa.func.max(versions.c.number)).where(same)).scalar()
    number = (last or 0) + 1
    connection.execute(
        versions.insert().values(
            kind=kind,
            name=name,
            number=number,
            digest=digest,
            run_id=run_id,
            created_at=clock(connection),
        )
    )
    return number


def record_alias(connection: Connection, values: Mapping[str, Any]) -> None:
    """Add a row to an alias's history."""
    connection.execute(tables.aliases.insert().values(**values, at=clock(connection)))


def running(connection: Connection, key: str) -> tuple[Run, bool] | None:
    """The running attempt at `key`, and whether its lease lapsed."""
    row = connection.execute(
        sa.select(tables.runs).where(tables.runs.c.key == key, tables.runs.c.status == "running")
    ).first()
    if row is None:
        return None
    return _run(connection, row), is_lapsed(row.owner, row.lease_until, clock(connection))


def all_running(connection: Connection) -> list[tuple[Run, bool]]:
    """Every running attempt, and whether its lease lapsed."""
    now = clock(connection)
    rows = connection.execute(sa.select(tables.runs).where(tables.runs.c.status == "running"))
    return [
        (_run(connection, row), is_lapsed(row.owner, row.lease_until, now)) for row in rows.all()
    ]


def last_success(connection: Connection, *, key: str = "", step: str = "") -> Run | None:
    """The newest successful run of a key, or of a step whatever its key was."""
    runs = tables.runs
    wanted = runs.c.key == key if key else runs.c.step == step
    row = connection.execute(
        sa.select(runs)
        .where(wanted, runs.c.status == "succeeded")
        .order_by(runs.c.id.desc())
        .limit(1)
    ).first()
    return _run(connection, row) if row else None


def all_runs(connection: Connection, *, step: str = "") -> list[Run]:
    """Every run, or every one of a step, oldest first."""
    wanted = sa.select(tables.runs).order_by(tables.runs.c.id)
    rows = connection.execute(wanted.where(tables.runs.c.step == step) if step else wanted).all()
    outputs = _outputs(connection)
    return [run_of(row, outputs) for row in rows]


def run(connection: Connection, run_id: int) -> Run:
    """One run.

    Raises:
        NotFound: there is no such run.
    """
    row = connection.execute(sa.select(tables.runs).where(tables.runs.c.id == run_id)).first()
    if row is None:
        raise NotFound(f"there is no run {run_id}", remedy="`tunesmith runs` lists them")
    return _run(connection, row)


def runs_of(connection: Connection, ids: Collection[int]) -> dict[int, Run]:
    """Runs by their ids, looked up together; one that is not there is left out."""
    held, runs = tables.run_blobs, tables.runs
    records = sa.and_(held.c.run_id == runs.c.id, held.c.sha256 == runs.c.output)
    wanted = sa.select(held).join(runs, records)
    outputs = {
        (row.run_id, row.sha256): Blob(
            sha256=row.sha256, num_bytes=row.num_bytes, media_type=row.media_type
        )
        for row in in_parts(connection, wanted, runs.c.id, ids)
    }
    rows = in_parts(connection, sa.select(runs), runs.c.id, ids)
    return {row.id: run_of(row, outputs) for row in rows}


def run_blobs(connection: Connection, run_id: int) -> list[Blob]:
    """The blobs that a run's output needs, its record among them."""
    columns = tables.run_blobs.c
    rows = connection.execute(
        sa.select(columns.sha256, columns.num_bytes, columns.media_type)
        .where(columns.run_id == run_id)
        .order_by(columns.sha256)
    )
    return [Blob(**row._asdict()) for row in rows]


def alias_moves(connection: Connection) -> list[dict[str, Any]]:
    """Every move of an alias, oldest first."""
    columns = [column for column in tables.aliases.c if column.name not in ("id", "at")]
    rows = connection.execute(sa.select(*columns).order_by(tables.aliases.c.id))
    return [dict(row._mapping) for row in rows]


def run_metrics(connection: Connection, run_id: int) -> dict[str, list[tuple[int, float]]]:
    """A run's curves: name -> [(step, value)]."""
    columns = tables.metrics.c
    rows = connection.execute(
        sa.select(columns.name, columns.step, columns.value)
        .where(columns.run_id == run_id)
        .order_by(columns.name, columns.step)
    )
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        curves.setdefault(row.name, []).append((row.step, row.value))
    return curves


def all_versions(connection: Connection) -> list[Version]:
    """Every named version, by kind, name and number."""
    columns = tables.versions.c
    rows = connection.execute(
        sa.select(tables.versions).order_by(columns.kind, columns.name, columns.number)
    )
    return [Version(**row._asdict()) for row in rows]


def version_number(connection: Connection, kind: str, name: str, digest: str) -> int:
    """Which version of `name` a record is.

    Raises:
        NotFound: it is none.
    """
    columns = tables.versions.c
    number = connection.execute(
        sa.select(columns.number).where(
            columns.kind == kind, columns.name == name, columns.digest == digest
        )
    ).scalar()
    if number is None:
        raise NotFound(f"{kind} {name} has no version {digest[:12]}")
    return int(number)


def alias_history(connection: Connection, kind: str, name: str, alias: str = "") -> list[Alias]:
    """Where an alias pointed, or every alias of a name, oldest first."""
    of = tables.aliases.c
    wanted = [of.kind == kind, of.name == name, *([of.alias == alias] if alias else [])]
    columns = [column for column in of if column.name != "id"]
    rows = connection.execute(sa.select(*columns).where(*wanted).order_by(of.id))
    return [Alias(**row._asdict()) for row in rows]


def current_alias(connection: Connection, kind: str, name: str, alias: str) -> Alias | None:
    """Where an alias points now."""
    columns = tables.aliases.c
    row = connection.execute(
        sa.select(tables.aliases)
        .where(columns.kind == kind, columns.name == name, columns.alias == alias)
        .order_by(columns.id.desc())
        .limit(1)
    ).first()
    if row is None:
        return None
    values = row._asdict()
    del values["id"]
    return Alias(**values)


def add_trace(connection: Connection, trace: Any) -> None:
    """Store one served request; a NUL in it, which a server cannot keep, as U+FFFD."""
    plain = {name: without_nul(value) for name, value in to_plain(trace).items()}
    connection.execute(tables.traces.insert().values(**plain, at=clock(connection)))


def traces(connection: Connection, service: str, model: str) -> Sequence[Row[Any]]:
    """What one model version answered to its end for a service, oldest first."""
    return connection.execute(
        sa.select(tables.traces)
        .where(
            tables.traces.c.service == service,
            tables.traces.c.model == model,
            tables.traces.c.traffic == "served",
            tables.traces.c.finish_reason == "stop",
        )
        .order_by(tables.traces.c.id)
    ).all()


def without_nul(value: Any) -> Any:
    """A text as each database can hold it; what is no text as it is.

    >>> without_nul("a\\0b")
    'a\ufffdb'
    """
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value


def encode(value: Any) -> str | None:
    """A record for a text column."""
    return None if value is None else canonical_json(value).decode()


def _outputs(connection: Connection) -> dict[tuple[int, str], Blob]:
    held, runs = tables.run_blobs, tables.runs
    records = sa.and_(held.c.run_id == runs.c.id, held.c.sha256 == runs.c.output)
    rows = connection.execute(sa.select(held).join(runs, records))
    return {
        (row.run_id, row.sha256): Blob(
            sha256=row.sha256, num_bytes=row.num_bytes, media_type=row.media_type
        )
        for row in rows
    }


def _run(connection: Connection, row: Row[Any]) -> Run:
    held = run_blobs(connection, row.id) if row.output is not None else []
    return run_of(row, {(row.id, blob.sha256): blob for blob in held})


def run_of(row: Row[Any], outputs: Mapping[tuple[int, str], Blob]) -> Run:
    """The run that a row of `tables.runs` is; `outputs` has its record."""
    return Run(
        id=row.id,
        key=row.key,
        step=row.step,
        kind=row.kind,
        identity=parse(row.identity.encode()),
        status=row.status,
        owner=row.owner,
        actor=row.actor,
        started_at=row.started_at,
        finished_at=row.finished_at,
        output=outputs[row.id, row.output] if row.output is not None else None,
        error=row.error,
        usage=_parsed(row.usage),
        forecast=_parsed(row.forecast),
    )


def _parsed(text: str | None) -> Any:
    return parse(text.encode()) if text else None
