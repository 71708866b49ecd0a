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
    monkeypatch.setattr(migrations, "HEAD", "9999")  # of a later version
    monkeypatch.setattr(alembic.command, "upgrade", lambda _config, to: upgrades.append(to))
    migrations.migrate(database, tmp_path)
    assert upgrades == ["head"]
    backup = sqlite3.connect(tmp_path / "backups" / "before-upgrade-from-0003.db")
    assert backup.execute("SELECT count(*) FROM evidence").fetchone() == (1,)
    backup.close()


FIRST = """
INSERT INTO runs (id, key, step, kind, identity, status, owner, actor, lease_until, started_at)
VALUES (7, 'k', 'ingest:notes', 'ingest@1', '{}', 'succeeded', 'o', 'me', 'now', 'now');
INSERT INTO versions VALUES ('data', 'notes', 1, 'd', 7, 'now');
INSERT INTO evidence VALUES (1, 'now', 'me', 'run.finished', '{}', '0', '1');
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_the_first_schema_is_brought_to_this_one_with_what_is_in_it(
    request, tmp_path, database, kind
):
    if kind == "postgres":
        server = request.getfixturevalue("server")
        server.run("CREATE DATABASE first_schema")
        where = f"127.0.0.1:{server.port}/first_schema"
        database = Database(f"postgresql+psycopg://owner:open@{where}")
    with database.write() as connection:
        config = migrations._config()
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "0001")
        for statement in FIRST.split(";")[:-1]:
            connection.exec_driver_sql(statement)
    migrations.migrate(database, tmp_path)
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        counts = [
            connection.execute(sa.select(sa.func.count()).select_from(metadata.tables[name]))
            for name in ("runs", "versions", "evidence", "slots")
        ]
        assert [count.scalar_one() for count in counts] == [1, 1, 1, 0]
    database.close()


def test_head_is_the_newest_revision():
    assert ScriptDirectory(Path(migrations.__file__).parent).get_current_head() == migrations.HEAD
