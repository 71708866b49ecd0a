"""What was erased: which blobs are gone on purpose, what may not come back, and served requests.

All of it is read off the evidence log, whose entries hold keyed digests and nothing of the person.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tunesmith.core import evidence, tables
from tunesmith.core.errors import StepStoreError
from tunesmith.core.evidence import Entry
from tunesmith.core.project_folder import STORE

BEGUN, DONE = "erasure.begun", "erasure.done"
KEY_FILE = "erasure.key"
KEY_BYTES = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Erasures:
    """What the evidence says of all erasures together."""

    purged: frozenset[str] = frozenset()
    """Digests of blobs that were removed, or are to be."""
    subjects: tuple[str, ...] = ()
    """Keyed digests of people; every source that names its subjects is read without them."""
    rows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Keyed digests of records and of row ids, by source."""
    key: str = ""
    """Which key they were made with."""
    unfinished: tuple[int, ...] = ()
    """Entries of erasures that were begun and not finished."""


def erasures(log: Iterable[Entry]) -> Erasures:
    """What the entries of `log` say of erasures."""
    purged: set[str] = set()
    subjects: dict[str, None] = {}
    rows: dict[str, dict[str, None]] = {}
    key = ""
    unfinished: dict[int, None] = {}
    for entry in log:
        body: Mapping[str, Any] = entry.body
        if entry.what == BEGUN:
            unfinished[entry.seq] = None
            key = body["key"]
            if body["subject"]:
                subjects[body["subject"]] = None
            for source, digests in body["rows"].items():
                rows.setdefault(source, {}).update(dict.fromkeys(digests))
        elif entry.what == DONE:
            unfinished.pop(body["begun"], None)
        if entry.what in (BEGUN, DONE):
            purged.update(body["blobs"])
    return Erasures(
        purged=frozenset(purged),
        subjects=tuple(subjects),
        rows={source: tuple(digests) for source, digests in rows.items()},
        key=key,
        unfinished=tuple(unfinished),
    )


def read(connection: Connection) -> Erasures:
    """What the store's evidence says of erasures."""
    return erasures(evidence.entries(connection, BEGUN, DONE))


# Digests that tell whether something is the erased, and not what it was.


def key_of(store: Path, *, make: bool = False) -> bytes:
    """The secret that digests are keyed with; it is in the store's folder and in no blob.

    Raises:
        StepStoreError: there is none, and none is to be made.
    """
    path = store / KEY_FILE
    if not path.exists() and make:
        write_private(path, secrets.token_bytes(KEY_BYTES))
    try:
        return path.read_bytes()
    except OSError as error:
        raise StepStoreError(
            f"{path} cannot be read, so nobody can tell what was erased from what was not",
            remedy="restore it from a backup of the store",
        ) from error


def key_called(project: Path, name: str) -> bytes:
    """The secret of a project's store, which has to be the one that `key_name` calls `name`.

    Raises:
        StepStoreError: there is none, or another one is there.
    """
    key = key_of(project / STORE)
    if key_name(key) != name:
        raise StepStoreError(
            f"{STORE}/{KEY_FILE} is not the key that the erased rows are known by",
            remedy="restore it from a backup of the store",
        )
    return key


def write_private(path: Path, data: bytes) -> None:
    """A file that its owner alone can read, whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as target:
        target.write(data)
        target.flush()
        os.fsync(target.fileno())
    temporary.replace(path)


def key_name(key: bytes) -> str:
    """Which key it is."""
    return hashlib.sha256(b"name\0" + key).hexdigest()[:16]


def keyed(key: bytes, what: str, value: str | bytes) -> str:
    """The digest of a `value` that is a "subject", a "record" or a "row"."""
    data = value.encode() if isinstance(value, str) else value
    return hmac.new(key, what.encode() + b"\0" + data, hashlib.sha256).hexdigest()


def subject_of(value: Any) -> str:
    """Whom a value of a subject field names; empty where it names nobody."""
    return "" if value is None or isinstance(value, list | dict) else str(value).strip()


def is_told(key: bytes, subject: str, digests: Collection[str]) -> bool:
    """Whether `subject` is among those whom `digests` tell, in whichever form each was written:
    who was forgotten before there was one form is known by the form that was typed."""
    forms = {subject, *(unicodedata.normalize(form, subject) for form in ("NFC", "NFD"))} - {""}
    return any(keyed(key, "subject", form) in digests for form in forms)


# Served requests.


def traces_with(connection: Connection, needles: Collection[str]) -> Iterator[int]:
    """Ids of the served requests whose question or answer has one of `needles`."""
    columns = tables.traces.c
    for row in connection.execute(sa.select(columns.id, columns.text, columns.answer)):
        if any(needle in row.text or needle in row.answer for needle in needles):
            yield row.id


def delete_traces(connection: Connection, ids: Collection[int]) -> None:
    """Remove served requests; SQLite writes zeros over them."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete=ON")
    for number in ids:
        connection.execute(tables.traces.delete().where(tables.traces.c.id == number))
