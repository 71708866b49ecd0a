"""Backups: whole or not there, checked, incremental; and stores made from them, of either kind."""

from __future__ import annotations

import multiprocessing
import os
import re
import resource
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from tunesmith.core import backup, catalog, evidence, migrations, quarantine, restore, tables
from tunesmith.core.backup import back_up, chosen, snapshots
from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.db import Database
from tunesmith.core.errors import (
    BlobCorrupt,
    Conflict,
    DataError,
    NotFound,
    StoreError,
    StoreTooNew,
)
from tunesmith.core.execute import InlineExecutor
from tunesmith.core.restore import drill
from tunesmith.core.retention import StoreSection
from tunesmith.core.runner import Runner
from tunesmith.core.step import Step
from tunesmith.core.tracked import runs
from tunesmith.core.verify import repair, verify
from tunesmith.records.service import Trace
from tunesmith.testing import EchoConfig

TRACE = Trace(
    service="desk",
    model="desk@1",
    source="served",
    traffic="served",
    text="a",
    answer="b",
    num_prompt_tokens=1,
    num_answer_tokens=1,
    finish_reason="stop",
    wall_s=0.5,
)


def quiet(_done: float, _total: float, _what: str) -> None:
    pass


class Store:
    """The store of a project in `folder`, on SQLite or on a server."""

    def __init__(self, folder: Path, url: str = "") -> None:
        self.folder, self.store = folder, folder / ".tunesmith"
        self.store.mkdir(parents=True, exist_ok=True)
        self.url = url or f"sqlite:///{self.store / 'tunesmith.db'}"
        self.database = Database(self.url)
        migrations.migrate(self.database, self.store)
        self.blobs = FolderBlobs(self.store / "blobs")
        self.runner = Runner(
            blobs=self.blobs,
            database=self.database,
            executor=InlineExecutor(self.blobs, self.store / "work"),
            actor="tester",
        )

    def run(self, text: str):
        config = EchoConfig(name="one", text=text, alias="best")
        self.runner._promised.clear()
        return self.runner.run(Step(name="one", kind="echo@1", config=config)).text

    def back_up(self, to: Path) -> backup.BackedUp:
        return back_up(self.database, self.store, to, actor="tester", on_progress=quiet)

    def rows(self) -> dict[str, list]:
        tables = sa.MetaData()
        with self.database.read() as connection:
            tables.reflect(connection)
            return {
                table.name: sorted(map(tuple, connection.execute(sa.select(table))), key=repr)
                for table in tables.sorted_tables
            }

    def head(self) -> list[str]:
        with self.database.read() as connection:
            return [entry.what for entry in evidence.entries(connection)]


@pytest.fixture
def make_store(tmp_path):
    """make_store("name", url="") -> the store of a project of that name."""
    made: list[Store] = []

    def make(name: str = "project", url: str = "") -> Store:
        made.append(Store(tmp_path / name, url))
        return made[-1]

    yield make
    for each in made:
        each.database.close()


@pytest.fixture
def store(make_store) -> Store:
    made = make_store()
    made.run("eins")
    made.run("zwei")
    (made.folder / "tunesmith.toml").write_text("[project]\nname = 'x'\n")
    (made.store / "erasure.key").write_bytes(b"k" * 32)
    return made


@pytest.fixture
def to(tmp_path) -> Path:
    return tmp_path / "backups"


def test_only_what_is_new_is_copied(store, to):
    first = store.back_up(to)
    assert (first.num_copied, first.damaged) == (first.num_blobs, ())
    second = store.back_up(to)
    assert (second.num_copied, second.num_blobs) == (0, first.num_blobs)
    store.run("drei")
    third = store.back_up(to)
    assert third.num_copied == 2, "a text and a record"
    assert snapshots(to) == [first.snapshot, second.snapshot, third.snapshot]
    assert store.head()[-1] == backup.BACKED_UP
    assert chosen(to, first.snapshot).head == first.head != third.head


def test_a_restored_store_is_the_store(store, to, tmp_path):
    before = store.rows()
    store.back_up(to)
    found = chosen(to)
    made = tmp_path / "new"
    assert restore.restore_project_file(to, found, made)
    restore.restore(to, found, made, on_progress=quiet)
    again = Store(made)
    assert again.rows() == before
    assert (made / "tunesmith.toml").read_text() == "[project]\nname = 'x'\n"
    assert (made / ".tunesmith" / "erasure.key").stat().st_mode & 0o777 == 0o600
    report = verify(again.database, again.blobs)
    assert (report.problems, report.head) == ((), found.head)
    assert again.run("eins") == store.run("eins"), "what was there is used again"
    again.database.close()
    with pytest.raises(Conflict, match="not an empty folder"):
        restore.restore(to, found, made, on_progress=quiet)


