"""In which order recipes are tried: what is proposed next, and which go on to more rows.

Both follow from the seed and from the losses so far, and those are in the store: a search that is
started again, also for more trials, goes the same way over verified hits and then on. So no study
is kept beside the store.

Proposals are by TPE (Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011);
who goes on is decided as in ASHA (Li et al., A System for Massively Parallel Hyperparameter Tuning,
MLSys 2020, algorithm 2) with one worker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf, isfinite
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tunesmith.core.canonical import draw
from tunesmith.core.errors import MissingExtra
from tunesmith.search.space import REDUCTION, Params, Space

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

STARTUP = 6
"""Trials before the sampler looks at what was found; those are drawn at random."""


def explore(
    space: Space,
    num_rungs: int,
    num_trials: int,
    seed: int,
    attempt: Callable[[int, Mapping[str, Any], int], float],
) -> None:
    """Propose recipes, the model's own first, until `num_trials` were tried and none is to go on.

    `attempt(trial, settings, rung)` gives the loss, infinite if it failed; trials and rungs count
    from 0. With more trials, the first attempts are the same.
    """
    params: list[Params] = []
    losses: list[list[float]] = []
    while True:
        trial = promoted(losses, num_rungs)
        if trial is None:
            if len(params) == num_trials:
                return
            trial = len(params)
            params.append(
                propose(space, num_rungs, seed, params, losses) if trial else space.own_params()
            )
            losses.append([])
        rung = len(losses[trial])
        losses[trial].append(attempt(trial, space.settings(params[trial]), rung))


def promoted(losses: Sequence[Sequence[float]], num_rungs: int) -> int | None:
    """The trial that goes on to its next rung: of those on the highest rung where there are any,
    the best; None if each trial in the best third of a rung has gone on.

    `losses` are those of each trial, by rung.
    """
    for rung in reversed(range(num_rungs - 1)):
        here = [trial for trial, found in enumerate(losses) if len(found) > rung]
        here.sort(key=lambda trial: (losses[trial][rung], trial))
        for trial in here[: len(here) // REDUCTION]:
            if len(losses[trial]) == rung + 1 and isfinite(losses[trial][rung]):
                return trial
    return None


def propose(
    space: Space,
    num_rungs: int,
    seed: int,
    params: Sequence[Params],
    losses: Sequence[Sequence[float]],
) -> Params:
    """The recipe to try after those with `params` came to `losses`, and nothing else decides it.

    A study is made for each proposal. To Optuna a trial that did not reach the last rung is a
    pruned one: those that came further count as better, whatever their losses.
    """
    optuna = require_optuna()
    drawn = int.from_bytes(draw(f"{seed}/search/{len(params)}")[:4])
    sampler = optuna.samplers.TPESampler(seed=drawn, n_startup_trials=STARTUP)
    study = optuna.create_study(sampler=sampler)
    for known, found in zip(params, losses, strict=True):
        study.add_trial(_told(space, num_rungs, known, found))
    return space.suggested(study.ask())


def _told(space: Space, num_rungs: int, params: Params, losses: Sequence[float]) -> FrozenTrial:
    optuna = require_optuna()
    fixed = optuna.trial.FixedTrial(dict(params))
    space.suggested(fixed)
    done = len(losses) == num_rungs and isfinite(losses[-1])
    failed = not isfinite(losses[-1])
    told: FrozenTrial = optuna.trial.create_trial(
        state=optuna.trial.TrialState.COMPLETE if done else optuna.trial.TrialState.PRUNED,
        params=fixed.params,
        distributions=fixed.distributions,
        value=losses[-1] if done else None,
        intermediate_values={0: inf} if failed else dict(enumerate(losses)),
    )
    return told


def require_optuna() -> ModuleType:
    """Optuna, which says on standard error only what is wrong.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingExtra("optuna", "search") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
