"""Model versions that are used only if they are signed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tunesmith.core import evidence
from tunesmith.core.blobs import Blobs
from tunesmith.core.canonical import fingerprint
from tunesmith.core.db import Database
from tunesmith.core.errors import SignatureError
from tunesmith.core.evidence import Entry
from tunesmith.core.lifecycle import SIGNED
from tunesmith.records.model import ModelVersion
from tunesmith.signing.keys import key_id, read_public
from tunesmith.signing.model_files import files_of, verify
from tunesmith.signing.opened import checked_copies


def signatures(database: Database, model: ModelVersion) -> list[Entry]:
    """What the evidence has of signatures of a model version, oldest first."""
    digest = fingerprint(model)
    with database.read() as connection:
        return [
            entry
            for entry in evidence.entries(connection, SIGNED)
            if entry.body["digest"] == digest
        ]


def require_signed(database: Database, model: ModelVersion, public_key: Path, name: str) -> Entry:
    """The newest signature of `model`, called `name`, by that key.

    It is of the digests that the record of `model` holds: who reads the bytes compares them.

    Raises:
        SignatureError: there is none, or it does not fit.
        MissingExtra: signatures cannot be looked at here.
    """
    wanted = key_id(read_public(public_key))
    found = [each for each in signatures(database, model) if each.body["key"] == wanted]
    if not found:
        raise SignatureError(
            f"{name} is not signed with the key of {public_key} (sha256 {wanted[:12]})",
            remedy=f"whoever vouches for it signs it: `tunesmith model sign {name} --key FILE`",
        )
    verify(found[-1].body["signature"], files_of(model), name, public_key)
    return found[-1]


@contextmanager
def as_signed(
    models: Sequence[tuple[ModelVersion, str]],
    blobs: Blobs,
    database: Database,
    public_key: Path | None,
) -> Iterator[Blobs]:
    """Blobs to load `models` (each with its name) from: with a public key only as they were signed,
    each byte of them; without one, `blobs`.

    Raises:
        SignatureError: one of them is not signed with that key, or its signature does not fit.
    """
    if public_key is None:
        yield blobs
        return
    for model, name in models:
        require_signed(database, model, public_key, name)
    with checked_copies(blobs) as copies:
        yield copies
