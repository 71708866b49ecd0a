"""A step that fails stops what needs it, and nothing else; all that failed is said at the end."""

from __future__ import annotations

from functools import partial

import pytest

from tunesmith.core import catalog
from tunesmith.core.db import Database
from tunesmith.core.errors import (
    DataError,
    NotFound,
    OverBudget,
    RunFailed,
    StepStoreError,
    StoreFull,
)
from tunesmith.core.execute import InlineExecutor, SubprocessExecutor
from tunesmith.core.migrations import migrate
from tunesmith.core.settle import Task, settle
from tunesmith.core.step import Step
from tunesmith.core.together import Together
from tunesmith.core.verify import verify
from tunesmith.testing import EchoConfig


def step(name: str, inputs: dict | None = None, **settings) -> Step:
    config = EchoConfig(name=name, text=name, **settings)
    return Step(name=name, kind="echo@1", config=config, inputs=inputs or {})


def tasks_of(runner, *steps: Step) -> dict[str, Task]:
    return {each.name: Task(steps=[each], make=partial(runner.run, each)) for each in steps}


def statuses(runner) -> dict[str, str]:
    with runner.database.read() as connection:
        return {run.step: run.status for run in catalog.all_runs(connection)}


@pytest.fixture(params=["inline", "subprocess", "side by side"])
def make_any(request, make_runner, tmp_path):
    """make_any() -> a runner of each executor, and its events."""

    def make(**settings):
        runner, events = make_runner(**settings)
        if request.param != "inline":
            runner.executor = SubprocessExecutor(tmp_path / "blobs", tmp_path / "work", threads=1)
        jobs = 3 if request.param == "side by side" else 1
        runner.together = Together(jobs=jobs, on_stop=runner.executor.stop)
        return runner, events

    return make


def two_branches() -> list[Step]:
    """bad -> both <- good, good -> fine, and apart from them alone; `worse` fails, too."""
    bad, good = step("bad", error="broken rows"), step("good")
    both = step("both", {"bad": bad, "good": good})
    after = step("after", {"both": both})
    worse = step("worse", error="no such file", seconds=0.3)
    return [bad, good, both, step("fine", {"good": good}), after, worse, step("alone")]


def test_what_does_not_need_a_failed_step_goes_on(make_any):
    runner, events = make_any()
    settled = settle(runner, tasks_of(runner, *two_branches()))
    assert sorted(settled.made) == ["alone", "fine", "good"]
    assert list(settled.failed) == ["bad", "worse"]
    assert settled.not_run == {"because bad failed": ("both", "after")}
    # What was not run has no run, and what failed was tried once.
    assert statuses(runner) == {
        "bad": "failed",
        "worse": "failed",
        **dict.fromkeys(("good", "fine", "alone"), "succeeded"),
    }
    with runner.database.read() as connection:
        assert len(catalog.all_runs(connection)) == 5
    told = {event.step: event.note for event in events if event.what == "failed"}
    assert told == {
        "bad": "broken rows; what does not need it goes on",
        "worse": "no such file; what does not need it goes on",
    }
    assert verify(runner.database, runner.blobs).problems == ()
    with pytest.raises(RunFailed) as raised:
        settled.require_all({"gate:desk": DataError("not good enough", remedy="add rows")})
    assert raised.value.exit_code == 1
    assert str(raised.value) == (
        "3 failed, and 2 of 7 steps were not run\n"
        "  bad: broken rows\n"
        "    -> say something else\n"
        "  worse: no such file\n"
        "    -> say something else\n"
        "  gate:desk: not good enough\n"
        "    -> add rows\n"
        "  not run, because bad failed: both, after\n"
        "  -> put right what failed, and run the same command again: what was made is kept"
    )


def test_the_next_run_makes_what_is_missing(make_any):
    runner, events = make_any()
    settle(runner, tasks_of(runner, *two_branches()))
    events.clear()
    good = step("good")
    both = step("both", {"bad": step("bad"), "good": good})
    settled = settle(runner, tasks_of(runner, good, both, step("fine", {"good": good})))
    settled.require_all({})
    assert {e.step: e.what for e in events if e.what in ("hit", "finished")} == {
        "good": "hit",
        "fine": "hit",
        "bad": "finished",
        "both": "finished",
    }


def test_what_failed_is_not_remembered(make_any):
    runner, _ = make_any()
    steps = two_branches()
    settle(runner, tasks_of(runner, *steps))
    for _ in range(2):
        with pytest.raises(DataError, match="broken rows"):
            runner.run(steps[0])
    with runner.database.read() as connection:
        assert sum(run.step == "bad" for run in catalog.all_runs(connection)) == 3
    assert runner.plan(steps)[0].hit is None


