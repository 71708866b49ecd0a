"""A run that is stopped within a step keeps the whole steps, and goes on to the same bits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from tunesmith.core import attempt, catalog
from tunesmith.core.errors import Conflict, OverBudget
from tunesmith.core.event import Event
from tunesmith.core.execute import SubprocessExecutor, kept
from tunesmith.core.meter import Forecast, Usage
from tunesmith.core.step import Step
from tunesmith.stages.finetune import keeper
from tunesmith.stages.finetune.checkpoint import Checkpoints
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.control import request
from tunesmith.stages.finetune.run import finetune
from tunesmith.stages.finetune.step_record import StepRecord

ROWS = [(f"text number {number}", label) for number in range(5) for label in ("mit", "gpl-2.0")]
CONFIG = ModelConfig(name="desk", base="tiny", dataset="tiny", rank=4, batch_rows=4)
MICROS_BEFORE = 5
"""Of four one-row micro-batches a step: the first step is whole, the second is begun."""


@pytest.fixture
def one_row_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """A micro-batch of every row: a step can be left in its midst."""
    monkeypatch.setattr("tunesmith.stages.finetune.batches.MICRO_TOKENS", 1)


def interrupting(error: BaseException) -> Callable[[float, float, str], None]:
    heard = 0

    def progress(_done: float, _total: float, note: str) -> None:
        nonlocal heard
        heard += note.startswith("loss")  # of a micro-batch
        if heard > MICROS_BEFORE:
            raise error

    return progress


@pytest.mark.usefixtures("one_row_each")
@pytest.mark.parametrize("error", [OverBudget("dear"), KeyboardInterrupt(), SystemExit(143)])
def test_stopped_within_a_step_it_goes_on_from_the_last_whole_one(
    tiny: Any, error: BaseException
) -> None:
    dataset = tiny.dataset(ROWS)
    expected = finetune(CONFIG, tiny.context(3), base=tiny.base, dataset=dataset)

    ctx = tiny.context(3, progress=interrupting(error))
    with pytest.raises(type(error)):
        finetune(CONFIG, ctx, base=tiny.base, dataset=dataset)
    assert [path.name for path in tiny.workdir.glob("step-*")] == ["step-1.safetensors"]

    done: list[float] = []
    ctx = tiny.context(3, progress=lambda now, total, _: done.append(now) if total else None)
    again = finetune(CONFIG, ctx, base=tiny.base, dataset=dataset)
    assert again == expected
    first = json.loads(tiny.blobs.get(again.curve).splitlines()[0])
    assert min(done) > first["num_tokens"]  # the first step was not taken again


@pytest.mark.usefixtures("one_row_each")
def test_who_has_lost_the_run_leaves_what_is_kept_alone(tiny: Any, tmp_path: Path) -> None:
    """The folder belongs to the process that took over."""
    stolen = interrupting(Conflict("taken over"))
    ctx = tiny.context(3, progress=stolen, cache=tmp_path / "cache")
    with pytest.raises(Conflict):
        finetune(CONFIG, ctx, base=tiny.base, dataset=tiny.dataset(ROWS))
    assert list(tiny.workdir.glob("*")) == []


@pytest.mark.usefixtures("one_row_each")
def test_a_run_that_nothing_was_done_of_keeps_nothing(tiny: Any, tmp_path: Path) -> None:
    def stop(_done: float, _total: float, note: str) -> None:
        if note.startswith("loss"):
            raise OverBudget("dear")

    ctx = tiny.context(3, progress=stop, cache=tmp_path / "cache")
    with pytest.raises(OverBudget):
        finetune(CONFIG, ctx, base=tiny.base, dataset=tiny.dataset(ROWS))
    assert list(tiny.workdir.glob("*")) == []


def test_what_is_costly_to_keep_is_kept_rarely_from_the_first_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint of whole weights takes longer than half a minute of steps would be worth."""
    now = 0.0
    monkeypatch.setattr(keeper.time, "monotonic", lambda: now)
    parameter = torch.nn.Parameter(torch.zeros(2))
    optimiser = torch.optim.AdamW([parameter])
    curve = [StepRecord(step=1, loss=1.0, weight=1.0, num_tokens=1, num_labels=1, row_ids=("a",))]

    def first_kept_at(keep_s: float) -> float:
        nonlocal now
        now = 0.0
        folder = tmp_path / str(keep_s)
        folder.mkdir()
        one = keeper.Keeper(
            model="m",
            folder=folder,
            checkpoints=Checkpoints(folder=folder, identity=""),
            waiting=lambda: None,
            keep_s=keep_s,
            _kept_at=0.0,
        )
        while not list(folder.glob("step-*")):
            now += 1.0
            one.after_step([parameter], optimiser, curve)
        assert one.keep_s == 0.0  # as long as this one took
        return now

    assert first_kept_at(0.0) == first_kept_at(1.5) == keeper.KEEP_EVERY_S
    assert first_kept_at(5.0) == 5.0 / keeper.MAX_SHARE


