"""Copies of a store that can be trusted: whole or not there, checked as they are made.

A backup's folder has `blobs/`, which all its snapshots share, so that a later backup copies what is
new; and `snapshots/NAME/`, which appears by one rename when all of its blobs are there: the tables
as a SQLite file, whatever the store's database is, secret keys, the project file and a manifest
with their digests. Nothing in a backup is ever changed.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from tunesmith.core import erasure, evidence, lifecycle, quarantine, tables
from tunesmith.core.blobs import FolderBlobs, room_for, sync
from tunesmith.core.canonical import canonical_json, parse
from tunesmith.core.db import Database, clock
from tunesmith.core.errors import (
    BlobCorrupt,
    BlobMissing,
    Conflict,
    NotFound,
    StoreError,
    StoreTooNew,
)
from tunesmith.core.failpoint import failpoint
from tunesmith.core.hashing import sha256_of_file
from tunesmith.core.migrations import HEAD, snapshot
from tunesmith.core.new_folder import new_folder
from tunesmith.core.ref import Blob
from tunesmith.core.retention import DIGEST
from tunesmith.core.step import Progress
from tunesmith.core.tracked import files

BACKED_UP = "store.backed-up"
FORMAT = 1
TABLES, MANIFEST, PROJECT_FILE = "tunesmith.db", "manifest.json", "tunesmith.toml"
PRIVATE = (erasure.KEY_FILE,)
"""What of the store's folder goes with it, beside blobs and tables."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """What a manifest says."""

    format: int
    name: str
    at: str
    revision: str
    """Of the schema."""
    head: str
    """The newest entry of the evidence, "NUMBER:DIGEST"; empty where there was none."""
    files: Mapping[str, str]
    """File beside the manifest -> its SHA-256."""
    blobs: Mapping[str, int]
    """Digest -> bytes, of every blob that the tables refer to and that was there."""

    @property
    def num_bytes(self) -> int:
        """Of all blobs together."""
        return sum(self.blobs.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class BackedUp:
    """A backup that was made."""

    snapshot: str
    head: str
    num_blobs: int
    num_bytes: int
    num_copied: int
    """Blobs that no earlier backup in this folder had."""
    copied_bytes: int
    damaged: tuple[str, ...]
    """Digests of blobs that the store has not got whole, so that neither has the backup."""


def back_up(
    database: Database,
    store: Path,
    to: Path,
    *,
    actor: str,
    on_progress: Progress,
    verify: bool = False,
) -> BackedUp:
    """Copy a store into `to`, which may hold earlier backups of it. To `verify`, blobs that are
    there are read again, and those that are damaged are copied anew.

    Raises:
        Conflict: another process collects garbage in the store, or the folder holds something else.
        StoreFull: no space; the folder has no new snapshot.
    """
    blobs = FolderBlobs(store / "blobs")
    with database.read() as connection:
        at = clock(connection)
    name = at.replace(":", "")
    # What the snapshot refers to may not be removed before it is copied.
    with (
        _alone_in(to),
        quarantine.collecting(blobs, shared=True),
        room_for(f"a backup in {to}"),
        new_folder(to / "snapshots" / name, "DEST") as folder,
    ):
        copies = FolderBlobs(to / "blobs")
        copies.sweep()
        revision = snapshot(database, folder / TABLES)
        failpoint("backup.tables")
        log, needed = _needed(folder / TABLES)
        held, copied, damaged = _copy_blobs(blobs, copies, log, needed, on_progress, verify=verify)
        failpoint("backup.blobs")
        _copy_private(store, folder)
        made = Snapshot(
            format=FORMAT,
            name=name,
            at=at,
            revision=revision,
            head=f"{log[-1].seq}:{log[-1].digest}" if log else "",
            files={path.name: sha256_of_file(path) for path in sorted(folder.iterdir())},
            blobs=held,
        )
        _seal(folder, made)
    sync(to / "snapshots")
    manifest = sha256_of_file(to / "snapshots" / name / MANIFEST)
    body = {"snapshot": name, "head": made.head, "manifest": manifest, "damaged": damaged}
    with database.write() as connection:
        evidence.append(connection, BACKED_UP, actor, body)
    return BackedUp(
        snapshot=name,
        head=made.head,
        num_blobs=len(held),
        num_bytes=made.num_bytes,
        num_copied=len(copied),
        copied_bytes=sum(copied.values()),
        damaged=tuple(damaged),
    )


def _copy_private(store: Path, folder: Path) -> None:
    for path in [*(store / each for each in PRIVATE), store.parent / PROJECT_FILE]:
        if path.exists():
            erasure.write_private(folder / path.name, path.read_bytes())


def _seal(folder: Path, made: Snapshot) -> None:
    erasure.write_private(folder / MANIFEST, canonical_json(made))
    sync(folder)
    failpoint("backup.manifest")


def snapshots(source: Path) -> list[str]:
    """The snapshots in a backup's folder, oldest first; one that was cut short is none."""
    folder = source / "snapshots"
    return sorted(path.parent.name for path in folder.glob(f"[!.]*/{MANIFEST}"))


def chosen(source: Path, name: str = "") -> Snapshot:
    """What a snapshot says of itself, the newest where none is named; its files are checked.

    Raises:
        NotFound: there is none.
        StoreTooNew: a later version of this program made it.
        StoreError: a file of it was changed.
    """
    there = snapshots(source)
    if not there or (name and name not in there):
        raise NotFound(
            f"there is no snapshot {name or 'at all'} in {source}",
            remedy=f"there is: {', '.join(there)}"
            if there
            else "make one: `tunesmith store backup`",
        )
    folder = source / "snapshots" / (name or there[-1])
    remedy = f"restore another one: {', '.join(n for n in there if n != folder.name)}"
    try:
        said = parse((folder / MANIFEST).read_bytes())
        if said["format"] > FORMAT or said["revision"] > HEAD:
            raise StoreTooNew(
                f"snapshot {folder.name} was made by a later version of tunesmith",
                remedy="upgrade tunesmith (`pip install -U tunesmith`)",
            )
        found = Snapshot(**said)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{folder / MANIFEST} is damaged", remedy=remedy) from error
    for file, digest in found.files.items():
        if not (folder / file).is_file() or sha256_of_file(folder / file) != digest:
            raise StoreError(
                f"{folder / file} is not what the snapshot's manifest says",
                remedy=remedy,
            )
    return found


def _needed(path: Path) -> tuple[list[evidence.Entry], list[Blob]]:
    """The evidence of a snapshot, and all that its tables refer to."""
    engine = sa.create_engine(f"sqlite:///{path}")
    held, given = tables.run_blobs.c, tables.run_inputs.c
    try:
        with engine.connect() as connection:
            log = list(evidence.entries(connection))
            rows = connection.execute(sa.select(held.sha256, held.num_bytes))
            sizes: dict[str, int] = {row.sha256: row.num_bytes for row in rows}
            sizes |= {blob.sha256: blob.num_bytes for blob in files.blobs(connection)}
            sizes |= {
                blob.sha256: blob.num_bytes for entry in log for blob in lifecycle.kept_blobs(entry)
            }
            bodies = connection.execute(sa.select(tables.evidence.c.body)).scalars()
            others = {
                *connection.execute(sa.select(given.digest)).scalars(),
                *(digest for body in bodies for digest in DIGEST.findall(body)),
            }
    finally:
        engine.dispose()
    return log, [
        *(Blob(sha256=d, num_bytes=n) for d, n in sizes.items()),
        *(Blob(sha256=d, num_bytes=-1) for d in sorted(others - sizes.keys())),
    ]


def _copy_blobs(
    blobs: FolderBlobs,
    copies: FolderBlobs,
    log: list[evidence.Entry],
    needed: list[Blob],
    on_progress: Progress,
    *,
    verify: bool,
) -> tuple[dict[str, int], dict[str, int], list[str]]:
    """(digest -> bytes) of what the backup has, of what was copied, and what is damaged."""
    excused = {*quarantine.gone(log), *erasure.erasures(log).purged}
    there = {each.sha256: each.num_bytes for each in blobs.files()}
    had = {each.sha256: each.num_bytes for each in copies.files()}
    held: dict[str, int] = {}
    copied: dict[str, int] = {}
    damaged: list[str] = []
    total = sum(there.get(blob.sha256, 0) for blob in needed)
    done = 0
    for blob in needed:
        digest, num_bytes = blob.sha256, there.get(blob.sha256)
        if num_bytes is None:
            # Of what only a text names there need be none: it may be the digest of something else.
            if blob.num_bytes >= 0 and digest not in excused:
                damaged.append(digest)
            continue
        done += num_bytes
        if had.get(digest) != num_bytes or (verify and not _is_whole(copies, digest, num_bytes)):
            if not _copy(blobs, copies, blob, keep={*had, *copied}):
                damaged.append(digest)
                continue
            copied[digest] = num_bytes
            failpoint("backup.copied")
        held[digest] = num_bytes
        on_progress(done, total, "blobs")
    return held, copied, damaged


def _is_whole(copies: FolderBlobs, digest: str, num_bytes: int) -> bool:
    try:
        copies.check(Blob(sha256=digest, num_bytes=num_bytes), deep=True)
    except BlobCorrupt:
        return False
    return True


def _copy(blobs: FolderBlobs, copies: FolderBlobs, blob: Blob, *, keep: Collection[str]) -> bool:
    """Copy a blob; False if its bytes are not those of its digest.

    Such bytes are not left in the backup, but where they are those of one that is there: a file
    that was cut to nothing is the empty blob, which others need.
    """
    try:
        made = copies.put(blobs.path(blob))
    except BlobMissing:
        return False
    if made.sha256 != blob.sha256 and made.sha256 not in keep:
        copies.remove(made.sha256)
    return made.sha256 == blob.sha256


@contextlib.contextmanager
def _alone_in(to: Path) -> Iterator[None]:
    """Hold a backup's folder, and remove what one that was cut short left in it."""
    others = {path.name for path in to.iterdir()} - _OURS if to.is_dir() else set()
    if others:
        raise Conflict(
            f"{to} holds something that is no backup: {', '.join(sorted(others)[:3])}",
            remedy="name an empty folder, or one that holds backups of this project",
        )
    with room_for(f"a backup in {to}"):
        try:
            (to / "snapshots").mkdir(parents=True, exist_ok=True)
            lock = (to / "lock").open("a")
        except (NotADirectoryError, FileExistsError, FileNotFoundError, PermissionError) as error:
            raise StoreError(
                f"no folder for backups can be made at {to}: {error.strerror}",
                remedy="name a folder that you may write to",
            ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                f"another backup is being made in {to}", remedy="wait until it is done"
            ) from error
        for path in (to / "snapshots").glob(".*"):
            shutil.rmtree(path)
        yield


_OURS = {"blobs", "snapshots", "lock"}
