"""Checkpoints of the evidence: its head, signed, so that it cannot be written anew unnoticed.

Each is an entry of the evidence, and the newest is kept beside the tables, too, in a file of the
store: who can write to the database alone cannot cut off what was signed. Who can write to both can
put the whole store back to an earlier state, with the checkpoint of then. Against that helps only a
witness: a checkpoint that was kept where they cannot write.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.core import evidence
from tunesmith.core.canonical import canonical_json
from tunesmith.core.checkpoint import MADE, Claim, contradicted, unlike
from tunesmith.core.db import Transaction, clock
from tunesmith.core.erasure import write_private
from tunesmith.core.errors import (
    Conflict,
    DataError,
    NotFound,
    SignatureError,
    StoreError,
    UsageError,
)
from tunesmith.signing.envelope import predicate_of, read_envelope, seal, statement
from tunesmith.signing.keys import PrivateKey, key_id, read_public

PREDICATE = "urn:tunesmith:evidence-checkpoint:v1"
FILE = "checkpoint.dsse.json"
"""The newest one, in the store's folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """The head of the evidence, as somebody signed it."""

    origin: str
    """Which log: "tunesmith:" and the digest of its first entry."""
    size: int
    """Entries that it had."""
    head: str
    """Digest of the last of them."""
    at: str
    by: str
    key: str
    """The SHA-256 of the public key's PEM."""
    envelope: str
    """The signed statement: DSSE as JSON."""

    def __str__(self) -> str:
        return f"{self.size}:{self.head}"


def sign_head(connection: Transaction, by: str, key: PrivateKey) -> Checkpoint:
    """A checkpoint of the evidence as it is in this transaction.

    Raises:
        NotFound: it is empty.
    """
    last = evidence.newest(connection)
    if last is None:
        raise NotFound("there is no evidence yet", remedy="run the project: `tunesmith run`")
    first = next(evidence.entries(connection))
    said: dict[str, Any] = {
        "origin": f"tunesmith:{first.digest[:32]}",
        "size": last.seq,
        "head": last.digest,
        "at": clock(connection),
        "by": by,
    }
    about = statement(said["origin"], last.digest, PREDICATE, said)
    envelope = seal(canonical_json(about), key).decode()
    return Checkpoint(**said, key=key.id, envelope=envelope)


def put_on_record(connection: Transaction, made: Checkpoint) -> None:
    """Add a checkpoint to the evidence, in the caller's transaction."""
    body = {
        "origin": made.origin,
        "size": made.size,
        "head": made.head,
        "key": made.key,
        "envelope": made.envelope,
    }
    evidence.append(connection, MADE, made.by, body)


def require_like(connection: Transaction, store: Path) -> None:
    """See that the evidence goes on from its checkpoints, so that none is made of what somebody
    wrote anew.

    Raises:
        StoreError: it does not.
    """
    problem = next(unlike(connection, kept_in(store)), "")
    if problem:
        raise StoreError(
            f"{problem}: no checkpoint is made of it, and no alias is moved",
            remedy="`tunesmith verify` says all that does not hold. If the store was put back to a "
            f"backup on purpose, move {store / FILE} elsewhere, and keep it",
        )


def keep(store: Path, made: Checkpoint) -> None:
    """Put it beside the tables, in place of an earlier one."""
    if any(claim.size > made.size for claim in kept_in(store)):
        return  # another process was faster
    write_private(store / FILE, made.envelope.encode())


def write_copy(path: Path, made: Checkpoint) -> None:
    """Write it to a new file, for somewhere else.

    Raises:
        Conflict: the file is there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(made.envelope)
    except FileExistsError as error:
        raise Conflict(f"{path} is there already", remedy="name another with --out") from error
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}", remedy="name another with --out"
        ) from error


def kept_in(store: Path) -> list[Claim]:
    """What the checkpoint beside the tables claims; none where there is none.

    Raises:
        StoreError: it cannot be read.
    """
    path = store / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(
            f"{path} cannot be read",
            remedy="see what became of it; `tunesmith audit checkpoint` writes another",
        ) from error
    return [_unverified(text, str(path))]


def read_file(path: Path, public_key: Path) -> Claim:
    """What a checkpoint claims that was kept in a file, if it is signed with that key.

    Raises:
        SignatureError: it is not.
        DataError: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a checkpoint") from error
    found = opened(text, public_key, str(path))
    return Claim(size=found.size, head=found.head, where=f"the checkpoint {path}", envelope=text)


def opened(envelope: str, public_key: Path, where: str) -> Checkpoint:
    """The checkpoint in an envelope, if it is signed with that key.

    Raises:
        SignatureError: it is not, or it is no checkpoint.
        MissingExtra: signatures cannot be looked at here.
    """
    said = predicate_of(envelope, PREDICATE, public_key, where)
    wanted = key_id(read_public(public_key))
    return Checkpoint(**_fields(said, where), key=wanted, envelope=envelope)


def signed_with(claims: Iterable[Claim], public_key: Path) -> Iterator[Checkpoint | str]:
    """Of each claim the checkpoint, if it is signed with that key and says the same; a sentence
    where it claims to be, and is not. Those with other keys are left out.

    Raises:
        MissingExtra, SignatureError: signatures cannot be looked at here; the key cannot be read.
    """
    wanted = key_id(read_public(public_key))
    for claim in claims:
        if wanted not in _key_ids(claim.envelope):
            continue
        try:
            found = opened(claim.envelope, public_key, claim.where)
        except SignatureError as error:
            yield error.message
            continue
        if (found.size, found.head) != (claim.size, claim.head):
            yield f"{claim.where} is not what was signed: that is {found.size}:{found.head}"
        else:
            yield found


def problems_of(
    claims: Iterable[Claim], digests: dict[int, str], of: str, public_key: Path | None
) -> tuple[list[str], list[Checkpoint]]:
    """What is wrong with checkpoints of a log (digests of its entries by number, see
    `contradicted`), a sentence each; and those signed with the key, oldest first."""
    every = list(claims)
    wrong = list(contradicted(every, digests, of))
    found = list(signed_with(every, public_key)) if public_key is not None else []
    wrong += [each for each in found if isinstance(each, str)]
    good = [each for each in found if isinstance(each, Checkpoint)]
    return wrong, sorted(good, key=lambda each: each.size)


def _fields(said: Any, where: str) -> dict[str, Any]:
    kinds = {"origin": str, "size": int, "head": str, "at": str, "by": str}
    if isinstance(said, dict) and all(isinstance(said.get(k), kinds[k]) for k in kinds):
        return {name: said[name] for name in kinds}
    raise SignatureError(f"{where} is no checkpoint of the evidence")


def _unverified(envelope: str, where: str) -> Claim:
    try:
        said = json.loads(base64.b64decode(read_envelope(envelope)["payload"], validate=True))
        found = _fields(said["predicate"], where)
    except (ValueError, KeyError, TypeError, binascii.Error, SignatureError) as error:
        raise StoreError(
            f"{where} is no checkpoint of the evidence",
            remedy="see what became of it; `tunesmith audit checkpoint` writes another once it is "
            "moved elsewhere",
        ) from error
    return Claim(size=found["size"], head=found["head"], where=where, envelope=envelope)


def _key_ids(envelope: str) -> set[str]:
    try:
        return {each["keyid"] for each in json.loads(envelope)["signatures"]}
    except (ValueError, KeyError, TypeError):
        return set()
