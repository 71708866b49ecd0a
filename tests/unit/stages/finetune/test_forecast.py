from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tunesmith.core.meter import Usage, estimate_joules
from tunesmith.lm.attention import attend_by_document
from tunesmith.lm.example import Example, MicroBatch
from tunesmith.lm.load import load_model
from tunesmith.stages.finetune import engine as engines
from tunesmith.stages.finetune import forecast as module
from tunesmith.stages.finetune import keeper as keeping
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.forecast import (
    DRIFT,
    ONE_TIMING,
    Clock,
    Ending,
    Timing,
    estimate,
    forecast,
    spread_out,
    step_and_keep_seconds,
    student_quantile,
)
from tunesmith.stages.finetune.loop import Training
from tunesmith.stages.finetune.lora import add_lora, trainable
from tunesmith.stages.finetune.objectives.answers import Answers
from tunesmith.stages.finetune.states import shelf_of
from tunesmith.stages.finetune.trunk import Trunk

ROWS = [(f"Permission is hereby granted {number}", "mit") for number in range(40)]
SIZES = st.lists(st.tuples(st.integers(50, 1024), st.integers(1, 50)), min_size=6, max_size=30)


@pytest.fixture
def rows(read: Callable[..., list[Example]]) -> list[Example]:
    return read(ROWS)


@pytest.fixture
def training_of(
    tiny: Any, rows: list[Example], make_training: Callable[..., Training]
) -> Callable[..., Training]:
    """A run that has not begun."""
    model = load_model(tiny.base, tiny.blobs).model
    attend_by_document(model)
    parameters = trainable(add_lora(model, 4, 6.0, seed=1))
    return lambda epochs=1: make_training(
        model, parameters, rows, ModelConfig(base="b", dataset="d", epochs=epochs)
    )


def keeper_of(folder: Path) -> keeping.Keeper:
    checkpoints = keeping.Checkpoints(folder=folder, identity="")
    return keeping.Keeper(model="m", folder=folder, checkpoints=checkpoints, waiting=lambda: None)


def ending_of(
    load_s: float = 0.0, peak_bytes: int = 0, load_bytes: int = 0, hashed_s: float = 0.0
) -> Ending:
    load = Usage(
        wall_s=load_s, cpu_s=0.0, peak_bytes=peak_bytes, joules=0.0, joules_method="estimated"
    )
    return Ending(load=load, load_bytes=load_bytes, hashed_s=hashed_s)


def timings(sizes: list[tuple[int, int]], a: float, b: float = 0.0) -> list[Timing]:
    return [
        Timing(num_tokens=tokens, num_labels=labels, wall_s=a * tokens + b * labels)
        for tokens, labels in sizes
    ]


def test_a_forecast_grows_with_the_work_and_leaves_nothing_behind(
    training_of: Callable[..., Training], tmp_path: Path
) -> None:
    run = training_of()
    before = [parameter.clone() for parameter in run.parameters]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)

    short, long = (
        forecast(training_of(epochs), Clock(), ending_of(60.0, hashed_s=40.0), keeper_of(tmp_path))
        for epochs in (1, 400)
    )

    assert 100 < short.wall_s < long.wall_s
    assert 100 < short.cpu_s < long.cpu_s
    assert short.low_s < short.wall_s < short.high_s
    assert long.low_s < long.wall_s < long.high_s
    assert short.joules == estimate_joules(short.cpu_s)
    num_bytes = sum(parameter.numel() * 4 for parameter in run.parameters)
    assert short.peak_bytes > 3 * num_bytes
    assert "of the run's own micro-batches" in short.basis
    assert all(parameter.grad is None for parameter in run.parameters)
    assert all(torch.equal(a, b) for a, b in zip(run.parameters, before, strict=True))
    assert not run.optimiser.state
    assert torch.equal(torch.rand(3), expected)  # no random number was drawn