@pytest.mark.parametrize("target", ["sqlite", "postgres"])
def test_that_it_was_restored_is_the_next_entry(store, to, tmp_path, make_store, postgres, target):
    store.back_up(to)
    found = chosen(to)
    server = Database(postgres()) if target == "postgres" else None
    restore.restore(to, found, tmp_path / "new", server=server, actor="ann", on_progress=quiet)
    url = server.engine.url.render_as_string(False) if server else ""
    again = make_store("new", url)
    with again.database.read() as connection:
        *before, entry = evidence.entries(connection)
    assert f"{before[-1].seq}:{before[-1].digest}" == found.head
    assert (entry.what, entry.actor) == ("store.restored", "ann")
    assert entry.body == {"snapshot": found.name, "taken_at": found.at, "head": found.head}
    assert verify(again.database, again.blobs).problems == ()
    if server is not None:
        server.close()


def test_a_store_that_tracked_nothing_yet_moves_to_a_server(make_store, postgres, to, tmp_path):
    """Its only experiment has the number 0; and an older version kept a NUL in a trace."""
    old = make_store("old")
    old.run("ein Wort")
    with old.database.write() as connection:
        runs.ensure_default(connection)
        catalog.add_trace(connection, TRACE)
        connection.execute(tables.traces.update().values(text="a\0b"))
    old.back_up(to)
    server = Database(postgres())
    restore.restore(to, chosen(to), tmp_path / "new", server=server, on_progress=quiet)
    with server.write() as connection:
        assert runs.create_experiment(connection, "the first") == 1
        assert connection.execute(sa.select(tables.traces.c.text)).scalar_one() == "a\ufffdb"
    server.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_character_that_a_server_cannot_keep_is_kept_as_another_by_both(
    make_store, postgres, kind
):
    store = make_store("nul", postgres() if kind == "postgres" else "")
    with store.database.write() as connection:
        catalog.add_trace(connection, replace(TRACE, text="a\0b", answer="\0"))
        kept = connection.execute(sa.select(tables.traces.c.text, tables.traces.c.answer)).one()
        assert tuple(kept) == ("a\ufffdb", "\ufffd")
    config = EchoConfig(name="one", text="", error="it ends at \0")
    with pytest.raises(DataError):
        store.runner.run(Step(name="one", kind="echo@1", config=config))
    (failed,) = store.rows()["runs"]
    assert "failed" in failed
    assert any("it ends at \ufffd" in str(each) for each in failed)


@pytest.mark.parametrize("source", ["sqlite", "postgres"])
@pytest.mark.parametrize("target", ["sqlite", "postgres"])
def test_a_store_moves_between_kinds_of_database(
    make_store, postgres, to, tmp_path, source, target
):
    """A backup is of no kind: it is also how a store moves."""
    old = make_store("old", postgres() if source == "postgres" else "")
    texts = [old.run(text) for text in ("ein Wort", "zwei Wörter ≠ 2", "ein Wort")]
    before = old.rows()
    old.back_up(to)
    server = Database(postgres()) if target == "postgres" else None
    restore.restore(to, chosen(to), tmp_path / "new", server=server, on_progress=quiet)
    new = make_store("new", server.engine.url.render_as_string(False) if server else "")
    assert new.rows() == before
    report = verify(new.database, new.blobs)
    assert (report.problems, report.head) == ((), chosen(to).head)
    assert [new.run(text) for text in ("ein Wort", "zwei Wörter ≠ 2")] == texts[:2]
    new.run("ein neues")  # it counts on from where it was
    assert max(row[0] for row in new.rows()["runs"]) == max(row[0] for row in before["runs"]) + 1
    assert verify(new.database, new.blobs).problems == ()
    if server is not None:
        assert not (new.store / "tunesmith.db").exists()
        with pytest.raises(Conflict, match="is not empty"):
            restore.restore(to, chosen(to), tmp_path / "x", server=server, on_progress=quiet)
        assert not (tmp_path / "x" / ".tunesmith").exists()
        server.close()


def test_garbage_is_collected_on_a_server_too(make_store, postgres):
    settings = StoreSection(keep_runs=1, keep_aliases=1)
    store = make_store("pg", postgres())
    old, new = store.run("alt"), store.run("neu")
    for path in store.store.glob("blobs/??/*"):
        os.utime(path, (1, 1))
    done = quarantine.collect(store.database, store.blobs, settings, (), "tester")
    assert done.num_set_aside == 1
    assert verify(store.database, store.blobs).num_collected == 1
    assert quarantine.undo(store.database, store.blobs, "tester") == 1
    assert (store.blobs.get(old), store.blobs.get(new)) == (b"alt", b"neu")
    assert verify(store.database, store.blobs).problems == ()


