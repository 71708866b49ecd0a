"""What is still to be told: a cursor over the evidence, and what became of each message.

That a webhook was set, that a message was sent, failed, or is given up are entries of the evidence,
so that a message is never lost, and what was tried can be shown. The cursor says up to which entry
everything was told, or given up; it is kept so that nobody has to read what lies before it, and is
made anew from the evidence where it is missing.

Of each kind of event that a webhook names, it is kept from where on it is told: one that is named
later begins then.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.engine import Connection

from tunesmith.core import cursors, evidence
from tunesmith.core.db import clock
from tunesmith.core.evidence import Entry

SET, SENT, FAILED = "webhook.set", "webhook.sent", "webhook.failed"
DEAD, AGAIN = "webhook.dead", "webhook.again"
WIDENED = "webhook.widened"
WAITS_S = (5.0, 60.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 72000.0)
"""How long to wait after the first failure, the second one, ...; after the last one it is dead."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One message that is to be told."""

    at: int
    """Where it stands in the order: its entry's number, or that of the entry which says that it is
    to be told again."""
    entry: Entry
    """What it tells."""
    event: str
    """What kind of event that is, as a webhook names it."""


@dataclass(kw_only=True, slots=True)
class Account:
    """What became of one webhook's messages."""

    num_sent: int = 0
    dead: dict[int, str] = field(default_factory=dict)
    """Number of the entry -> why the last try failed."""
    last_failure: str = ""

    def take(self, entry: Entry) -> None:
        """Take in one entry that is about it."""
        number, body = int(entry.body["entry"]), entry.body
        if entry.what == SENT:
            self.num_sent += 1
        elif entry.what in (FAILED, DEAD):
            self.last_failure = body["reason"]
        if entry.what == DEAD:
            self.dead[number] = body["reason"]
        elif entry.what == SET:  # those after it come by themselves
            self.dead = {each: why for each, why in self.dead.items() if each <= number}
        else:
            self.dead.pop(number, None)


def accounts(connection: Connection, names: list[str]) -> dict[str, Account]:
    """What became of the messages of each webhook, from all of the evidence."""
    found = {name: Account() for name in names}
    for entry in evidence.entries(connection, SET, SENT, FAILED, DEAD, AGAIN):
        if entry.body["webhook"] in found:
            found[entry.body["webhook"]].take(entry)
    return found


def position(connection: Connection, webhook: str) -> int | None:
    """The entry up to which everything is settled; None where the webhook was never set."""
    found = cursors.find(connection, _target(webhook))
    return _made_anew(connection, webhook) if found is None else found


def _made_anew(connection: Connection, webhook: str) -> int | None:
    settled: int | None = None
    for entry in evidence.entries(connection, SET, SENT, DEAD):
        if entry.body["webhook"] == webhook:
            settled = int(entry.body.get("at", entry.body["entry"]))
    return settled


def advance(connection: Connection, webhook: str, before: int, seq: int) -> int:
    """Move the cursor on, if it still stands where it was `before`; where it then stands."""
    return cursors.advance(connection, _target(webhook), seq, before=before)


def set_at(connection: Connection, webhook: str, actor: str, after: int) -> None:
    """From now on it is told what came `after` that entry, also if it was told before."""
    _note(connection, SET, actor, webhook, after)
    cursors.advance(connection, _target(webhook), after)
    for kind in kinds(connection, webhook):
        cursors.forget(connection, _target(webhook, kind))


def kinds(connection: Connection, webhook: str) -> Mapping[str, int]:
    """Of the kinds of events that a webhook is told of, as it names them: after which entry."""
    return cursors.below(connection, _target(webhook, ""))


def widen(connection: Connection, webhook: str, actor: str, named: Collection[str]) -> None:
    """Of kinds that are `named` now, and were not, it is told from now on; of all of them, what
    came after its cursor, where none was known."""
    known, after = kinds(connection, webhook), position(connection, webhook)
    if known or after is None:
        after = evidence.length(connection)
    if known:
        _note(connection, WIDENED, actor, webhook, after, events=sorted(named))
    for kind in set(named) - known.keys():
        cursors.advance(connection, _target(webhook, kind), after)


def narrow(connection: Connection, webhook: str, named: Collection[str]) -> None:
    """It is told of no kind that is not `named`; of one that is named again, from then on."""
    for kind in kinds(connection, webhook).keys() - set(named):
        cursors.forget(connection, _target(webhook, kind))


def is_again(connection: Connection, webhook: str, entry: Entry) -> bool:
    """Whether an entry says that a message is to be told again; not, if all since before that
    message was asked for later."""
    return (
        entry.what == AGAIN
        and entry.body["webhook"] == webhook
        and not any(
            each.body["webhook"] == webhook and each.body["entry"] < entry.body["entry"]
            for each in evidence.entries(connection, SET, after=entry.seq)
        )
    )


def tries(connection: Connection, webhook: str, item: Item) -> tuple[int, str]:
    """How often the first of all that waits was tried, and before when it is not tried again."""
    found = (0, "")
    for entry in evidence.entries(connection, SET, FAILED, after=item.at):
        if entry.body["webhook"] != webhook:
            continue
        if entry.what == SET:
            found = (0, "")
        elif entry.body["entry"] == item.entry.seq:
            found = (int(entry.body["tries"]), str(entry.body["not_before"]))
    return found


def sent(connection: Connection, webhook: str, actor: str, item: Item, before: int) -> None:
    """A message was taken: the cursor, which stood at `before`, goes on."""
    at = advance(connection, webhook, before, item.at)
    _note(connection, SENT, actor, webhook, item.entry.seq, at=at)


def fail(
    connection: Connection,
    webhook: str,
    actor: str,
    item: Item,
    before: int,
    *,
    tries: int,
    reason: str,
    gone: bool,
) -> None:
    """A try failed, after `tries` others: all wait for it, longer each time, until it is given up;
    at once if the receiver is `gone`."""
    number, tries = item.entry.seq, tries + 1
    if gone or tries > len(WAITS_S):
        at = advance(connection, webhook, before, item.at)
        _note(connection, DEAD, actor, webhook, number, at=at, tries=tries, reason=reason)
        return
    not_before = clock(connection, plus_s=WAITS_S[tries - 1])
    more = {"tries": tries, "reason": reason, "not_before": not_before}
    _note(connection, FAILED, actor, webhook, number, **more)


def again(connection: Connection, webhook: str, actor: str, entry: int) -> None:
    """A message that was given up is to be told once more, when its turn comes."""
    _note(connection, AGAIN, actor, webhook, entry)


def _note(
    connection: Connection, what: str, actor: str, webhook: str, entry: int, **more: Any
) -> None:
    evidence.append(connection, what, actor, {"webhook": webhook, "entry": entry, **more})


def _target(webhook: str, kind: str | None = None) -> str:
    return f"webhook:{webhook}" if kind is None else f"webhook:{webhook}:{kind}"
