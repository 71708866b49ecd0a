"""Steps side by side: independent ones at once, each result once, and no more than memory holds."""

from __future__ import annotations

import threading
import time
from collections import Counter

import psutil
import pytest

from tunesmith.core import catalog, evidence
from tunesmith.core.errors import DataError, NotBegun
from tunesmith.core.execute import SubprocessExecutor
from tunesmith.core.kinds import KINDS
from tunesmith.core.step import Step
from tunesmith.core.together import Together, Turn, free_bytes
from tunesmith.core.verify import verify
from tunesmith.testing import EchoConfig

GB = 1_000_000_000


@pytest.fixture
def make_parallel(make_runner, tmp_path):
    """make_parallel(jobs, ...) -> a runner whose steps have processes of their own, and events."""

    def make(jobs: int, **settings):
        runner, events = make_runner(**settings)
        runner.executor = SubprocessExecutor(tmp_path / "blobs", tmp_path / "work", threads=1)
        runner.together = Together(jobs=jobs, on_stop=runner.executor.stop)
        return runner, events

    return make


def step(name: str, text: str = "", inputs: dict | None = None, **settings) -> Step:
    config = EchoConfig(name=name, text=text or name, **settings)
    return Step(name=name, kind="echo@1", config=config, inputs=inputs or {})


def diamond(seconds: float = 0.0) -> Step:
    top = step("top")
    left = step("left", inputs={"top": top}, seconds=seconds)
    right = step("right", inputs={"top": top}, seconds=seconds)
    return step("bottom", inputs={"left": left, "right": right})


def test_independent_steps_overlap_and_the_result_is_that_of_one_at_a_time(
    make_parallel, make_runner, tmp_path
):
    runner, _ = make_parallel(2)
    record = runner.run(diamond(seconds=1.5))
    assert runner.blobs.get(record.text) == b"toplefttoprightbottom"
    with runner.database.read() as connection:
        runs = {run.step: run for run in catalog.all_runs(connection)}
        log = list(evidence.entries(connection))
    left, right = runs["left"], runs["right"]
    assert max(left.started_at, right.started_at) < min(left.finished_at, right.finished_at)
    assert runs["top"].finished_at <= min(left.started_at, right.started_at)
    assert log[0].body["step"] == "top"
    assert log[-1].body["step"] == "bottom"
    assert verify(runner.database, runner.blobs).problems == ()

    again, events = make_runner()  # one at a time finds all of it
    assert again.run(diamond(seconds=1.5)) == record
    assert {event.what for event in events} == {"hit"}


def test_what_a_step_used_is_its_own(make_parallel):
    """One that sleeps is not charged what another one burns beside it."""
    runner, _ = make_parallel(3)
    stop = threading.Event()

    def burn():
        while not stop.is_set():
            sum(range(1000))

    burning = threading.Thread(target=burn)
    burning.start()
    try:
        runner.run(step("bottom", inputs={n: step(n, seconds=1.5) for n in ("one", "two")}))
    finally:
        stop.set()
        burning.join()
    with runner.database.read() as connection:
        used = {run.step: run.usage for run in catalog.all_runs(connection)}
    for name in ("one", "two"):
        assert used[name]["wall_s"] > 1.5
        assert 0.05 < used[name]["cpu_s"] < 1.4, "starting Python, and not what this process did"
        assert used[name]["joules_method"] == "estimated"
        assert 5_000_000 < used[name]["peak_bytes"] < 300_000_000


def test_a_shared_input_is_made_once(make_parallel):
    runner, events = make_parallel(4)
    shared = step("shared", seconds=0.5)
    tops = [step(f"t{n}", inputs={"shared": shared}) for n in range(5)]
    same = [step(f"s{n}", text="same") for n in range(3)]  # other names, one key each
    runner.together.each({s: lambda s=s: runner.run(s) for s in [*tops, *same]})
    started = Counter(event.step for event in events if event.what == "started")
    assert started == Counter({"shared": 1, **{f"t{n}": 1 for n in range(5)}} | started)
    assert sum(started[f"s{n}"] for n in range(3)) == 3  # the name is in the settings of echo
    with runner.database.read() as connection:
        assert len(catalog.all_runs(connection)) == 9


