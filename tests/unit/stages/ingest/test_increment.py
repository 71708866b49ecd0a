"""Increments of a database: what results is what a whole read gives, and little is sent for it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import socket
import sqlite3
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.core import erasure
from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.errors import DataError, InputChanged, NotFound
from tunesmith.core.step import Context
from tunesmith.records.data import Erased, Package
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.database import as_it_answers_now, query
from tunesmith.stages.ingest.erased import keeper, query_without
from tunesmith.stages.ingest.increment import Increment, look
from tunesmith.stages.ingest.snapshot import everything, line_of

MAIL = """
    CREATE TABLE mail (id INTEGER PRIMARY KEY, body TEXT, who TEXT, at TEXT);
    INSERT INTO mail WITH RECURSIVE n(id) AS (SELECT 1 UNION SELECT id + 1 FROM n WHERE id < 40)
        SELECT id, 'body ' || id, 'who-' || id, printf('2026-01-%02d', 1 + id / 2) FROM n;
"""


class Loads:
    """The loads of one source, one after the other, each by an increment on the one before."""

    def __init__(self, ctx: Context, config: SourceConfig) -> None:
        self.ctx, self.config = ctx, config
        self.last: Package | None = None

    @property
    def project(self) -> Path:
        assert self.ctx.project is not None
        return self.ctx.project

    def look(self, **settings: Any) -> tuple[SourceConfig, Increment | None]:
        base = self.ctx.blobs.path(self.last.wheel) if self.last else None
        given = {
            "project": self.project, "hosts": (), "cache": self.ctx.cache, "base": base,
            "keeps": everything, "progress": lambda *_: None,
        }  # fmt: skip
        seen, _, found = look(self.config, **(given | settings))
        return seen, found

    def next(self, **settings: Any) -> Increment:
        seen, found = self.look(**settings)
        self.last = query(seen.querying(), self.ctx)
        assert found is not None
        return found

    def whole(self) -> Package:
        """What a source without a cursor takes in, by a read of its own."""
        plain = self.config.model_copy(update={"cursor": ""})
        config = as_it_answers_now(plain, self.project, ()).querying()
        return query(config, dataclasses.replace(self.ctx, cache=None))

    def rows(self) -> list[dict[str, Any]]:
        assert self.last is not None
        with zipfile.ZipFile(self.ctx.blobs.path(self.last.wheel)) as archive:
            return [json.loads(said) for said in archive.read(archive.namelist()[0]).splitlines()]


def source(query: str = "SELECT * FROM mail", **given: Any) -> SourceConfig:
    settings = {"name": "mail", "origin": "sqlite:crm.db", "key": "id", "cursor": "at"}
    return SourceConfig(**settings | {"query": query} | given)


def change(folder: Path, script: str) -> None:
    with contextlib.closing(sqlite3.connect(folder / "crm.db")) as database, database:
        database.executescript(script)


@pytest.fixture
def ctx(ctx: Context, tmp_path: Path) -> Context:
    return dataclasses.replace(ctx, project=tmp_path, cache=tmp_path / "cache")


@pytest.fixture
def loads(ctx: Context, tmp_path: Path) -> Loads:
    """A database of 40 rows, of which nothing was loaded yet."""
    change(tmp_path, MAIL)
    return Loads(ctx, source())


def test_only_what_changed_is_sent_and_what_is_gone_is_seen(loads: Loads, tmp_path: Path) -> None:
    first = loads.next()
    assert (first.is_whole, first.num_new, first.num_sent) == (True, 40, 40)
    assert loads.last == loads.whole()
    assert loads.next() == Increment(num_rows=40, num_sent=1), "the row at the highest cursor"
    change(
        tmp_path,
        "UPDATE mail SET body = 'edited', at = '2026-02-01' WHERE id IN (3, 5);"
        "DELETE FROM mail WHERE id IN (7, 40);"
        "INSERT INTO mail VALUES (41, 'new', 'who-41', '2026-02-02');"
        # Of a transaction that was begun long ago, or a clock that went wrong.
        "INSERT INTO mail VALUES (-1, 'late', 'who--1', '2025-01-01');"
        "UPDATE mail SET body = 'back', at = '2024-01-01' WHERE id = 20;",
    )
    found = loads.next()
    assert (found.num_new, found.num_changed, found.num_gone, found.num_rows) == (2, 3, 2, 40)
    # Those, and rows 38 and 39, which are at the highest cursor that did not change.
    assert (found.is_whole, found.num_sent) == (False, 7)
    assert loads.last == loads.whole()
    assert "2 new, 3 changed, 2 gone; 7 of 40 rows sent" in found.said()
    assert [row["id"] for row in loads.rows()][:3] == [-1, 1, 2]


def test_an_edit_at_the_highest_cursor_is_seen(loads: Loads, tmp_path: Path) -> None:
    """A clock of days, and two edits on one day, with a load between them."""
    loads.next()
    change(tmp_path, "UPDATE mail SET body = 'again' WHERE id = 40")
    assert loads.next().num_changed == 1
    assert loads.last == loads.whole()


def test_an_edit_without_another_cursor_is_missed_and_a_whole_read_says_so(
    loads: Loads, tmp_path: Path
) -> None:
    loads.next()
    change(tmp_path, "UPDATE mail SET body = 'silent' WHERE id IN (1, 2, 40)")
    found = loads.next()
    assert found.num_changed == 1, "the one at the highest cursor"
    assert loads.last != loads.whole()
    found = loads.next(whole=True)
    assert (found.is_whole, found.num_sent, found.num_changed, found.num_missed) == (
        True, 40, 2, 2,
    )  # fmt: skip
    assert loads.last == loads.whole()
    assert "2 rows had changed without another cursor" in found.said()
    assert loads.next(whole=True).num_missed == 0


def test_a_step_that_finds_nothing_kept_reads_whole(loads: Loads, tmp_path: Path) -> None:
    loads.next()
    seen, _ = loads.look()
    shutil.rmtree(tmp_path / "cache")
    assert query(seen.querying(), loads.ctx) == loads.last
    seen, _ = loads.look()
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_bytes(kept.read_bytes().replace(b"body 7", b"ydob 7"))
    assert query(seen.querying(), loads.ctx) == loads.last, "what is damaged is not used"
    change(tmp_path, "UPDATE mail SET body = 'silent' WHERE id = 1")
    seen, _ = loads.look()
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(InputChanged, match=r"not [0-9a-f]{64}") as error:
        query(seen.querying(), loads.ctx)
    assert "--whole" in error.value.remedy


def test_a_source_that_pins_its_rows_is_read_whole_by_its_step(loads: Loads) -> None:
    digest = loads.look()[0].sha256
    pinned = source(sha256=digest)
    assert Loads(loads.ctx, pinned).look() == (pinned, None)


@pytest.mark.parametrize("bad", [b"no zip", b""])
def test_a_base_that_cannot_be_used_costs_a_whole_read(
    loads: Loads, tmp_path: Path, bad: bytes
) -> None:
    (tmp_path / "base").write_bytes(bad)
    assert loads.next(base=tmp_path / "base").is_whole
    assert loads.last == loads.whole()


def test_rows_in_another_order_or_without_the_cursor_cost_a_whole_read(
    loads: Loads, tmp_path: Path
) -> None:
    """As when a server is brought up to another version of its collations."""
    loads.next()
    for rows in (loads.rows()[::-1], [{"id": row["id"]} for row in loads.rows()]):
        with zipfile.ZipFile(tmp_path / "base", "w") as archive:
            archive.writestr("crm.db", b"".join(map(line_of, rows)))
        found = loads.next(base=tmp_path / "base")
        assert (found.is_whole, found.num_sent) == (True, 40)
        assert loads.last == loads.whole()
    change(tmp_path, "UPDATE mail SET at = '2027' WHERE id < 30")
    assert "more than half" in loads.next().said()
    change(tmp_path, "DELETE FROM mail")
    assert loads.next().num_gone == 40
    assert loads.rows() == []
    change(tmp_path, "INSERT INTO mail VALUES (1, 'one', 'ann', '2028')")
    assert loads.next().num_new == 1


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("ALTER TABLE mail ADD COLUMN team DEFAULT 'sales'", "its columns are others"),
        ("ALTER TABLE mail DROP COLUMN body", "its columns are others"),
        ("ALTER TABLE mail RENAME body TO text", "its columns are others"),
        ("UPDATE mail SET who = 7", "'who' holds values of another type"),
    ],
)
def test_columns_that_change_cost_a_whole_read(
    ctx: Context, tmp_path: Path, script: str, why: str
) -> None:
    """Rows get a new column without a new cursor: the old ones would lack it."""
    change(tmp_path, MAIL.replace("who TEXT", "who"))
    loads = Loads(ctx, source())
    loads.next()
    change(tmp_path, script)
    found = loads.next()
    assert (found.is_whole, found.num_changed) == (True, 40)
    assert why in found.said()
    assert loads.last == loads.whole()
    assert not loads.next().is_whole


# A cursor and a key that can be used.


@pytest.mark.parametrize(
    ("script", "given", "said"),
    [
        ("UPDATE mail SET at = NULL WHERE id = 9", {}, r"row id=9: the cursor 'at' has no value"),
        (
            "",
            {"query": "SELECT id, CASE id WHEN 9 THEN 7 ELSE at END AS at FROM mail"},
            "row id=9: the cursor 'at' is of the type int, where others are text",
        ),
        ("", {"query": "SELECT id, 9e999 - 9e999 AS at FROM mail"}, "'at' has no value"),
        ("UPDATE mail SET at = CAST('x' AS BLOB) WHERE id = 9", {}, "is of the type bytes"),
        ("", {"cursor": "changed"}, "gives no column 'changed'"),
        ("", {"query": "SELECT * FROM mail UNION SELECT 3, 'x', 'y', 'z'"}, "'id' .* is 3 twice"),
        (
            "CREATE TABLE loose AS SELECT * FROM mail; INSERT INTO loose (at) VALUES ('2026')",
            {"query": "SELECT * FROM loose"},
            "'id' of a row .* has no value",
        ),
        ("", {"query": "SELECT CAST(id AS BLOB) AS id, at FROM mail"}, "type bytes"),
        ("", {"query": "SELECT id, at FROM male"}, "no such table"),
    ],
)
def test_what_cannot_be_used_is_said(
    loads: Loads, tmp_path: Path, script: str, given: dict[str, Any], said: str
) -> None:
    """Both by a first load, and by an increment."""
    loads.next()
    change(tmp_path, script)
    others = Loads(loads.ctx, source(**given))
    for base in (None, loads.ctx.blobs.path(loads.last.wheel)):  # type: ignore[union-attr]
        seen, found = others.look(base=base)
        assert (seen.sha256, found) == ("", None)
        with pytest.raises(DataError, match=said) as error:
            query(seen.querying(), loads.ctx)
        assert error.value.remedy


def test_a_column_that_is_gone_is_no_text(loads: Loads, tmp_path: Path) -> None:
    """SQLite takes a quoted name that is no column for a text."""
    loads.next()
    change(tmp_path, "ALTER TABLE mail RENAME at TO changed")
    seen, _ = loads.look()
    with pytest.raises(DataError, match=r"no such column: asked\.at"):
        query(seen.querying(), loads.ctx)


def test_a_database_that_is_gone_is_said_as_ever(loads: Loads, tmp_path: Path) -> None:
    (tmp_path / "crm.db").unlink()
    seen, _ = loads.look()
    with pytest.raises(NotFound, match=r"no crm\.db"):
        query(seen.querying(), loads.ctx)


def test_only_a_database_has_a_cursor() -> None:
    with pytest.raises(ValueError, match="cursor is not read with format 'jsonl'"):
        SourceConfig(name="a", origin="file:a.jsonl", format="jsonl", cursor="at")
    assert "cursor" not in source(cursor="").model_dump(), "the keys of others stay as they were"


# Somebody who is to be forgotten.


def test_an_erased_row_stays_out_of_every_increment(loads: Loads, tmp_path: Path) -> None:
    loads.next()
    (tmp_path / ".tunesmith").mkdir()
    key = erasure.key_of(tmp_path / ".tunesmith", make=True)
    erased = Erased(digests=(erasure.keyed(key, "subject", "who-7"),), key=erasure.key_name(key))
    loads.config = source(subject="who").without(erased)
    keeps = keeper(loads.config, tmp_path, erased)
    for script in ("", "", "UPDATE mail SET body = 'seven', at = '2027' WHERE id IN (7, 8)"):
        change(tmp_path, script)
        seen, found = loads.look(keeps=keeps)
        kept = b"".join(path.read_bytes() for path in (tmp_path / "cache").iterdir())
        assert b"who-8" in kept
        assert b"who-7" not in kept
        loads.last = query_without(seen, loads.ctx, erased=erased)
        assert loads.last.num_erased == 1
        assert found is not None
        assert not found.is_whole
        assert {row["who"] for row in loads.rows()} == {f"who-{n}" for n in range(1, 41)} - {
            "who-7"
        }
        plain = as_it_answers_now(loads.config.model_copy(update={"cursor": ""}), tmp_path, ())
        whole = query_without(plain, dataclasses.replace(loads.ctx, cache=None), erased=erased)
        assert whole == loads.last
    assert (found.num_new, found.num_changed) == (0, 1)


# One state of the database.


def test_what_is_written_while_it_is_asked_belongs_to_the_next_load(
    loads: Loads, tmp_path: Path
) -> None:
    change(
        tmp_path,
        "PRAGMA journal_mode = wal; INSERT INTO mail WITH RECURSIVE n(id) AS (SELECT 100 UNION "
        "SELECT id + 1 FROM n WHERE id < 2200) SELECT id, 'more', 'x', '2026-01-01' FROM n;",
    )
    loads.next()
    before = loads.last
    edits = "UPDATE mail SET body = 'while', at = '2027' WHERE id < 9; DELETE FROM mail WHERE id=9"
    found = loads.next(progress=lambda *_: change(tmp_path, edits))
    assert loads.last == before
    assert (found.num_changed, found.num_gone) == (0, 0)
    found = loads.next()
    assert (found.num_changed, found.num_gone) == (8, 1)
    assert loads.last == loads.whole()


# Any changes.

keys = st.one_of(st.integers(0, 5), st.sampled_from(["0", "3", "a", "B", "é"]))
changes = st.lists(
    st.tuples(st.sampled_from(["put", "late", "delete"]), keys, st.integers(0, 1)), max_size=6
)


@settings(max_examples=25)
@given(
    rounds=st.lists(changes, min_size=2, max_size=5),
    shown=st.sampled_from([int, lambda n: f"{n + 1000:05}", lambda n: n / 8]),
)
def test_any_changes_give_what_a_whole_read_gives(
    rounds: list[list[tuple[str, Any, int]]], shown: Callable[[int], Any]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "work").mkdir()
        ctx = Context(
            blobs=FolderBlobs(folder / "blobs"), seed=1, workdir=folder / "work",
            keep=folder, project=folder, cache=folder / "cache",
        )  # fmt: skip
        loads = Loads(ctx, source())
        change(folder, "CREATE TABLE mail (id PRIMARY KEY, body, at)")
        clock, late = 0, 0
        for number, round_ in enumerate(rounds):
            with contextlib.closing(sqlite3.connect(folder / "crm.db")) as database, database:
                for place, (what, key, ticks) in enumerate(round_):
                    clock, late = clock + ticks, late - 1
                    if what == "delete":
                        database.execute("DELETE FROM mail WHERE id IS ?", (key,))
                    else:  # at the clock's time, or long ago: at one that no row ever had
                        at = shown(clock if what == "put" else late)
                        row = (key, f"{number}.{place}", at)
                        database.execute("INSERT OR REPLACE INTO mail VALUES (?, ?, ?)", row)
            before = {row["id"]: row for row in loads.rows()} if loads.last else {}
            found = loads.next()
            now = {row["id"]: row for row in loads.rows()}
            assert loads.last == loads.whole()
            assert found.num_new == len(now.keys() - before.keys())
            assert found.num_gone == len(before.keys() - now.keys())
            assert found.num_changed == sum(
                now[key] != before[key] for key in now.keys() & before.keys()
            )
            assert found.num_missed == 0


# Postgres.


class Wire:
    """Stands between a client and a server of this machine, and counts what the server sends."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.num_bytes = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                threading.Thread(target=self._copy, args=(client, server, 0), daemon=True).start()
                threading.Thread(target=self._copy, args=(server, client, 1), daemon=True).start()

    def _copy(self, here: socket.socket, there: socket.socket, weight: int) -> None:
        with contextlib.suppress(OSError), here, there:
            while data := here.recv(1 << 16):
                self.num_bytes += weight * len(data)
                there.sendall(data)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def wire(server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    monkeypatch.setenv("PGUSER", "reader")
    monkeypatch.setenv("PGPASSWORD", "read")
    server.run("DROP TABLE IF EXISTS letter")
    server.run(
        "CREATE TABLE letter (id uuid PRIMARY KEY, body text, at timestamptz, number bigserial,"
        ' price numeric(12, 3), day date, word text COLLATE "C", done boolean DEFAULT true);'
        "INSERT INTO letter (id, body, at, price, day, word) SELECT md5(n::text)::uuid,"
        " repeat('Müller 100 % ', 40) || n, timestamptz '2026-03-29 00:00+01' + n * interval"
        " '1 minute', n / 8.0, date '2026-01-01' + n, 'w' || n FROM generate_series(1, 300) AS n"
    )
    made = Wire(server.port)
    yield made
    made.close()


@pytest.mark.parametrize("cursor", ["at", "number", "price", "day", "word"])
def test_postgres_sends_what_changed(
    ctx: Context, server: Any, wire: Wire, monkeypatch: pytest.MonkeyPatch, cursor: str
) -> None:
    """Across the hour that is twice, in a session whose clock has it."""
    monkeypatch.setenv("PGTZ", "Europe/Berlin")
    config = source(
        "SELECT * FROM letter WHERE body LIKE '%100 \\%%' AND 7 % 4 = 3;",
        origin=f"postgresql://127.0.0.1:{wire.port}/crm", cursor=cursor,
    )  # fmt: skip
    loads = Loads(ctx, config)
    assert loads.next().num_new == 300
    whole, wire.num_bytes = wire.num_bytes, 0
    assert loads.next().num_sent == 1
    server.run(
        f"UPDATE letter SET body = body || ' edited', at = at + interval '1 year',"
        f" number = number + 1000, price = price + 1000, day = day + 1000, word = 'x' || word"
        f" WHERE id IN (md5('3')::uuid, md5('300')::uuid);"
        f"DELETE FROM letter WHERE id = md5('5')::uuid;"
        f"UPDATE letter SET body = body || ' back', {cursor} = (SELECT min({cursor}) FROM letter)"
        f" WHERE id = md5('9')::uuid"
    )
    wire.num_bytes = 0
    found = loads.next()
    assert wire.num_bytes < whole / 5, "keys and cursors, and four rows"
    assert (found.num_new, found.num_changed, found.num_gone) == (0, 3, 1)
    assert (found.is_whole, found.num_sent) == (False, 4)
    assert loads.last == loads.whole()


def test_the_number_of_a_version_is_a_cursor(ctx: Context, server: Any, wire: Wire) -> None:
    """Though it may go round, it is another one after each edit."""
    asks = "SELECT id, body, xmin::text::bigint AS version FROM letter"
    loads = Loads(ctx, source(asks, origin=server.origin, cursor="version"))
    loads.next()
    server.run("UPDATE letter SET body = 'edited' WHERE number = 7")
    found = loads.next()
    assert found.num_changed == 1
    assert loads.last == loads.whole()


def test_a_column_of_postgres_that_is_retyped(ctx: Context, server: Any, wire: Wire) -> None:
    loads = Loads(ctx, source("SELECT * FROM letter", origin=server.origin))
    loads.next()
    server.run("ALTER TABLE letter ALTER price TYPE double precision")
    assert "'price' holds values of another type" in loads.next().said()
    assert loads.last == loads.whole()


def test_postgres_shows_one_state(ctx: Context, server: Any, wire: Wire) -> None:
    server.run(
        "INSERT INTO letter (id, body, at) SELECT md5('x' || n)::uuid, 'more', '2026-01-01'"
        " FROM generate_series(1, 2000) AS n"
    )
    loads = Loads(ctx, source("SELECT * FROM letter", origin=server.origin))
    loads.next()
    before = loads.last
    edits = "UPDATE letter SET body = 'while', at = now() WHERE number < 9"
    assert loads.next(progress=lambda *_: server.run(edits)).num_changed == 0
    assert loads.last == before
    assert loads.next().num_changed == 8
    assert loads.last == loads.whole()


def test_a_cursor_of_postgres_that_has_no_order(ctx: Context, server: Any, wire: Wire) -> None:
    loads = Loads(ctx, source("SELECT * FROM letter", origin=server.origin, cursor="done"))
    seen, _ = loads.look()
    with pytest.raises(DataError, match="'done' is of the type bool"):
        query(seen.querying(), ctx)
