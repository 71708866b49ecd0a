"""Ask the databases, APIs, buckets and programs of a project's sources what they answer now."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.core.errors import UsageError
from tunesmith.core.event import Event
from tunesmith.core.runner import Runner
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.database import as_it_answers_now
from tunesmith.stages.ingest.last_load import last_load, last_run
from tunesmith.stages.ingest.snapshot import Keeps, everything

if TYPE_CHECKING:
    from tunesmith.stages.ingest.increment import Increment


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A source as it answers now."""

    source: SourceConfig
    """With the digest of what there is; without, where nothing was answered."""
    kept: Path | None = None
    """Where what came is kept for the step, if it is."""
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
        return Seen(source=as_it_answers_now(source, project, hosts))
    keeps = _keeps(source, project)
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
        last = last_load(source, runner)
        now, kept = objects.look(source, hosts, cache, last, cut, progress)
    elif source.is_stream:
        from tunesmith.stages.ingest import stream

        last = last_load(source, runner)
        now, kept = stream.look(source, project, cache, last, keeps, progress)
    else:
        from tunesmith.stages.ingest import increment

        last = last_load(source, runner)
        now, kept, found = increment.look(
            source,
            project=project,
            hosts=hosts,
            cache=cache,
            base=last.path if last else None,
            keeps=keeps,
            progress=progress,
            whole=whole,
        )
    runner.on_event(event(what="looked", note=found.said() if found else ""))
    return Seen(source=now, kept=kept, increment=found)


def _keeps(source: SourceConfig, project: Path) -> Keeps:
    """Which rows may be kept: all but those that were erased."""
    if not source.erased or source.is_objects:
        return everything
    from tunesmith.stages.ingest.erased import keeper

    return keeper(source, project, source.erased)


def as_it_answered_last(source: SourceConfig, runner: Runner) -> SourceConfig:
    """The source with the digest that its rows had when they were asked for the last time; as it
    is, if that was another query."""
    if source.sha256 or not source.is_asked:
        return source
    last = last_run(source, runner)
    return source.model_copy(update={"sha256": last.identity["config"]["sha256"] if last else ""})
