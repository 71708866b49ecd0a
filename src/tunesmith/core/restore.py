"""Make a store from a backup, whole or not at all; and rehearse it."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from tunesmith.core import erasure, evidence, tables
from tunesmith.core.backup import PRIVATE, PROJECT_FILE, TABLES, Snapshot
from tunesmith.core.blobs import FolderBlobs, room_for, sync
from tunesmith.core.copy_rows import copy_rows
from tunesmith.core.db import Database
from tunesmith.core.errors import Conflict, StoreError
from tunesmith.core.failpoint import failpoint
from tunesmith.core.migrations import migrate
from tunesmith.core.new_folder import new_folder
from tunesmith.core.project_folder import STORE
from tunesmith.core.ref import Blob, to_plain
from tunesmith.core.step import Progress
from tunesmith.core.verify import verify

DRILLED = "store.restore-drilled"
RESTORED = "store.restored"


@dataclass(frozen=True, kw_only=True, slots=True)
class Drilled:
    """A restore that was tried."""

    snapshot: str
    head: str
    num_blobs: int
    num_bytes: int
    wall_s: float
    """From the first byte to the last check."""
    problems: tuple[str, ...]
    """A sentence each; none when all holds."""


def restore_project_file(source: Path, found: Snapshot, project: Path) -> bool:
    """Put the project file back, unless there is one; whether it was."""
    file = project / PROJECT_FILE
    if file.exists() or PROJECT_FILE not in found.files:
        return False
    project.mkdir(parents=True, exist_ok=True)
    erasure.write_private(file, (source / "snapshots" / found.name / PROJECT_FILE).read_bytes())
    return True


def restore(
    source: Path,
    found: Snapshot,
    project: Path,
    *,
    server: Database | None = None,
    actor: str = "",
    on_progress: Progress,
) -> None:
    """Make the store of `project` as it was, in a folder, and a `server`, that have none.

    That `actor` restored it is the entry that follows; a rehearsal, by nobody, has none.

    Raises:
        Conflict: there is a store.
        BlobMissing, BlobCorrupt: the backup is damaged; nothing is left behind.
        StoreFull: no space; nothing is left behind.
    """
    folder, store = source / "snapshots" / found.name, project / STORE
    copies = FolderBlobs(source / "blobs")
    with room_for(f"the store {store}"), new_folder(store, "--project") as made:
        if server is not None:
            migrate(server, made)
            with server.read() as connection:
                _require_empty(connection)
        blobs = FolderBlobs(made / "blobs")
        done = 0
        for digest, num_bytes in found.blobs.items():
            blob = Blob(sha256=digest, num_bytes=num_bytes)
            copies.check(blob, deep=True)
            blobs.put(copies.path(blob))
            done += num_bytes
            on_progress(done, found.num_bytes, "blobs")
        failpoint("restore.blobs")
        for name in found.files.keys() & set(PRIVATE):
            erasure.write_private(made / name, (folder / name).read_bytes())
        (made / ".gitignore").write_text("*\n")
        shutil.copyfile(folder / TABLES, made / TABLES)
        sync(made / TABLES)
        local = Database(f"sqlite:///{made / TABLES}")
        try:
            migrate(local, made)
            if actor:
                with local.write() as connection:
                    body = {"snapshot": found.name, "taken_at": found.at, "head": found.head}
                    evidence.append(connection, RESTORED, actor, body)
            if server is not None:
                _move_rows(local, server)
        finally:
            local.close()
        if server is not None:
            (made / TABLES).unlink()
        sync(made)
        # Were it cut short here, a server would have all rows, and verify would miss every blob;
        # the other way round it would look like a store in which nothing ever ran.
        failpoint("restore.tables")
    sync(project)


def drill(
    source: Path, found: Snapshot, database: Database, *, actor: str, on_progress: Progress
) -> Drilled:
    """Restore a snapshot into a temporary folder, check all of it, and put on record how that went.

    Raises:
        Conflict: it is a backup of another store.
        StoreError: it cannot be restored; that is on record, too.
    """
    with database.read() as connection:
        if not comes_before(connection, found.head):
            raise Conflict(
                f"snapshot {found.name} is no backup of this store: evidence {found.head[:20]} "
                "is not in it",
                remedy="drill in the project that the backup was made of",
            )
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tunesmith-drill-") as name:
        try:
            restore(source, found, Path(name), on_progress=on_progress)
            local = Database(f"sqlite:///{Path(name) / STORE / TABLES}")
            try:
                report = verify(local, FolderBlobs(Path(name) / STORE / "blobs"), on_progress)
            finally:
                local.close()
            problems = report.problems
        except StoreError as error:
            problems = (error.message,)
    wall_s = time.monotonic() - started
    drilled = Drilled(
        snapshot=found.name,
        head=found.head,
        num_blobs=len(found.blobs),
        num_bytes=found.num_bytes,
        wall_s=round(wall_s, 3),
        problems=problems,
    )
    with database.write() as connection:
        evidence.append(connection, DRILLED, actor, to_plain(drilled))
    return drilled


def _move_rows(local: Database, server: Database) -> None:
    with local.read() as rows, server.write() as connection:
        _require_empty(connection)
        copy_rows(rows, connection)
        failpoint("restore.rows")


def _require_empty(connection: sa.engine.Connection) -> None:
    """Raise Conflict if a store's database has anything in it."""
    for table in tables.metadata.sorted_tables:
        if connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first():
            raise Conflict(
                f"the database that the project file names is not empty: it has {table.name}",
                remedy="name another in [project] database, or empty it",
            )


def comes_before(connection: sa.engine.Connection, head: str) -> bool:
    """Whether a store's evidence has the entry `head`, so that it can be what was backed up."""
    seq, _, digest = head.partition(":")
    if not seq:
        return True
    columns = tables.evidence.c
    found = connection.execute(sa.select(columns.digest).where(columns.seq == int(seq))).scalar()
    return bool(found == digest)
