"""The bootstrap: how far a mean, or a difference of two means of the same rows, may be chance.

Percentile interval: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.paired.power import quantiles
from tunesmith.records.rivals import Estimate

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
    found = bootstrap_mean(rows, confidence=confidence, seed=seed)
    spread = rows.std(ddof=1) if len(rows) > 1 else np.inf
    return Interval(
        difference=found.mean,
        low=found.low,
        high=found.high,
        detectable=float(quantiles(confidence) * spread / np.sqrt(len(rows))),
    )


def bootstrap_mean(values: Sequence[float] | Array, *, confidence: float, seed: int) -> Estimate:
    """The mean of `values` and its interval."""
    array = np.asarray(values, dtype=np.float64)
    generator = np.random.default_rng(seed)
    means = [generator.choice(array, len(array)).mean() for _ in range(NUM_RESAMPLES)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Estimate(mean=float(array.mean()), low=float(low), high=float(high))
