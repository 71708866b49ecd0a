"""What nothing needs goes, in steps that can be undone; what anything needs stays, whoever dies."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import re
import threading
import time
from pathlib import Path

import pytest

from tunesmith.core import catalog, evidence, quarantine
from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.db import Database
from tunesmith.core.errors import BlobMissing, Conflict, DataError, NotFound
from tunesmith.core.ref import Blob
from tunesmith.core.retention import StoreSection
from tunesmith.core.step import Step
from tunesmith.core.tracked import files, runs
from tunesmith.core.verify import repair, verify
from tunesmith.testing import EchoConfig

LATER = StoreSection(keep_runs=1, keep_aliases=1)
NOW = StoreSection(keep_runs=1, keep_aliases=1, grace_days=1e-9)
ALL = StoreSection()


def step(text: str, alias: str = "best") -> Step:
    return Step(name="one", kind="echo@1", config=EchoConfig(name="one", text=text, alias=alias))


class Store:
    """A store in which `old` and `older` are what earlier runs made, and `orphan` is of no run."""

    def __init__(self, folder: Path, make_runner) -> None:
        self.folder = folder
        self.runner, _ = make_runner()
        self.older, self.old = (self.runner.run(step(text)).text for text in ("older", "old"))
        self.new = self.runner.run(step("new")).text
        self.orphan = self.runner.blobs.put(b"of no run")
        with pytest.raises(DataError):
            self.runner.run(Step(name="bad", kind="echo@1", config=EchoConfig(error="no")))
        self.blobs: FolderBlobs = self.runner.blobs
        self.age()

    def age(self) -> None:
        """Let all blobs have been put two days ago."""
        then = time.time() - 2 * 86400
        for path in (self.folder / "blobs").glob("??/*"):
            os.utime(path, (then, then))

    def plan(self, settings: StoreSection, in_use=()) -> quarantine.Plan:
        with self.runner.database.read() as connection:
            return quarantine.plan(connection, self.blobs, settings, in_use)

    def collect(self, settings: StoreSection, in_use=()) -> quarantine.Done:
        return quarantine.collect(self.runner.database, self.blobs, settings, in_use, "tester")

    def undo(self, batch: str = "") -> int:
        return quarantine.undo(self.runner.database, self.blobs, "tester", batch)

    def there(self) -> set[str]:
        return {each.sha256 for each in self.blobs.files()}

    def check(self) -> None:
        report = verify(self.runner.database, self.blobs)
        assert (report.problems, report.leftovers) == ((), ())


@pytest.fixture
def store(tmp_path, make_runner) -> Store:
    return Store(tmp_path, make_runner)


def digests(found) -> set[str]:
    return {each.sha256 for each in found}


def test_each_blob_has_the_path_that_keeps_it(store):
    plan = store.plan(LATER)
    assert digests(plan.going) == {store.older.sha256, store.old.sha256, store.orphan.sha256}
    why = {each.sha256: each.why for each in (*plan.kept, *plan.going)}
    assert why[store.new.sha256] == ("alias best of echo one", "run 3 (one)")
    assert why[store.old.sha256] == ("run 2 (one) made it, and is not kept",)
    assert why[store.orphan.sha256] == ("no run that ended well made it",)
    assert store.there() == digests(plan.kept) | digests(plan.going), "nothing was changed"
    # What is not set aside by default: all that a run made, and what its records say.
    assert digests(store.plan(ALL).going) == {store.orphan.sha256}
    wider = LATER.model_copy(update={"keep_aliases": 2})
    assert digests(store.plan(wider).going) == {store.older.sha256, store.orphan.sha256}
    assert digests(store.plan(LATER, in_use=[1]).going) == {store.old.sha256, store.orphan.sha256}


def test_what_a_kept_run_was_made_from_is_kept(store):
    two = Step(
        name="two", kind="echo@1", config=EchoConfig(text="!"), inputs={"of": step("base", "")}
    )
    store.runner.run(two)
    store.runner.run(step("newest"))
    store.age()
    made_from = [each for each in store.plan(LATER).kept if len(each.why) == 3]
    assert [each.why for each in made_from] == [
        ("the newest runs of two", "run 6 (two)", "run 5 (one)")
    ]


def test_set_aside_asked_for_undone_and_removed(store):
    done = store.collect(LATER)
    assert (done.num_set_aside, done.num_removed) == (3, 0)
    assert store.orphan.sha256 not in store.there()
    report = verify(store.runner.database, store.blobs)
    assert (report.problems, report.num_collected) == ((), 2)
    assert store.blobs.get(store.old) == b"old", "who asks for it gets it"
    assert store.old.sha256 in store.there()
    with pytest.raises(NotFound, match="nothing is set aside as 'x'"):
        store.undo("x")
    assert store.undo() == 3
    assert {store.older.sha256, store.orphan.sha256} <= store.there()
    store.check()

    store.age()
    assert store.collect(LATER).num_set_aside == 3
    store.blobs.get(store.older)  # is back, and lately
    done = store.collect(NOW)
    assert (done.num_removed, done.num_came_back, done.num_set_aside) == (2, 1, 0)
    with pytest.raises(BlobMissing):
        store.blobs.get(store.old)
    with pytest.raises(NotFound, match="what was removed is gone"):
        store.undo(done.batch or "2026")
    report = verify(store.runner.database, store.blobs)
    assert (report.problems, report.num_collected) == ((), 1)


def test_what_was_removed_is_made_again_and_then_missed(store):
    store.collect(NOW)
    store.collect(NOW)
    assert store.runner.run(step("other")).text
    store.runner._promised.clear()
    assert store.runner.run(step("old")).text == store.old, "it is made again"
    store.check()
    store.blobs.remove(store.old.sha256)
    (problem,) = verify(store.runner.database, store.blobs).problems
    assert store.old.sha256[:12] in problem


def test_what_is_young_or_put_again_stays(store):
    store.blobs.put(b"of no run")
    assert store.orphan.sha256 not in digests(store.plan(LATER).going)
    assert store.collect(LATER).num_set_aside == 2
    assert store.orphan.sha256 in store.there()


def test_what_a_long_run_put_stays_while_it_runs(store):
    values = {"key": "k", "step": "long", "kind": "echo@1", "identity": "{}", "actor": "me"}
    with store.runner.database.write() as connection:
        mine = {**values, "owner": "another-machine:1:1"}
        run_id = catalog.insert_run(connection, mine, lease_s=60)
        connection.exec_driver_sql(
            "UPDATE runs SET started_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-3 days')"
            f" WHERE id = {run_id}"
        )
    assert store.collect(LATER).num_set_aside == 0
    with store.runner.database.write() as connection:
        catalog.close_run(connection, run_id, status="interrupted")
    assert store.collect(LATER).num_set_aside == 3


def test_what_the_evidence_speaks_of_stays(store):
    with store.runner.database.write() as connection:
        evidence.append(connection, "erasure.proved", "me", {"certificate": store.orphan})
    kept = {each.sha256: each.why for each in store.plan(LATER).kept}
    assert kept[store.orphan.sha256][0].endswith("(erasure.proved)")


def test_what_other_programs_track_stays(store):
    with store.runner.database.write() as connection:
        files.add_artifact(connection, "a" * 32, "model/weights", store.orphan)
    kept = {each.sha256: each.why for each in store.plan(LATER).kept}
    assert kept[store.orphan.sha256] == ("a" * 32 + " of another program", "model/weights")
    store.blobs.remove(store.orphan.sha256)
    (problem,) = verify(store.runner.database, store.blobs).problems
    assert store.orphan.sha256[:12] in problem


def test_what_other_programs_deleted_goes_and_comes_back_if_it_is_restored_in_time(store):
    database, id = store.runner.database, "a" * 32
    with database.write() as connection:
        runs.ensure_default(connection)
        values = {"name": "one", "status": "RUNNING", "user": "me", "started_ms": 1}
        runs.start_run(connection, {"id": id, "experiment": 0, **values})
        files.add_artifact(connection, id, "weights", store.orphan)
        runs.change_run(connection, id, stage="deleted")
    assert store.orphan.sha256 in digests(store.plan(LATER).going)
    store.collect(LATER)
    with database.write() as connection:
        runs.change_run(connection, id, stage="active")
    store.check()
    assert store.blobs.get(store.orphan) == b"of no run"

    with database.write() as connection:
        runs.change_experiment(connection, 0, stage="deleted")  # and its runs with it
    store.age()
    store.collect(NOW)
    store.collect(NOW)
    assert store.orphan.sha256 not in store.there()
    store.check()


def test_two_at_once_are_told(store):
    with quarantine.collecting(store.blobs), pytest.raises(Conflict, match="another process"):
        store.collect(LATER)


def test_a_blob_that_is_removed_is_not_set_aside_either(store):
    store.collect(LATER)
    assert store.orphan.sha256 in set(store.blobs.digests()), "erasing looks there, too"
    store.blobs.remove(store.orphan.sha256)
    assert store.orphan.sha256 not in set(store.blobs.digests())


def test_whoever_puts_and_reads_meanwhile_never_misses(store):
    """Blobs that were put long ago are put again, and read, while garbage is collected."""
    stop, errors = threading.Event(), []

    def put_and_read() -> None:
        while not stop.is_set():
            try:
                assert store.blobs.get(store.blobs.put(b"of no run")) == b"of no run"
                assert store.blobs.get(store.old) == b"old"
            except Exception as error:
                errors.append(error)

    thread = threading.Thread(target=put_and_read)
    thread.start()
    num_moved = 0
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        store.age()
        num_moved += store.collect(LATER).num_set_aside
    stop.set()
    thread.join()
    assert errors == []
    assert num_moved > 3
    store.check()


def test_a_blob_that_is_put_again_at_the_moment_when_it_would_go_stays(store, monkeypatch):
    """Between the look whether it is there and the relying on it, nobody sets it aside; and who
    was about to, looks again whether it is young."""
    put_before = time.time() - 3600
    collector = FolderBlobs(store.folder / "blobs")
    moved: list[bool] = []
    mover = threading.Thread(
        target=lambda: moved.append(collector.move_aside(store.orphan.sha256, "batch", put_before))
    )
    touch = os.utime

    def meanwhile(path, *times) -> None:
        mover.start()
        mover.join(0.5)  # it has every chance, and waits
        touch(path, *times)

    monkeypatch.setattr("tunesmith.core.blobs.os.utime", meanwhile)
    assert store.blobs.put(b"of no run") == store.orphan
    mover.join(10)
    assert moved == [False]
    assert store.orphan.sha256 in store.there()


def test_what_became_young_since_it_was_marked_is_not_set_aside(store):
    marked_at = time.time() - 3600
    store.blobs.put(b"of no run")
    assert not store.blobs.move_aside(store.orphan.sha256, "batch", marked_at)
    assert store.blobs.move_aside(store.old.sha256, "batch", marked_at)
    assert store.orphan.sha256 in store.there()
    assert store.old.sha256 not in store.there()


def other_writer(store) -> Database:
    """Somebody who writes at once, or not at all."""
    return Database(f"sqlite:///{store.folder / 'tunesmith.db'}", busy_timeout_s=0)


def put_many(store, num: int) -> None:
    for number in range(num):
        store.blobs.put(f"many {number}".encode())
    store.age()


def test_others_write_between_a_few_moves_and_while_files_are_removed(store, monkeypatch):
    """No hold of the write lock is longer than a few renames, however many there are."""
    monkeypatch.setattr(quarantine, "AT_ONCE", 4)
    put_many(store, 37)
    other, moved_in_holds, written = other_writer(store), [], []
    write, move_aside = Database.write, FolderBlobs.move_aside

    @contextlib.contextmanager
    def counted(database: Database):
        with write(database) as connection:
            moved_in_holds.append(0)
            yield connection

    def write_at_once() -> None:
        with write(other) as connection:
            evidence.append(connection, "test.written", "other", {})
        written.append(len(moved_in_holds))

    def moving(*args) -> bool:
        moved_in_holds[-1] += 1
        return move_aside(*args)

    def reached(name: str) -> None:
        if name == "gc.removing":
            write_at_once()

    monkeypatch.setattr(store.runner.database, "write", lambda: counted(store.runner.database))
    monkeypatch.setattr(FolderBlobs, "move_aside", moving)
    monkeypatch.setattr(quarantine, "failpoint", reached)
    monkeypatch.setattr(quarantine, "let_others_write", write_at_once)
    assert store.collect(LATER).num_set_aside == 40
    assert max(moved_in_holds) == 4
    assert written == list(range(1, 11)), "after each few"
    assert store.collect(NOW).num_removed == 40
    assert len(written) == 50, "and whenever a file is removed"
    store.check()


def test_a_writer_that_waits_commits_while_garbage_is_collected(store, monkeypatch):
    monkeypatch.setattr(quarantine, "AT_ONCE", 1)
    put_many(store, 100)
    patient = Database(f"sqlite:///{store.folder / 'tunesmith.db'}")
    committed = threading.Event()

    def write() -> None:
        with patient.write() as connection:
            evidence.append(connection, "test.written", "other", {})
        committed.set()

    writer = threading.Thread(target=write)
    moved_before: list[bool] = []

    def reached(name: str) -> None:
        if name == "gc.moving":
            if not moved_before:
                writer.start()
            moved_before.append(committed.is_set())

    monkeypatch.setattr(quarantine, "failpoint", reached)
    assert store.collect(LATER).num_set_aside == 103
    writer.join()
    assert moved_before.count(False) < 50, "it did not wait for all of them"


def test_what_a_run_that_begins_between_two_moves_is_given_stays(store, monkeypatch):
    """It may have looked where its inputs are, and not have opened them yet."""
    monkeypatch.setattr(quarantine, "AT_ONCE", 1)
    with store.runner.database.read() as connection:
        given = catalog.run(connection, 2).output.sha256
    planned = quarantine._planned
    monkeypatch.setattr(
        quarantine,
        "_planned",
        lambda *args: dataclasses.replace(
            plan := planned(*args),
            going=tuple(sorted(plan.going, key=lambda each: each.sha256 == store.old.sha256)),
        ),
    )
    begun: list[int] = []

    def begin() -> None:
        if not begun:
            values = {"key": "k", "step": "s", "kind": "echo@1", "identity": "{}", "actor": "me"}
            with other_writer(store).write() as connection:
                begun.append(
                    catalog.insert_run(connection, {**values, "owner": "far:1:1"}, lease_s=60)
                )
                catalog.record_inputs(connection, begun[0], {"of": [given]})

    monkeypatch.setattr(quarantine, "let_others_write", begin)
    assert store.collect(LATER).num_set_aside == 2
    assert store.old.sha256 in store.there()


def test_what_is_asked_for_while_it_is_removed_is_said_to_be_back(store, monkeypatch):
    store.collect(LATER)
    asked: list[bytes] = []

    def reached(name: str) -> None:
        if name == "gc.removed":
            asked.append(store.blobs.get(store.old))

    monkeypatch.setattr(quarantine, "failpoint", reached)
    done = store.collect(NOW)
    assert (asked, done.num_removed, done.num_came_back) == ([b"old"], 2, 1)
    store.blobs.remove(store.old.sha256)
    (problem,) = verify(store.runner.database, store.blobs).problems
    assert store.old.sha256[:12] in problem, "it is not excused as removed"


SOURCE = Path(quarantine.__file__)
FAILPOINTS = re.findall(r'failpoint\("([\w.-]+)"\)', SOURCE.read_text())


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


@pytest.mark.parametrize("hit", [1, 2])
@pytest.mark.parametrize("name", FAILPOINTS)
def test_killed_anywhere_it_converges(store, name, hit):
    url = f"sqlite:///{store.folder / 'tunesmith.db'}"
    store.runner.database.close()

    def collect_and_undo() -> None:
        database = Database(url)
        for settings in (LATER, NOW):  # the second time, what the first set aside is due
            quarantine.collect(database, store.blobs, settings, (), "tester")
        orphan = store.blobs.put(b"another of no run")
        store.age()
        quarantine.collect(database, store.blobs, LATER, (), "tester")
        quarantine.undo(database, store.blobs, "tester")
        database.close()
        assert orphan

    code = killed(collect_and_undo, f"{name}:{hit}")
    assert code == -9 or (hit == 2 and code == 0)

    report = verify(store.runner.database, store.blobs)
    assert report.problems == ()
    repair(store.runner.database, store.blobs, (), None, "tester")
    store.check()
    assert store.blobs.get(store.new) == b"new"
    store.age()
    for settings in (LATER, NOW, NOW):
        store.collect(settings)
    store.check()
    assert store.there() == digests(store.plan(LATER).kept)
    assert list(store.blobs.set_aside()) == []
    assert [path.name for path in store.blobs.quarantine.iterdir()] == ["lock"]
    for gone in (store.old, store.orphan):
        with pytest.raises(BlobMissing):
            store.blobs.get(gone)
    with store.runner.database.read() as connection:
        assert list(evidence.broken_links(evidence.entries(connection))) == []


def test_the_names_are_digests_only(store):
    with pytest.raises(BlobMissing):
        store.blobs.get(Blob(sha256="../../../etc/passwd", num_bytes=1))