def test_two_steps_of_one_key_are_run_once(make_parallel):
    runner, events = make_parallel(3)
    twins = [
        Step(name=name, kind="echo@1", config=EchoConfig(text="x", seconds=1.0))
        for name in ("one", "two")
    ]
    made = runner.together.each({s: lambda s=s: runner.run(s) for s in twins})
    assert len({record.text for record in made.values()}) == 1
    assert [e.what for e in events if e.what in ("started", "hit")] == ["started", "hit"]


def test_one_failure_lets_others_end_and_begins_nothing_else(make_parallel):
    runner, events = make_parallel(2)
    bad = step("bad", error="broken rows", seconds=0.5)
    slow = step("slow", seconds=2.0)
    after = step("after", inputs={"slow": slow})
    with pytest.raises(DataError, match="broken rows"):
        runner.together.each({"bad": lambda: runner.run(bad), "after": lambda: runner.run(after)})
    with runner.database.read() as connection:
        statuses = {run.step: run.status for run in catalog.all_runs(connection)}
    assert statuses == {"bad": "failed", "slow": "succeeded"}
    (told,) = [event for event in events if event.what == "failed"]
    assert (told.step, told.note) == ("bad", "slow may still end; nothing else is begun")
    assert verify(runner.database, runner.blobs).problems == ()
    # Who asked may go on: what failed is not remembered.
    assert runner.together.each({n: lambda n=n: runner.run(step(n)) for n in "ab"})


def test_a_signal_ends_the_workers_and_they_are_interrupted(make_parallel):
    runner, events = make_parallel(2)
    others = set(psutil.Process().children())
    asked = threading.Event()

    def stop_when_both_run():
        while sum(event.what == "started" for event in list(events)) < 2:
            time.sleep(0.05)
        time.sleep(1.0)
        asked.set()
        runner.together.stop()

    stopper = threading.Thread(target=stop_when_both_run)
    stopper.start()
    started = time.monotonic()
    with pytest.raises(Exception, match=r"ended with|nothing more is begun"):
        runner.together.each(
            {n: lambda n=n: runner.run(step(n, seconds=60.0)) for n in ("one", "two", "three")}
        )
    stopper.join()
    assert asked.is_set()
    assert time.monotonic() - started < 30
    with runner.database.read() as connection:
        statuses = Counter(run.status for run in catalog.all_runs(connection))
    assert statuses == {"interrupted": 2}, "two ran, and the third was never begun"
    assert set(psutil.Process().children()) <= others
    assert verify(runner.database, runner.blobs).problems == ()


def test_with_one_job_everything_is_in_order_and_in_this_thread():
    seen = []
    together = Together()
    made = together.each({n: lambda n=n: seen.append((n, threading.get_ident())) for n in "abc"})
    assert list(made) == ["a", "b", "c"]
    assert seen == [(n, threading.get_ident()) for n in "abc"]


# Memory.


class Machine:
    """How much memory is free, as a test says."""

    def __init__(self, free: float) -> None:
        self.free = free

    def __call__(self) -> int:
        return int(self.free * GB)


def begins(together: Together, turn: Turn, waits: list[str]) -> threading.Event:
    """A thread that takes `turn`; the event is set when it has it. It ends with `turn.held`."""
    has, leave = threading.Event(), threading.Event()

    def take():
        with together.turn(turn, waits.append):
            has.set()
            leave.wait(30)

    threading.Thread(target=take, daemon=True).start()
    turn.leave = leave.set  # type: ignore[attr-defined]
    return has


def heavy(name: str, needs: float | None = None) -> Turn:
    return Turn(step=name, loads_weights=True, needs=None if needs is None else int(needs * GB))


