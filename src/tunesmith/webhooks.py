"""Webhooks: others are told what the evidence says, at least once, signed, and only where the
project file allows it.

A message says what happened and to what, by names and numbers. No text of the data is in it, and
nobody's words.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from tunesmith import __version__, project_file
from tunesmith.core import catalog, evidence, outbox
from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.canonical import parse
from tunesmith.core.db import Database, Transaction, clock, moment
from tunesmith.core.errors import DataError, NotFound, StoreError, UsageError
from tunesmith.core.evidence import Entry
from tunesmith.core.outbox import Item
from tunesmith.core.owner import actor
from tunesmith.core.project_folder import STORE
from tunesmith.project import open_database
from tunesmith.project_file import ProjectFile
from tunesmith.stages.ingest.reach import connect, place_of
from tunesmith.stages.notify.config import WebhookConfig, is_of
from tunesmith.stages.notify.sign import headers, secret_of

TEST = "webhook.test"
AT_ONCE = 100
"""How many messages a tick sends to one webhook at most; the others are for the next."""
_GONE = 410
"""What a receiver answers that never wants to hear again."""
_SAID = (
    "run", "step", "kind", "output", "model", "name", "number", "version", "alias", "schedule",
    "slot", "attempt", "exit_code", "dataset", "digest",
)  # fmt: skip
"""What of an entry's body is told, where it is there: names, numbers, digests."""


@dataclass(frozen=True, kw_only=True)
class Post:
    """A project's webhooks, and the database with its evidence."""

    folder: Path
    file: ProjectFile
    database: Database
    context: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    def webhook(self, name: str) -> WebhookConfig:
        """A webhook of the project file.

        Raises:
            NotFound: there is none of that name.
        """
        if name not in self.file.webhook:
            known = ", ".join(self.file.webhook) or "none"
            raise NotFound(f"there is no webhook {name!r}", remedy=f"there is: {known}")
        return self.file.webhook[name]


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """One message, and what came of it."""

    webhook: str
    entry: int
    """Number of the entry of the evidence; 0 for a test."""
    event: str
    failed: str
    """Why it was not taken; empty if it was."""


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """How a webhook stands."""

    name: str
    url: str
    """Without its query, which may hold secrets."""
    events: tuple[str, ...]
    is_set: bool
    num_sent: int
    num_waiting: int
    dead: tuple[int, ...]
    """Numbers of the entries that it was not told in all tries."""
    last_failure: str


@contextmanager
def opened(folder: Path) -> Iterator[Post]:
    """The webhooks of the project in `folder`; see also `project.open_project`."""
    folder = folder.resolve()
    file, _ = project_file.read(folder)
    with closing(open_database(file, folder)) as database:
        yield Post(folder=folder, file=file, database=database)


