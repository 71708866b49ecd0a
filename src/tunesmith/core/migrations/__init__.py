"""Bring a store's schema to this version: one lock, a backup first, one transaction, forward only.

`env.py` and `versions/` are what Alembic reads. It is imported only where there is something to do:
every command opens the store, and hardly any finds an old one.
"""

from __future__ import annotations

import fcntl
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tunesmith.core.blobs import sync
from tunesmith.core.copy_rows import copy_rows
from tunesmith.core.db import Database
from tunesmith.core.errors import StoreError, StoreFull, StoreTooNew
from tunesmith.core.failpoint import failpoint

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0003"
"""The newest revision in `versions/`."""


def migrate(database: Database, folder: Path) -> None:
    """Upgrade `database` to the newest schema; its backup goes to `folder`/backups.

    Safe to call from many processes at once: the others wait, then find nothing to do.

    Raises:
        StoreTooNew: a newer version of the program wrote this store.
    """
    if revision_of(database) == HEAD:
        return
    with (folder / "migrate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        current = revision_of(database)
        if current == HEAD:
            return
        if current is not None:
            _refuse_newer(current)
            backups = folder / "backups"
            backups.mkdir(exist_ok=True)
            snapshot(database, backups / f"before-upgrade-from-{current}.db")
        with database.write() as connection:
            upgrade(connection)
            failpoint("migration.applied")


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the schema to `revision`, in the caller's transaction."""
    import alembic.command

    config = _config()
    config.attributes["connection"] = connection
    alembic.command.upgrade(config, revision)


def snapshot(database: Database, target: Path) -> str:
    """Write what `database` has at one moment into a new SQLite file, whatever it is itself, while
    others go on writing. The file has the schema that the database has; its revision is returned.

    Raises:
        StoreError: there is no store in the database, or the file cannot be written.
        StoreFull: no space; nothing is left behind.
    """
    temporary = target.with_name(f"{target.name}.part")
    revision = revision_of(database)
    if revision is None:
        raise StoreError("there is no store in this database", remedy="run the project first")
    try:
        temporary.unlink(missing_ok=True)
        _copy(database, revision, temporary)
    except (sqlite3.DatabaseError, sa.exc.DatabaseError) as error:
        temporary.unlink(missing_ok=True)
        if "full" in str(error):
            raise StoreFull(
                f"no space left for {target}", remedy="free some space, and try again"
            ) from error
        raise StoreError(
            f"the tables cannot be copied to {target}: {error}",
            remedy="check that folder; `tunesmith verify` checks the store",
        ) from error
    sync(temporary)
    temporary.replace(target)
    sync(target.parent)
    return revision


def _copy(database: Database, revision: str, target: Path) -> None:
    if database.is_sqlite:
        # VACUUM cannot run inside a transaction, so it gets a connection of its own.
        connection = sqlite3.connect(str(database.engine.url.database))
        try:
            connection.execute("VACUUM INTO ?", (str(target),))
        finally:
            connection.close()
        return
    engine = sa.create_engine(f"sqlite:///{target}")
    try:
        with database.read() as source, engine.begin() as copy:
            upgrade(copy, revision)
            copy_rows(source, copy)
    finally:
        engine.dispose()


def revision_of(database: Database) -> str | None:
    """The revision of the schema; None where there is none."""
    with database.read() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.execute(
            sa.text("SELECT version_num FROM alembic_version")
        ).scalar()
        return found


def _refuse_newer(current: str) -> None:
    from alembic.script import ScriptDirectory

    known = {each.revision for each in ScriptDirectory.from_config(_config()).walk_revisions()}
    if current not in known:
        raise StoreTooNew(
            f"the store's schema is {current}, which this version does not know",
            remedy="upgrade tunesmith (`pip install -U tunesmith`), or restore an older backup",
        )


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "tunesmith.core:migrations")
    config.set_main_option("path_separator", "os")
    return config