def test_what_is_damaged_is_not_backed_up_as_if_it_were_whole(store, to):
    text = store.run("eins")
    path = store.blobs.path(text)
    path.chmod(0o644)
    path.write_bytes(b"EINS")
    made = store.back_up(to)
    assert made.damaged == (text.sha256,)
    assert text.sha256 not in chosen(to).blobs
    assert len(list(FolderBlobs(to / "blobs").files())) == made.num_blobs, "nor what it became"


def test_what_a_damaged_file_became_may_be_what_others_need(store, to, tmp_path):
    """A file that a full disk cut to nothing is the empty blob, byte for byte."""
    store.run("eins")
    empty = store.blobs.put(b"")
    with store.database.write() as connection:
        evidence.append(connection, "test.named", "tester", {"log": empty.sha256})
    store.back_up(to)
    cut = store.run("zwei")
    store.blobs.path(cut).chmod(0o644)
    store.blobs.path(cut).write_bytes(b"")
    assert store.back_up(to).damaged == (cut.sha256,)
    for number, name in enumerate(snapshots(to)):
        assert empty.sha256 in chosen(to, name).blobs
        folder = tmp_path / f"again-{number}"
        restore.restore(to, chosen(to, name), folder, on_progress=quiet)
        assert FolderBlobs(folder / ".tunesmith" / "blobs").get(empty) == b""


def test_a_backup_makes_good_what_is_damaged(store, to):
    store.back_up(to)
    text, other = store.run("eins"), store.run("zwei")
    store.blobs.path(text).chmod(0o644)
    store.blobs.path(text).write_bytes(b"EINS")
    store.blobs.remove(other.sha256)
    damaged = verify(store.database, store.blobs).damaged
    assert {blob.sha256 for blob in damaged} == {text.sha256, other.sha256}
    copies = FolderBlobs(to / "blobs")
    assert repair(store.database, store.blobs, damaged, copies, "ann") == 2
    assert verify(store.database, store.blobs).problems == ()
    assert repair(store.database, store.blobs, (), copies, "ann") == 0
    with store.database.read() as connection:
        (entry,) = evidence.entries(connection, "store.repaired")
    assert (entry.actor, set(entry.body["blobs"])) == ("ann", {text.sha256, other.sha256})


def test_what_has_rotted_in_a_backup_is_copied_anew_where_that_is_asked_for(store, to):
    blob = store.run("a")
    store.back_up(to)
    rotten = to / "blobs" / blob.sha256[:2] / blob.sha256[2:]
    rotten.chmod(0o644)
    rotten.write_bytes(b"b")  # as long
    assert store.back_up(to).num_copied == 0, "it is not looked at"
    assert rotten.read_bytes() == b"b"
    made = back_up(store.database, store.store, to, actor="tester", on_progress=quiet, verify=True)
    assert (made.num_copied, made.copied_bytes, made.damaged) == (1, 1, ())
    assert rotten.read_bytes() == b"a"
    drilled = drill(to, chosen(to), store.database, actor="tester", on_progress=quiet)
    assert drilled.problems == ()
    assert (
        back_up(
            store.database, store.store, to, actor="tester", on_progress=quiet, verify=True
        ).num_copied
        == 0
    )


def test_a_damaged_backup_is_refused_and_leaves_nothing(store, to, tmp_path):
    first = store.back_up(to)
    store.back_up(to)
    newest = to / "snapshots" / snapshots(to)[-1]
    with (newest / "tunesmith.db").open("ab") as file:
        file.write(b"!")
    with pytest.raises(StoreError, match="is not what the snapshot's manifest says"):
        chosen(to)
    found = chosen(to, first.snapshot)
    copy = next(iter((to / "blobs").glob("??/*")))
    copy.chmod(0o644)
    copy.write_bytes(copy.read_bytes()[:-1] + b"?")
    with pytest.raises(BlobCorrupt):
        restore.restore(to, found, tmp_path / "new", on_progress=quiet)
    assert list((tmp_path / "new").iterdir()) == []


def test_what_is_no_backup_is_a_clear_error(store, to, tmp_path):
    with pytest.raises(NotFound, match="there is no snapshot at all"):
        chosen(tmp_path)
    store.back_up(to)
    with pytest.raises(NotFound, match="there is no snapshot other"):
        chosen(to, "other")
    manifest = to / "snapshots" / snapshots(to)[0] / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format":1', '"format":2'))
    with pytest.raises(StoreTooNew, match="upgrade tunesmith"):
        chosen(to)
    with pytest.raises(Conflict, match="something that is no backup"):
        store.back_up(store.folder)


