"""Moves of aliases that are signed: who serves a model by an alias need not trust the store to say
where it points.

Signed is the digest of the entry that says that the alias moved. That has the entry's number, the
digest of the one before it, and what moved where, so a signature is of one place in one log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.core import catalog, evidence, lifecycle
from tunesmith.core.canonical import canonical_json
from tunesmith.core.checkpoint import claims_of
from tunesmith.core.db import Database, Transaction
from tunesmith.core.errors import Conflict, SignatureError
from tunesmith.core.evidence import Entry
from tunesmith.signing.checkpoint import kept_in, problems_of
from tunesmith.signing.envelope import predicate_of, seal, statement
from tunesmith.signing.keys import PrivateKey, key_id, read_public

PREDICATE = "urn:tunesmith:alias-move:v1"
VERIFY = "`tunesmith verify` says what does not hold; do not serve it before somebody has looked"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pointed:
    """What an alias is to point at."""

    model: str
    alias: str
    version: str
    """e.g. "desk@2"; for people."""
    release: str
    """Digest of the release's record."""


def newest_move(connection: Transaction, model: str, alias: str) -> Entry | None:
    """The entry that says where an alias points now; None where it points nowhere."""
    found = None
    for entry in evidence.entries(connection, lifecycle.MOVED):
        if _is_of(entry, model) and entry.body["alias"] == alias:
            found = entry
    return found


def is_signed(connection: Transaction, move: Entry, key: str) -> bool:
    """Whether the evidence has a signature of that move by that key."""
    return any(
        entry.body["digest"] == move.digest and entry.body["key"] == key
        for entry in evidence.entries(connection, lifecycle.MOVE_SIGNED, after=move.seq)
    )


def sign_move(
    connection: Transaction,
    to: Pointed,
    key: PrivateKey,
    by: str,
    more: Mapping[str, Any],
) -> None:
    """Sign, in the caller's transaction, that an alias points where it does since its newest move;
    `more` goes into the entry, too.

    Raises:
        Conflict: it points elsewhere.
    """
    move = newest_move(connection, to.model, to.alias)
    if move is None or move.body["digest"] != to.release:
        raise Conflict(
            f"{to.alias!r} of {to.model} does not point at {to.version}",
            remedy=f"see where: `tunesmith model list {to.model}`",
        )
    said = {
        "model": to.model,
        "alias": to.alias,
        "version": to.version,
        "release": to.release,
        "move": {"seq": move.seq, "digest": move.digest, "previous": move.previous},
        "by": by,
    }
    name = f"{to.model}/{to.alias}"
    sealed = seal(canonical_json(statement(name, move.digest, PREDICATE, said)), key)
    body = {
        "model": to.model,
        "alias": to.alias,
        "version": to.version,
        "why": f"{to.alias}, with key {key.id[:12]}",
        "move": move.seq,
        "digest": move.digest,
        "key": key.id,
        "envelope": sealed.decode(),
        **more,
    }
    evidence.append(connection, lifecycle.MOVE_SIGNED, by, body)


def require_signed_alias(database: Database, store: Path, to: Pointed, public_key: Path) -> Entry:
    """The move by which an alias points at a release, if it is signed with that key, is the newest
    of that alias, and the evidence around it holds.

    Raises:
        SignatureError: it is not so.
        MissingExtra: signatures cannot be looked at here.
    """
    wanted = key_id(read_public(public_key))
    with database.read() as connection:
        log = list(evidence.entries(connection))
        rows = [row for row in catalog.alias_moves(connection) if row["name"] == to.model]
    _require_whole(log, store, public_key)
    moves = [entry for entry in log if entry.what == lifecycle.MOVED and _is_of(entry, to.model)]
    if [row for row in rows if row["kind"] == "model"] != [dict(each.body) for each in moves]:
        raise SignatureError(
            f"the history of the aliases of {to.model} is not what the evidence says", remedy=VERIFY
        )
    move = [entry for entry in moves if entry.body["alias"] == to.alias][-1:]
    if not move or move[0].body["digest"] != to.release:
        raise SignatureError(
            f"{to.alias!r} of {to.model} does not point at {to.version} any more",
            remedy="run the same command again",
        )
    signed = [
        entry
        for entry in log
        if entry.what == lifecycle.MOVE_SIGNED
        and entry.body["digest"] == move[0].digest
        and entry.body["key"] == wanted
    ]
    if not signed:
        raise SignatureError(
            f"that {to.alias!r} of {to.model} points at {to.version} (evidence {move[0].seq}) is "
            f"not signed with the key of {public_key} (sha256 {wanted[:12]})",
            remedy="if that is where it is to point, whoever has the key says so: `tunesmith model "
            f"sign {to.version} --alias {to.alias} --key FILE`",
        )
    where = f"the signature of evidence {signed[-1].seq}"
    said = predicate_of(signed[-1].body["envelope"], PREDICATE, public_key, where)
    if said.get("move") != {
        "seq": move[0].seq,
        "digest": move[0].digest,
        "previous": move[0].previous,
    }:
        raise SignatureError(f"{where} is of another move of an alias", remedy=VERIFY)
    return move[0]


def _require_whole(log: Sequence[Entry], store: Path, public_key: Path) -> None:
    """Raise unless the chain holds, and goes on from the checkpoints that there are."""
    problem = next(evidence.broken_links(iter(log)), "")
    if not problem:
        claims = [*claims_of(log), *kept_in(store)]
        digests = {entry.seq: entry.digest for entry in log}
        problem = next(iter(problems_of(claims, digests, "the evidence", public_key)[0]), "")
    if problem:
        raise SignatureError(f"nothing is served of it: {problem}", remedy=VERIFY)


def _is_of(entry: Entry, model: str) -> bool:
    return bool(entry.body["kind"] == "model" and entry.body["name"] == model)
