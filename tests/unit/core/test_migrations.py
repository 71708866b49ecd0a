"""Forward only, once, after a backup; and the tables in code are the tables on disk."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
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
from tunesmith.core.verify import verify
from tunesmith.testing import MemoryBlobs


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


GOLDEN = Path(__file__).parents[2] / "golden" / "stores"
REVISIONS = sorted(path.stem for path in GOLDEN.glob("*.jsonl"))


@pytest.fixture(params=["sqlite", "postgres"])
def empty(request, tmp_path):
    """An empty database of each kind."""
    if request.param == "sqlite":
        opened = Database(f"sqlite:///{tmp_path / 'tunesmith.db'}")
    else:
        opened = Database(request.getfixturevalue("postgres")())
    yield opened
    opened.close()


def load(database, revision: str) -> dict[str, list[dict]]:
    """Make a store of an old schema, with what a store had in it."""
    lines = [json.loads(line) for line in (GOLDEN / f"{revision}.jsonl").read_text().splitlines()]
    rows: dict[str, list[dict]] = {}
    for line in lines:
        rows.setdefault(line["table"], []).append(line["row"])
    with database.write() as connection:
        migrations.upgrade(connection, revision)
        tables = sa.MetaData()
        tables.reflect(connection)
        for table in tables.sorted_tables:
            if table.name in rows:
                connection.execute(table.insert(), rows[table.name])
    return rows


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_released_schema_is_brought_to_this_one_with_what_is_in_it(empty, tmp_path, revision):
    rows = load(empty, revision)
    migrations.migrate(empty, tmp_path)
    with empty.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        for name, before in rows.items():
            table = metadata.tables[name]
            after = [dict(row) for row in connection.execute(sa.select(table)).mappings()]
            assert [{key: row[key] for key in before[0]} for row in after] == before
    report = verify(empty, MemoryBlobs(tmp_path / "memory"))
    assert report.num_entries == len(rows["evidence"])
    assert len(report.problems) == len(report.damaged) == report.num_blobs > 0, "no blob is there"
    if revision != migrations.HEAD:  # the copy that was made first is the old store
        engine = sa.create_engine(
            f"sqlite:///{tmp_path / 'backups' / f'before-upgrade-from-{revision}.db'}"
        )
        with engine.connect() as connection:
            assert connection.execute(
                sa.text("SELECT version_num FROM alembic_version")
            ).scalars().all() == [revision]
            for name, before in rows.items():
                count = connection.execute(sa.text(f"SELECT count(*) FROM {name}")).scalar()
                assert count == len(before)
        engine.dispose()


def test_there_is_a_store_of_every_released_schema():
    walked = ScriptDirectory(Path(migrations.__file__).parent).walk_revisions()
    assert sorted(each.revision for each in walked) == REVISIONS


OPENER = """
import sys
from pathlib import Path
import alembic.command
from tunesmith.core.db import Database
from tunesmith.core.migrations import migrate

url, folder = sys.argv[1], Path(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
database = Database(url)
migrate(database, folder)
database.close()
"""


def test_eight_machines_that_open_a_new_store_at_the_same_moment(postgres, tmp_path):
    """Each has its own lock file: what keeps them apart is the server."""
    url = postgres()
    openers = []
    for number in range(8):
        folder = tmp_path / str(number)
        folder.mkdir()
        openers.append(
            subprocess.Popen(
                [sys.executable, "-c", OPENER, url, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    assert [opener.stdout.readline() for opener in openers] == ["ready\n"] * 8
    for opener in openers:
        opener.stdin.write("\n")
        opener.stdin.flush()
    errors = [opener.communicate()[1] for opener in openers]
    assert [opener.returncode for opener in openers] == [0] * 8, "\n".join(errors)
    database = Database(url)
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()


def test_a_newer_store_on_a_server_is_refused_and_left_alone(postgres, tmp_path):
    database = Database(postgres())
    migrations.migrate(database, tmp_path)
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreTooNew, match="upgrade tunesmith"):
        migrations.migrate(database, tmp_path)
    assert migrations.revision_of(database) == "9999"
    assert not (tmp_path / "backups").exists()
    database.close()


def test_head_is_the_newest_revision():
    assert ScriptDirectory(Path(migrations.__file__).parent).get_current_head() == migrations.HEAD
