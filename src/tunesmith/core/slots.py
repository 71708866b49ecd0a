"""Slots: the moments at which a schedule came due, and what became of each.

A slot is fired by inserting its row, which its key allows once. All functions take the caller's
transaction, which holds the write lock where they write, and the time of it; each change is in the
evidence. Nothing here has a text of the data: of an error its class and exit code are kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tunesmith.core import evidence, tables
from tunesmith.core.db import clock, moment, text_of
from tunesmith.core.lease import is_lapsed
from tunesmith.core.owner import is_gone, owner

SET, RUNNING, DONE, FAILED = "set", "running", "done", "failed"
INTERRUPTED, MISSED = "interrupted", "missed"
LEASE_S = 30.0
_SAID = {DONE: "schedule.finished", FAILED: "schedule.failed"} | {
    state: f"schedule.{state}" for state in (INTERRUPTED, MISSED)
}
_columns = tables.slots.c


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """One slot, or the moment at which a schedule was set."""

    schedule: str
    slot: str
    """When it came due (UTC)."""
    cron: str
    """The times of the schedule, as they were set then."""
    state: str
    """running, done, failed, interrupted, missed; or set: no slot, nothing from before it fires."""
    attempt: int
    """1, and one more each time that it is fired again; 0 of what never was."""
    reason: str
    """Why it was missed, or interrupted; of what error it failed."""
    owner: str
    actor: str
    lease_until: str
    started_at: str
    finished_at: str | None
    exit_code: int | None
    runs: tuple[int, ...]
    """Steps that were run for it; none where all that was asked for was there."""

    @property
    def is_lost(self) -> bool:
        """Whether it is said to run, and its process has ended on this machine."""
        return self.state == RUNNING and is_gone(self.owner)


def every(connection: Connection, schedule: str) -> list[Slot]:
    """What became of a schedule, oldest first; a slot that a dead process holds is interrupted."""
    rows = connection.execute(
        sa.select(tables.slots).where(_columns.schedule == schedule).order_by(_columns.slot)
    ).all()
    now = clock(connection)
    return [_as_it_is(_slot(row), now) for row in rows]


def newest(connection: Connection, schedule: str, until: str) -> Slot | None:
    """The newest slot of a schedule that is not after `until`."""
    row = connection.execute(
        sa.select(tables.slots)
        .where(_columns.schedule == schedule, _columns.slot <= until)
        .order_by(_columns.slot.desc())
        .limit(1)
    ).first()
    return _slot(row) if row else None


def running(connection: Connection, schedule: str) -> Slot | None:
    """The slot of a schedule that runs."""
    row = connection.execute(
        sa.select(tables.slots).where(_columns.schedule == schedule, _columns.state == RUNNING)
    ).first()
    return _slot(row) if row else None


def note(connection: Connection, slot: Slot) -> None:
    """Keep a slot that is not fired: a missed one, or the moment at which a schedule was set."""
    connection.execute(tables.slots.insert().values(_values(slot)))
    if slot.state in _SAID:
        evidence.append(connection, _SAID[slot.state], slot.actor, _body(slot))


def fire(connection: Connection, schedule: str, slot: str, cron: str, actor: str, at: str) -> Slot:
    """Take a slot that came due, once and for all.

    Raises:
        sqlalchemy.exc.IntegrityError: it was taken, or another slot of the schedule runs.
    """
    fired = blank(schedule, slot, cron, actor, at, state=RUNNING)
    return _start(connection, replace(fired, owner=owner(), attempt=1))


def fire_again(connection: Connection, slot: Slot, actor: str, at: str) -> Slot:
    """Take a slot that was taken before, on purpose."""
    again = blank(slot.schedule, slot.slot, slot.cron, actor, at, state=RUNNING)
    connection.execute(tables.slots.delete().where(_is(slot)))
    return _start(connection, replace(again, owner=owner(), attempt=slot.attempt + 1))


def blank(schedule: str, slot: str, cron: str, actor: str, at: str, *, state: str) -> Slot:
    """A slot of which nothing else is known yet."""
    return Slot(
        schedule=schedule,
        slot=slot,
        cron=cron,
        state=state,
        attempt=0,
        reason="",
        owner="",
        actor=actor,
        lease_until="",
        started_at=at,
        finished_at=None,
        exit_code=None,
        runs=(),
    )


def extend(connection: Connection, slot: Slot) -> bool:
    """Keep a slot that runs; False when it is no longer ours to keep."""
    lease_until = clock(connection, plus_s=LEASE_S)
    result = connection.execute(
        tables.slots.update().where(_is(slot), _is_running(slot)).values(lease_until=lease_until)
    )
    return result.rowcount == 1


def end(connection: Connection, slot: Slot, state: str, *, code: int = 0, reason: str = "") -> bool:
    """End a slot that runs, with its evidence; False when somebody else ended it first."""
    runs = tables.runs.c
    ids = connection.execute(
        sa.select(runs.id)
        .where(runs.owner == slot.owner, runs.started_at >= slot.started_at)
        .order_by(runs.id)
    ).scalars()
    ended = replace(
        slot,
        state=state,
        reason=reason,
        finished_at=clock(connection),
        exit_code=None if state == INTERRUPTED else code,
        runs=tuple(ids),
    )
    changed = {"state", "reason", "finished_at", "exit_code", "runs"}
    values = {name: value for name, value in _values(ended).items() if name in changed}
    result = connection.execute(
        tables.slots.update().where(_is(slot), _is_running(slot)).values(values)
    )
    if result.rowcount == 1:
        evidence.append(connection, _SAID[state], slot.actor, _body(ended))
    return bool(result.rowcount == 1)


def interrupt_lost(connection: Connection, schedule: str, at: str) -> None:
    """End the slot of a schedule whose process has ended, or let its lease lapse."""
    slot = running(connection, schedule)
    if slot is not None and (slot.is_lost or is_lapsed(slot.owner, slot.lease_until, at)):
        end(connection, slot, INTERRUPTED, reason=_LOST)


_LOST = "its process ended"


def _start(connection: Connection, slot: Slot) -> Slot:
    lease_until = text_of(moment(slot.started_at) + timedelta(seconds=LEASE_S))
    slot = replace(slot, lease_until=lease_until)
    connection.execute(tables.slots.insert().values(_values(slot)))
    evidence.append(connection, "schedule.fired", slot.actor, _body(slot))
    return slot


def _as_it_is(slot: Slot, now: str) -> Slot:
    lost = slot.state == RUNNING and (slot.is_lost or is_lapsed(slot.owner, slot.lease_until, now))
    return replace(slot, state=INTERRUPTED, reason=_LOST) if lost else slot


def _is(slot: Slot) -> sa.ColumnElement[bool]:
    return sa.and_(_columns.schedule == slot.schedule, _columns.slot == slot.slot)


def _is_running(slot: Slot) -> sa.ColumnElement[bool]:
    return sa.and_(_columns.state == RUNNING, _columns.attempt == slot.attempt)


def _values(slot: Slot) -> dict[str, Any]:
    values = {name: getattr(slot, name) for name in _columns.keys()}  # noqa: SIM118
    return values | {"runs": json.dumps(slot.runs)}


def _body(slot: Slot) -> Mapping[str, Any]:
    body = {"schedule": slot.schedule, "slot": slot.slot, "cron": slot.cron}
    if slot.state == MISSED:
        return body | {"reason": slot.reason}
    body |= {"attempt": slot.attempt}  # type: ignore[dict-item]
    if slot.state == RUNNING:
        return body
    return body | {"exit_code": slot.exit_code, "reason": slot.reason, "runs": list(slot.runs)}


def _slot(row: Row[Any]) -> Slot:
    return Slot(**(row._asdict() | {"runs": tuple(json.loads(row.runs))}))
