"""The bootstrap: how far a mean, or a difference in accuracy on the same rows, may be chance.

Percentile interval: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from tunesmith.records.rivals import Estimate
from tunesmith.stages.evaluate.power import POWER

Array = NDArray[np.float64]
NUM_RESAMPLES = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A difference of two means of the same rows and its confidence interval."""

    difference: float
    low: float
    high: float
    detectable: float
    """Smallest difference that this many rows would show with 80 % power."""


def paired_bootstrap(
    base: Sequence[float], tuned: Sequence[float], *, confidence: float, seed: int
) -> Interval:
    """The interval of mean(tuned) - mean(base), where each entry is the score of a row."""
    rows = np.asarray(tuned, dtype=np.float64) - np.asarray(base, dtype=np.float64)
    tail = (1 - confidence) / 2
    low, high = np.quantile(_resampled_means(rows, seed), [tail, 1 - tail])
    return Interval(
        difference=float(rows.mean()),
        low=float(low),
        high=float(high),
        detectable=_detectable(rows, confidence),
    )


def _resampled_means(rows: Array, seed: int) -> Array:
    """Means of resamples.

    Of scores that are right or wrong a row's difference is -1, 0 or 1: then a resample of n rows is
    one draw of the multinomial distribution of those three counts, and no row is ever copied.
    """
    generator = np.random.default_rng(seed)
    if np.isin(rows, (-1, 0, 1)).all():
        shares = np.array([(rows == value).mean() for value in (-1, 0, 1)])
        counts = generator.multinomial(len(rows), shares / shares.sum(), size=NUM_RESAMPLES)
        means: Array = (counts[:, 2] - counts[:, 0]) / len(rows)
        return means
    return np.array([generator.choice(rows, len(rows)).mean() for _ in range(NUM_RESAMPLES)])


def bootstrap_mean(values: Sequence[float], *, confidence: float, seed: int) -> Estimate:
    """The mean of `values` and its interval."""
    array = np.asarray(values, dtype=np.float64)
    generator = np.random.default_rng(seed)
    means = [generator.choice(array, len(array)).mean() for _ in range(NUM_RESAMPLES)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Estimate(mean=float(array.mean()), low=float(low), high=float(high))


def _detectable(rows: Array, confidence: float) -> float:
    """Smallest true difference whose interval would exclude zero with 80 % power.

    By the normal approximation. Of scores that are right or wrong with one imagined row won and one
    lost, so that two models that never disagree on these rows are not said to be told apart by any
    difference; and it is then at most 1.
    """
    quantiles = norm.ppf((1 + confidence) / 2) + norm.ppf(POWER)
    if np.isin(rows, (-1, 0, 1)).all():
        imagined = np.append(rows, (-1.0, 1.0))
        return float(min(1.0, quantiles * np.sqrt(imagined.var() / len(rows))))
    spread = rows.std(ddof=1) if len(rows) > 1 else np.inf
    return float(quantiles * spread / np.sqrt(len(rows)))
