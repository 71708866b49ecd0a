"""What left the store, on record before anybody can see it: what it was, and where it went.

The log may have a copy that was never finished, never the other way round. It has no text of a row
and no password.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from tunesmith.core import erasure, evidence
from tunesmith.core.canonical import fingerprint
from tunesmith.core.db import Database, Transaction
from tunesmith.core.errors import Conflict
from tunesmith.core.ref import to_plain

LEFT = "copy.left"
REVIEWED = "review.exported"
"""Rows left for people to look at; its entry says of which review."""
Has = Literal["rows", "weights", "records"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Copy:
    """Something that was written for others."""

    form: str
    """For people, e.g. "adapter", "ModelKit", "MLflow"."""
    of: tuple[str, ...]
    """Versions, each with its kind, e.g. "model desk@2"."""
    digests: tuple[str, ...]
    """Of their records, in the same order."""
    has: Has
    """Rows; what was learnt from rows; or names, figures and digests alone."""
    where: str
    """A path, or an address without user, password and query."""
    warnings: tuple[str, ...] = ()
    """What whoever wrote it was warned of."""


def put_on_record(database: Database, actor: str, copy: Copy) -> None:
    """Say in the evidence that a copy leaves; the same one, said again, is said once.

    Raises:
        Conflict: somebody is being forgotten.
    """
    with database.write() as connection:
        put_on_record_in(connection, actor, copy)


def put_on_record_in(connection: Transaction, actor: str, copy: Copy) -> None:
    """The same in the caller's transaction."""
    if copy.has != "records":
        require_none_forgotten(connection, ", ".join(copy.of))
    body = to_plain(copy)
    if not copy.warnings:  # as entries were before there were any: the same one is said once
        del body["warnings"]
    said = evidence.entries(connection, LEFT)
    if all(fingerprint(entry.body) != fingerprint(body) for entry in said):
        evidence.append(connection, LEFT, actor, body)


def require_none_forgotten(connection: Transaction, what: str, blobs: Collection[str] = ()) -> None:
    """Raise Conflict if somebody is being forgotten, or was with one of `blobs`, so that `what` may
    not leave."""
    state = erasure.read(connection)
    if state.unfinished or state.purged & {*blobs}:
        raise Conflict(
            f"somebody is being forgotten, and {what} may have something of theirs",
            remedy="run this again when that is done; if it was killed, run the same "
            "`tunesmith data forget` again first",
        )


def without_secrets(address: str) -> str:
    """The address of a server without user, password and query.

    >>> without_secrets("https://ann:pw@host:1/a?token=b")
    'https://host:1/a'
    """
    place = urlsplit(address)
    return f"{place.scheme}://{place.netloc.rpartition('@')[2]}{place.path}"
