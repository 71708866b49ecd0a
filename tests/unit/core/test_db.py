"""One writer at a time, no lock errors, one clock, and a refusal of what cannot work."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from tunesmith.core import db, evidence, tables
from tunesmith.core.db import NETWORK_FILE_SYSTEMS, Database, clock, refuse_network_disk
from tunesmith.core.errors import ConfigError, StoreError, StoreFull, StoreLocked
from tunesmith.core.migrations import migrate

WRITER = """
import sys
from pathlib import Path
from tunesmith.core.db import Database
from tunesmith.core.evidence import append
from tunesmith.core.migrations import migrate

folder, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
database = Database(f"sqlite:///{folder / 'tunesmith.db'}")
migrate(database, folder)
for number in range(count):
    with database.write() as connection:
        append(connection, "wrote", name, {"number": number})
"""


def test_eight_processes_commit_at_once_without_a_lock_error(tmp_path):
    """They also race for the first migration of an empty folder."""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), f"writer {i}", "25"],
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(8)
    ]
    errors = [writer.communicate()[1] for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 8, "\n".join(errors)
    database = Database(f"sqlite:///{tmp_path / 'tunesmith.db'}")
    with database.read() as connection:
        log = list(evidence.entries(connection))
    database.close()
    assert list(evidence.broken_links(iter(log))) == []
    counts = {actor: sum(e.actor == actor for e in log) for actor in {e.actor for e in log}}
    assert counts == {f"writer {i}": 25 for i in range(8)}


OPENER = """
import sys
from pathlib import Path
import alembic.command
from tunesmith.core.db import Database
from tunesmith.core.migrations import migrate

for folder in map(Path, sys.argv[1:]):
    print("ready", flush=True)
    sys.stdin.readline()
    database = Database(f"sqlite:///{folder / 'tunesmith.db'}")
    migrate(database, folder)
    database.close()
"""


def test_a_new_store_is_opened_by_six_processes_at_the_same_moment(tmp_path):
    """SQLite does not wait where a new file is switched to its write-ahead log."""
    folders = [tmp_path / str(number) for number in range(20)]
    for folder in folders:
        folder.mkdir()
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", OPENER, *map(str, folders)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    for _ in folders:
        assert [opener.stdout.readline() for opener in openers] == ["ready\n"] * 6, "one ended"
        for opener in openers:
            opener.stdin.write("\n")
            opener.stdin.flush()
    errors = [opener.communicate()[1] for opener in openers]
    assert [opener.returncode for opener in openers] == [0] * 6, "\n".join(errors)


def test_a_lock_that_stays_is_a_clear_error(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'tunesmith.db'}", busy_timeout_s=0.1)
    migrate(database, tmp_path)
    with database.write(), pytest.raises(StoreLocked, match="another process"), database.write():
        pass
    database.close()


def test_who_waits_looks_as_often_at_the_end_as_at_the_beginning(tmp_path, monkeypatch):
    """Else whoever has come just now is served before those who have waited for long."""
    held, database = (Database(f"sqlite:///{tmp_path / 'tunesmith.db'}") for _ in range(2))
    migrate(database, tmp_path)
    slept: list[float] = []
    before = random.getstate()
    with held.engine.connect().execution_options(writes=True) as connection:
        holds = connection.begin()

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 300:
                holds.rollback()

        monkeypatch.setattr(db.time, "sleep", sleep)
        with database.write() as waited:
            evidence.append(waited, "wrote", "me", {})
    assert len(slept) == 300
    low, high = db.LOOK_AGAIN_S
    assert all(low <= each <= high for each in slept)
    first, last = slept[:150], slept[150:]
    assert max(first) - min(first) > (high - low) / 2, "drawn, so that two do not go in step"
    assert abs(sum(first) - sum(last)) < 150 * (high - low) / 4
    assert random.getstate() == before, "what a step draws does not depend on who else writes"
    held.close()
    database.close()


HOLDER = """
import sys
from tunesmith.core.db import Database
from tunesmith.core.evidence import append

