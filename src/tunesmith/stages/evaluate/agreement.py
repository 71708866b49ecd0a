"""How far people who judge on their own agree, beyond what chance would bring.

Cohen, "A coefficient of agreement for nominal scales" (1960), of two people. Krippendorff's alpha
for nominal data ("Computing Krippendorff's Alpha-Reliability", 2011), of any number, who need not
all have judged every row. Intervals are the bootstrap's, over rows (Efron and Tibshirani, 1993,
chapter 13), not Krippendorff's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from tunesmith.records.review import Agreement

Array = NDArray[np.float64]
Said = Mapping[str, str]
"""Who -> label, of one row."""
ALPHA = "Krippendorff's alpha"
NUM_RESAMPLES = 2_000
CONFIDENCE = 0.95


def agreements(rows: Sequence[Said], *, seed: int) -> tuple[Agreement, ...]:
    """Alpha over all, then kappa of each two who judged rows in common."""
    found = [alpha(rows, seed=seed)]
    people = sorted({who for said in rows for who in said})
    for first, second in combinations(people, 2):
        pairs = [(said[first], said[second]) for said in rows if {first, second} <= said.keys()]
        if pairs:
            found.append(kappa(pairs, f"Cohen's kappa of {first} and {second}", seed=seed))
    return tuple(found)


def alpha(rows: Sequence[Said], *, seed: int) -> Agreement:
    """Krippendorff's alpha of all who judged `rows`."""
    units = [sorted(said.values()) for said in rows if len(said) > 1]
    patterns: Counter[tuple[str, ...]] = Counter(map(tuple, units))
    labels = sorted({label for unit in units for label in unit})
    counts = np.array([[unit.count(label) for label in labels] for unit in patterns], float)
    return _agreement(ALPHA, patterns, lambda weights: _alphas(weights, counts), seed)


def kappa(pairs: Sequence[tuple[str, str]], what: str, *, seed: int) -> Agreement:
    """Cohen's kappa of two people, of whom each of `pairs` has the labels for a row."""
    patterns: Counter[tuple[str, ...]] = Counter(pairs)
    labels = sorted({label for pair in pairs for label in pair})
    sides = [
        np.array([[pair[side] == label for label in labels] for pair in patterns], float)
        for side in (0, 1)
    ]
    return _agreement(what, patterns, lambda weights: _kappas(weights, *sides), seed)


def _alphas(weights: Array, counts: Array) -> Array:
    """(resamples,): of rows that occur `weights` (resamples, patterns) times; `counts` (patterns,
    labels) is how often each label was given to a row."""
    judged = counts.sum(axis=1)
    differing = (judged**2 - (counts**2).sum(axis=1)) / (judged - 1)
    totals = weights @ counts
    num_values = totals.sum(axis=1)
    return _beyond_chance(
        (num_values - 1) * (weights @ differing), num_values**2 - (totals**2).sum(axis=1)
    )


def _kappas(weights: Array, first: Array, second: Array) -> Array:
    """(resamples,): of rows that occur `weights` (resamples, patterns) times; `first` and `second`
    (patterns, labels) are 1 where that person gave that label."""
    num_rows = weights.sum(axis=1)
    differing = weights @ (1 - (first * second).sum(axis=1))
    by_chance = ((weights @ first) * (weights @ second)).sum(axis=1)
    return _beyond_chance(num_rows * differing, num_rows**2 - by_chance)


def _beyond_chance(differing: Array, expected: Array) -> Array:
    """1 - differing / expected; not a number where no difference can be expected."""
    defined = expected > 0
    return np.where(defined, 1 - differing / np.where(defined, expected, 1), np.nan)


def _agreement(
    what: str,
    patterns: Mapping[tuple[str, ...], int],
    measure: Callable[[Array], Array],
    seed: int,
) -> Agreement:
    """The measure and its interval: a resample of rows is one draw of how often each pattern of
    labels occurs. Resamples in which it is not defined are left out; if half are, so is the
    interval."""
    counts = np.array([list(patterns.values())], float)
    num_rows = int(counts.sum())
    value = float(measure(counts)[0]) if num_rows else np.nan
    if np.isnan(value):
        return Agreement(what=what, num_rows=num_rows, value=None, low=None, high=None)
    drawn = np.random.default_rng(seed).multinomial(num_rows, counts[0] / num_rows, NUM_RESAMPLES)
    resampled = measure(drawn.astype(float))
    resampled = resampled[~np.isnan(resampled)]
    low = high = None
    if len(resampled) > NUM_RESAMPLES / 2 and np.ptp(resampled) > 0:
        tail = (1 - CONFIDENCE) / 2
        low, high = (float(each) for each in np.quantile(resampled, [tail, 1 - tail]))
    return Agreement(what=what, num_rows=num_rows, value=value, low=low, high=high)
