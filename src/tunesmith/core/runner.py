"""Run steps: use again what is there, make what is not, and publish each result in one transaction.

An attempt is a row of `runs` with a lease that a heartbeat extends. Its id is its fencing token:
whoever takes over a lapsed lease marks that row interrupted first, so a paused process that wakes
up finds that it may no longer publish.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from tunesmith.core import catalog, evidence
from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.canonical import canonical_json, parse
from tunesmith.core.catalog import Run
from tunesmith.core.db import Database, owner, owner_is_gone
from tunesmith.core.errors import BlobCorrupt, BlobMissing, Conflict, InputChanged, StoreLocked
from tunesmith.core.execute import Call, Executor, Given, Listener
from tunesmith.core.failpoint import failpoint
from tunesmith.core.kinds import Kind, kind, resolve
from tunesmith.core.meter import Forecast, Meter, Usage
from tunesmith.core.plan import Planned, changes, identity, key
from tunesmith.core.ref import AliasMove, Blob, find, from_plain, to_plain
from tunesmith.core.step import Step

LEASE_S = 30.0
RECORD = "application/json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something for the person who watches: a step is "hit", "started", "finished", "waiting",
    made "progress", was "forecast", or was found "damaged" in the store."""

    step: str
    what: str
    note: str = ""
    done: float = 0.0
    total: float = 0.0
    forecast: Forecast | None = None
    """What was forecast, also of a step that is finished."""
    usage: Usage | None = None
    record: Any = None
    """What a step that is finished made."""