with Database(sys.argv[1]).write() as connection:
    append(connection, "wrote", "holder", {})
    print("holds", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the write lock, with something written and not committed."""
    url = f"sqlite:///{tmp_path / 'tunesmith.db'}"
    database = Database(url)
    migrate(database, tmp_path)
    database.close()
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"holds\n"
    yield process
    process.kill()
    process.communicate()


def wrote(database: Database) -> list[str]:
    with database.read() as connection:
        return [entry.actor for entry in evidence.entries(connection)]


def test_a_holder_that_is_killed_blocks_nobody(tmp_path, holder):
    database = Database(f"sqlite:///{tmp_path / 'tunesmith.db'}", busy_timeout_s=0.0)
    with pytest.raises(StoreLocked), database.write():
        pass
    assert wrote(database) == [], "readers wait for nobody"
    holder.kill()
    holder.wait()
    with database.write() as connection:  # at once: it does not wait at all
        evidence.append(connection, "wrote", "next", {})
    assert wrote(database) == ["next"]
    database.close()


def test_a_waiter_that_is_stopped_or_killed_blocks_nobody(tmp_path, holder):
    """There is no queue with a place in it that somebody who sleeps could keep."""
    url = f"sqlite:///{tmp_path / 'tunesmith.db'}"
    waiters = [subprocess.Popen([sys.executable, "-c", WAITER, url], stdout=subprocess.PIPE)
               for _ in range(2)]  # fmt: skip
    for waiter in waiters:
        assert waiter.stdout.readline() == b"waits\n"
    os.kill(waiters[0].pid, signal.SIGSTOP)
    waiters[1].kill()
    waiters[1].communicate()
    holder.stdin.write(b"go\n")
    holder.stdin.flush()
    assert holder.wait(30) == 0
    database = Database(url, busy_timeout_s=0.0)
    with database.write() as connection:
        evidence.append(connection, "wrote", "next", {})
    assert wrote(database) == ["holder", "next"]
    os.kill(waiters[0].pid, signal.SIGCONT)
    waiters[0].communicate(timeout=30)
    assert waiters[0].returncode == 0
    assert wrote(database) == ["holder", "next", "waiter"]
    database.close()


WAITER = """
import sys
from tunesmith.core import db
from tunesmith.core.db import Database
from tunesmith.core.evidence import append

database, sleep = Database(sys.argv[1]), db.time.sleep
def says(seconds):
    print("waits", flush=True)
    sleep(seconds)
db.time.sleep = says
with database.write() as connection:
    append(connection, "wrote", "waiter", {})
"""


def test_waiting_for_the_lock_changes_no_other_waiting(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'tunesmith.db'}", busy_timeout_s=7.0)
    for use in (database.write, database.read):
        with use() as connection:
            assert connection.execute(sa.text("PRAGMA busy_timeout")).scalar() == 7000
    database.close()


def test_a_full_disk_is_told_by_its_code_and_not_by_a_word(tmp_path, postgres):
    database = Database(f"sqlite:///{tmp_path / 'tunesmith.db'}")
    migrate(database, tmp_path)
    with pytest.raises(StoreFull, match="no space left"), database.write() as connection:
        _fill_up(connection)
    with pytest.raises(StoreError, match="no such table") as error, database.read() as connection:
        connection.exec_driver_sql('SELECT * FROM "locked, busy and full"')
    assert type(error.value) is StoreError
    database.close()

    server = Database(postgres())
    migrate(server, tmp_path)
    long = "".join(chr(0x4E00 + number) for number in range(1500))  # does not compress
    row = {"name": long, "description": "", "created_ms": 0, "changed_ms": 0}
    with pytest.raises(StoreError, match="full text indexing") as error, server.write() as writes:
        writes.execute(tables.tracked_models.insert().values(row))
    assert type(error.value) is StoreError
    server.close()


def _fill_up(connection):
    connection.exec_driver_sql("PRAGMA max_page_count = 1")
    for number in range(1000):
        evidence.append(connection, "x", "y", {"number": number, "text": "x" * 4000})


def test_a_servers_lock_that_stays_and_its_full_disk_are_told_by_their_codes(postgres, tmp_path):
    url = postgres()
    holds, waits = Database(url), Database(url, busy_timeout_s=0.1)
    migrate(holds, tmp_path)
    with holds.write(), pytest.raises(StoreLocked, match="another process"), waits.write():
        pass
    # A disk that is full for Postgres alone is not to be had here; it says so with this code.
    full = "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = 'disk_full'; END $$"
    with pytest.raises(StoreFull), holds.write() as connection:
        connection.exec_driver_sql(full)
    holds.close()
    waits.close()


def test_connections_that_are_all_in_use_are_a_clear_error(tmp_path, monkeypatch):
    database = Database(f"sqlite:///{tmp_path / 'tunesmith.db'}")
    migrate(database, tmp_path)
    pool = database.engine.pool
    monkeypatch.setattr(pool, "_timeout", 0.05)
    with contextlib.ExitStack() as held:
        for _ in range(pool.size() + pool._max_overflow):
            held.enter_context(database.read())
        with pytest.raises(StoreLocked, match="every connection"), database.read():
            pass
    database.close()


def test_a_failed_transaction_leaves_nothing(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'tunesmith.db'}")
    migrate(database, tmp_path)
    with pytest.raises(TypeError), database.write() as connection:
        evidence.append(connection, "x", "y", {}) and evidence.append(connection, "x", "y", {1: 2})
    with database.read() as connection:
        assert list(evidence.entries(connection)) == []
    database.close()


def test_settings(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'tunesmith.db'}")
    with database.read() as connection:
        pragma = lambda name: connection.execute(sa.text(f"PRAGMA {name}")).scalar()  # noqa: E731
        assert (pragma("journal_mode"), pragma("synchronous"), pragma("foreign_keys")) == (
            "wal",
            2,
            1,
        )
    database.close()


def test_clock_is_utc_and_sorts(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'tunesmith.db'}")
    with database.read() as connection:
        now, later = clock(connection), clock(connection, plus_s=90.5)
    database.close()
    parsed = datetime.fromisoformat(now)
    assert abs((parsed - datetime.now(UTC)).total_seconds()) < 5
    assert 90 <= (datetime.fromisoformat(later) - parsed).total_seconds() <= 92
    assert now < later


@pytest.mark.parametrize("kind", sorted(NETWORK_FILE_SYSTEMS))
def test_a_network_disk_is_refused(tmp_path, kind):
    mounts = f"/dev/sda1 / ext4 rw 0 0\nserver:/x {tmp_path} {kind} rw 0 0\n"
    with pytest.raises(StoreError, match="Postgres"):
        refuse_network_disk(tmp_path / "project", mounts)
    refuse_network_disk(tmp_path / "project", "/dev/sda1 / ext4 rw 0 0\n")
    refuse_network_disk(tmp_path)


def test_what_is_no_store_and_what_is_no_url_are_clear_errors(tmp_path):
    (tmp_path / "tunesmith.db").write_bytes(b"this is not a database at all, " * 40)
    database = Database(f"sqlite:///{tmp_path / 'tunesmith.db'}")
    with pytest.raises(StoreError, match="backup"), database.read():
        pass
    database.close()
    with pytest.raises(ConfigError, match=r"project\.database"):
        Database("foo")


def test_a_read_only_store_is_a_clear_error(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'missing' / 'tunesmith.db'}")
    with pytest.raises(StoreError, match="permissions"), database.read():
        pass
    database.close()


def test_a_server_that_was_away_is_asked_again(postgres, server):
    database = Database(postgres())
    with database.read() as connection:
        assert connection.execute(sa.text("SELECT 1")).scalar() == 1
    name = database.engine.url.database
    server.run(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
        "postgres",
    )
    with database.read() as connection:
        assert connection.execute(sa.text("SELECT 1")).scalar() == 1
    database.close()


def test_reading_from_a_server_sees_one_moment(postgres, tmp_path):
    database = Database(postgres())
    migrate(database, tmp_path)
    with database.read() as connection:
        assert list(evidence.entries(connection)) == []
        with database.write() as writer:
            evidence.append(writer, "wrote", "me", {})
        assert list(evidence.entries(connection)) == []
        with pytest.raises(sa.exc.InternalError, match="read-only"):
            evidence.append(connection, "wrote", "me", {})
        connection.rollback()
    database.close()


def test_a_password_is_in_no_message():
    with pytest.raises(ConfigError) as caught:
        Database("nosuch://me:secret@host/db")
    assert "secret" not in str(caught.value)
    assert "me:***@host" in str(caught.value)
