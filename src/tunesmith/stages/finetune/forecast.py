"""What a run will use, measured on this machine with this model and these rows."""

from __future__ import annotations

import bisect
import itertools
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import psutil
import torch
from scipy import special

from tunesmith.core.meter import Forecast, Meter, Usage, estimate_joules
from tunesmith.lm.example import MicroBatch
from tunesmith.stages.finetune.checkpoint import Checkpoints
from tunesmith.stages.finetune.keeper import Keeper, num_kept
from tunesmith.stages.finetune.loop import Training
from tunesmith.stages.finetune.optimiser import make_optimiser
from tunesmith.stages.finetune.trunk import Trunk

Pass = TypeVar("Pass")
Seconds = tuple[float, float]
"""On the wall, and of all threads."""

SHARE = 0.03
"""Of the run that may go into its forecast..."""
MIN_S, MAX_S = 8.0, 60.0
"""... but no less and no more than this; a second micro-batch is timed if a third of the most is
not over by then."""
ENOUGH = 8
"""Timed micro-batches with which a run is content for which `SHARE` is less than `MIN_S`."""
TWO_TERMS_FROM = 6
"""Timed micro-batches from which labels are counted apart from tokens."""
MAX_DRAWN = 200
"""Micro-batches that are drawn to be timed, some of them more than once; time ends it earlier."""
CONFIDENCE = 0.9
DRIFT = 0.12
"""How far a machine's speed strays between the calibration and the run: no interval is narrower.
With this, eighteen of twenty runs on two shared cores ended inside theirs (docs/log.md)."""
ONE_TIMING = 0.3
"""Half the width, as a share, of the interval of a single timing: it shows no spread."""
STEP_NUMBERS = 4_000_000
"""Trained numbers on which a step of the optimiser, and a checkpoint, are timed."""
GOLDEN = (math.sqrt(5) - 1) / 2
MOMENTS = 2
"""Numbers that AdamW keeps for each trained one, beside the gradient."""


