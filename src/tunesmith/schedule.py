"""Runs by itself: what of the schedules is due is run, each slot once, by whoever ticks first."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

from tunesmith import project_file
from tunesmith.core import slots
from tunesmith.core.db import Database, Transaction, clock, moment, text_of
from tunesmith.core.errors import Conflict, NotFound, TunesmithError, UsageError
from tunesmith.core.event import Event
from tunesmith.core.failpoint import failpoint
from tunesmith.core.heartbeat import heartbeat
from tunesmith.core.owner import actor
from tunesmith.core.slots import Slot
from tunesmith.project import Project, open_database, open_project
from tunesmith.project_file import ProjectFile
from tunesmith.stages.schedule.config import ScheduleConfig
from tunesmith.stages.schedule.times import due, times

LATE_S = 300.0
"""From which lateness on a slot counts as missed where nothing is caught up."""
EVERY_S = 30.0
_NEXT = 3
_STOP_S = 10.0
"""How long a run has to end once the service that started it stops."""

Now = Callable[[Transaction], str]
Hear = Callable[[Event], None]


@dataclass(frozen=True, kw_only=True)
class Book:
    """A project's schedules and the database with their slots; no source is looked at."""

    folder: Path
    file: ProjectFile
    database: Database

    def schedule(self, name: str) -> ScheduleConfig:
        """A schedule of the project file.

        Raises:
            NotFound: there is none of that name.
        """
        if name not in self.file.schedule:
            known = ", ".join(self.file.schedule) or "none"
            raise NotFound(f"there is no schedule {name!r}", remedy=f"there is: {known}")
        return self.file.schedule[name]


@contextmanager
def opened(folder: Path) -> Iterator[Book]:
    """The schedules of the project in `folder`.

    Raises:
        NotFound: the project file has none, and no webhook; see also `project.open_project`.
    """
    folder = folder.resolve()
    file, _ = project_file.read(folder)
    if not file.schedule and not file.webhook:
        raise NotFound(
            "the project file has no [schedule.NAME] section",
            remedy='add one, as in [schedule.nightly] with cron = "0 2 * * *"',
        )
    database = open_database(file, folder)
    try:
        yield Book(folder=folder, file=file, database=database)
    finally:
        database.close()


@dataclass(frozen=True, kw_only=True)
class Fired:
    """A slot that was run, and the error that it ended with, if it did."""

    slot: Slot
    error: TunesmithError | None


def tick(book: Book, hear: Hear = lambda _event: None, now: Now = clock) -> list[Fired]:
    """Run what is due, one schedule after the other; what failed is told, and the next one run.

    Any number of processes may tick at once. `now` is for tests: the time is the database's.
    """
    fired = []
    for config in book.file.schedule.values():
        slot = claim(book.database, config, now)
        if slot is not None:
            fired.append(_run(book, config, slot, hear))
    return fired


def claim(database: Database, config: ScheduleConfig, now: Now = clock) -> Slot | None:
    """Take the slot of a schedule that is due, in one transaction; None where there is none.

    What is due is what came after the newest slot that is known. A schedule that is new, or whose
    times were changed, has one from then on.
    """
    with database.write() as connection:
        at, name = now(connection), config.name

        def noted(state: str, slot: str, reason: str = "") -> None:
            made = slots.blank(name, slot, config.spelled, actor(), at, state=state)
            slots.note(connection, replace(made, reason=reason))

        slots.interrupt_lost(connection, name, at)
        since = slots.newest(connection, name, at)
        if since is None or since.cron != config.spelled:
            noted(slots.SET, at)
            return None
        found = due(config.cron, config.timezone, moment(since.slot), moment(at))
        if found is None:
            return None
        first, latest = (text_of(each) for each in found)
        if first != latest:
            noted(slots.MISSED, first, f"nothing ticked from then until {latest}")
        holder = slots.running(connection, name)
        late_s = (moment(at) - moment(latest)).total_seconds()
        if holder is not None:
            noted(slots.MISSED, latest, f"the slot {holder.slot} was still running")
        elif config.catch_up == "none" and late_s > LATE_S:
            noted(slots.MISSED, latest, f"nothing ticked until {late_s:.0f} s later")
        else:
            return slots.fire(connection, name, latest, config.spelled, actor(), at)
    return None


