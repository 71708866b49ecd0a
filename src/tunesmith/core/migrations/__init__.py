"""Bring a store's schema to this version: one lock, a backup first, one transaction, forward only.

`env.py` and `versions/` are what Alembic reads.
"""

from __future__ import annotations

import fcntl
import sqlite3
from pathlib import Path

import alembic.command
import sqlalchemy as sa
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection

from tunesmith.core.db import Database
from tunesmith.core.errors import StoreTooNew
from tunesmith.core.failpoint import failpoint


def migrate(database: Database, folder: Path) -> None:
    """Upgrade `database` to the newest schema; its backup goes to `folder`/backups.

    Safe to call from many processes at once: the others wait, then find nothing to do.

    Raises:
        StoreTooNew: a newer version of the program wrote this store.
    """
    head = _script().get_current_head()
    if _current(database) == head:
        return
    with (folder / "migrate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        current = _current(database)
        if current == head:
            return
        if current is not None:
            _refuse_newer(current)
            _back_up(database, folder, current)
        with database.write() as connection:
            config = _config()
            config.attributes["connection"] = connection
            alembic.command.upgrade(config, "head")
            failpoint("migration.applied")


def _current(database: Database) -> str | None:
    with database.read() as connection:
        return _revision(connection)


def _revision(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return MigrationContext.configure(connection).get_current_revision()


def _refuse_newer(current: str) -> None:
    known = {revision.revision for revision in _script().walk_revisions()}
    if current not in known:
        raise StoreTooNew(
            f"the store's schema is {current}, which this version does not know",
            remedy="upgrade tunesmith (`pip install -U tunesmith`), or restore an older backup",
        )


def _back_up(database: Database, folder: Path, revision: str) -> None:
    if not database.is_sqlite:
        return  # a server has backups of its own
    backups = folder / "backups"
    backups.mkdir(exist_ok=True)
    target = backups / f"before-upgrade-from-{revision}.db"
    target.unlink(missing_ok=True)
    # VACUUM cannot run inside a transaction, so it gets a connection of its own.
    connection = sqlite3.connect(str(database.engine.url.database))
    try:
        connection.execute("VACUUM INTO ?", (str(target),))
    finally:
        connection.close()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "tunesmith.core:migrations")
    config.set_main_option("path_separator", "os")
    return config


def _script() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())
