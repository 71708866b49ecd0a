"""Run steps: use again what is there, make what is not, and publish each result in one transaction.

An attempt is a row of `runs` with a lease that a heartbeat extends. Its id is its fencing token:
whoever takes over a lapsed lease marks that row interrupted first, so a paused process that wakes
up finds that it may no longer publish.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy.engine import Connection

from tunesmith.core import catalog
from tunesmith.core.attempt import Attempt, Limit
from tunesmith.core.blobs import Blobs
from tunesmith.core.canonical import canonical_json, parse
from tunesmith.core.catalog import Run
from tunesmith.core.db import Database
from tunesmith.core.errors import (
    BlobCorrupt,
    BlobMissing,
    InputChanged,
    Stopped,
)
from tunesmith.core.event import Event
from tunesmith.core.execute import Call, Executor, Given, Listener, all_given, digests_of
from tunesmith.core.failpoint import failpoint
from tunesmith.core.find import Finder
from tunesmith.core.heartbeat import heartbeat
from tunesmith.core.kinds import Kind, kind, resolve
from tunesmith.core.meter import Forecast, Meter, Usage
from tunesmith.core.owner import is_gone, owner
from tunesmith.core.plan import Planned, identity, key, why
from tunesmith.core.planner import Planner
from tunesmith.core.publish import Publisher
from tunesmith.core.ref import AliasMove, Blob, find, from_plain
from tunesmith.core.retry import is_passing, wait_s
from tunesmith.core.step import Step, input_steps
from tunesmith.core.together import Together, Turn

LEASE_S = 30.0
RECORD = "application/json"


@dataclass(kw_only=True)
class Runner:
    """The coordinator: the only one that writes to the database."""

    blobs: Blobs
    database: Database
    executor: Executor
    actor: str
    on_event: Callable[[Event], None] = lambda _event: None
    limit: Limit = lambda _used: ""
    lease_s: float = LEASE_S
    together: Together = field(default_factory=Together)
    retries: Callable[[str], int] = lambda _step: 0
    """How often a step of that name is tried again when what made it fail passes."""
    retry_wait_s: float = 1.0
    """How long to wait before it is tried again, at first; twice as long each time."""
    _promised: dict[Step, Future[Given]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def _publisher(self) -> Publisher:
        return Publisher(database=self.database, actor=self.actor)

    @property
    def _finder(self) -> Finder:
        return Finder(database=self.database, blobs=self.blobs, on_event=self.on_event)

    def run(self, step: Step) -> Any:
        """The record of `step`, from an earlier run where its key is unchanged.

        Inputs are run first. Another process that is at the same key is waited for.

        Raises:
            Conflict: another process took this attempt over; its result stands.
            InputChanged: an input's bytes changed while the step ran; nothing was stored.
            OverBudget: the step would use, or has used, more than `limit` lets it.
        """
        return self._load(self._give(step))

    def run_all(self, *steps: Step) -> list[Any]:
        """The records of steps, side by side where there are several jobs."""
        return list(self.together.each({step: partial(self.run, step) for step in steps}).values())

    def current(self, step: Step) -> Any:
        """The record that `run` would use again for `step`; nothing is run.

        Raises:
            NotFound: `step`, as the settings have it now, has not run.
        """
        return self._load(Given(type=kind(step.kind).record, blob=self.planner.current(step)))

    def all_current(self, steps: Iterable[Step]) -> dict[Step, Any]:
        """The records that `run` would use again, of those of the `steps` that have one; what ran
        is looked up once for all. Nothing is run."""
        return {
            planned.step: self._load(
                Given(type=kind(planned.step.kind).record, blob=planned.hit.output)
            )
            for planned in self.plan(list(steps))
            if planned.hit is not None and planned.hit.output is not None
        }

    @property
    def planner(self) -> Planner:
        """Says what `run` would do."""
        return Planner(finder=self._finder, made=self.made)

    def plan(self, steps: list[Step]) -> list[Planned]:
        """What `run` would do with each step, in order, without doing it."""
        return self.planner.plan(steps)

    def made(self, step: Step) -> str:
        """The digest of what this very runner made, or verified; empty when it has not."""
        promised = self._promised.get(step)
        if promised is None or not promised.done() or promised.exception() is not None:
            return ""
        return promised.result().blob.sha256

    def take_failed(self) -> tuple[set[str], dict[Step, BaseException]]:
        """The names of the steps that are made; and the steps that failed while all were settled,
        and those that need them, each with the error: they are tried again when next asked for."""
        with self._lock:
            ended = {step: promised for step, promised in self._promised.items() if promised.done()}
            failed = {step: error for step, each in ended.items() if (error := each.exception())}
            for step in failed:
                del self._promised[step]
        return {step.name for step in ended.keys() - failed.keys()}, failed

    def sweep(self) -> list[Run]:
        """Mark every attempt whose lease lapsed, or whose process ended, as interrupted."""
        with self.database.write() as connection:
            lost = [
                run
                for run, lapsed in catalog.all_running(connection)
                if lapsed or is_gone(run.owner)
            ]
            for run in lost:
                self._publisher.interrupt(connection, run)
        return lost

    # Giving: a step's record, as a blob, made or found.

    def _give(self, step: Step) -> Given:
        with self._lock:
            promised = self._promised.get(step)
            if promised is None:
                mine: Future[Given] = Future()
                self._promised[step] = mine
        if promised is not None:  # by this thread, a while ago; or by another one, which is at it
            return promised.result()
        try:
            self.together.each({each: partial(self._give, each) for each in input_steps(step)})
            inputs = {name: self._give_input(value) for name, value in step.inputs.items()}
            given = self._find_or_make(step, inputs)
        except BaseException as error:
            with self._lock:
                if not self.together.is_settling:
                    del self._promised[step]
            mine.set_exception(error)
            raise
        mine.set_result(given)
        return given

    def _give_input(self, value: Any) -> Given | tuple[Given, ...]:
        if isinstance(value, Step):
            return self._give(value)
        if isinstance(value, tuple):
            return tuple(self._give(each) for each in value)
        record_type = type(value)
        return Given(
            type=f"{record_type.__module__}:{record_type.__qualname__}",
            blob=self.blobs.put(canonical_json(value), RECORD),
        )

    def _find_or_make(self, step: Step, inputs: Mapping[str, Any]) -> Given:
        of = kind(step.kind)
        digests = {name: digests_of(value) for name, value in inputs.items()}
        what = identity(step, digests)
        num_tries = 0
        while True:
            found = self._finder.find(step.name, key(what))
            if (hit := found.hit) is not None:
                self.on_event(Event(step=step.name, what="hit", note=found.said()))
                assert hit.output is not None
                given = Given(type=of.record, blob=hit.output)
                self._move_back(step, hit.id, given)
                return given
            try:
                with self._turn(step, of) as turn:
                    run_id = self._claim(step, what, found.seen)
                    if run_id is not None:
                        return self._make(step, of, inputs, what, run_id, turn)
            except Exception as error:
                num_tries += 1
                if num_tries > self.retries(step.name) or not is_passing(error, step.kind):
                    self._tell(step, error)
                    raise
                self._back_off(step, error, num_tries)
            else:  # somebody is at it, or has been since we looked
                self._wait(step, key(what))

    def _turn(self, step: Step, of: Kind) -> AbstractContextManager[Turn]:
        turn = Turn(step=step.name, loads_weights=of.loads_weights)
        if of.loads_weights and self.together.jobs > 1:
            with self.database.read() as connection:
                last = catalog.last_success(connection, step=step.name)
            turn.needs = last.usage["peak_bytes"] if last and last.usage else None
        return self.together.turn(turn, self._waits(step))

    def _waits(self, step: Step) -> Callable[[str], None]:
        return lambda why: self.on_event(Event(step=step.name, what="waiting", note=why))

    def _tell(self, step: Step, error: Exception) -> None:
        if isinstance(error, Stopped) or self.together.is_stopped:
            return
        if self.together.goes_past(error):
            note = f"{_first_line(error)}; what does not need it goes on"
        elif others := self.together.running():
            note = f"{', '.join(others)} may still end; nothing else is begun"
        else:
            return
        self.on_event(Event(step=step.name, what="failed", note=note))

    def _back_off(self, step: Step, error: Exception, num_tries: int) -> None:
        seconds, most = wait_s(num_tries, self.retry_wait_s), self.retries(step.name)
        note = f"{_first_line(error)}; try {num_tries + 1} of {most + 1} in {seconds:g} s"
        self.on_event(Event(step=step.name, what="retry", note=note))
        self.together.pause(seconds)

    def _move_back(self, step: Step, run_id: int, given: Given) -> None:
        """An alias is where the settings say, also when another setting had moved it meanwhile."""
        for move in find(self._load(given), AliasMove):
            with self.database.write() as connection:
                now = catalog.current_alias(connection, move.kind, move.name, move.alias)
                if now is None or now.digest != given.blob.sha256:
                    self._publisher.move(connection, move, given.blob, run_id)
                    self.on_event(Event(step=step.name, what="moved", note=move.alias))

    def _load(self, given: Given) -> Any:
        return from_plain(resolve(given.type), parse(self.blobs.get(given.blob)))

    # Claiming: at most one attempt at a key.

    def _claim(self, step: Step, what: Mapping[str, Any], seen: int) -> int | None:
        """The id of a new run; None where there is one already, or has been meanwhile.

        `seen` is the newest successful run of this key that was looked at and not used.
        """
        wanted = key(what)
        values = {
            "key": wanted,
            "step": step.name,
            "kind": step.kind,
            "identity": canonical_json(what).decode(),
            "owner": owner(),
            "actor": self.actor,
        }
        with self.database.write() as connection:
            found = catalog.running(connection, wanted)
            if found is not None and (found[1] or is_gone(found[0].owner)):
                self._publisher.interrupt(connection, found[0])
                found = None
            newest = catalog.last_success(connection, key=wanted)
            if found is None and (newest.id if newest else 0) == seen:
                run_id = catalog.insert_run(connection, values, lease_s=self.lease_s)
                catalog.record_inputs(connection, run_id, what["inputs"])
            else:
                run_id = None
        if run_id is not None:
            failpoint("run.claimed")
        return run_id

    def _wait(self, step: Step, wanted: str) -> None:
        while True:
            with self.database.read() as connection:
                found = catalog.running(connection, wanted)
            if found is None or found[1] or is_gone(found[0].owner):
                return
            self.on_event(Event(step=step.name, what="waiting", note=f"for {found[0].owner}"))
            self.together.pause(0.5)

    # Making: run the function, then publish all of it or nothing.

    def _make(
        self,
        step: Step,
        of: Kind,
        inputs: Mapping[str, Any],
        what: Mapping[str, Any],
        run_id: int,
        turn: Turn,
    ) -> Given:
        meter = Meter()
        with self.database.read() as connection:
            reason = why(catalog.last_success(connection, step=step.name), what)
        attempt = Attempt(run_id=run_id, why=reason, meter=meter, limit=self.limit)
        listener = Listener(
            progress=lambda done, total, note: self._progress(step, attempt, done, total, note),
            metric=attempt.point,
            forecast=lambda forecast: self._hear(step, attempt, forecast, turn),
            process=lambda pid: self._follow(pid, meter, turn),
        )
        call = Call(
            step=step.name,
            kind=step.kind,
            config=what["config"],
            inputs=dict(inputs),
            seed=step.seed,
            identity=what,
        )
        try:
            with self._heartbeat(attempt), meter:
                self.on_event(Event(step=step.name, what="started"))
                record = self.executor.execute(call, listener)
                failpoint("step.performed")
                self._check_inputs(step, inputs)
                output = self.blobs.put(canonical_json(record), RECORD)
                failpoint("record.stored")
            typed = from_plain(resolve(of.record), record)
            self._publisher.publish(of, attempt, output, typed, meter.usage)
        except BaseException as error:
            self._fail(step, attempt, error, meter.usage)
            raise
        self.executor.forget(step.name)
        failpoint("run.published")
        self.on_event(
            Event(
                step=step.name,
                what="finished",
                usage=meter.usage,
                forecast=attempt.forecast,
                record=typed,
            )
        )
        return Given(type=of.record, blob=output)

    def _follow(self, pid: int, meter: Meter, turn: Turn) -> None:
        """Else what others use meanwhile would be counted as this one's."""
        if self.together.jobs > 1:
            meter.follow(pid)
            turn.held = meter.resident

    def _progress(self, step: Step, attempt: Attempt, done: float, total: float, note: str) -> None:
        attempt.go_on()
        self.on_event(Event(step=step.name, what="progress", note=note, done=done, total=total))

    def _hear(self, step: Step, attempt: Attempt, forecast: Forecast, turn: Turn) -> None:
        attempt.forecast = forecast
        self.on_event(Event(step=step.name, what="forecast", forecast=forecast))
        attempt.start_main_part(forecast)
        self.together.need(turn, forecast.peak_bytes, self._waits(step))

    def _fail(self, step: Step, attempt: Attempt, error: BaseException, usage: Usage) -> None:
        # A person or the system stopped it: that is not the step's failure.
        stopped = isinstance(error, Stopped) or not isinstance(error, Exception)
        stopped = stopped or self.together.is_stopped
        self._publisher.fail(step, attempt, error, usage, stopped=stopped)

    def _check_inputs(self, step: Step, inputs: Mapping[str, Any]) -> None:
        for given in all_given(inputs):
            try:
                self.blobs.check(given.blob, deep=True)
                for blob in find(self._load(given), Blob):
                    self.blobs.check(blob, deep=True)
            except (BlobMissing, BlobCorrupt) as error:
                raise InputChanged(
                    f"an input of {step.name} changed while it ran: {error.message}",
                    remedy="run the same command again; the damaged input is made again first",
                ) from error

    def _heartbeat(self, attempt: Attempt) -> AbstractContextManager[None]:
        def extend(connection: Connection) -> bool:
            is_ours = catalog.extend_lease(connection, attempt.run_id, lease_s=self.lease_s)
            if not is_ours:
                attempt.lost.set()  # the step ends at its next sign of progress
            return is_ours

        return heartbeat(self.database, self.lease_s, extend)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