@pytest.mark.parametrize(
    "text", ["", '{"format": 1, "na', "{}", "[]", '{"format": 1, "revision": ""}']
)
def test_a_damaged_manifest_is_a_clear_error(store, to, text):
    store.run("a")
    first = store.back_up(to).snapshot
    manifest = to / "snapshots" / store.back_up(to).snapshot / "manifest.json"
    manifest.write_text(text)
    with pytest.raises(StoreError, match="is damaged") as caught:
        chosen(to)
    assert caught.value.remedy == f"restore another one: {first}"
    assert chosen(to, first).name == first


@pytest.mark.parametrize("where", ["file", "file/below", "/proc/none"])
def test_where_no_folder_can_be_made_no_backup_is(store, tmp_path, where):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="no folder for backups can be made at"):
        store.back_up(tmp_path / where)
    assert (tmp_path / "file").read_text() == ""


def test_a_full_disk_is_a_clear_error(store, to):
    """The tables do not fit in what a process of its own may write to a file."""
    for number in range(300):
        with store.database.write() as connection:
            evidence.append(connection, "said", "me", {"text": "x" * 500, "number": number})
    store.database.close()

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
        try:
            store.back_up(to)
        except StoreError as error:  # StoreFull, or that the disk refused it
            os._exit(7 if "cannot be copied" in error.message or "no space" in error.message else 8)
        os._exit(9)

    process = multiprocessing.get_context("fork").Process(target=limited)
    process.start()
    process.join()
    assert process.exitcode == 7
    assert snapshots(to) == []
    assert [path.name for path in (to / "snapshots").iterdir()] == []
    store.back_up(to)


def test_a_drill_is_on_record(store, to, make_store):
    made = store.back_up(to)
    drilled = drill(to, chosen(to), store.database, actor="tester", on_progress=quiet)
    assert (drilled.problems, drilled.head) == ((), made.head)
    with store.database.read() as connection:
        (said,) = evidence.entries(connection, restore.DRILLED)
    assert (said.body["snapshot"], said.body["num_blobs"]) == (made.snapshot, made.num_blobs)
    assert said.body["wall_s"] == drilled.wall_s > 0

    copy = next(iter((to / "blobs").glob("??/*")))
    copy.unlink()
    assert len(drill(to, chosen(to), store.database, actor="t", on_progress=quiet).problems) == 1

    other = make_store("other")
    other.run("anderes")
    with pytest.raises(Conflict, match="is no backup of this store"):
        drill(to, chosen(to), other.database, actor="tester", on_progress=quiet)


def test_no_backup_while_garbage_is_collected(store, to):
    with quarantine.collecting(store.blobs), pytest.raises(Conflict, match="another process"):
        store.back_up(to)


SOURCES = [Path(module.__file__) for module in (backup, restore)]
FAILPOINTS = [
    name for path in SOURCES for name in re.findall(r'failpoint\("([\w.-]+)"\)', path.read_text())
]


def killed(work, failpoint: str) -> int:
    """Do `work` in a process of its own that is killed at a fail point; its exit code."""

    def child() -> None:
        os.environ["TUNESMITH_FAILPOINT"] = failpoint
        work()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


@pytest.mark.parametrize("name", FAILPOINTS)
def test_cut_short_it_is_not_there(store, to, tmp_path, postgres, name):
    first = store.back_up(to)
    store.run("drei")
    url = postgres() if name == "restore.rows" else ""
    store.database.close()

    def backup_and_restore() -> None:
        mine = Store(store.folder)
        mine.back_up(to)
        server = Database(url) if url else None
        restore.restore(to, chosen(to), tmp_path / "new", server=server, on_progress=quiet)

    assert killed(backup_and_restore, name) == -9
    if name.startswith("backup."):
        assert snapshots(to) == [first.snapshot]
        second = store.back_up(to)
        assert snapshots(to) == [first.snapshot, second.snapshot]
        assert len(list((to / "snapshots").iterdir())) == 2, "what was left is cleared away"
        found = drill(to, chosen(to), store.database, actor="tester", on_progress=quiet)
        assert found.problems == ()
    else:
        assert not (tmp_path / "new" / ".tunesmith").exists()
        server = Database(url) if url else None
        restore.restore(to, chosen(to), tmp_path / "new", server=server, on_progress=quiet)
        made = Store(tmp_path / "new", url)
        assert verify(made.database, made.blobs).problems == ()
        made.database.close()
        if server is not None:
            server.close()
