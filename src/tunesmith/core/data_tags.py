"""Tags of versions of data, as the evidence has them: given, moved, taken away.

There is no table of tags: the log is the only place, so that no tag stands that nobody gave.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.engine import Connection

from tunesmith.core import evidence

TAGGED = "data.tagged"
UNTAGGED = "data.untagged"


@dataclass(frozen=True, kw_only=True, slots=True)
class DataTag:
    """A name for one version of a data asset or dataset."""

    kind: str
    """As the store calls it: "data" or "dataset"."""
    name: str
    tag: str
    number: int
    digest: str
    """Of the version's record."""
    why: str
    actor: str
    at: str


def standing(connection: Connection) -> list[DataTag]:
    """The tags as they are now, in the order in which they were first given."""
    found: dict[tuple[str, str, str], DataTag] = {}
    for entry in evidence.entries(connection, TAGGED, UNTAGGED):
        body = entry.body
        of = (body["kind"], body["name"], body["tag"])
        if entry.what == UNTAGGED:
            found.pop(of, None)
        else:
            found[of] = DataTag(
                kind=body["kind"],
                name=body["name"],
                tag=body["tag"],
                number=body["number"],
                digest=body["digest"],
                why=body["why"],
                actor=entry.actor,
                at=entry.at,
            )
    return list(found.values())


def find(connection: Connection, kind: str, name: str, tag: str) -> DataTag | None:
    """A tag as it is now; None where there is none."""
    for each in standing(connection):
        if (each.kind, each.name, each.tag) == (kind, name, tag):
            return each
    return None