class Clock:
    """Wall and CPU seconds of this process since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.monotonic(), time.process_time()

    @property
    def wall_s(self) -> float:
        """Seconds on the wall."""
        return time.monotonic() - self._wall

    @property
    def cpu_s(self) -> float:
        """Seconds of all threads."""
        return time.process_time() - self._cpu


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """What a forward and backward pass took, or several side by side; or, with no seconds yet, what
    is to come."""

    num_tokens: int
    num_labels: int
    wall_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """Seconds that are expected, and half the width of their interval."""

    wall_s: float
    margin_s: float

    def __add__(self, other: Estimate) -> Estimate:
        """Of both together, as if they strayed together."""
        return Estimate(wall_s=self.wall_s + other.wall_s, margin_s=self.margin_s + other.margin_s)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """What a run does once more at its end, as it was when it was done first."""

    load: Usage
    """Of the base model being loaded."""
    load_bytes: int
    """How large it is then."""
    hashed_s: float
    """Seconds in which all of the model was hashed."""

    @property
    def wall_s(self) -> float:
        """Seconds of both."""
        return self.load.wall_s + self.hashed_s


@dataclass(frozen=True, kw_only=True, slots=True)
class Below:
    """What is to be computed once, before the first step, of layers that are not trained."""

    wall: Estimate = Estimate(wall_s=0.0, margin_s=0.0)
    cpu_s: float = 0.0
    basis: str = ""
    """For people."""


def forecast(training: Training, clock: Clock, ending: Ending, keeper: Keeper) -> Forecast:
    """Time forward and backward on some of the run's own micro-batches, and a step; add up.

    `clock` tells what the run has used already. A checkpoint is timed where `keeper` has its own,
    and it is told how long one takes. Nothing that bears on the result is changed: no step is
    taken, and the gradients are thrown away.
    """
    steps = list(training.steps_to_do())
    objective, updates = training.objective, training.config.updates
    cut = [
        list(training.lanes.rounds(list(objective.cut(objective.foreseen(rows))))) for rows in steps
    ] * updates
    passes = list(itertools.chain.from_iterable(cut))
    if not passes:  # all is done; what is left is to save it
        wall_s, cpu_s = clock.wall_s + ending.wall_s, clock.cpu_s + ending.wall_s
        return Forecast(
            wall_s=wall_s,
            low_s=wall_s * (1 - DRIFT),
            high_s=wall_s * (1 + DRIFT),
            cpu_s=cpu_s,
            peak_bytes=max(psutil.Process().memory_info().rss, ending.load.peak_bytes),
            joules=estimate_joules(cpu_s),
            basis="every step is done already",
        )
    to_come = [_timing(micros) for micros in passes]
    with Meter(interval_s=0.01) as meter:
        if any(len(each) > 1 for each in cut):  # gradients are there while a pass runs
            for parameter in training.parameters:
                parameter.grad = torch.empty_like(parameter).fill_(0.0)
        below = _below(training.trunk)
        timed, busy = _calibrate(passes, to_come, partial(_pass, training))
        left = estimate(timed, to_come)
    _clear(training)
    resident = psutil.Process().memory_info().rss
    answering_s = objective.answering_s(sum(map(len, steps)))
    left = left + Estimate(wall_s=answering_s, margin_s=ONE_TIMING * answering_s)
    step_s, keeper.keep_s = step_and_keep_seconds(training, keeper.folder)
    stepping_s = updates * len(steps) * step_s
    num_checkpoints = num_kept(len(steps), left.wall_s + stepping_s, keeper.keep_s)
    # At the end what was trained is written without its moments, and read again.
    keeping_s = (num_checkpoints + 2 / (1 + MOMENTS)) * keeper.keep_s
    used_s, rest_s = clock.wall_s, stepping_s + keeping_s + ending.wall_s
    main = below.wall + left
    wall_s = used_s + main.wall_s + rest_s
    busy_s = left.wall_s + stepping_s
    cpu_s = clock.cpu_s + below.cpu_s + busy * busy_s + keeping_s + ending.wall_s
    peak_bytes = _peak_bytes(
        training, (meter.usage.peak_bytes, resident), ending.load_bytes, num_checkpoints > 0
    )
    return Forecast(
        wall_s=wall_s,
        low_s=max(used_s, wall_s - main.margin_s - DRIFT * rest_s),
        high_s=wall_s + main.margin_s + DRIFT * rest_s,
        cpu_s=cpu_s,
        peak_bytes=max(ending.load.peak_bytes, peak_bytes),
        joules=estimate_joules(cpu_s),
        basis=_basis(timed, to_come)
        + below.basis
        + ("; and answers, timed on the first step's questions" if objective.draws else ""),
    )


def estimate(timed: Sequence[Timing], to_come: Sequence[Timing]) -> Estimate:
    """Seconds that the passes `to_come` take, judged by those `timed`, with a 90 % interval.

    The regression estimator of a total (Cochran, Sampling Techniques, 3rd edition 1977, chapters 6
    and 7): seconds = a * tokens, from six timings on a * tokens + b * labels, by least squares
    weighted with 1 / tokens, so that the variance of a pass grows with its length. With the first
    term alone this is the ratio of all seconds to all tokens. The interval is Student's, for the
    error of the coefficients and for the scatter of the passes to come; it is never narrower than
    the drift of a machine's speed.
    """
    num_terms = 2 if len(timed) >= TWO_TERMS_FROM else 1
    tokens = np.array([each.num_tokens for each in timed], dtype=float)
    terms = np.array([(each.num_tokens, each.num_labels) for each in timed], float)[:, :num_terms]
    seconds = np.array([each.wall_s for each in timed])
    total = np.array(
        [sum(each.num_tokens for each in to_come), sum(each.num_labels for each in to_come)], float
    )[:num_terms]
    weight = 1 / np.sqrt(tokens)
    design = terms * weight[:, None]
    inverse = np.linalg.pinv(design)
    factors = inverse @ (seconds * weight)
    wall_s = float(total @ factors)
    freedom = len(timed) - int(np.linalg.matrix_rank(design))
    if freedom < 1:
        return Estimate(wall_s=wall_s, margin_s=ONE_TIMING * wall_s)
    residuals = (seconds - terms @ factors) * weight
    variance = float(residuals @ residuals) / freedom
    spread = math.sqrt(variance * (float(np.sum((total @ inverse) ** 2)) + float(total[0])))
    margin_s = student_quantile((1 + CONFIDENCE) / 2, freedom) * spread
    return Estimate(wall_s=wall_s, margin_s=max(margin_s, DRIFT * wall_s))


def student_quantile(p: float, freedom: int) -> float:
    """The `p` quantile of Student's t with `freedom` degrees of freedom.

    >>> [round(student_quantile(0.95, freedom), 2) for freedom in (1, 2, 3, 10)]
    [6.31, 2.92, 2.35, 1.81]
    """
    return float(special.stdtrit(freedom, p))


def spread_out(count: int) -> Iterator[int]:
    """0 to `count` - 1, each once, from the middle on, so that any first few are spread evenly.

    Steps of the golden ratio, round and round.

    >>> list(spread_out(6))
    [3, 0, 4, 2, 5, 1]
    """
    seen: set[int] = set()
    for number in itertools.count():
        place = int((0.5 + number * GOLDEN) % 1 * count)
        if place not in seen:
            seen.add(place)
            yield place
        if len(seen) == count:
            return


def step_and_keep_seconds(training: Training, folder: Path) -> tuple[float, float]:
    """Seconds that a step of the optimiser takes, with the gradient's length before it; and those
    of a checkpoint in `folder`.

    Timed on parameters of their own that are as many as the run's, and shorter if those are large.
    """
    shorter = max(1.0, sum(p.numel() for p in training.parameters) / STEP_NUMBERS)
    twins = [
        torch.nn.Parameter(torch.zeros(math.ceil(p.numel() / shorter), dtype=p.dtype))
        for p in training.parameters
    ]
    optimiser = make_optimiser(twins, training.config)
    for _ in range(2):  # the first makes the optimiser's state
        for twin in twins:
            twin.grad = torch.zeros_like(twin)
        stepping = Clock()
        torch.nn.utils.clip_grad_norm_(twins, training.config.max_grad_norm)
        optimiser.step()
        step_s = stepping.wall_s
    with tempfile.TemporaryDirectory(dir=folder) as beside:
        keeping = Clock()
        Checkpoints(folder=Path(beside), identity="").save(twins, optimiser, [])
        keep_s = keeping.wall_s
    return step_s * shorter, keep_s * shorter


def _below(trunk: Trunk | None) -> Below:
    """Timed on some of the micro-batches whose states are missing. They are thrown away: the run
    computes them in order."""
    if trunk is None:
        return Below()
    states = trunk.states
    held = f"; states below layer {trunk.lowest_layer}, {states.num_bytes / 1e9:.2g} GB, are "
    missing = states.missing()
    if states.complete:
        return Below(basis=f"{held}kept already")
    to_come = [Timing(num_tokens=states.num_tokens(rows), num_labels=0) for rows in missing]

    def compute(rows: range) -> Seconds:
        micro = states.micro(rows)
        clock = Clock()
        trunk.below(micro)
        return clock.wall_s, clock.cpu_s

    timed, busy = _calibrate(missing, to_come, compute)
    wall = estimate(timed, to_come)
    basis = f"{held}computed once and kept, in {wall.wall_s:.0f} s of that"
    return Below(wall=wall, cpu_s=busy * wall.wall_s, basis=basis)


def _calibrate(
    passes: Sequence[Pass], to_come: Sequence[Timing], run: Callable[[Pass], Seconds]
) -> tuple[list[Timing], float]:
    """Timings of `passes` of all lengths, and how many cores they kept busy; `run` does one."""
    by_length = sorted(range(len(passes)), key=lambda number: to_come[number].num_tokens)
    ends = list(itertools.accumulate(to_come[number].num_tokens for number in by_length))
    spent = Clock()
    run(passes[by_length[-1]])  # it allocates: its memory counts, its time does not
    timed: list[Timing] = []
    cpu_s = 0.0
    # Evenly over the tokens, not over the passes: a short pass is slow by the token, and where
    # short ones are many they are still few of the tokens.
    places = (bisect.bisect_right(ends, token) for token in spread_out(ends[-1]))
    for place in dict.fromkeys(itertools.islice(places, MAX_DRAWN)):
        number = by_length[place]
        took_s, busy_s = run(passes[number])
        cpu_s += busy_s
        timed.append(replace(to_come[number], wall_s=took_s))
        few = len(timed) < ENOUGH and spent.wall_s < (MIN_S if timed[1:] else MAX_S / 3)
        if not few and spent.wall_s + took_s > min(SHARE * estimate(timed, to_come).wall_s, MAX_S):
            break
    return timed, cpu_s / sum(each.wall_s for each in timed)


def _peak_bytes(training: Training, seen: tuple[int, int], load_bytes: int, is_kept: bool) -> int:
    """In a pass, at a checkpoint if one `is_kept`, or at the end, beside a base model of
    `load_bytes`.

    What was resident was `seen` while passes ran, and after them. Measured by phases (docs/log.md):
    what they took stays with the process. A checkpoint is one copy beside it, and so is the base
    model that is loaded at the end; what was trained, as bytes, then lies where the gradients were.
    """
    num_bytes = sum(p.numel() * p.element_size() for p in training.parameters)
    # A run that goes on has its moments already.
    to_come = 0 if training.optimiser.state else MOMENTS * num_bytes
    passing, left = seen
    at_checkpoint = left + (1 + MOMENTS) * num_bytes if is_kept else 0
    return to_come + max(passing, at_checkpoint, left + load_bytes)


def _timing(micros: Sequence[MicroBatch]) -> Timing:
    return Timing(
        num_tokens=sum(micro.num_tokens for micro in micros),
        num_labels=sum(len(micro.labels) for micro in micros),
    )


def _pass(training: Training, micros: Sequence[MicroBatch]) -> Seconds:
    """Forward and backward, side by side, of what is computed in every step."""
    if training.trunk is not None and not training.trunk.states.complete:
        training.trunk.take(micros)
    clock = Clock()
    training.lanes.backward(training.loss, micros)
    return clock.wall_s, clock.cpu_s


def _clear(training: Training) -> None:
    """Leave nothing of the timed passes behind."""
    for parameter in training.parameters:
        parameter.grad = None
    if training.trunk is not None:
        training.trunk.let_go()


def _basis(timed: Sequence[Timing], to_come: Sequence[Timing]) -> str:
    seen = sum(each.num_tokens for each in timed)
    speed = seen / sum(each.wall_s for each in timed)
    return (
        f"{seen} of {sum(each.num_tokens for each in to_come)} tokens, in {len(timed)} of the "
        f"run's own micro-batches, at {speed:.0f} tokens/s"
    )
