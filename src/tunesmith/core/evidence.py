"""The evidence log: what happened, appended, each entry bound to the one before it by its hash."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tunesmith.core.canonical import canonical_json, fingerprint, parse, sha256
from tunesmith.core.db import clock
from tunesmith.core.errors import StoreError
from tunesmith.core.tables import evidence

GENESIS = "0" * 64
_ENCODER = json.JSONEncoder(ensure_ascii=False)  # to make one takes as long as to check an entry


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One thing that happened."""

    seq: int
    at: str
    actor: str
    what: str
    """e.g. "run.finished", "alias.moved"."""
    body: Mapping[str, Any]
    text: str
    """The body as it is stored: canonical JSON."""
    previous: str
    digest: str
    """SHA-256 of the canonical JSON of the six fields before it."""


def append(connection: Connection, what: str, actor: str, body: Mapping[str, Any]) -> str:
    """Add an entry in the caller's transaction (which holds the write lock); return its digest."""
    last = connection.execute(
        sa.select(evidence.c.seq, evidence.c.digest).order_by(evidence.c.seq.desc()).limit(1)
    ).first()
    entry = {
        "seq": last.seq + 1 if last else 1,
        "at": clock(connection),
        "actor": actor,
        "what": what,
        "body": parse(canonical_json(body)),
        "previous": last.digest if last else GENESIS,
    }
    digest = fingerprint(entry)
    row = entry | {"body": canonical_json(body).decode(), "digest": digest}
    connection.execute(evidence.insert().values(row))
    return digest


def length(connection: Connection) -> int:
    """The number of the last entry; 0 where there is none."""
    return connection.execute(sa.select(sa.func.max(evidence.c.seq))).scalar() or 0


def entry(connection: Connection, seq: int) -> Entry:
    """One entry.

    Raises:
        StoreError: there is none of that number, or it cannot be read.
    """
    for found in entries(connection, after=seq - 1):
        if found.seq == seq:
            return found
        break
    raise StoreError(f"evidence {seq} is missing", remedy="`tunesmith verify` checks the store")


def entries(connection: Connection, *kinds: str, after: int = 0) -> Iterator[Entry]:
    """Every entry after one, in order; with `kinds`, those that say one of them happened.

    Raises:
        StoreError: one cannot be read.
    """
    wanted = sa.select(evidence).order_by(evidence.c.seq).where(evidence.c.seq > after)
    for row in connection.execute(wanted.where(evidence.c.what.in_(kinds)) if kinds else wanted):
        try:
            body = parse(row.body.encode())
        except ValueError as error:
            raise StoreError(
                f"evidence {row.seq} ({row.what}) was edited after it was written: its body is no "
                "JSON",
                remedy="restore a backup: `tunesmith store restore`",
            ) from error
        yield Entry(
            seq=row.seq,
            at=row.at,
            actor=row.actor,
            what=row.what,
            body=body,
            text=row.body,
            previous=row.previous,
            digest=row.digest,
        )


def digests(connection: Connection) -> dict[int, str]:
    """The digest of every entry by its number, as it is stored."""
    every = connection.execute(sa.select(evidence.c.seq, evidence.c.digest))
    return {row.seq: row.digest for row in every}


def newest(connection: Connection) -> Entry | None:
    """The last entry; None where there is none.

    Raises:
        StoreError: it cannot be read.
    """
    last = length(connection)
    return entry(connection, last) if last else None


def digest_of(entry: Entry) -> str:
    """What the digest of an entry has to be."""
    # The canonical JSON, put together around the body, which is canonical already.
    actor, at, what = (_ENCODER.encode(each) for each in (entry.actor, entry.at, entry.what))
    text = (
        f'{{"actor":{actor},"at":{at},"body":{entry.text},"previous":"{entry.previous}",'
        f'"seq":{entry.seq},"what":{what}}}'
    )
    return sha256(text.encode())


def broken_links(log: Iterator[Entry], *, after: int = 0, previous: str = GENESIS) -> Iterator[str]:
    """What is wrong with the chain, a sentence each; nothing when it holds. `log` begins `after`
    the entry with the digest `previous`.

    An edited, removed, inserted or re-ordered entry breaks it. Entries cut off at the end do not:
    keep the last digest elsewhere to notice that.
    """
    expected = after + 1
    for entry in log:
        if entry.seq != expected:
            yield f"evidence {expected} is missing: {entry.seq} follows {expected - 1}"
        if entry.previous != previous:
            yield f"evidence {entry.seq} does not follow from the entry before it"
        if digest_of(entry) != entry.digest:
            yield f"evidence {entry.seq} ({entry.what}) was edited after it was written"
        previous, expected = entry.digest, entry.seq + 1