def test_a_plan_in_between_is_no_failure(make_runner):
    """A path looks at what is made; what failed before, of another path, is not."""
    runner, _ = make_runner()
    bad = step("bad", error="broken rows")
    tasks = tasks_of(runner, bad)
    tasks["looks"] = Task(steps=[], make=lambda: runner.plan([step("x", {"b": bad})]))
    settled = settle(runner, tasks)
    assert settled.made["looks"][0].hit is None
    assert list(settled.failed) == ["bad"]


def test_the_exit_code_is_that_of_the_first(make_runner):
    runner, _ = make_runner()
    bad = step("bad", error="broken rows")

    def lost():
        raise NotFound("no key", remedy="make one")

    tasks = {
        "model:desk": Task(steps=[step("tune")], make=lost),
        **tasks_of(runner, bad),
    }
    settled = settle(runner, tasks)
    assert list(settled.failed) == ["model:desk", "bad"]
    assert settled.not_run == {"because model:desk failed": ("tune",)}
    with pytest.raises(RunFailed) as raised:
        settled.require_all({})
    assert raised.value.exit_code == 4
    assert isinstance(raised.value.first, NotFound)


def test_a_defect_is_told_as_one_with_the_rest_in_its_notes(make_runner, monkeypatch):
    runner, _ = make_runner()
    real = InlineExecutor.execute

    def execute(self, call, listener):
        if call.step == "defect":
            raise ZeroDivisionError("division by zero")
        return real(self, call, listener)

    monkeypatch.setattr(InlineExecutor, "execute", execute)
    bad, defect = step("bad", error="broken rows"), step("defect")
    settled = settle(runner, tasks_of(runner, bad, defect, step("good")))
    assert list(settled.made) == ["good"]
    with pytest.raises(ZeroDivisionError) as raised:
        settled.require_all({})
    assert "2 failed" in raised.value.__notes__[0]
    assert "broken rows" in raised.value.__notes__[0]


@pytest.mark.parametrize("error", [StoreFull("no space"), OverBudget("too dear")])
@pytest.mark.parametrize("jobs", [1, 2])
def test_what_concerns_all_ends_all(make_runner, monkeypatch, error, jobs):
    runner, _ = make_runner()
    runner.together = Together(jobs=jobs)
    real = InlineExecutor.execute

    def execute(self, call, listener):
        if call.step == "first":
            raise error
        return real(self, call, listener)

    monkeypatch.setattr(InlineExecutor, "execute", execute)
    first = step("first")
    slow = step("slow", seconds=0.5)
    last = step("last", {"slow": slow})
    settled = settle(runner, tasks_of(runner, first, last))
    with pytest.raises(type(error)) as raised:
        settled.require_all({})
    assert raised.value is error
    assert "last" not in statuses(runner)
    assert "last" in settled.not_run["because the run ended before"]


def test_a_signal_is_no_failure_of_a_step(make_runner):
    runner, _ = make_runner()

    def interrupted():
        raise KeyboardInterrupt

    tasks = tasks_of(runner, step("bad", error="broken rows"))
    tasks["stopped"] = Task(steps=[], make=interrupted)
    tasks |= tasks_of(runner, step("never"))
    with pytest.raises(KeyboardInterrupt):
        settle(runner, tasks)
    assert statuses(runner) == {"bad": "failed"}
    assert not runner.together.is_settling


@pytest.mark.parametrize("jobs", [1, 3])
def test_the_same_in_a_store_of_postgres(postgres, make_runner, tmp_path, jobs):
    runner, _ = make_runner()
    runner.database = Database(postgres())
    migrate(runner.database, tmp_path)
    runner.executor = SubprocessExecutor(tmp_path / "blobs", tmp_path / "work", threads=1)
    runner.together = Together(jobs=jobs, on_stop=runner.executor.stop)
    try:
        settled = settle(runner, tasks_of(runner, *two_branches()))
        assert list(settled.failed) == ["bad", "worse"]
        assert settled.not_run == {"because bad failed": ("both", "after")}
        assert statuses(runner)["fine"] == "succeeded"
        assert verify(runner.database, runner.blobs).problems == ()
    finally:
        runner.database.close()


def test_what_one_step_needs_of_the_store_stops_that_step_alone(make_runner):
    runner, _ = make_runner()
    lost = StepStoreError("the key of what was erased is not there")

    def fail():
        raise lost

    tasks = {"lost": Task(steps=[], make=fail), **tasks_of(runner, step("alone"))}
    settled = settle(runner, tasks)

    assert (list(settled.made), settled.failed) == (["alone"], {"lost": lost})