def retry(book: Book, name: str, slot: str, hear: Hear = lambda _event: None) -> Fired:
    """Run a slot again on purpose, or one that was missed.

    Raises:
        UsageError: `slot` is no time.
        NotFound: there is no such schedule, or no such slot of it.
        Conflict: a slot of the schedule is running.
    """
    config = book.schedule(name)
    wanted = _time_of(slot)
    with book.database.write() as connection:
        at = clock(connection)
        slots.interrupt_lost(connection, name, at)
        known = {s.slot: s for s in slots.every(connection, name) if s.state != slots.SET}
        if wanted not in known:
            raise NotFound(
                f"schedule {name} has no slot {wanted}",
                remedy=f"`tunesmith schedule history {name}` lists them",
            )
        holder = slots.running(connection, name)
        if holder is not None:
            raise Conflict(
                f"slot {holder.slot} of schedule {name} is running",
                remedy="wait until it is done: `tunesmith schedule list`",
            )
        again = slots.fire_again(connection, known[wanted], actor(), at)
    return _run(book, config, again, hear)


def _time_of(slot: str) -> str:
    try:
        found = datetime.fromisoformat(slot)
    except ValueError:
        raise UsageError(
            f"{slot!r} is no time", remedy="write it as the history does: 2026-11-26T05:00:00.000Z"
        ) from None
    return text_of(found if found.tzinfo else found.replace(tzinfo=UTC))


def _run(book: Book, config: ScheduleConfig, slot: Slot, hear: Hear) -> Fired:
    """Do what a slot is for, and put down how it ended."""
    failpoint("slot.claimed")
    error: TunesmithError | None = None
    state, code, reason = slots.DONE, 0, ""
    asks = _sources(book.file, config.run) if config.run else True
    try:
        with (
            heartbeat(book.database, slots.LEASE_S, partial(slots.extend, slot=slot)),
            closing(open_project(book.folder, on_event=hear, asks=asks)) as project,
        ):
            project.clean_up()
            perform(project, config.run)
    except TunesmithError as caught:
        error, code = caught, caught.exit_code
        state, reason = slots.FAILED, type(caught).__name__
    except Exception as caught:  # a defect: told as one, and known to have failed
        state, code, reason = slots.FAILED, 1, type(caught).__name__
        raise
    except BaseException:
        state, reason = slots.INTERRUPTED, "it was stopped"
        raise
    finally:
        with book.database.write() as connection:
            is_ours = slots.end(connection, slot, state, code=code, reason=reason)
    if not is_ours:
        error = Conflict(
            f"slot {slot.slot} of schedule {slot.schedule} was taken for lost while it ran",
            remedy="what it made is kept; see `tunesmith schedule history`",
        )
    return Fired(slot=replace(slot, state=state, exit_code=code, reason=reason), error=error)


def perform(project: Project, parts: tuple[str, ...]) -> None:
    """Run the whole project, or sections of it ("KIND:NAME") with all that they are made from.

    Raises:
        GateFailed: a model did not pass; all that was asked for was run.
    """
    from tunesmith import pipeline  # most ticks find nothing to do, and leave at once
    from tunesmith.documents.frozen import freeze
    from tunesmith.graph import build

    if not parts:
        pipeline.run(project)
        return
    graph = build(project.file)
    models = {}
    for part in parts:
        kind, _, name = part.partition(":")
        if kind == "model":
            models[name] = pipeline.make_model(project, graph.models[name])
        elif kind == "monitor":
            pipeline.watch(project, graph.watches[name])
        elif kind == "dataset":
            freeze(project, graph.datasets[name])
        else:
            project.run((graph.indexes if kind == "index" else graph.assets)[name])
    pipeline.require_passed(models)


