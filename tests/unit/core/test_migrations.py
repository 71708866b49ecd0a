"""Forward only, once, after a backup; and the tables in code are the tables on disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import alembic.command
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from tunesmith.core import migrations
from tunesmith.core.db import Database
from tunesmith.core.errors import StoreTooNew
from tunesmith.core.tables import metadata


@pytest.fixture
def database(tmp_path):
    opened = Database(f"sqlite:///{tmp_path / 'tunesmith.db'}")
    yield opened
    opened.close()


def test_the_newest_migration_makes_the_tables_of_the_code(database, tmp_path):
    migrations.migrate(database, tmp_path)
    migrations.migrate(database, tmp_path)
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_newer_store_is_refused_and_left_alone(database, tmp_path):
    migrations.migrate(database, tmp_path)
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreTooNew, match="upgrade tunesmith"):
        migrations.migrate(database, tmp_path)
    with database.read() as connection:
        assert connection.execute(sa.text("SELECT * FROM alembic_version")).scalar() == "9999"


def test_an_older_store_is_backed_up_first(database, tmp_path, monkeypatch):
    migrations.migrate(database, tmp_path)
    with database.write() as connection:
        connection.execute(
            sa.text("INSERT INTO evidence VALUES (1, 'now', 'me', 'x', '{}', '0', '1')")
        )
    upgrades = []
    monkeypatch.setattr(migrations, "HEAD", "0002")  # of a later version
    monkeypatch.setattr(alembic.command, "upgrade", lambda _config, to: upgrades.append(to))
    migrations.migrate(database, tmp_path)
    assert upgrades == ["head"]
    backup = sqlite3.connect(tmp_path / "backups" / "before-upgrade-from-0001.db")
    assert backup.execute("SELECT count(*) FROM evidence").fetchone() == (1,)
    backup.close()


def test_head_is_the_newest_revision():
    assert ScriptDirectory(Path(migrations.__file__).parent).get_current_head() == migrations.HEAD
