"""Two models on the same rows: tests of no difference, and intervals that do not contradict them.

McNemar's exact test: McNemar, Psychometrika 12 (1947); the binomial form of it. Permutation test:
Fisher (1935), the names of the two models exchanged row by row. Interval of a difference in right
rows: Agresti and Min, Statistics in Medicine 24 (2005), half a row added to each of the four cells,
as far as the exact test lets it; that one's own interval is Clopper and Pearson's (Biometrika 26,
1934) of the share won of the rows that differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import binomtest, norm

from tunesmith.paired.bootstrap import Array, Interval
from tunesmith.paired.power import quantiles
from tunesmith.paired.sums import permuted

FEW = 10
"""Below so many rows that differ, a bootstrap of scores between 0 and 1 is too narrow: of none it
has no width."""
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
    return PERMUTATION, permuted(abs(float(rows.mean())), seed, len(rows), _mean_of_flipped(rows))


def of_outcomes(won: int, lost: int, num_rows: int, confidence: float) -> Interval:
    """The share of rows that were won minus the share lost, with its interval.

    It holds what Agresti and Min's holds and what McNemar's exact test does not exclude of rows of
    which so many differ. So it leaves 0 out if that test's two-sided p is at most 1 - confidence,
    and only then (shown to 99.5 %; above, a p below may have an interval with 0 in it).
    """
    differ = won + lost
    rows = np.repeat((-1.0, 0.0, 1.0), (lost, num_rows - differ, won))
    low, high = of_few(rows, confidence)
    if differ:
        of_won = binomtest(won, differ).proportion_ci(confidence, "exact")
        low = min(low, (2 * of_won.low - 1) * differ / num_rows)
        high = max(high, (2 * of_won.high - 1) * differ / num_rows)
    # With one imagined row won and one lost, so that two models that never disagree on these rows
    # are not said to be told apart by any difference; a row more, as outcomes are whole rows.
    spread = np.sqrt(np.append(rows, (-1.0, 1.0)).var() / num_rows)
    return Interval(
        difference=(won - lost) / num_rows,
        low=float(low),
        high=float(high),
        detectable=float(min(1.0, quantiles(confidence) * spread + 1 / num_rows)),
    )


def not_beyond(interval: Interval, p_value: float, confidence: float) -> Interval:
    """The interval, wide enough to hold 0 where a test does not exclude it: a bootstrap interval of
    few rows is too narrow, and a test that exchanges names is not."""
    if p_value <= 1 - confidence:
        return interval
    return replace(interval, low=min(interval.low, 0.0), high=max(interval.high, 0.0))


def of_few(rows: Sequence[float] | Array, confidence: float) -> tuple[float, float]:
    """The interval of the mean of `rows`, each from -1 to 1, that is honest where few are not 0."""
    array = np.asarray(rows, dtype=np.float64)
    num_rows = len(array) + 2
    middle = array.sum() / num_rows
    spread = np.sqrt(((array**2).sum() + 1) / num_rows - middle**2) / np.sqrt(num_rows)
    half = norm.ppf((1 + confidence) / 2) * spread
    return float(max(-1.0, middle - half)), float(min(1.0, middle + half))


def _mean_of_flipped(rows: Array) -> Callable[[Array], Array]:
    def means(flips: Array) -> Array:
        of_each: Array = (1 - 2 * flips) @ rows / len(rows)
        return of_each

    return means
