"""What must hold of a store whatever happens to it: many writers, kill -9, poison, wrong clocks.

The small sizes run with every test; the full ones are marked slow, and `-s` shows what they saw.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from tunesmith.core import catalog, evidence, lifecycle
from tunesmith.core.errors import Conflict, InputChanged
from tunesmith.core.execute import SubprocessExecutor
from tunesmith.core.step import Step
from tunesmith.core.verify import verify
from tunesmith.testing import EchoConfig

OPEN = """
import json, sys, time
from pathlib import Path
from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.db import Database
from tunesmith.core.execute import InlineExecutor, SubprocessExecutor, sweep
from tunesmith.core.migrations import migrate
from tunesmith.core.runner import Runner
from tunesmith.core.step import Step
from tunesmith.core.together import Together
from tunesmith.testing import EchoConfig

folder = Path(sys.argv[1])
database = Database(f"sqlite:///{folder / 'tunesmith.db'}")
migrate(database, folder)
blobs = FolderBlobs(folder / "blobs")
"""

COMMITS = f"""{OPEN}
who, num = sys.argv[2], int(sys.argv[3])
runner = Runner(
    blobs=blobs, database=database, executor=InlineExecutor(blobs, folder / "work" / who),
    actor=who,
)
(folder / "work" / who).mkdir(parents=True)
print("ready", flush=True)
sys.stdin.readline()
took = []
for number in range(num):
    started = time.monotonic()
    config = EchoConfig(name=who, text=f"{{who}} {{number}}", alias="newest")
    runner.run(Step(name=f"{{who}}:{{number}}", kind="echo@1", config=config))
    took.append(time.monotonic() - started)
print(json.dumps(took))
"""


@pytest.mark.parametrize(
    ("num_writers", "num_commits"),
    [(8, 5), pytest.param(8, 200, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])],
)
def test_many_writers_on_one_store(tmp_path, make_runner, num_writers, num_commits):
    """None is told that the store is locked, and each finds all that it wrote."""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", COMMITS, str(tmp_path), f"w{number}", str(num_commits)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(num_writers)
    ]
    for writer in writers:  # all at once, also into a store that none of them found made
        assert writer.stdout.readline() == "ready\n", writer.stderr.read()
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    took = []
    for writer in writers:
        said, wrong = writer.communicate(timeout=3000)
        assert (writer.returncode, wrong) == (0, "")
        took += json.loads(said)
    took.sort()
    total = num_writers * num_commits
    assert len(took) == total
    p99 = took[int(0.99 * total) - 1]
    print(
        f"{total} commits: median {took[total // 2]:.3f} s, p99 {p99:.3f} s, max {took[-1]:.3f} s"
    )
    runner, _ = make_runner()
    with runner.database.read() as connection:
        runs = catalog.all_runs(connection)
        log = list(evidence.entries(connection))
        newest = {
            f"w{n}": len(catalog.alias_history(connection, "echo", f"w{n}", "newest"))
            for n in range(num_writers)
        }
        numbers = {v.name: v.number for v in catalog.all_versions(connection)}
    assert Counter(run.status for run in runs) == {"succeeded": total}
    assert Counter(run.step for run in runs).most_common(1)[0][1] == 1
    assert set(newest.values()) == set(numbers.values()) == {num_commits}
    assert [entry.seq for entry in log] == list(range(1, 2 * total + 1))
    assert verify(runner.database, runner.blobs).problems == ()


RUN = f"""{OPEN}
number, jobs = int(sys.argv[2]), int(sys.argv[3])
blobs.sweep()
sweep(folder / "work")
executor = (
    SubprocessExecutor(folder / "blobs", folder / "work") if jobs > 1
    else InlineExecutor(blobs, folder / "work")
)
def hear(event):
    if event.what == "finished":
        print(event.step, flush=True)
runner = Runner(
    blobs=blobs, database=database, executor=executor, actor="killed", on_event=hear,
    together=Together(jobs=jobs, on_stop=executor.stop),
)
def step(name, **inputs):
    config = EchoConfig(name=name, text=f"{{name}}{{number}}.", alias="newest", seconds=0.02)
    return Step(name=name, kind="echo@1", config=config, inputs=inputs)
