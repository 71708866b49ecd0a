"""Two models on the same rows: F1 by the bootstrap, tests of no difference, a few disagreements.

McNemar's exact test: McNemar, Psychometrika 12 (1947); the binomial form of it. Permutation test:
Fisher (1935), the names of the two models exchanged row by row. Intervals where few rows differ:
Agresti and Min, Statistics in Medicine 24 (2005), half a row added to each of the four cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

from tunesmith.records.rivals import Estimate
from tunesmith.stages.evaluate.bootstrap import NUM_RESAMPLES, Array, Interval
from tunesmith.stages.evaluate.power import POWER
from tunesmith.stages.evaluate.predictions import Predictions

FEW = 10
"""Below so many rows that differ, a bootstrap of them is too narrow: of none it has no width."""
AT_ONCE = 500
"""Resamples that are held at a time."""
MCNEMAR = "McNemar's exact test"
PERMUTATION = "permutation test"


def is_right_or_wrong(scores: Sequence[float]) -> bool:
    """Whether each score is 0 or 1."""
    return set(scores) <= {0.0, 1.0}


def no_difference(before: Sequence[float], after: Sequence[float], seed: int) -> tuple[str, float]:
    """Which test was made of "there is no difference", and its two-sided p-value."""
    rows = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    if is_right_or_wrong(before) and is_right_or_wrong(after):
        won, lost = int((rows > 0).sum()), int((rows < 0).sum())
        p_value = binomtest(won, won + lost).pvalue if won + lost else 1.0
        return MCNEMAR, float(p_value)
    return PERMUTATION, _permuted(abs(float(rows.mean())), seed, len(rows), _mean_of_flipped(rows))


def of_few(rows: Sequence[float], confidence: float) -> tuple[float, float]:
    """The interval of the mean of `rows`, each from -1 to 1, that is honest where few are not 0."""
    array = np.asarray(rows, dtype=np.float64)
    num_rows = len(array) + 2
    middle = array.sum() / num_rows
    spread = np.sqrt(((array**2).sum() + 1) / num_rows - middle**2) / np.sqrt(num_rows)
    half = norm.ppf((1 + confidence) / 2) * spread
    return float(max(-1.0, middle - half)), float(min(1.0, middle + half))


def macro_f1_interval(
    before: Predictions,
    after: Predictions,
    labels: Sequence[str],
    *,
    confidence: float,
    seed: int,
) -> tuple[Interval, float]:
    """The difference in macro-F1 with its interval; and the p-value of a permutation test."""
    truth, first, second = (
        _one_hot(names, labels) for names in (before.truth, before.predicted, after.predicted)
    )
    num_rows = len(truth)
    ones = np.ones((1, num_rows))
    found = _f1(ones, truth, second) - _f1(ones, truth, first)
    resampled = np.concatenate(
        [
            _f1(weights, truth, second) - _f1(weights, truth, first)
            for weights in _resamples(num_rows, seed)
        ]
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    quantiles = norm.ppf((1 + confidence) / 2) + norm.ppf(POWER)
    interval = Interval(
        difference=float(found[0]),
        low=float(low),
        high=float(high),
        detectable=float(quantiles * resampled.std()),
    )

    def exchanged(flips: Array) -> Array:
        return _f1_exchanged(flips, truth, second, first) - _f1_exchanged(
            flips, truth, first, second
        )

    return interval, _permuted(abs(float(found[0])), seed, num_rows, exchanged)


def macro_f1_of_one(
    said: Predictions, labels: Sequence[str], *, confidence: float, seed: int
) -> Estimate:
    """The macro-F1 of one model, with its bootstrap interval."""
    truth, predicted = _one_hot(said.truth, labels), _one_hot(said.predicted, labels)
    resampled = np.concatenate(
        [_f1(weights, truth, predicted) for weights in _resamples(len(truth), seed)]
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    (mean,) = _f1(np.ones((1, len(truth))), truth, predicted)
    return Estimate(mean=float(mean), low=float(low), high=float(high))


def _resamples(num_rows: int, seed: int) -> Iterator[Array]:
    """How often each row was drawn, (AT_ONCE, num_rows), until there are NUM_RESAMPLES."""
    generator = np.random.default_rng(seed)
    chance = np.full(num_rows, 1 / num_rows)
    for _ in range(NUM_RESAMPLES // AT_ONCE):
        yield generator.multinomial(num_rows, chance, size=AT_ONCE).astype(np.float64)


def _mean_of_flipped(rows: Array) -> Callable[[Array], Array]:
    def means(flips: Array) -> Array:
        of_each: Array = (1 - 2 * flips) @ rows / len(rows)
        return of_each

    return means


def _permuted(found: float, seed: int, num_rows: int, of: Callable[[Array], Array]) -> float:
    """The share of exchanges of the two models' names, row by row, that differ as much."""
    generator = np.random.default_rng(seed)
    as_large = 0
    for _ in range(NUM_RESAMPLES // AT_ONCE):
        flips = generator.integers(0, 2, size=(AT_ONCE, num_rows)).astype(np.float64)
        as_large += int((np.abs(of(flips)) >= found - 1e-12).sum())
    return (as_large + 1) / (NUM_RESAMPLES + 1)


def _one_hot(names: Sequence[str], labels: Sequence[str]) -> Array:
    columns = {label: column for column, label in enumerate(labels)}
    made = np.zeros((len(names), len(labels)))
    made[np.arange(len(names)), [columns[name] for name in names]] = 1
    return made


def _f1(weights: Array, truth: Array, said: Array) -> Array:
    """Macro-F1 of each row of `weights`, (num_resamples, num_rows)."""
    return _macro(weights @ (truth * said), weights @ truth + weights @ said)


def _f1_exchanged(flips: Array, truth: Array, said: Array, other: Array) -> Array:
    """Macro-F1 of a model that says `other` where a row is flipped."""
    kept = 1 - flips
    hits = kept @ (truth * said) + flips @ (truth * other)
    return _macro(hits, truth.sum(axis=0) + kept @ said + flips @ other)


def _macro(hits: Array, seen: NDArray[np.float64]) -> Array:
    by_label = np.divide(2 * hits, seen, out=np.zeros_like(hits), where=seen > 0)
    mean: Array = by_label.mean(axis=1)
    return mean