def _sources(file: ProjectFile, parts: tuple[str, ...]) -> list[str]:
    """The sources that parts are made from: no other system is asked for its rows."""
    from tunesmith.core.step import ordered
    from tunesmith.graph import build

    graph = build(file)
    wanted = []
    for part in parts:
        kind, _, name = part.partition(":")
        match kind:
            case "source" | "transform":
                wanted.append(graph.assets[name])
            case "dataset":
                wanted.append(graph.datasets[name])
            case "index":
                wanted.append(graph.indexes[name])
            case "model":
                wanted += graph.models[name].steps()
            case _:
                wanted += [*graph.watches[name].signals, graph.watches[name].proposal]
    needed = {id(step) for step in ordered(*wanted)}
    return [name for name in file.source if id(graph.assets[name]) in needed]


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What a schedule has done last, and will do next."""

    name: str
    cron: str
    timezone: str
    run: tuple[str, ...]
    next: tuple[str, ...]
    """When it comes due (UTC)."""
    next_local: tuple[str, ...]
    """The same, by the clocks of its time zone."""
    overdue: str | None
    """The slot that is due and that nobody has fired; None where there is none."""
    last: Slot | None


def outlook(book: Book) -> list[Outlook]:
    """Each schedule, as it stands."""
    found = []
    for config in book.file.schedule.values():
        with book.database.read() as connection:
            now = clock(connection)
            known = slots.every(connection, config.name)
            since = slots.newest(connection, config.name, now)
        is_set = since is not None and since.cron == config.spelled
        after = moment(since.slot if since is not None and is_set else now)
        waiting = due(config.cron, config.timezone, after, moment(now))
        coming = list(islice(times(config.cron, config.timezone, moment(now)), _NEXT))
        found.append(
            Outlook(
                name=config.name,
                cron=config.cron,
                timezone=config.timezone,
                run=config.run,
                next=tuple(text_of(each) for each in coming),
                next_local=tuple(local(text_of(each), config.timezone) for each in coming),
                overdue=text_of(waiting[1]) if waiting else None,
                last=next((s for s in reversed(known) if s.state != slots.SET), None),
            )
        )
    return found


def local(time_: str, timezone: str) -> str:
    """A moment by the clocks of a time zone, with what it is ahead of UTC.

    >>> local("2026-11-26T05:00:00.000Z", "Europe/Berlin")
    '2026-11-26T06:00:00+01:00'
    """
    return moment(time_).astimezone(ZoneInfo(timezone)).isoformat(timespec="seconds")


def history(book: Book, name: str = "") -> list[Slot]:
    """What became of every slot of one schedule, or of all in the project file, newest first.

    Raises:
        NotFound: there is no such schedule.
    """
    names = [book.schedule(name).name] if name else list(book.file.schedule)
    with book.database.read() as connection:
        found = [slot for each in names for slot in slots.every(connection, each)]
    return sorted(found, key=lambda slot: slot.slot, reverse=True)


@contextmanager
def ticking(folder: Path, num_schedules: int, *, every_s: float = EVERY_S) -> Iterator[None]:
    """Tick in processes of their own, again and again, until this ends; what runs then is told to
    end, too. A run never lives in this process, and nothing that happens to one happens to it.

    A tick that runs something for hours is not waited for: other schedules come due meanwhile. So
    there may be one more at work than there are schedules.
    """
    stop = threading.Event()

    def tick_again() -> None:
        _tick_again(folder.resolve(), num_schedules + 1, every_s, stop)

    thread = threading.Thread(target=tick_again, name="ticks", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _tick_again(folder: Path, at_most: int, every_s: float, stop: threading.Event) -> None:
    command = [sys.executable, "-m", "tunesmith", "schedule", "tick", "--project", str(folder)]
    at_work: list[subprocess.Popen[bytes]] = []
    while not stop.is_set():
        at_work = [each for each in at_work if each.poll() is None]
        if len(at_work) < at_most:
            # What a tick says goes to this process's stderr; its result, to nobody.
            with contextlib.suppress(OSError):  # no memory for another: there is a next time
                at_work.append(
                    subprocess.Popen(  # noqa: S603
                        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
                    )
                )
        stop.wait(every_s)
    for each in at_work:
        each.terminate()
    for each in at_work:
        try:
            each.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            each.kill()  # nothing is lost by it: what was finished is kept
            each.wait()
