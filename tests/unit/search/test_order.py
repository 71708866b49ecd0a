from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.core.canonical import draw
from tunesmith.core.errors import MissingExtra
from tunesmith.search import order
from tunesmith.search.order import explore, promoted
from tunesmith.search.space import REDUCTION, Space, space_of
from tunesmith.stages.finetune.config import ModelConfig

Attempt = tuple[int, Mapping[str, Any], int]
BEST_RATE = 3e-3


def space() -> Space:
    own = ModelConfig(name="desk", base="b", dataset="d", method="head", epochs=4)
    return space_of(own, 30)


def attempts(
    loss: Callable[[Mapping[str, Any], int], float],
    *,
    seed: int = 0,
    num_trials: int = 12,
    num_rungs: int = 3,
) -> list[Attempt]:
    made: list[Attempt] = []

    def attempt(trial: int, given: Mapping[str, Any], rung: int) -> float:
        made.append((trial, given, rung))
        return loss(given, rung)

    explore(space(), num_rungs, num_trials, seed, attempt)
    return made


def bowl(given: Mapping[str, Any], rung: int = 0) -> float:
    """Least, and 0, for adapters of rank 16 on all layers at 3e-3, four epochs, batches of 8. More
    rows make it less, as they do."""
    return (
        abs(math.log10(given["learning_rate"] / BEST_RATE))
        + {"lora": 0, "dora": 0.3, "full": 1, "head": 2}[given["method"]]
        + abs(math.log2(given.get("rank", 16) / 16)) / 5
        + (given.get("layers", 0) != 0) / 5
        + (4 - given["epochs"]) / 10
        + abs(math.log2(given["batch_rows"] / 8)) / 10
        - rung
    )


def chance(seed: int, failing: float = 0.0) -> Callable[[Mapping[str, Any], int], float]:
    """A loss that is drawn, for a recipe and rung; a share of them fail."""

    def loss(given: Mapping[str, Any], rung: int) -> float:
        drawn = draw(f"{seed}/{sorted(given.items())}/{rung}")
        return math.inf if drawn[0] < 256 * failing else drawn[1] / 256

    return loss


def best(found: list[Attempt]) -> float:
    return min(bowl(given) for _, given, _ in found)


def test_a_known_optimum_is_found_and_sooner_than_by_chance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searched = [best(attempts(bowl, seed=seed, num_trials=40)) for seed in range(3)]
    monkeypatch.setattr(order, "STARTUP", 1000)
    drawn = [best(attempts(bowl, seed=seed, num_trials=40)) for seed in range(3)]

    assert max(searched) < 0.6
    assert np.mean(searched) < 0.35
    assert np.mean(searched) < np.mean(drawn) / 1.5


def test_the_same_seed_proposes_the_same_and_another_does_not() -> None:
    first = attempts(bowl, seed=3)
    np.random.seed(1)  # what others draw from changes nothing

    tried = [str(given) for _, given, rung in first if rung == 0]
    assert len(set(tried)) == len(tried)
    assert attempts(bowl, seed=3) == first
    assert attempts(bowl, seed=4) != first
    assert attempts(chance(0), seed=3)[-1][1] != first[-1][1]  # and the losses do matter


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 999),
    fewer=st.integers(1, 9),
    more=st.integers(0, 9),
    failing=st.sampled_from([0.0, 0.3]),
)
def test_a_longer_search_begins_as_the_shorter_one(
    seed: int, fewer: int, more: int, failing: float
) -> None:
    loss = chance(seed, failing)
    short = attempts(loss, seed=seed, num_trials=fewer)
    long = attempts(loss, seed=seed, num_trials=fewer + more)

    assert long[: len(short)] == short


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), num_trials=st.integers(1, 12), num_rungs=st.integers(1, 3))
def test_on_every_rung_the_best_third_goes_on(seed: int, num_trials: int, num_rungs: int) -> None:
    loss = chance(seed, failing=0.2)
    made = attempts(loss, seed=seed, num_trials=num_trials, num_rungs=num_rungs)

    assert len({(trial, rung) for trial, _, rung in made}) == len(made)
    by_rung = [
        {trial: loss(given, rung) for trial, given, rung in made if rung == which}
        for which in range(num_rungs)
    ]
    assert sorted(by_rung[0]) == list(range(num_trials))
    for lower, higher in pairwise(by_rung):
        ranked = sorted(lower, key=lambda trial: (lower[trial], trial))
        best_third = ranked[: len(ranked) // REDUCTION]
        assert {t for t in best_third if math.isfinite(lower[t])} <= set(higher) <= set(lower)
        assert all(math.isfinite(lower[trial]) for trial in higher)


def test_a_trial_goes_on_when_it_is_among_the_best_and_once() -> None:
    assert promoted([[3.0], [1.0]], 2) is None
    assert promoted([[3.0], [1.0], [2.0]], 2) == 1
    assert promoted([[3.0], [1.0, 0.5], [2.0]], 2) is None
    assert promoted([[3.0], [1.0, 0.5], [2.0], [0.5]], 2) == 3  # better than the one that went
    assert promoted([[3.0], [1.0], [2.0]], 1) is None  # there is no next rung
    # The highest rung first, where each has at least three.
    assert promoted([[1.0, 9.0], [1.1, 8.0], [1.2, 7.0], *[[2.0]] * 6, [0.1]], 3) == 2
    assert promoted([[math.inf], [math.inf], [math.inf]], 2) is None


def test_who_came_further_is_better_to_the_sampler() -> None:
    """And what failed is the worst, even on a high rung."""
    from optuna.samplers._tpe.sampler import _split_trials
    from optuna.study import create_study

    losses = [[0.1], [0.5, 9.0], [0.2, math.inf], [0.6, 8.0, 9.9], [math.inf]]
    study = create_study()
    own = space().own_params()
    study.add_trials([order._told(space(), 3, own, found) for found in losses])

    ranks = [
        [trial.number for trial in _split_trials(study, study.trials, count)[0]]
        for count in range(5)
    ]
    assert ranks == [[], [3], [1, 3], [0, 1, 3], [0, 1, 2, 3]]


def test_without_optuna_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra, match=r"optuna is needed.*\n.*tunesmith\[search\]"):
        order.require_optuna()


def test_optuna_says_nothing_of_each_study(capfd: pytest.CaptureFixture[str]) -> None:
    attempts(bowl, num_trials=3)
    assert capfd.readouterr() == ("", "")