@dataclass(kw_only=True)
class Runner:
    """The coordinator: the only one that writes to the database."""

    blobs: FolderBlobs
    database: Database
    executor: Executor
    actor: str
    on_event: Callable[[Event], None] = lambda _event: None
    lease_s: float = LEASE_S
    _done: dict[Step, Given] = field(default_factory=dict)

    def run(self, step: Step) -> Any:
        """The record of `step`, from an earlier run where its key is unchanged.

        Inputs are run first. Another process that is at the same key is waited for.

        Raises:
            Conflict: another process took this attempt over; its result stands.
            InputChanged: an input's bytes changed while the step ran; nothing was stored.
        """
        return self._load(self._give(step))

    def digest(self, step: Step) -> str:
        """The digest of the record that `run` returned for `step`."""
        return self._done[step].blob.sha256

    def plan(self, steps: list[Step]) -> list[Planned]:
        """What `run` would do with each step, in order, without doing it."""
        known: dict[Step, str | None] = {}
        return [self._plan(step, known) for step in steps]

    def sweep(self) -> list[Run]:
        """Mark every attempt whose lease lapsed, or whose process ended, as interrupted."""
        with self.database.write() as connection:
            lost = [
                run
                for run, lapsed in catalog.all_running(connection)
                if lapsed or owner_is_gone(run.owner)
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
            hit = self._verified_hit(step, key(what))
            if hit is not None:
                self.on_event(Event(step=step.name, what="hit", note=f"run {hit.id}"))
                assert hit.output is not None
                return Given(type=of.record, blob=hit.output)
            run_id = self._claim(step, what)
            if run_id is not None:
                return self._make(step, of, inputs, run_id)

    def _verified_hit(self, step: Step, wanted: str) -> Run | None:
        with self.database.read() as connection:
            hit = catalog.last_success(connection, key=wanted)
            needed = catalog.run_blobs(connection, hit.id) if hit else []
        try:
            for blob in needed:
                self.blobs.check(blob, deep=True)
        except (BlobMissing, BlobCorrupt) as error:
            self.on_event(Event(step=step.name, what="damaged", note=error.message))
            return None
        return hit

    def _load(self, given: Given) -> Any:
        return from_plain(resolve(given.type), parse(self.blobs.get(given.blob)))

    # Claiming: at most one attempt at a key.

    def _claim(self, step: Step, what: Mapping[str, Any]) -> int | None:
        """The id of a new run; None after waiting for the one that was there."""
        values = {
            "key": key(what),
            "step": step.name,
            "kind": step.kind,
            "identity": canonical_json(what).decode(),
            "owner": owner(),
            "actor": self.actor,
        }
        try:
            with self.database.write() as connection:
                found = catalog.running(connection, values["key"])
                if found is not None and (found[1] or owner_is_gone(found[0].owner)):
                    self._interrupt(connection, found[0])
                run_id = catalog.insert_run(connection, values, lease_s=self.lease_s)
                catalog.record_inputs(connection, run_id, what["inputs"])
        except IntegrityError:
            self._wait(step, values["key"])
            return None
        failpoint("run.claimed")
        return run_id

    def _interrupt(self, connection: Connection, run: Run) -> None:
        catalog.close_run(connection, run.id, status="interrupted", error="its process ended")
        body = {"run": run.id, "step": run.step, "key": run.key}
        evidence.append(connection, "run.interrupted", self.actor, body)

    def _wait(self, step: Step, wanted: str) -> None:
        while True:
            with self.database.read() as connection:
                found = catalog.running(connection, wanted)
            if found is None or found[1] or owner_is_gone(found[0].owner):
                return
            self.on_event(Event(step=step.name, what="waiting", note=f"for {found[0].owner}"))
            time.sleep(0.5)

    # Making: run the function, then publish all of it or nothing.

    def _make(self, step: Step, of: Kind, inputs: Mapping[str, Any], run_id: int) -> Given:
        self.on_event(Event(step=step.name, what="started"))
        said: list[Forecast] = []
        points: dict[tuple[str, int], float] = {}
        listener = Listener(
            progress=lambda done, total, note: self.on_event(
                Event(step=step.name, what="progress", note=note, done=done, total=total)
            ),
            metric=lambda name, value, at: points.__setitem__((name, at), value),
            forecast=lambda forecast: self._hear(step, forecast, said),
        )
        call = Call(
            kind=step.kind, config=to_plain(step.config), inputs=dict(inputs), seed=step.seed
        )
        meter = Meter()
        try:
            with self._heartbeat(run_id), meter:
                record = self.executor.execute(call, listener)
                failpoint("step.performed")
                self._check_inputs(step, inputs)
                output = self.blobs.put(canonical_json(record), RECORD)
                failpoint("record.stored")
        except BaseException as error:
            self._fail(step, run_id, error, meter.usage, said)
            raise
        typed = from_plain(resolve(of.record), record)
        values = {
            "status": "succeeded",
            "output": output.sha256,
            "usage": catalog.encode(meter.usage),
            "forecast": catalog.encode(said[-1] if said else None),
        }
        with self.database.write() as connection:
            if not catalog.close_run(connection, run_id, **values):
                raise Conflict(
                    f"run {run_id} of {step.name} was taken over while this process was paused",
                    remedy="run the same command again: it uses the other process's result",
                )
            self._publish(connection, step, of, run_id, output, typed)
            catalog.record_metrics(connection, run_id, points)
            failpoint("run.publishing")
        failpoint("run.published")
        self.on_event(
            Event(
                step=step.name,
                what="finished",
                usage=meter.usage,
                forecast=said[-1] if said else None,
                record=typed,
            )
        )
        return Given(type=of.record, blob=output)

    def _hear(self, step: Step, forecast: Forecast, said: list[Forecast]) -> None:
        said.append(forecast)
        self.on_event(Event(step=step.name, what="forecast", forecast=forecast))

    def _publish(
        self, connection: Connection, step: Step, of: Kind, run_id: int, output: Blob, record: Any
    ) -> None:
        catalog.record_blobs(connection, run_id, [output, *find(record, Blob)])
        if of.named:
            catalog.record_version(connection, of.named, record.name, output.sha256, run_id)
        body = {"run": run_id, "step": step.name, "kind": step.kind, "output": output.sha256}
        evidence.append(connection, "run.finished", self.actor, body)
        for move in find(record, AliasMove):
            moved = to_plain(move) | {"digest": output.sha256, "run_id": run_id}
            catalog.record_alias(connection, moved | {"actor": self.actor})
            evidence.append(connection, "alias.moved", self.actor, moved)

    def _fail(
        self,
        step: Step,
        run_id: int,
        error: BaseException,
        usage: Usage,
        said: list[Forecast],
    ) -> None:
        # A person or the system stopped it: that is not the step's failure.
        status = "failed" if isinstance(error, Exception) else "interrupted"
        message = f"{type(error).__name__}: {error}"
        with contextlib.suppress(StoreLocked), self.database.write() as connection:
            catalog.close_run(
                connection,
                run_id,
                status=status,
                error=message,
                usage=catalog.encode(usage),
                forecast=catalog.encode(said[-1] if said else None),
            )
            body = {"run": run_id, "step": step.name, "kind": step.kind, "error": message}
            evidence.append(connection, f"run.{status}", self.actor, body)

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

    @contextlib.contextmanager
    def _heartbeat(self, run_id: int) -> Iterator[None]:
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(self.lease_s / 3):
                # A beat that finds the store locked is made up for by the next one.
                with contextlib.suppress(StoreLocked), self.database.write() as connection:
                    if not catalog.extend_lease(connection, run_id, lease_s=self.lease_s):
                        return

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    # Planning.

    def _plan(self, step: Step, known: dict[Step, str | None]) -> Planned:
        with self.database.read() as connection:
            last = catalog.last_success(connection, step=step.name)
        digests: dict[str, list[str]] = {}
        for name, value in step.inputs.items():
            parts = value if isinstance(value, tuple) else (value,)
            for part in parts:
                digest = self._plan_input(part, known)
                if digest is None:
                    known[step] = None
                    reason = f"{part.name} runs before it"
                    return Planned(step=step, hit=None, reason=reason, last=last)
                digests.setdefault(name, []).append(digest)
        what = identity(step, digests)
        hit = self._verified_hit(step, key(what))
        known[step] = hit.output.sha256 if hit and hit.output else None
        reason = "" if hit else _why(last, what)
        return Planned(step=step, hit=hit, reason=reason, last=last)

    def _plan_input(self, value: Any, known: dict[Step, str | None]) -> str | None:
        if not isinstance(value, Step):
            return self.blobs.put(canonical_json(value), RECORD).sha256
        if value not in known:
            self._plan(value, known)
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