def test_what_does_not_fit_waits_until_the_other_has_ended():
    together, waits = Together(jobs=4, free=Machine(5.0)), []
    first, second = heavy("first", 3), heavy("second", 3)
    assert begins(together, first, waits).wait(5)
    has = begins(together, second, waits)
    assert not has.wait(0.3)
    assert waits[0] == "for memory: 3.0 GB are needed, 2.0 are free"
    light = Turn(step="light")
    assert begins(together, light, waits).wait(5), "what loads no model is not held up"
    first.leave()
    assert has.wait(5)
    second.leave()
    light.leave()


def test_what_the_other_has_taken_already_is_not_counted_twice():
    machine = Machine(5.0)
    together = Together(jobs=2, free=machine)
    first = heavy("first", 3)
    assert begins(together, first, []).wait(5)
    first.held = lambda: 3 * GB  # and so of 5 GB 2 are free
    machine.free = 2.0
    assert not begins(together, heavy("third", 2.5), waits := []).wait(0.3)
    assert waits
    assert begins(Together(jobs=2, free=machine), heavy("alone", 2.5), []).wait(5)


def test_one_alone_begins_whatever_it_needs():
    """It would run one at a time as well; the machine may have swap, or the forecast be wrong."""
    assert begins(Together(jobs=2, free=Machine(1.0)), heavy("big", 64), []).wait(5)


def test_what_was_never_measured_runs_alone_until_it_says_what_it_needs():
    together, waits = Together(jobs=3, free=Machine(8.0)), []
    first, second = heavy("first"), heavy("second")
    assert begins(together, first, waits).wait(5)
    has = begins(together, second, waits)
    assert not has.wait(0.3)
    assert "not known yet" in waits[0]
    together.need(first, 3 * GB, waits.append)  # its forecast
    assert has.wait(5), "the other is taken to need as much"
    together.need(second, 3 * GB, waits.append)


def test_a_forecast_waits_for_those_before_it_and_never_in_a_ring():
    together = Together(jobs=2, free=Machine(5.0))
    first, second = heavy("first", 1), heavy("second", 2)
    assert begins(together, first, []).wait(5)
    assert begins(together, second, []).wait(5)
    waits: list[str] = []
    together.need(first, 4 * GB, waits.append)  # the earlier one never waits for the later
    assert waits == []
    went_on = threading.Event()
    threading.Thread(
        target=lambda: (together.need(second, 4 * GB, waits.append), went_on.set()), daemon=True
    ).start()
    assert not went_on.wait(0.3)
    first.leave()
    assert went_on.wait(5)
    assert waits[0] == "for memory: 4.0 GB are needed, 1.0 are free"
    second.leave()


def test_who_waits_is_let_go_when_another_fails():
    together = Together(jobs=2, free=Machine(1.0))

    def fails():
        with together.turn(heavy("first", 1), print):
            time.sleep(0.2)
            raise DataError("no")

    def waits():
        time.sleep(0.05)
        with together.turn(heavy("second", 1), lambda _why: None):
            raise AssertionError("its turn must not come")

    with pytest.raises(DataError, match="no"):
        together.each({"fails": fails, "waits": waits})
    together.stop()
    with pytest.raises(NotBegun), together.turn(heavy("third", 1), print):
        pass


def test_a_container_has_less_than_its_machine(tmp_path):
    assert free_bytes(tmp_path / "none") == pytest.approx(
        psutil.virtual_memory().available, rel=0.2
    )
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    (tmp_path / "memory.stat").write_text("anon 400000\ninactive_file 200000\n")
    assert free_bytes(tmp_path) == 2_200_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_bytes(tmp_path) > 3_000_000


def test_those_that_load_a_model_are_known():
    """A kind that is new and has torch in its key is taken to load one."""
    light = {name for name, kind in KINDS.items() if not kind.loads_weights}
    assert {"curate@1", "curate-names@1", "gate@1", "ingest@1", "echo@1"} <= light
    heavy = KINDS.keys() - light
    assert {"finetune@1", "evaluate-base@1", "evaluate-tuned@1", "export@1", "embed@1"} <= heavy
    assert all("torch" in KINDS[name].libraries for name in heavy)