def test_a_run_that_is_done_has_only_its_end_to_come(
    training_of: Callable[..., Training], tmp_path: Path
) -> None:
    run = training_of()
    run.config = run.config.model_copy(update={"epochs": 0})
    found = forecast(run, Clock(), ending_of(2.0), keeper_of(tmp_path))
    assert found.basis == "every step is done already"
    assert found.low_s < found.wall_s < found.high_s


def test_what_goes_into_it_grows_with_the_run(
    training_of: Callable[..., Training], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every micro-batch of a run of seconds is not timed; of a longer one, three per cent are."""
    passes: list[int] = []

    def count(run: Training) -> int:
        loss = run.loss

        def counted(micro: MicroBatch) -> torch.Tensor:
            passes.append(micro.num_tokens)
            return loss(micro)

        run.loss = counted
        passes.clear()
        forecast(run, Clock(), ending_of(), keeper_of(tmp_path))
        return len(passes)

    assert count(training_of(2)) == 1 + module.ENOUGH
    assert count(training_of(200)) > 10
    assert passes[0] == max(passes)  # what takes most memory comes first and is not timed
    monkeypatch.setattr(module, "MAX_S", 0.0)
    assert count(training_of(200)) == 2


@given(sizes=SIZES, a=st.floats(1e-4, 1e-1), b=st.floats(0, 1e-1))
def test_seconds_that_are_linear_are_foretold_exactly(
    sizes: list[tuple[int, int]], a: float, b: float
) -> None:
    to_come = timings([*sizes, (700, 30)] * 3, a, b)
    exact = sum(each.wall_s for each in to_come)
    seen = timings(sizes, a, b)
    if np.linalg.matrix_rank([(t.num_tokens, t.num_labels) for t in seen]) == 2:
        assert estimate(seen, to_come).wall_s == pytest.approx(exact, rel=1e-6)


@given(sizes=st.lists(st.integers(50, 1024), min_size=1, max_size=5), data=st.data())
def test_with_few_timings_it_is_the_ratio_of_seconds_to_tokens(
    sizes: list[int], data: st.DataObject
) -> None:
    seen = [
        Timing(num_tokens=size, num_labels=1, wall_s=data.draw(st.floats(0.1, 5.0)))
        for size in sizes
    ]
    found = estimate(seen, timings([(1000, 1)], 0.0))
    rate = sum(each.wall_s for each in seen) / sum(sizes)
    assert found.wall_s == pytest.approx(1000 * rate)
    assert found.margin_s >= DRIFT * found.wall_s
    if len(seen) == 1:
        assert found.margin_s == pytest.approx(ONE_TIMING * found.wall_s)


def test_the_interval_is_student_s() -> None:
    """Of passes of one length it is the textbook's, of the sum of `m` new values after `n`."""
    seconds = [1.0, 1.4, 0.7, 1.3, 0.9]
    seen = [Timing(num_tokens=500, num_labels=1, wall_s=each) for each in seconds]
    new = 7
    found = estimate(seen, timings([(500, 1)] * new, 0.0))
    n = len(seconds)
    spread = np.std(seconds, ddof=1) * math.sqrt(new + new**2 / n)
    assert found.wall_s == pytest.approx(new * np.mean(seconds))
    assert found.margin_s == pytest.approx(stats.t(n - 1).ppf(0.95) * spread, rel=0.005)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 10, 100])
def test_quantiles_are_scipy_s(freedom: int) -> None:
    assert student_quantile(0.95, freedom) == pytest.approx(stats.t(freedom).ppf(0.95), rel=0.005)