a, b = step("a"), step("b")
c = step("c", a=a, b=b)
d, e = step("d", c=c), step("e", c=c)
print(blobs.get(runner.run(step("f", d=d, e=e)).text).decode())
"""
TEXT = "a{0}.b{0}.c{0}.d{0}.a{0}.b{0}.c{0}.e{0}.f{0}."


def graph(number: int) -> Step:
    """The same steps as there."""

    def node(name: str, **inputs: Step) -> Step:
        config = EchoConfig(name=name, text=f"{name}{number}.", alias="newest", seconds=0.02)
        return Step(name=name, kind="echo@1", config=config, inputs=inputs)

    c = node("c", a=node("a"), b=node("b"))
    return node("f", d=node("d", c=c), e=node("e", c=c))


def run(folder: Path, number: int, jobs: int, kill_after_s: float | None) -> tuple[int, list[str]]:
    """A run in a process of its own; its exit code, and what it had said until it was killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(folder), str(number), str(jobs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if kill_after_s is not None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(kill_after_s)
        process.kill()
    said, wrong = process.communicate(timeout=120)
    assert process.returncode in (0, -9), wrong
    return process.returncode, said.splitlines()


@pytest.mark.parametrize(
    "num_kills", [10, pytest.param(300, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])]
)
def test_kill_9_at_any_moment_of_a_run(tmp_path, make_runner, num_kills):
    """One store, killed again and again: what was said to be done is done, once, and verifies."""
    took_s = {}
    for jobs in (1, 2):
        started = time.monotonic()
        code, said = run(tmp_path, -jobs, jobs, None)
        took_s[jobs] = time.monotonic() - started
        assert (code, said[-1]) == (0, TEXT.format(-jobs))
    runner, _ = make_runner()
    draw, codes, at = random.Random(num_kills), Counter(), Counter()
    for number in range(num_kills):
        jobs = 1 + number % 2
        share = (number // 2 + draw.random()) / (num_kills // 2)
        code, said = run(tmp_path, number, jobs, share * took_s[jobs])
        codes[code] += 1
        acknowledged = [line for line in said if len(line) == 1]
        at[len(acknowledged)] += 1
        assert verify(runner.database, runner.blobs).problems == ()
        before = done(runner, number)
        assert set(acknowledged) <= before.keys(), "what was said to be finished is there"
        again, _ = make_runner()
        again.sweep()
        assert again.blobs.get(again.run(graph(number)).text).decode() == TEXT.format(number)
        after = done(runner, number)
        assert before.items() <= after.items(), "and is not made again"
        assert set(after) == set("abcdef")
    report = verify(runner.database, runner.blobs)
    assert report.problems == ()
    print({"exit codes": dict(codes), "finished when killed": dict(sorted(at.items()))})
    assert codes[-9] >= num_kills // 3, "else nothing was killed, and nothing shown"
    with runner.database.read() as connection:
        statuses = Counter(each.status for each in catalog.all_runs(connection))
    assert statuses["succeeded"] == 6 * (num_kills + 2)
    assert statuses.keys() <= {"succeeded", "interrupted"}
    for _ in range(100):  # workers whose coordinator was killed leave by themselves
        left = [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in _words(p)]
        if not left:
            break
        time.sleep(0.1)
    assert left == []
    runner.blobs.sweep()  # as whoever opens the store next does: the last run was killed writing
    assert list((tmp_path / "blobs" / "incoming").iterdir()) == []


def _words(process: psutil.Process) -> str:
    return " ".join(process.info["cmdline"] or ())


def done(runner, number: int) -> dict[str, int]:
    """The runs that succeeded with the texts of that number: step -> id, each once."""
    with runner.database.read() as connection:
        runs = [
            each
            for each in catalog.all_runs(connection)
            if each.status == "succeeded" and each.identity["config"]["text"].endswith(f"{number}.")
            and each.identity["config"]["text"] == f"{each.step}{number}."
        ]  # fmt: skip
    found = {each.step: each.id for each in runs}
    assert len(found) == len(runs), "no result is there twice"
    return found


# Poison: what was changed behind the store's back is never taken for a result.


def step(text: str = "a", name: str = "one", inputs: dict | None = None, **settings) -> Step:
    config = EchoConfig(name=name, text=text, **settings)
    return Step(name=name, kind="echo@1", config=config, inputs=inputs or {})


def flip(path: Path) -> None:
    """One bit, in a file of the same size and the same times."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    path.chmod(before.st_mode)


def cut(path: Path) -> None:
    path.chmod(0o644)
    os.truncate(path, path.stat().st_size - 1)


def swap(path: Path) -> None:
    """A link to another file of that size."""
    other = path.with_name("other")
    other.write_bytes(bytes(path.stat().st_size))
    path.unlink()
    path.symlink_to(other)


DAMAGES = {"flip": flip, "cut": cut, "swap": swap, "delete": Path.unlink}


def blobs_of(runner, name: str) -> dict[str, Path]:
    """The files behind a step's result: its record, and what that refers to."""
    with runner.database.read() as connection:
        run = catalog.last_success(connection, step=name)
        needed = catalog.run_blobs(connection, run.id)
    return {
        "record" if blob.sha256 == run.output.sha256 else "content": runner.blobs.path(blob)
        for blob in needed
    }


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("which", ["record", "content"])
def test_a_poisoned_result_is_never_used(make_runner, which, damage):
    first, _ = make_runner()
    first.run(step("b", "two", {"one": step()}))
    DAMAGES[damage](blobs_of(first, "one")[which])
    assert verify(first.database, first.blobs).problems != ()
    again, events = make_runner()
    planned = again.plan([step(), step("b", "two", {"one": step()})])
    assert planned[0].hit is None
    assert again.blobs.get(again.run(step("b", "two", {"one": step()})).text) == b"ab"
    assert [(e.step, e.what) for e in events if e.what in ("started", "hit")] == [
        ("one", "started"),
        ("two", "hit"),  # what it was made from is what it was
    ]
    assert verify(again.database, again.blobs).problems == ()


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("which", ["record", "content"])
@pytest.mark.parametrize("executor", ["inline", "subprocess"])
def test_an_input_poisoned_while_the_step_runs_leaves_no_result(
    make_runner, tmp_path, which, damage, executor
):
    runner, _ = make_runner()
    runner.run(step())
    if executor == "subprocess":
        runner.executor = SubprocessExecutor(tmp_path / "blobs", tmp_path / "work")
    path = blobs_of(runner, "one")[which]

    def poison(event):
        if (event.step, event.note) == ("two", "said"):  # it has read it all
            DAMAGES[damage](path)

    runner.on_event = poison
    two = step("b", "two", {"one": step()})
    with pytest.raises(InputChanged, match="changed while it ran"):
        runner.run(two)
    with runner.database.read() as connection:
        assert catalog.last_success(connection, step="two") is None
    assert make_runner()[0].plan([two])[0].hit is None
    again, events = make_runner()
    assert again.blobs.get(again.run(two).text) == b"ab"
    assert Counter(e.what for e in events)["started"] == 2
    assert verify(again.database, again.blobs).problems == ()


@pytest.mark.parametrize(
    "part",
    ["catalog.record_blobs", "catalog.record_version", "catalog.close_run", "lifecycle.move_alias"],
)
def test_what_a_run_made_is_visible_together_or_not_at_all(make_runner, monkeypatch, part):
    """Whatever of it cannot be written, nothing of it is there: no version, alias or evidence."""
    runner, _ = make_runner()
    runner.run(step("a", alias="best"))
    module, _, name = part.partition(".")
    of = {"catalog": catalog, "lifecycle": lifecycle}[module]
    real, failing = getattr(of, name), [True]

    def fails_once(*arguments, **named):
        if failing and failing.pop():
            raise OSError("the machine has other plans")
        return real(*arguments, **named)

    def seen() -> tuple[object, ...]:
        with runner.database.read() as connection:
            good = [r.id for r in catalog.all_runs(connection) if r.status == "succeeded"]
            return (
                good,
                len(catalog.all_versions(connection)),
                catalog.current_alias(connection, "echo", "one", "best"),
                [e.body["run"] for e in evidence.entries(connection, "run.finished")],
                len(list(evidence.entries(connection, "alias.moved"))),
            )

    before = seen()
    monkeypatch.setattr(of, name, fails_once)
    with pytest.raises(OSError, match="other plans"):
        runner.run(step("b", alias="best"))
    assert seen() == before
    assert runner.blobs.get(runner.run(step("b", alias="best")).text) == b"b"
    assert seen() != before
    assert verify(runner.database, runner.blobs).problems == ()


# Clocks.


class Clock:
    """The database's clock, some seconds ahead or behind."""

    def __init__(self, monkeypatch) -> None:
        self.ahead_s = 0.0
        for module in (catalog, evidence):
            real = module.clock
            monkeypatch.setattr(
                module,
                "clock",
                lambda connection, *, plus_s=0.0, real=real: real(
                    connection, plus_s=plus_s + self.ahead_s
                ),
            )


@pytest.fixture
def wrong_clock(monkeypatch) -> Clock:
    return Clock(monkeypatch)


DAY_S = 24 * 3600.0
JUMPS = {"a day ahead": DAY_S, "a day back": -DAY_S, "an hour back": -3600.0, "an hour": 3600.0}


@pytest.mark.parametrize("jump", JUMPS)
def test_a_clock_that_jumps_between_runs_changes_no_order(make_runner, wrong_clock, jump):
    runner, _ = make_runner()
    runner.run(step("a", alias="best"))
    wrong_clock.ahead_s = JUMPS[jump]
    make_runner()[0].run(step("b", alias="best"))
    wrong_clock.ahead_s = 0.0
    make_runner()[0].run(step("c", alias="best"))
    wrong_clock.ahead_s = -JUMPS[jump]
    again, events = make_runner()
    again.run(step("c", alias="best"))
    assert {e.what for e in events} == {"hit"}, "the alias is where it was moved last"
    with again.database.read() as connection:
        log = list(evidence.entries(connection))
        versions = [v.number for v in catalog.all_versions(connection)]
        newest = catalog.last_success(connection, step="one")
        times = [run.started_at for run in catalog.all_runs(connection)]
    assert newest.identity["config"]["text"] == "c"
    assert versions == [1, 2, 3]
    assert [entry.seq for entry in log] == list(range(1, 7))
    assert times != sorted(times), "the clock did jump"
    assert again.plan([step("b", alias="best")])[0].hit is not None
    assert again.sweep() == []
    assert verify(again.database, again.blobs).problems == ()


@pytest.mark.parametrize("jump", JUMPS)
def test_a_clock_that_jumps_while_a_step_runs_doubles_no_result(make_runner, wrong_clock, jump):
    """Ahead, its lease looks lapsed and another takes over: then the first may not publish."""
    first, _ = make_runner(lease_s=60.0)
    outcome: list[object] = []

    def jumps(event):
        if event.note != "said":
            return
        wrong_clock.ahead_s = JUMPS[jump]
        other, _ = make_runner()
        thread = threading.Thread(target=lambda: outcome.append(other.run(step())), daemon=True)
        thread.start()
        thread.join(2.0 if JUMPS[jump] > 0 else 0.7)

    first.on_event = jumps
    if JUMPS[jump] > 0:
        with pytest.raises(Conflict, match="taken over"):
            first.run(step())
        expected = ["interrupted", "succeeded"]
    else:  # behind, it holds for longer, and whoever wants the same waits for it
        outcome.append(first.run(step()))
        expected = ["succeeded"]
    for _ in range(100):
        if len(outcome) == len(expected[-1:]) + (JUMPS[jump] < 0):
            break
        time.sleep(0.05)
    with first.database.read() as connection:
        runs = catalog.all_runs(connection)
    assert [run.status for run in runs] == expected
    assert len(set(map(str, outcome))) == 1
    assert verify(first.database, first.blobs).problems == ()


def test_a_dead_process_is_told_by_itself_and_not_by_the_clock(make_runner, wrong_clock):
    """A day back, the lease of one that was killed would hold for a day."""
    runner, _ = make_runner()
    values = {"key": "0" * 64, "step": "s", "kind": "echo@1", "identity": "{}", "actor": "t"}
    dead = f"{os.uname().nodename}:{os.getpid()}:0-1"
    with runner.database.write() as connection:
        catalog.insert_run(connection, values | {"owner": dead}, lease_s=30.0)
    wrong_clock.ahead_s = -DAY_S
    assert [run.step for run in runner.sweep()] == ["s"]


def test_what_a_dead_process_had_begun_is_taken_over_at_the_first_look(make_runner, monkeypatch):
    """Nobody waits for its lease, which may be of an hour, nor has to sweep first."""
    runner, _ = make_runner()
    (planned,) = runner.plan([step()])
    values = {"key": planned.key, "step": "one", "kind": "echo@1", "identity": "{}", "actor": "t"}
    dead = f"{os.uname().nodename}:{os.getpid()}:0-1"
    with runner.database.write() as connection:
        catalog.insert_run(connection, values | {"owner": dead}, lease_s=3600.0)
    looks = []
    claim = type(runner)._claim

    def counted(self, *arguments):
        looks.append(1)
        assert len(looks) < 5, "it would look until the lease has lapsed"
        return claim(self, *arguments)

    monkeypatch.setattr(type(runner), "_claim", counted)
    assert runner.blobs.get(runner.run(step()).text) == b"a"
    assert looks == [1]
    with runner.database.read() as connection:
        statuses = [run.status for run in catalog.all_runs(connection)]
    assert statuses == ["interrupted", "succeeded"]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Kiritimati"])
def test_the_clock_knows_no_summer_time(make_runner, monkeypatch, zone):
    """Where this machine stands, and what its clocks on the wall do, is in no record."""
    runner, _ = make_runner()
    before = time.time()
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        runner.run(step())
        with runner.database.read() as connection:
            (run,) = catalog.all_runs(connection)
    finally:
        monkeypatch.undo()
        time.tzset()
    from tunesmith.core.db import moment

    assert run.started_at.endswith("Z")
    assert before - 1 < moment(run.started_at).timestamp() < time.time() + 1
    assert run.started_at <= run.finished_at
