"""What became of versions after they were made, as the evidence has it: approved, closed.

There is no table of states: the log is the only place, so that nothing can be in a state that
nobody put it into.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from tunesmith.core import catalog, evidence
from tunesmith.core.errors import UsageError
from tunesmith.core.evidence import Entry
from tunesmith.core.ref import Blob, from_plain

MOVED = "alias.moved"
MOVE_SIGNED = "alias.signed"
ASKED = "promotion.asked"
APPROVED = "promotion.approved"
REJECTED = "promotion.rejected"
ROLLED_BACK = "alias.rolled_back"
SIGNED = "model.signed"
SEALED = "gate.sealed"
FROZEN = "dataset.sealed"
REPORTED = "gate.reported"
REPRODUCED = "model.reproduced"
TAGGED = "version.tagged"
NOTED = "version.noted"
KEEPING = (SEALED, REPORTED, FROZEN, "review.judged", "review.decided")
"""Entries whose `kept` says which blobs the store keeps because of them."""
CHANGES = {
    ASKED: "asked",
    APPROVED: "approved",
    REJECTED: "rejected",
    ROLLED_BACK: "rolled back",
    "version.deprecated": "deprecated",
    "version.retired": "retired",
    MOVE_SIGNED: "alias signed",
    SIGNED: "signed",
    SEALED: "report sealed",
    REPORTED: "report signed",
    REPRODUCED: "reproduced",
    TAGGED: "tagged",
    NOTED: "noted",
}
"""What the evidence calls a change -> what people do."""
WENT_BACK = "rolled back: "
"""How the reason of an alias's row begins that was moved back."""
ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")
"""How an alias may be called."""
NO_ALIAS = re.compile(r"base|released|latest|v[0-9]+", re.IGNORECASE)
"""What gates mean others by; and MLflow, where aliases are brought."""
DEPRECATED = CHANGES["version.deprecated"]
RETIRED = CHANGES["version.retired"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Something that somebody did with a version: who, when, why."""

    seq: int
    """Of the evidence entry."""
    at: str
    actor: str
    what: str
    """What people call it: a value of `CHANGES`."""
    version: str
    """e.g. "desk@2"."""
    why: str
    body: Mapping[str, Any]


def require_alias(alias: str, known: Collection[str] = ()) -> None:
    """That a name can be that of an alias, and is not one of those `known` in other case.

    Raises:
        UsageError: it is not.
    """
    if not ALIAS.fullmatch(alias):
        raise UsageError(
            f"{alias[:60]!r} can be no alias",
            remedy="an alias begins with a letter, and has at most 63 letters, digits, . - and _; "
            "it is a place such as production, and no version",
        )
    if NO_ALIAS.fullmatch(alias):
        raise UsageError(
            f"{alias!r} can be no alias: by this word gates, or MLflow, mean others",
            remedy="take another name, such as staging",
        )
    for other in known:
        if alias != other and alias.casefold() == other.casefold():
            raise UsageError(
                f"{alias!r} is {other!r} in other letters, and would be another alias",
                remedy=f"write {other!r}, or take another name",
            )


def move_alias(connection: Connection, moved: Mapping[str, Any]) -> None:
    """Add a row to an alias's history, and the evidence that `tunesmith verify` compares with."""
    catalog.record_alias(connection, moved)
    evidence.append(connection, MOVED, moved["actor"], moved)


def kept_blobs(entry: Entry) -> Iterator[Blob]:
    """What the store keeps because of an entry: a gate's report, the signature of one; what is said
    of a frozen dataset; a row as a reviewer corrected it."""
    if entry.what in KEEPING:  # none with one of before reports were kept
        yield from (from_plain(Blob, each) for each in entry.body.get("kept", ()))


def changes(connection: Connection, model: str) -> list[Change]:
    """Every change of a model's versions, oldest first."""
    return [
        Change(
            seq=entry.seq,
            at=entry.at,
            actor=entry.actor,
            what=CHANGES[entry.what],
            version=entry.body["version"],
            why=entry.body["why"],
            body=entry.body,
        )
        for entry in evidence.entries(connection, *CHANGES)
        if entry.body["model"] == model
    ]


def closed(connection: Connection, model: str) -> dict[str, str]:
    """The versions that are deprecated or retired, and which of the two."""
    return {
        change.version: change.what
        for change in changes(connection, model)
        if change.what in (DEPRECATED, RETIRED)
    }


def waiting(found: list[Change], version: str, alias: str) -> Change | None:
    """The request to promote a version that nobody has answered yet."""
    last = [
        change
        for change in found
        if change.version == version
        and change.body.get("alias") == alias
        and change.what in ("asked", "approved", "rejected")
    ]
    return last[-1] if last and last[-1].what == "asked" else None