@pytest.mark.parametrize("count", [2, 4, 6, 12])
def test_nine_of_ten_runs_are_inside(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated: passes of several lengths and shares of labels, whose seconds scatter."""
    monkeypatch.setattr(module, "DRIFT", 0.0)
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        tokens = rng.integers(200, 1024, 100)
        labels = (tokens * 0.3).astype(int)
        noise = rng.normal(0, 0.2, 100) * np.sqrt(tokens / 600)
        seconds = 3e-3 * tokens + 1e-3 * labels + noise
        run = [
            Timing(num_tokens=int(t), num_labels=int(n), wall_s=float(s))
            for t, n, s in zip(tokens, labels, seconds, strict=True)
        ]
        found = estimate(run[:count], run[count:])
        inside += abs(seconds[count:].sum() - found.wall_s) <= found.margin_s
    assert inside / 400 == pytest.approx(0.9, abs=0.04)


@given(st.integers(1, 300))
def test_any_first_few_are_spread_evenly(count: int) -> None:
    order = list(spread_out(count))
    assert sorted(order) == list(range(count))
    few = order[:8]
    assert order[0] == count // 2
    if count >= 16:
        gaps = np.diff(sorted([-1, *few, count]))
        assert gaps.max() <= count / 3


class Simulated:
    """A clock that only passes move."""

    now = 0.0

    def __init__(self) -> None:
        self._start = Simulated.now

    @property
    def wall_s(self) -> float:
        return Simulated.now - self._start

    cpu_s = wall_s


def test_a_step_and_a_checkpoint_are_timed_by_their_numbers(
    training_of: Callable[..., Training], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is timed on an eighth of the numbers and multiplied is what all of them would take; a
    checkpoint holds them and their two moments, and is gone afterwards."""
    run = training_of()
    run.parameters = [torch.nn.Parameter(torch.zeros(1000, 1000)) for _ in range(4)]
    make, save = module.make_optimiser, module.Checkpoints.save
    written: list[int] = []
    folder = tmp_path / "keep"
    folder.mkdir()

    def counted(parameters: Sequence[torch.nn.Parameter], config: ModelConfig) -> Any:
        optimiser = make(parameters, config)
        numbers = sum(parameter.numel() for parameter in parameters)

        def passed(*_: Any) -> None:
            Simulated.now += numbers

        optimiser.register_step_post_hook(passed)
        return optimiser

    def weighed(checkpoints: Any, *given: Any) -> None:
        save(checkpoints, *given)
        written.append(sum(file.stat().st_size for file in checkpoints.folder.iterdir()))
        Simulated.now += written[-1]

    monkeypatch.setattr(module, "Clock", Simulated)
    monkeypatch.setattr(module, "make_optimiser", counted)
    monkeypatch.setattr(module.Checkpoints, "save", weighed)
    for at_once in (4_000_000, 500_000):
        monkeypatch.setattr(module, "STEP_NUMBERS", at_once)
        step_s, keep_s = step_and_keep_seconds(run, folder)
        assert step_s == pytest.approx(4_000_000)
        assert written[-1] == pytest.approx(at_once * 3 * 4, rel=0.01)
        assert keep_s == pytest.approx(4_000_000 * 3 * 4, rel=0.01)
    assert not list(folder.iterdir())


def test_checkpoints_are_forecast(
    training_of: Callable[..., Training], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As many as the run will write, each as long as the one that was timed."""

    def slow(*_: Any) -> None:
        Simulated.now += 7.0

    monkeypatch.setattr(module, "Clock", Simulated)
    monkeypatch.setattr(module.Checkpoints, "save", slow)
    monkeypatch.setattr(keeping, "MAX_SHARE", 1e9)

    def left(keep_every_s: float) -> float:
        monkeypatch.setattr(keeping, "KEEP_EVERY_S", keep_every_s)
        run, clock = training_of(2), Simulated()
        run.loss = one_second(run.loss)
        found = forecast(run, clock, ending_of(), keeper_of(tmp_path))
        return found.wall_s - clock.wall_s

    num_steps = training_of(2).num_steps
    assert left(0.0) - left(1e9) == pytest.approx(7.0 * num_steps)
    assert left(3.0) - left(1e9) == pytest.approx(7.0 * (num_steps // 3))


def one_second(loss: Callable[[MicroBatch], torch.Tensor]) -> Callable[[MicroBatch], torch.Tensor]:
    def timed(micro: MicroBatch) -> torch.Tensor:
        Simulated.now += 1.0
        return loss(micro)

    return timed


@pytest.mark.parametrize("layers", [1, 2])
def test_what_is_frozen_is_forecast_once_and_when_it_is_kept_not_at_all(
    tiny: Any,
    rows: list[Example],
    objective: Answers,
    monkeypatch: pytest.MonkeyPatch,
    layers: int,
    tmp_path: Path,
) -> None:
    """A second for each token below, a hundredth for each token of a step."""
    model = load_model(tiny.base, tiny.blobs).model
    config = ModelConfig(base="b", dataset="d", layers=layers, epochs=4)
    engine = engines.make_engine(model, objective, config, 0, rows)
    monkeypatch.setattr(module, "Clock", Simulated)
    below, loss = Trunk.below, engines.Engine.loss

    def slow(trunk: Trunk, micro: MicroBatch) -> torch.Tensor:
        Simulated.now += micro.num_tokens
        return below(trunk, micro)

    def quick(engine: Any, micro: MicroBatch, hidden: Any = None) -> torch.Tensor:
        found = loss(engine, micro, hidden)
        Simulated.now += micro.num_tokens / 100
        return found

    monkeypatch.setattr(Trunk, "below", slow)
    monkeypatch.setattr(engines.Engine, "loss", quick)
    num_tokens = sum(row.num_tokens for row in rows)

    def ask() -> tuple[float, Any, Training]:
        run = engines.make_training(engine, rows, config, 0, shelf_of(tiny.context(), tiny.base))
        clock = Simulated()
        found = forecast(run, clock, ending_of(), keeper_of(tmp_path))
        return found.wall_s - clock.wall_s, found, run

    cold, said, run = ask()
    steps = 4 * num_tokens / 100
    if layers == 2:  # there is nothing below
        assert run.trunk is None
        assert cold == pytest.approx(steps, rel=0.01)
        return
    assert run.trunk is not None
    assert cold == pytest.approx(num_tokens + steps, rel=0.01)
    assert "computed once and kept, in" in said.basis
    assert not run.trunk.states.complete  # what was timed is not what is kept
    run.trunk.fill(lambda _num_tokens: None)
    warm, said, run = ask()
    assert warm == pytest.approx(steps, rel=0.01)
    assert said.basis.endswith("are kept already")


def test_the_memory_that_loading_took_counts(
    training_of: Callable[..., Training], tmp_path: Path
) -> None:
    """It was used, whatever the rest takes."""
    small = forecast(training_of(), Clock(), ending_of(), keeper_of(tmp_path))
    large = forecast(training_of(), Clock(), ending_of(peak_bytes=10**15), keeper_of(tmp_path))
    assert small.peak_bytes < large.peak_bytes == 10**15
    done = training_of()
    done.config = done.config.model_copy(update={"epochs": 0})
    assert (
        forecast(done, Clock(), ending_of(peak_bytes=10**15), keeper_of(tmp_path)).peak_bytes
        == 10**15
    )


def test_a_run_that_writes_checkpoints_holds_a_copy_and_at_its_end_a_base_model(
    training_of: Callable[..., Training], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A copy of what is trained and of its two moments; the base model is beside what there is."""

    # Much more than what the process of other tests gives back meanwhile, which was 0.2 GB once;
    # none of it is written to, so it is resident never.
    num_bytes = 2_000_000_000
    heavy = torch.nn.Parameter(torch.empty(num_bytes // 4))
    monkeypatch.setattr(keeping, "MAX_SHARE", 1e9)

    def peak(keep_every_s: float, load_bytes: int) -> int:
        monkeypatch.setattr(keeping, "KEEP_EVERY_S", keep_every_s)
        training = training_of()
        training.parameters = [*training.parameters, heavy]
        return forecast(
            training, Clock(), ending_of(load_bytes=load_bytes), keeper_of(tmp_path)
        ).peak_bytes

    short = peak(1e9, 0)
    assert (peak(0.0, 0) - short) / num_bytes == pytest.approx(3, abs=0.3)
    assert (peak(1e9, 10 * num_bytes) - short) / num_bytes == pytest.approx(10, abs=0.3)