class Dear:
    """A limit that is reached a few signs of progress after the forecast."""

    def __init__(self, signs: int) -> None:
        self.signs = signs
        self.begun = False

    def __call__(self, used: Usage | Forecast) -> str:
        self.begun = self.begun or isinstance(used, Forecast)
        if self.begun and isinstance(used, Usage):
            assert used.cpu_s > 0
            self.signs -= 1
        return "2 EUR, and ledger.budget_per_run is 1 EUR" if self.signs < 0 else ""


@pytest.mark.parametrize("executor", ["inline", pytest.param("subprocess", marks=pytest.mark.slow)])
def test_stopped_by_its_budget_and_gone_on_with_a_higher_one(
    tiny: Any,
    make_runner: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    executor: str,
) -> None:
    monkeypatch.setattr(attempt, "LOOK_EVERY_S", 0.0)
    dataset = tiny.dataset(ROWS * 4)
    config = CONFIG.model_copy(update={"epochs": 10})
    expected = finetune(config, tiny.context(3), base=tiny.base, dataset=dataset)
    inputs = {"base": tiny.base, "dataset": dataset}
    step = Step(name="finetune:desk", kind="finetune@1", config=config, inputs=inputs, seed=3)

    poor, _ = make_runner(limit=Dear(3))
    if executor == "subprocess":
        poor.executor = SubprocessExecutor(tmp_path / "blobs", tmp_path / "work")
    with pytest.raises(OverBudget, match=r"is stopped: .* 2 EUR, .* is 1 EUR"):
        poor.run(step)
    assert list(kept(tmp_path / "work", step.name).glob("step-*.safetensors"))
    with poor.database.read() as connection:
        (stopped,) = catalog.all_runs(connection)
    assert stopped.status == "interrupted"
    assert stopped.usage is not None

    rich, _ = make_runner()
    done: list[float] = []
    rich.on_event = lambda event: done.append(event.done) if event.total else None
    assert rich.run(step) == expected
    assert len(done) < expected.num_steps


@pytest.mark.slow
def test_a_killed_worker_is_tried_again_and_goes_on_from_its_checkpoint(
    tiny: Any, make_runner: Callable[..., Any], tmp_path: Path
) -> None:
    """kill -9 in the midst of tuning, with one retry: the same bits, and no step taken twice."""
    dataset = tiny.dataset(ROWS * 4)
    config = CONFIG.model_copy(update={"epochs": 10})
    expected = finetune(config, tiny.context(3), base=tiny.base, dataset=dataset)
    inputs = {"base": tiny.base, "dataset": dataset}
    step = Step(name="finetune:desk", kind="finetune@1", config=config, inputs=inputs, seed=3)
    runner, _ = make_runner(retries=lambda _step: 1, retry_wait_s=0.1)
    runner.executor = SubprocessExecutor(tmp_path / "blobs", tmp_path / "work", threads=1)
    folder = kept(tmp_path / "work", step.name)
    others = set(psutil.Process().children())
    heard: list[tuple[float, str]] = []
    killed_at: list[int] = []

    def hear(event: Event) -> None:
        heard.append((event.done, event.note))
        if killed_at or event.what != "progress":
            return
        if event.note.startswith("loss"):
            request(folder, "pause")  # it keeps what it has, at the end of its global step
        if "paused" in event.note:
            assert list(folder.glob("step-*.safetensors"))
            killed_at.append(len(heard))
            for child in set(psutil.Process().children()) - others:
                child.kill()
            request(folder, "go on")

    runner.on_event = hear
    assert runner.run(step) == expected
    with runner.database.read() as connection:
        runs = catalog.all_runs(connection)
    assert [run.status for run in runs] == ["failed", "succeeded"]
    assert runs[0].usage is not None
    assert runs[0].usage["cpu_s"] > 0, "what was lost has its cost"
    before = max(done for done, note in heard[: killed_at[0]] if note.startswith("loss"))
    after = [done for done, note in heard[killed_at[0] :] if note.startswith("loss")]
    assert min(after) > before, "what was kept was not done again"
