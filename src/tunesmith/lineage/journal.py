"""What an erasure has set out to do, kept until it is done: it alone knows what to look for once
half of it is gone. It holds the person's texts, is readable by its owner only, and is removed."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tunesmith.core.canonical import canonical_json, parse
from tunesmith.core.erasure import write_private
from tunesmith.core.ref import from_plain
from tunesmith.records.lineage import ErasurePlan

FILE = "erasing.json"


@dataclass(frozen=True, kw_only=True)
class Journal:
    """One erasure on its way."""

    id: str
    """By which the evidence knows it."""
    subject: str
    """Keyed digest of whom it is about."""
    rows: Mapping[str, tuple[str, ...]]
    """Keyed digests of records and row ids, by source."""
    row_ids: tuple[str, ...]
    texts: tuple[str, ...]
    """What is searched for."""
    purge: Mapping[str, str]
    """Digests of blobs that have a row of theirs, and what they are: they go."""
    mentions: Mapping[str, str]
    """Of blobs that only have a text of theirs: they go unless they are still in use afterwards,
    which is when somebody else's row has it."""
    plan: ErasurePlan


def new_id() -> str:
    """An id that no other erasure has."""
    return secrets.token_hex(8)


def read(store: Path) -> Journal | None:
    """The erasure that was begun in this store and is not done."""
    path = store / FILE
    return from_plain(Journal, parse(path.read_bytes())) if path.exists() else None


def write(store: Path, journal: Journal) -> None:
    """Keep it, whole or not at all."""
    write_private(store / FILE, canonical_json(journal))


def problems(store: Path) -> list[str]:
    """What is there of erasures that are not done, or whose process ended just then; nobody is
    named."""
    return [
        f"{path} is left of an erasure and has texts of whom it is about: run the same `tunesmith "
        "data forget` again, which goes on with it and removes the file"
        for path in sorted(store.glob(f"{FILE}*"))
    ]


def remove(store: Path) -> None:
    """Forget it, and what a process that ended left of one."""
    for path in store.glob(f"{FILE}*"):
        path.unlink(missing_ok=True)