def deliver(post: Post) -> list[Told]:
    """Tell each webhook what it has not been told. What fails is tried again at a later tick.

    Of several processes one does it; the others leave it to that one. A webhook whose secret is not
    in the environment is told nothing, and that is said: it keeps nothing else from being done.
    """
    told: list[Told] = []
    if not post.file.webhook:
        return told
    with (post.folder / STORE / "webhooks.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return told
        for config in post.file.webhook.values():
            try:
                told += _deliver(post, config)
            except UsageError as error:
                told.append(Told(webhook=config.name, entry=0, event="", failed=str(error)))
    return told


def _deliver(post: Post, config: WebhookConfig) -> list[Told]:
    name, secret = config.name, secret_of(config.secret_env)
    with post.database.read() as connection:
        known = outbox.kinds(connection, name).keys()
    if not known >= {*config.events}:
        with post.database.write() as connection:
            outbox.widen(connection, name, actor(), config.events)
    with post.database.read() as connection:
        cursor = outbox.position(connection, name)
        newest = evidence.length(connection)
        waiting = iter(()) if cursor is None else _items(post, connection, config, cursor)
        items = list(islice(waiting, 1))
        if items:
            tries, not_before = outbox.tries(connection, name, items[0])
            if not_before > clock(connection):  # those after it wait for it
                return []
            items += islice(waiting, AT_ONCE - 1)
    if cursor is None or not items:
        if known - {*config.events}:
            with post.database.write() as connection:
                outbox.narrow(connection, name, config.events)
        _pass_over(post, name, cursor, newest)
        return []
    told: list[Told] = []
    for item in items:
        failed, gone = _send(post, config, secret, message_id(item.entry), _body(post, item))
        with post.database.write() as connection:
            if failed:
                outbox.fail(connection, name, actor(), item, cursor,
                            tries=tries, reason=failed, gone=gone)  # fmt: skip
            else:
                outbox.sent(connection, name, actor(), item, cursor)
        told.append(Told(webhook=name, entry=item.entry.seq, event=item.event, failed=failed))
        if failed:
            break
        cursor, tries = item.at, 0
    return told


def _pass_over(post: Post, name: str, cursor: int | None, newest: int) -> None:
    """Nothing up to the newest entry is to be told: of what comes next, it is told."""
    if cursor == newest:
        return
    with post.database.write() as connection:
        if cursor is None:
            outbox.set_at(connection, name, actor(), evidence.length(connection))
        else:
            outbox.advance(connection, name, cursor, newest)


def test(post: Post, name: str) -> Told:
    """Send a webhook a message that means nothing, now and once.

    Raises:
        NotFound: there is no such webhook.
        UsageError: its secret is not in the environment.
    """
    config = post.webhook(name)
    secret = secret_of(config.secret_env)
    at = int(time.time())
    body = {"type": TEST, "timestamp": None, "data": {"project": post.file.project.name}}
    failed, _ = _send(post, config, secret, f"test-{at}", body)
    return Told(webhook=name, entry=0, event=TEST, failed=failed)


def start(post: Post, name: str, after: int) -> None:
    """Let a webhook be told, by the next ticks, all that came after an entry of the evidence; what
    it was told before, it is told again.

    Raises:
        NotFound: there is no such webhook.
        UsageError: there is no such entry.
    """
    post.webhook(name)
    with post.database.write() as connection:
        newest = evidence.length(connection)
        if not 0 <= after <= newest:
            raise UsageError(
                f"there is no entry {after} of the evidence",
                remedy=f"the newest is {newest}; with 0 it is told everything",
            )
        outbox.set_at(connection, name, actor(), after)


def retry(post: Post, name: str, entry: int = 0) -> list[int]:
    """Let messages that were given up, or wait after a failure, be sent by the next tick: one, or
    all.

    Raises:
        NotFound: there is no such webhook, or nothing to send again.
    """
    config = post.webhook(name)
    with post.database.write() as connection:
        dead = sorted(outbox.accounts(connection, [name])[name].dead)
        again = [each for each in dead if entry in (0, each)]
        cursor = outbox.position(connection, name)
        waits = None if cursor is None else next(_items(post, connection, config, cursor), None)
        if cursor is not None and waits is not None and entry in (0, waits.entry.seq):
            num_tries, _ = outbox.tries(connection, name, waits)
            if num_tries:  # it begins anew where it stands
                outbox.set_at(connection, name, actor(), cursor)
                again.insert(0, waits.entry.seq)
        for each in sorted({*again} & {*dead}):
            outbox.again(connection, name, actor(), each)
        if not again:
            raise NotFound(
                f"webhook {name} has given up no message" + (f" {entry}" if entry else ""),
                remedy="`tunesmith webhook list` says which it has",
            )
    return again


def states(post: Post) -> list[State]:
    """How each webhook stands."""
    found = []
    with post.database.read() as connection:
        held = outbox.accounts(connection, list(post.file.webhook))
        for name, config in post.file.webhook.items():
            cursor = outbox.position(connection, name)
            waiting = () if cursor is None else _items(post, connection, config, cursor)
            found.append(
                State(
                    name=name,
                    url=place_of(config.url).shown,
                    events=config.events,
                    is_set=cursor is not None,
                    num_sent=held[name].num_sent,
                    num_waiting=sum(1 for _ in waiting),
                    dead=tuple(sorted(held[name].dead)),
                    last_failure=held[name].last_failure,
                )
            )
    return found


def _items(
    post: Post, connection: Transaction, config: WebhookConfig, cursor: int
) -> Iterator[Item]:
    """What a webhook is still to be told, in order; of a kind that it names since a while ago, what
    came since then."""
    begins = outbox.kinds(connection, config.name)
    for entry in evidence.entries(connection, after=cursor):
        if outbox.is_again(connection, config.name, entry):
            told = evidence.entry(connection, entry.body["entry"])
            yield Item(at=entry.seq, entry=told, event=_event(post, connection, told))
        elif not entry.what.startswith("webhook."):
            event = _event(post, connection, entry)
            if config.wants(event) and _has_begun(begins, entry, event):
                yield Item(at=entry.seq, entry=entry, event=event)


def _has_begun(begins: Mapping[str, int], entry: Entry, event: str) -> bool:
    """Whether a kind that is named, or was until lately, has it; all do, if none is known."""
    return not begins or any(
        entry.seq > after and is_of(event, kind) for kind, after in begins.items()
    )


def _event(post: Post, connection: Transaction, entry: Entry) -> str:
    """The kind of an entry; of a gate that was judged, what it says: "gate.fail"."""
    if entry.what != "run.finished" or entry.body.get("kind") != "gate@1":
        return entry.what
    run = catalog.run(connection, entry.body["run"])
    with suppress(StoreError, AttributeError, KeyError):
        blobs = FolderBlobs(post.folder / STORE / "blobs")
        return f"gate.{parse(blobs.get(run.output))['verdict']}"  # type: ignore[arg-type]
    return entry.what


def _body(post: Post, item: Item) -> dict[str, Any]:
    entry = item.entry
    said = {
        name: value
        for name, value in entry.body.items()
        if name in _SAID and isinstance(value, str | int)
    }
    about = {"project": post.file.project.name, "entry": entry.seq, "evidence": entry.digest}
    return {"type": item.event, "timestamp": entry.at, "data": about | said}


def message_id(entry: Entry) -> str:
    """The same whenever an entry is told. With its digest: a store that was restored from a backup
    goes on with numbers that were told already, of other entries."""
    return f"evidence-{entry.seq}-{entry.digest[:12]}"


def _send(
    post: Post, config: WebhookConfig, secret: bytes, id: str, body: dict[str, Any]
) -> tuple[str, bool]:
    """Why a message was not taken, empty if it was; and whether no other ever will be.

    Of what the receiver says the status alone is kept: its words may be anything.
    """
    place = place_of(config.url)
    with post.database.read() as connection:
        now = clock(connection)
    text = json.dumps(body | {"timestamp": body["timestamp"] or now}, ensure_ascii=False).encode()
    signed = headers(id, int(moment(now).timestamp()), text, secret)
    try:
        plain = connect(place, post.file.project.hosts, post.context, config.timeout_s)
    except DataError as error:
        return error.message, False
    except OSError as error:
        return f"{type(error).__name__}: nobody takes it at {place.shown}", False
    # A receiver that says one letter now and then would be listened to for ever.
    deadline = threading.Timer(config.timeout_s, _cut, [plain])
    deadline.daemon = True
    deadline.start()
    connection_ = http.client.HTTPConnection(place.host, place.port)
    connection_.sock = plain
    try:
        host = f"{place.name}:{place.port}"
        agent = {"host": host, "user-agent": f"tunesmith/{__version__}", "connection": "close"}
        connection_.request("POST", place.target, text, signed | agent)
        status = connection_.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: it did not answer", False
    finally:
        deadline.cancel()
        connection_.close()
    return ("" if 200 <= status < 300 else f"it answered {status}"), status == _GONE


def _cut(plain: socket.socket) -> None:
    with suppress(OSError):
        plain.shutdown(socket.SHUT_RDWR)
