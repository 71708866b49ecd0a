"""What is still to be told: a cursor over the evidence, and what became of each message.

Nothing is kept beside the evidence: that a webhook was set, that a message was sent, failed, or is
given up are entries of it. So a message is never lost, and what was tried can be shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.engine import Connection

from tunesmith.core import evidence
from tunesmith.core.db import clock
from tunesmith.core.evidence import Entry

SET, SENT, FAILED = "webhook.set", "webhook.sent", "webhook.failed"
DEAD, AGAIN = "webhook.dead", "webhook.again"
WAITS_S = (5.0, 60.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 72000.0)
"""How long to wait after the first failure, the second one, ...; after the last one it is dead."""


@dataclass(kw_only=True, slots=True)
class Box:
    """What became of one webhook's messages."""

    webhook: str
    since: int | None = None
    """The entry of the evidence after which it is told; None before it was set."""
    sent: dict[int, str] = field(default_factory=dict)
    """Number of the entry -> when."""
    tries: dict[int, int] = field(default_factory=dict)
    not_before: dict[int, str] = field(default_factory=dict)
    dead: dict[int, str] = field(default_factory=dict)
    """Number of the entry -> why the last try failed."""
    last_failure: str = ""

    def take(self, entry: Entry) -> None:
        """Take in one entry that is about it."""
        body = entry.body
        number = int(body["entry"])
        match entry.what:
            case "webhook.set":
                self.since = number
            case "webhook.sent":
                self.sent[number] = entry.at
                self.tries.pop(number, None)
                self.dead.pop(number, None)
            case "webhook.failed":
                self.tries[number] = body["tries"]
                self.not_before[number] = body["not_before"]
                self.last_failure = body["reason"]
            case "webhook.dead":
                self.dead[number] = self.last_failure = body["reason"]
            case "webhook.again":
                self.tries.pop(number, None)
                self.not_before.pop(number, None)
                self.dead.pop(number, None)

    def is_due(self, entry: Entry, now: str) -> bool:
        """Whether that entry is to be told now."""
        return self.is_waiting(entry) and self.not_before.get(entry.seq, "") <= now

    def is_waiting(self, entry: Entry) -> bool:
        """Whether that entry is to be told, now or later."""
        is_after = self.since is not None and entry.seq > self.since
        return is_after and entry.seq not in self.sent and entry.seq not in self.dead


def boxes(connection: Connection, names: list[str]) -> dict[str, Box]:
    """What became of the messages of each webhook."""
    found = {name: Box(webhook=name) for name in names}
    for entry in evidence.entries(connection, SET, SENT, FAILED, DEAD, AGAIN):
        if entry.body["webhook"] in found:
            found[entry.body["webhook"]].take(entry)
    return found


def note(
    connection: Connection, what: str, actor: str, webhook: str, entry: int, **more: Any
) -> None:
    """Put down what became of a message."""
    body: Mapping[str, Any] = {"webhook": webhook, "entry": entry, **more}
    evidence.append(connection, what, actor, body)


def set_now(connection: Connection, webhook: str, actor: str) -> None:
    """From now on it is told; nothing from before is."""
    newest = max((entry.seq for entry in evidence.entries(connection)), default=0)
    note(connection, SET, actor, webhook, newest)


def fail(connection: Connection, box: Box, actor: str, entry: int, reason: str, gone: bool) -> None:
    """A try failed: wait, longer each time, or give up; at once if the receiver is `gone`."""
    tries = box.tries.get(entry, 0) + 1
    if gone or tries > len(WAITS_S):
        note(connection, DEAD, actor, box.webhook, entry, tries=tries, reason=reason)
        return
    not_before = clock(connection, plus_s=WAITS_S[tries - 1])
    note(
        connection, FAILED, actor, box.webhook, entry,
        tries=tries, reason=reason, not_before=not_before,
    )  # fmt: skip
