"""Remove what nothing needs any more, in three steps that can each be repeated after a crash.

Mark, and set aside: a manifest says what is about to be moved; then files are moved, a few at a
time under the write lock, so that no run can begin or be published between the marks and the moves,
and others write in between; then an entry of the evidence says so. A manifest without an entry is
undone by whoever comes next. What is set aside comes back when somebody asks for it
(`core/blobs.py`), or by `undo`. After the grace period, what nothing needs by then is removed: the
entry first, under the lock, then the files, without it; a removal that was cut short is gone on
with, as its entry says that it was meant.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import Connection

from tunesmith.core import evidence
from tunesmith.core.blobs import BlobFile, FolderBlobs, sync
from tunesmith.core.canonical import canonical_json, parse
from tunesmith.core.db import Database, clock, let_others_write, moment
from tunesmith.core.erasure import write_private
from tunesmith.core.errors import Conflict, NotFound
from tunesmith.core.failpoint import failpoint
from tunesmith.core.retention import Marks, StoreSection, Why, mark, mark_again

AT_ONCE = 200
"""How many files are moved under the write lock before others may write: for some 20 ms."""

SET_ASIDE, CAME_BACK, REMOVED = "store.set-aside", "store.came-back", "store.removed"
MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """A blob, and what keeps it or held it once."""

    sha256: str
    num_bytes: int
    why: Why


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """What was set aside at one time."""

    id: str
    at: str
    """When it was; empty for one that was cut short."""
    num_blobs: int
    num_bytes: int
    is_due: bool
    """Whether its grace period is over."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What stays, and what would go."""

    kept: tuple[Kept, ...]
    going: tuple[Kept, ...]
    batches: tuple[Batch, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """What was done with blobs; amounts of bytes."""

    batch: str
    """What was set aside now, empty where nothing was; `undo` takes it."""
    num_set_aside: int
    set_aside_bytes: int
    num_removed: int
    removed_bytes: int
    num_came_back: int


def plan(
    connection: Connection, blobs: FolderBlobs, settings: StoreSection, in_use: Collection[int]
) -> Plan:
    """Look at every blob; nothing is changed."""
    marks = mark(connection, settings, in_use)
    return _planned(marks, list(blobs.files()), settings, _batches(connection, blobs, settings))


def collect(
    database: Database,
    blobs: FolderBlobs,
    settings: StoreSection,
    in_use: Collection[int],
    actor: str,
) -> Done:
    """Remove what was set aside long ago, and set aside what nothing needs.

    Raises:
        Conflict: another process is at it, or makes a backup.
    """
    with collecting(blobs):
        num_back = finish(database, blobs)
        with database.read() as connection:
            due = [each.id for each in _batches(connection, blobs, settings) if each.is_due]
        removed = [_remove(database, blobs, each, settings, in_use, actor) for each in due]
        batch, moved = _set_aside(database, blobs, settings, in_use, actor)
        failpoint("gc.set-aside")
    failpoint("gc.done")
    return Done(
        batch=batch,
        num_set_aside=len(moved),
        set_aside_bytes=sum(each.num_bytes for each in moved),
        num_removed=sum(num for num, _, _ in removed),
        removed_bytes=sum(num_bytes for _, num_bytes, _ in removed),
        num_came_back=num_back + sum(back for _, _, back in removed),
    )


def undo(database: Database, blobs: FolderBlobs, actor: str, batch: str = "") -> int:
    """Put back what was set aside, in one batch or in all; how many blobs that were.

    Raises:
        NotFound: there is no such batch.
        Conflict: another process is at it.
    """
    with collecting(blobs):
        num_back = finish(database, blobs)
        ids = _folders(blobs)
        if batch and batch not in ids:
            raise NotFound(
                f"nothing is set aside as {batch!r}",
                remedy=f"there is: {', '.join(ids) or 'nothing'}; what was removed is gone",
            )
        for each in [batch] if batch else ids:
            _move_back(blobs, each)
            back = sorted(_there(blobs, _listed(blobs, each)))
            failpoint("gc.undone")
            with database.write() as connection:
                evidence.append(connection, CAME_BACK, actor, {"id": each, "blobs": back})
            shutil.rmtree(blobs.quarantine / each)
            num_back += len(back)
    return num_back


def finish(database: Database, blobs: FolderBlobs) -> int:
    """Undo what was cut short; how many blobs came back. The caller holds `collecting`."""
    num_back = 0
    for batch in _folders(blobs):
        with database.read() as connection:
            said = _said(connection).get(batch)
        if said is not None and said.what == SET_ASIDE:
            continue
        if said is not None and said.what == REMOVED:
            _clear(database, blobs, batch, said.body["blobs"], said.actor)
            continue
        num_back += len(_move_back(blobs, batch))
        shutil.rmtree(blobs.quarantine / batch)
    return num_back


def unfinished(connection: Connection, blobs: FolderBlobs) -> list[str]:
    """Batches that were cut short."""
    said = _said(connection)
    return [
        batch
        for batch in _folders(blobs)
        if (last := said.get(batch)) is None or last.what != SET_ASIDE
    ]


def gone(log: Iterable[evidence.Entry]) -> dict[str, int]:
    """Blobs that were set aside and did not come back as far as is known, and by which entry."""
    found: dict[str, int] = {}
    for entry in log:
        if entry.what == SET_ASIDE:
            found |= dict.fromkeys(entry.body["blobs"], entry.seq)
        elif entry.what == CAME_BACK:
            for digest in entry.body["blobs"]:
                found.pop(digest, None)
    return found


@contextlib.contextmanager
def collecting(blobs: FolderBlobs, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock of those who set aside and remove; `shared`, of those who need that none does.

    Raises:
        Conflict: another process holds it.
    """
    blobs.quarantine.mkdir(exist_ok=True)
    with (blobs.quarantine / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                "another process collects garbage in this store, or makes a backup of it",
                remedy="wait until it is done, and run the same command again",
            ) from error
        yield


def _planned(
    marks: Marks, files: list[BlobFile], settings: StoreSection, batches: tuple[Batch, ...]
) -> Plan:
    before = _put_before(marks, settings)
    kept: list[Kept] = []
    going: list[Kept] = []
    for each in files:
        why = marks.why.get(each.sha256)
        if why is None and each.put_at >= before:
            why = ("it was put lately, or while a run that still runs did",)
        held = marks.last.get(each.sha256)
        last = (
            (f"{held} made it, and is not kept",) if held else ("no run that ended well made it",)
        )
        found = Kept(sha256=each.sha256, num_bytes=each.num_bytes, why=why or last)
        (kept if why else going).append(found)
    return Plan(kept=tuple(kept), going=tuple(going), batches=batches)


def _put_before(marks: Marks, settings: StoreSection) -> float:
    before = time.time() - settings.min_age_hours * 3600
    return before if marks.live_since is None else min(before, marks.live_since)


def _set_aside(
    database: Database,
    blobs: FolderBlobs,
    settings: StoreSection,
    in_use: Collection[int],
    actor: str,
) -> tuple[str, list[Kept]]:
    files = list(blobs.files())
    with database.read() as connection:
        marks, batch = mark(connection, settings, in_use), clock(connection).replace(":", "")
    going = _planned(marks, files, settings, ()).going
    if not going:
        return "", []
    folder = blobs.quarantine / batch
    folder.mkdir()
    manifest = {"id": batch, "actor": actor, "blobs": {each.sha256: each for each in going}}
    write_private(folder / MANIFEST, canonical_json(manifest))
    _sync_all(folder)
    failpoint("gc.begun")
    moved: list[Kept] = []
    for start in range(0, len(going), AT_ONCE):
        with database.write() as connection:
            marks = mark_again(connection, settings, in_use, marks)
            before = _put_before(marks, settings)
            for each in going[start : start + AT_ONCE]:
                if each.sha256 not in marks.why and blobs.move_aside(each.sha256, batch, before):
                    moved.append(each)
                failpoint("gc.moving")
        let_others_write()
    _sync_all(folder)
    if not moved:  # all of it was put again meanwhile
        shutil.rmtree(folder)
        return "", []
    body = {
        "id": batch,
        "blobs": sorted(each.sha256 for each in moved),
        "num_bytes": sum(each.num_bytes for each in moved),
    }
    with database.write() as connection:
        evidence.append(connection, SET_ASIDE, actor, body)
    return batch, moved


def _remove(
    database: Database,
    blobs: FolderBlobs,
    batch: str,
    settings: StoreSection,
    in_use: Collection[int],
    actor: str,
) -> tuple[int, int, int]:
    """How many blobs of a batch were removed, their bytes, and how many came back."""
    listed = _listed(blobs, batch)
    with database.read() as connection:
        marks = mark(connection, settings, in_use)
    for digest in listed & marks.why.keys():
        blobs.bring_back(digest)  # a run needs it by now
    there = _there(blobs, listed)
    with database.write() as connection:
        marks = mark_again(connection, settings, in_use, marks)
        there |= {each for each in listed & marks.why.keys() - there if blobs.bring_back(each)}
        if there:
            evidence.append(connection, CAME_BACK, actor, {"id": batch, "blobs": sorted(there)})
        meant = sorted(listed - there)
        evidence.append(connection, REMOVED, actor, {"id": batch, "blobs": meant})
    failpoint("gc.removed")
    num_bytes, num_back = _clear(database, blobs, batch, meant, actor)
    return len(meant) - num_back, num_bytes, len(there) + num_back


def _clear(
    database: Database, blobs: FolderBlobs, batch: str, meant: Collection[str], actor: str
) -> tuple[int, int]:
    """Remove the files of a batch, which the evidence says are; the bytes of those, and how many
    came back since."""
    folder, num_bytes = blobs.quarantine / batch, 0
    for each in list(blobs.set_aside(batch)):
        # Whoever asks for it at this very moment was faster, or misses it.
        with contextlib.suppress(FileNotFoundError):
            (folder / each.sha256[:2] / each.sha256[2:]).unlink()
            num_bytes += each.num_bytes
        failpoint("gc.removing")
    _sync_all(folder)
    back = sorted(_there(blobs, set(meant)))
    if back:
        with database.write() as connection:
            evidence.append(connection, CAME_BACK, actor, {"id": batch, "blobs": back})
    shutil.rmtree(folder)
    return num_bytes, len(back)


def _move_back(blobs: FolderBlobs, batch: str) -> list[str]:
    back = sorted(each.sha256 for each in blobs.set_aside(batch))
    for digest in back:
        blobs.bring_back(digest)
    return back


def _batches(
    connection: Connection, blobs: FolderBlobs, settings: StoreSection
) -> tuple[Batch, ...]:
    said = {e.body["id"]: e.at for e in evidence.entries(connection, SET_ASIDE)}
    now = moment(clock(connection))
    found = []
    for batch in _folders(blobs):
        at = said.get(batch, "")
        here = list(blobs.set_aside(batch))
        age_s = (now - moment(at)).total_seconds() if at else 0.0
        found.append(
            Batch(
                id=batch,
                at=at,
                num_blobs=len(here),
                num_bytes=sum(each.num_bytes for each in here),
                is_due=bool(at) and age_s >= settings.grace_days * 86400,
            )
        )
    return tuple(found)


def _said(connection: Connection) -> dict[str, evidence.Entry]:
    """What the evidence said last of each batch."""
    log = evidence.entries(connection, SET_ASIDE, CAME_BACK, REMOVED)
    return {entry.body["id"]: entry for entry in log}


def _folders(blobs: FolderBlobs) -> list[str]:
    if not blobs.quarantine.is_dir():
        return []
    return sorted(path.name for path in blobs.quarantine.iterdir() if path.is_dir())


def _listed(blobs: FolderBlobs, batch: str) -> set[str]:
    return set(parse((blobs.quarantine / batch / MANIFEST).read_bytes())["blobs"])


def _there(blobs: FolderBlobs, listed: Collection[str]) -> set[str]:
    """What of a batch is in its place: it came back, or was put again."""
    return {each.sha256 for each in blobs.files() if each.sha256 in listed}


def _sync_all(folder: Path) -> None:
    """Both ends of every rename: the folders of a batch, and those of the same names outside."""
    for inner in [path for path in folder.iterdir() if path.is_dir()]:
        sync(inner)
        outside = folder.parent.parent / inner.name
        if outside.is_dir():
            sync(outside)
    sync(folder)
