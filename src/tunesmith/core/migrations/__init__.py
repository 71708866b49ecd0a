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

from tunesmith.core.db import Database
from tunesmith.core.errors import StoreTooNew
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
    if _current(database) == HEAD:
        return
    with (folder / "migrate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        current = _current(database)
        if current == HEAD:
            return
        if current is not None:
            _refuse_newer(current)
            _back_up(database, folder, current)
        with database.write() as connection:
            import alembic.command

            config = _config()
            config.attributes["connection"] = connection
            alembic.command.upgrade(config, "head")
            failpoint("migration.applied")


def _current(database: Database) -> str | None:
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
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "tunesmith.core:migrations")
    config.set_main_option("path_separator", "os")
    return config
