"""What checkpoints claim of the evidence, and whether it is so; signatures are looked at elsewhere.

A checkpoint names the log that it is of (its origin), how many entries that had (its size), and the
digest of the last of them (its head). Terms as in C2SP's tlog-checkpoint; where that has the root
of a Merkle tree, this has the end of a chain, so the proof that one log goes on from another is the
chain itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from tunesmith.core import evidence
from tunesmith.core.errors import UsageError
from tunesmith.core.evidence import Entry

MADE = "evidence.checkpoint"
"""What the evidence calls it that its head was signed."""
HEAD = re.compile(r"([1-9][0-9]*):([0-9a-f]{64})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """That the first `size` entries end with one whose digest is `head`."""

    size: int
    head: str
    where: str
    """Who says so, for people: "the checkpoint of evidence 12"."""
    envelope: str = ""
    """The signed statement, DSSE as JSON; empty where only a head was kept."""

    def __str__(self) -> str:
        return f"{self.size}:{self.head}"


def claim_of(said: Mapping[str, Any], where: str) -> Claim | None:
    """The claim of an entry's body, or of an export's header; None for anything else."""
    size, head, envelope = (said.get(name) for name in ("size", "head", "envelope"))
    if not (isinstance(size, int) and isinstance(head, str) and isinstance(envelope, str)):
        return None
    return Claim(size=size, head=head, where=where, envelope=envelope)


def claims_of(log: Iterable[Entry]) -> Iterator[Claim]:
    """What the checkpoints in the evidence claim, oldest first."""
    for entry in log:
        if entry.what == MADE:
            claim = claim_of(entry.body, f"the checkpoint of evidence {entry.seq}")
            if claim is not None:
                yield claim


def head(text: str) -> Claim:
    """What a head claims that was kept, "NUMBER:DIGEST".

    Raises:
        UsageError: it is none.
    """
    found = HEAD.fullmatch(text)
    if found is None:
        raise UsageError(
            f"{text[:80]!r} is no head of the evidence, and no file of a checkpoint",
            remedy='give "NUMBER:DIGEST", as `tunesmith verify` prints it, or the file that '
            "`tunesmith audit checkpoint --out` wrote",
        )
    return Claim(size=int(found[1]), head=found[2], where="the head that was kept")


def contradicted(claims: Iterable[Claim], digests: Mapping[int, str], of: str) -> Iterator[str]:
    """How a log, whose entries have these digests by number, is not what was claimed of it, a
    sentence each; `of` is what people call it."""
    last = max(digests, default=0)
    for claim in claims:
        if claim.size > last:
            yield (
                f"{of} was cut off: it ends with entry {last}, and {claim.where} is of "
                f"{claim.size} entries"
            )
        elif digests.get(claim.size) != claim.head:
            yield (
                f"{of} was written anew: entry {claim.size} is another one than {claim.where} says"
            )


def unlike(connection: Connection, kept: Iterable[Claim]) -> Iterator[str]:
    """What is wrong with the evidence since its newest checkpoint, and beside what was `kept`, a
    sentence each: what stands before it is what was signed then, if its own head is."""
    claims = [*claims_of(evidence.entries(connection, MADE))][-1:]
    first = claims[0].size if claims else 0
    log = list(evidence.entries(connection, after=max(first - 1, 0)))
    kept = [*claims, *kept]
    if first and log:
        yield from evidence.broken_links(iter(log[1:]), after=first, previous=log[0].digest)
    else:
        yield from evidence.broken_links(iter(log))
    digests = {entry.seq: entry.digest for entry in log}
    older = {claim.size for claim in kept} - digests.keys()
    for entry in evidence.entries(connection) if older and min(older) <= first else ():
        digests.setdefault(entry.seq, entry.digest)
    yield from contradicted(kept, digests, "the evidence")
