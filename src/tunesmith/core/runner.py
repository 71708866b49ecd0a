"""Run steps: use again what is there, make what is not, and publish each result in one transaction.

An attempt is a row of `runs` with a lease that a heartbeat extends. Its id is its fencing token:
whoever takes over a lapsed lease marks that row interrupted first, so a paused process that wakes
up finds that it may no longer publish.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.engine import Connection

from tunesmith.core import catalog, evidence, lifecycle
from tunesmith.core.attempt import Attempt, Limit
from tunesmith.core.blobs import Blobs
from tunesmith.core.canonical import canonical_json, fingerprint, parse
from tunesmith.core.catalog import Run
from tunesmith.core.db import Database
from tunesmith.core.errors import (
    BlobCorrupt,
    BlobMissing,
    InputChanged,
    NotFound,
    Stopped,
    TunesmithError,
)
from tunesmith.core.event import Event
from tunesmith.core.execute import Call, Executor, Given, Listener
from tunesmith.core.facts import run_facts
from tunesmith.core.failpoint import failpoint
from tunesmith.core.heartbeat import heartbeat
from tunesmith.core.kinds import Kind, kind, resolve
from tunesmith.core.meter import Forecast, Meter, Usage
from tunesmith.core.owner import is_gone, owner
from tunesmith.core.plan import Planned, changes, identity, key
from tunesmith.core.ref import AliasMove, Blob, find, from_plain, to_plain
from tunesmith.core.step import Step
from tunesmith.core.successes import Successes

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
    _done: dict[Step, Given] = field(default_factory=dict)

    def run(self, step: Step) -> Any:
        """The record of `step`, from an earlier run where its key is unchanged.

        Inputs are run first. Another process that is at the same key is waited for.

        Raises:
            Conflict: another process took this attempt over; its result stands.
            InputChanged: an input's bytes changed while the step ran; nothing was stored.
            OverBudget: the step would use, or has used, more than `limit` lets it.
        """
        return self._load(self._give(step))

    def current(self, step: Step) -> Any:
        """The record that `run` would use again for `step`; nothing is run.

        Raises:
            NotFound: `step`, as the settings have it now, has not run.
        """
        (planned,) = self.plan([step])
        if planned.hit is None or planned.hit.output is None:
            raise NotFound(
                f"{step.name} has not run as it is set now: {planned.reason}",
                remedy="run it first: `tunesmith run`",
            )
        return self._load(Given(type=kind(step.kind).record, blob=planned.hit.output))

    def plan(self, steps: list[Step]) -> list[Planned]:
        """What `run` would do with each step, in order, without doing it."""
        known: dict[Step, str | None] = {}
        before = Successes(self.database, [step.name for step in steps])
        return [self._plan(step, known, before) for step in steps]

    def sweep(self) -> list[Run]:
        """Mark every attempt whose lease lapsed, or whose process ended, as interrupted."""
        with self.database.write() as connection:
            lost = [
                run
                for run, lapsed in catalog.all_running(connection)
                if lapsed or is_gone(run.owner)
            ]
            for run in lost:
                self._interrupt(connection, run)
        return lost

    # Giving: a step's record, as a blob, made or found.

    def _give(self, step: Step) -> Given:
        if step not in self._done:
            inputs = {name: self._give_input(value) for name, value in step.inputs.items()}
            self._done[step] = self._find_or_make(step, inputs)
        return self._done[step]

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
        digests = {name: _digests(value) for name, value in inputs.items()}
        what = identity(step, digests)
        while True:
            hit, seen = self._verified_hit(step, key(what))
            if hit is not None:
                self.on_event(Event(step=step.name, what="hit", note=f"run {hit.id}"))
                assert hit.output is not None
                given = Given(type=of.record, blob=hit.output)
                self._move_back(step, hit.id, given)
                return given
            run_id = self._claim(step, what, seen)
            if run_id is not None:
                return self._make(step, of, inputs, what, run_id)

    def _verified_hit(self, step: Step, wanted: str) -> tuple[Run | None, int]:
        """The run to use again, if its blobs are whole; and the id of the one looked at."""
        with self.database.read() as connection:
            hit = catalog.last_success(connection, key=wanted)
            needed = catalog.run_blobs(connection, hit.id) if hit else []
        return self._if_whole(step, hit, needed), hit.id if hit else 0

    def _if_whole(self, step: Step, hit: Run | None, needed: list[Blob]) -> Run | None:
        try:
            for blob in needed:
                self.blobs.check(blob, deep=True)
        except (BlobMissing, BlobCorrupt) as error:
            self.on_event(Event(step=step.name, what="damaged", note=error.message))
            return None
        return hit

    def _move_back(self, step: Step, run_id: int, given: Given) -> None:
        """An alias is where the settings say, also when another setting had moved it meanwhile."""
        for move in find(self._load(given), AliasMove):
            with self.database.write() as connection:
                now = catalog.current_alias(connection, move.kind, move.name, move.alias)
                if now is None or now.digest != given.blob.sha256:
                    self._move(connection, move, given.blob, run_id)
                    self.on_event(Event(step=step.name, what="moved", note=move.alias))

    def _move(self, connection: Connection, move: AliasMove, output: Blob, run_id: int) -> None:
        moved = to_plain(move) | {"digest": output.sha256, "run_id": run_id, "actor": self.actor}
        lifecycle.move_alias(connection, moved)

    def _load(self, given: Given) -> Any:
        return from_plain(resolve(given.type), parse(self.blobs.get(given.blob)))

    # Claiming: at most one attempt at a key.

    def _claim(self, step: Step, what: Mapping[str, Any], seen: int) -> int | None:
        """The id of a new run; None after waiting for the one that was there.

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
                self._interrupt(connection, found[0])
                found = None
            newest = catalog.last_success(connection, key=wanted)
            if found is None and (newest.id if newest else 0) == seen:
                run_id = catalog.insert_run(connection, values, lease_s=self.lease_s)
                catalog.record_inputs(connection, run_id, what["inputs"])
            else:
                run_id = None
        if run_id is None:  # somebody is at it, or has been since we looked
            self._wait(step, wanted)
            return None
        failpoint("run.claimed")
        return run_id

    def _interrupt(self, connection: Connection, run: Run) -> None:
        self._end(connection, run.id, status="interrupted", error="its process ended")

    def _wait(self, step: Step, wanted: str) -> None:
        while True:
            with self.database.read() as connection:
                found = catalog.running(connection, wanted)
            if found is None or found[1] or is_gone(found[0].owner):
                return
            self.on_event(Event(step=step.name, what="waiting", note=f"for {found[0].owner}"))
            time.sleep(0.5)

    # Making: run the function, then publish all of it or nothing.

    def _make(
        self, step: Step, of: Kind, inputs: Mapping[str, Any], what: Mapping[str, Any], run_id: int
    ) -> Given:
        meter = Meter()
        attempt = Attempt(run_id=run_id, meter=meter, limit=self.limit)
        listener = Listener(
            progress=lambda done, total, note: self._progress(step, attempt, done, total, note),
            metric=attempt.point,
            forecast=lambda forecast: self._hear(step, attempt, forecast),
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
            self._publish(of, attempt, output, typed, meter.usage)
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

    def _progress(self, step: Step, attempt: Attempt, done: float, total: float, note: str) -> None:
        attempt.go_on()
        self.on_event(Event(step=step.name, what="progress", note=note, done=done, total=total))

    def _hear(self, step: Step, attempt: Attempt, forecast: Forecast) -> None:
        attempt.forecast = forecast
        self.on_event(Event(step=step.name, what="forecast", forecast=forecast))
        attempt.start_main_part(forecast)

    def _publish(self, of: Kind, attempt: Attempt, output: Blob, record: Any, usage: Usage) -> None:
        """Make all of a run visible in one transaction."""
        run_id = attempt.run_id
        with self.database.write() as connection:
            catalog.record_blobs(connection, run_id, [output, *find(record, Blob)])
            catalog.record_metrics(connection, run_id, attempt.points)
            if of.named:
                catalog.record_version(connection, of.named, record.name, output.sha256, run_id)
            ended = self._end(
                connection,
                run_id,
                status="succeeded",
                output=output.sha256,
                usage=catalog.encode(usage),
                forecast=catalog.encode(attempt.forecast),
            )
            if not ended:
                raise attempt.taken_over()
            for move in find(record, AliasMove):
                self._move(connection, move, output, run_id)
            failpoint("run.publishing")

    def _end(self, connection: Connection, run_id: int, **values: Any) -> bool:
        """End a running run, with its evidence; False when somebody else ended it first."""
        if not catalog.close_run(connection, run_id, **values):
            return False
        facts = run_facts(connection, run_id)
        body = {
            "run": run_id,
            "step": facts.step,
            "kind": facts.kind,
            "output": facts.output,
            "facts": facts.digest,
        }
        what = "finished" if values["status"] == "succeeded" else values["status"]
        evidence.append(connection, f"run.{what}", self.actor, body)
        return True

    def _fail(self, step: Step, attempt: Attempt, error: BaseException, usage: Usage) -> None:
        # A person or the system stopped it: that is not the step's failure.
        stopped = isinstance(error, Stopped) or not isinstance(error, Exception)
        status = "interrupted" if stopped else "failed"
        with contextlib.suppress(TunesmithError), self.database.write() as connection:
            ended = self._end(
                connection,
                attempt.run_id,
                status=status,
                error=f"{type(error).__name__}: {error}",
                usage=catalog.encode(usage),
                forecast=catalog.encode(attempt.forecast),
            )
            if not ended:  # what it used is not lost, though it may not publish
                body = {"run": attempt.run_id, "step": step.name, "usage": to_plain(usage)}
                evidence.append(connection, "run.fenced", self.actor, body)

    def _check_inputs(self, step: Step, inputs: Mapping[str, Any]) -> None:
        for given in _flat(inputs):
            for blob in [given.blob, *find(self._load(given), Blob)]:
                try:
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

    # Planning.

    def _plan(self, step: Step, known: dict[Step, str | None], before: Successes) -> Planned:
        last = before.of_step(step.name)
        digests: dict[str, list[str]] = {}
        for name, value in step.inputs.items():
            parts = value if isinstance(value, tuple) else (value,)
            for part in parts:
                digest = self._plan_input(part, known, before)
                if digest is None:
                    known[step] = None
                    reason = f"{part.name} runs before it"
                    return Planned(step=step, hit=None, reason=reason, last=last)
                digests.setdefault(name, []).append(digest)
        what = identity(step, digests)
        wanted = key(what)
        hit = before.of_key(wanted)
        hit = self._if_whole(step, hit, before.blobs(hit) if hit else [])
        known[step] = hit.output.sha256 if hit and hit.output else None
        reason = "" if hit else _why(last, what)
        return Planned(step=step, hit=hit, reason=reason, last=last, key=wanted)

    def _plan_input(
        self, value: Any, known: dict[Step, str | None], before: Successes
    ) -> str | None:
        if not isinstance(value, Step):
            return fingerprint(value)
        if value in self._done:  # made, or verified, by this very runner
            return self._done[value].blob.sha256
        if value not in known:
            self._plan(value, known, before)
        return known[value]


def _why(last: Run | None, what: Mapping[str, Any]) -> str:
    if last is None:
        return "it never ran"
    changed = list(changes(last.identity, what))
    return "; ".join(changed) if changed else "its earlier result is no longer there"


def _digests(given: Given | tuple[Given, ...]) -> list[str]:
    return [each.blob.sha256 for each in _flat({"": given})]


def _flat(inputs: Mapping[str, Any]) -> Iterator[Given]:
    for value in inputs.values():
        yield from value if isinstance(value, tuple) else (value,)
