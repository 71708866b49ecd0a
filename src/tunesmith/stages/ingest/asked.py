"""Ask what the sources of a project are read from what it answers at this moment: databases, APIs,
buckets and programs."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.core import catalog
from tunesmith.core.canonical import parse, plain
from tunesmith.core.catalog import Run
from tunesmith.core.errors import StoreError, UsageError
from tunesmith.core.event import Event
from tunesmith.core.ref import from_plain
from tunesmith.core.runner import Runner
from tunesmith.records.data import Package
from tunesmith.records.landed import Landed
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.database import as_it_answers_now
from tunesmith.stages.ingest.snapshot import Keeps, everything

if TYPE_CHECKING:
    from tunesmith.stages.ingest.increment import Increment


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A source as it answers now."""

    source: SourceConfig
    """With the digest of its rows; without, where nothing was answered."""
    kept: Path | None = None
    """Where the rows are kept for the step, if they are."""
    increment: Increment | None = None
    """What changed, of a database with a cursor."""


def require_cursors(sources: Mapping[str, SourceConfig], names: Collection[str]) -> None:
    """See that the sources that are to be read whole would be read by increments.

    Raises:
        UsageError: there is no such source, or it has no cursor.
    """
    for name in names:
        if name not in sources or not sources[name].cursor:
            read_so = ", ".join(each for each, source in sources.items() if source.cursor)
            raise UsageError(
                f"source {name!r} has no cursor: it is read whole each time"
                if name in sources
                else f"there is no source {name!r}",
                remedy=f"name a source that has one: {read_so or 'here none has'}",
            )


def look(
    source: SourceConfig,
    *,
    runner: Runner,
    project: Path,
    cache: Path,
    hosts: tuple[str, ...],
    whole: bool = False,
) -> Seen:
    """What the database, API, bucket or program of a source answers now.

    `runner` knows the last load, and hears of what is done. A source of another kind, or one that
    pins its rows, is left as it is.
    """
    if source.sha256 or not source.is_asked:
        return Seen(source=source)
    if source.is_database and not source.cursor:
        return Seen(source=as_it_answers_now(source, project))
    keeps: Keeps = everything
    if source.erased and not source.is_objects:
        from tunesmith.stages.ingest.erased import keeper

        keeps = keeper(source, project, source.erased)
    found = None
    event = partial(Event, step=f"{source.verb}:{source.name}")

    def progress(done: float, total: float, note: str) -> None:
        runner.on_event(event(what="progress", note=note, done=done, total=total))

    if source.is_api:
        from tunesmith.stages.ingest import api  # HTTP is for those who ask alone

        now, kept = api.look(source, hosts, cache, keeps, progress)
    elif source.is_objects:
        from tunesmith.stages.ingest import objects
        from tunesmith.stages.ingest.erased import cutter

        cut = cutter(source, project, source.erased) if source.erased else None
        landed = _landed_last(source, runner)
        last = (landed[0], runner.blobs) if landed else None
        now, kept = objects.look(source, hosts, cache, last, cut, progress)
    elif source.is_stream:
        from tunesmith.stages.ingest import stream

        landed = _landed_last(source, runner)
        told = (*landed, runner.blobs) if landed else None
        now, kept = stream.look(source, project, cache, told, keeps, progress)
    else:
        from tunesmith.stages.ingest import increment

        now, kept, found = increment.look(
            source,
            project=project,
            cache=cache,
            base=_last_load(source, runner),
            keeps=keeps,
            progress=progress,
            whole=whole,
        )
    runner.on_event(event(what="looked", note=found.said() if found else ""))
    return Seen(source=now, kept=kept, increment=found)


def as_it_answered_last(source: SourceConfig, runner: Runner) -> SourceConfig:
    """The source with the digest that its rows had when they were asked for the last time; as it
    is, if that was another query."""
    if source.sha256 or not source.is_asked:
        return source
    last = _last_run(source, runner)
    return source.model_copy(update={"sha256": last.identity["config"]["sha256"] if last else ""})


def _last_load(source: SourceConfig, runner: Runner) -> Path | None:
    """What the last load of the same query took in, if it is there and whole."""
    with contextlib.suppress(StoreError):
        last = _last_run(source, runner)
        if last is not None and last.output is not None:
            blob = from_plain(Package, parse(runner.blobs.get(last.output))).wheel
            runner.blobs.check(blob, deep=True)
            return runner.blobs.path(blob)
    return None


def _landed_last(source: SourceConfig, runner: Runner) -> tuple[Landed, str] | None:
    """What was taken in last of a source, if it was asked the same, and the digest that it had."""
    with contextlib.suppress(StoreError):
        last = _last_run(source, runner)
        if last is not None and last.output is not None:
            landed = from_plain(Landed, parse(runner.blobs.get(last.output)))
            return landed, last.identity["config"]["sha256"]
    return None


def _last_run(source: SourceConfig, runner: Runner) -> Run | None:
    """The last successful run that took in what the source asks for, if it asked the same."""
    with runner.database.read() as connection:
        last = catalog.last_success(connection, step=f"{source.verb}:{source.name}")
    now = plain(source.taking().model_dump(exclude={"sha256"}))
    then = last.identity["config"] if last else {}
    return last if all(then.get(key) == value for key, value in now.items()) else None
