"""The bootstrap: how far a mean, or a difference in accuracy on the same rows, may be chance.

Percentile interval: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from tunesmith.records.rivals import Estimate

NUM_RESAMPLES = 10_000
POWER = 0.8


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A difference of two accuracies and its confidence interval."""

    difference: float
    low: float
    high: float
    detectable: float
    """Smallest difference that this many rows would show with 80 % power."""


def paired_bootstrap(
    base: Sequence[bool], tuned: Sequence[bool], *, confidence: float, seed: int
) -> Interval:
    """The interval of mean(tuned) - mean(base), where each entry says whether a row is right.

    A row's difference is -1, 0 or 1, so a resample of n rows is one draw of the multinomial
    distribution of those three counts; no row is ever copied.
    """
    rows = np.asarray(tuned, dtype=np.int64) - np.asarray(base, dtype=np.int64)
    num_rows = len(rows)
    num_lost, num_won = int((rows < 0).sum()), int((rows > 0).sum())
    shares = np.array([num_lost, num_rows - num_lost - num_won, num_won]) / num_rows
    counts = np.random.default_rng(seed).multinomial(num_rows, shares, size=NUM_RESAMPLES)
    means = (counts[:, 2] - counts[:, 0]) / num_rows
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(
        difference=float(rows.mean()),
        low=float(low),
        high=float(high),
        detectable=detectable(num_lost, num_won, num_rows, confidence),
    )


def bootstrap_mean(values: Sequence[float], *, confidence: float, seed: int) -> Estimate:
    """The mean of `values` and its interval."""
    array = np.asarray(values, dtype=np.float64)
    generator = np.random.default_rng(seed)
    means = [generator.choice(array, len(array)).mean() for _ in range(NUM_RESAMPLES)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Estimate(mean=float(array.mean()), low=float(low), high=float(high))


def detectable(num_lost: int, num_won: int, num_rows: int, confidence: float) -> float:
    """Smallest true difference whose interval would exclude zero with 80 % power.

    By the normal approximation, with one imagined row won and one lost, so that two models that
    never disagree on these rows are not said to be told apart by any difference.
    """
    total = num_rows + 2
    mean = (num_won - num_lost) / total
    variance = (num_won + num_lost + 2) / total - mean**2
    quantiles = norm.ppf((1 + confidence) / 2) + norm.ppf(POWER)
    return float(min(1.0, quantiles * np.sqrt(variance / num_rows)))
