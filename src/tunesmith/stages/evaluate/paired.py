"""Two models on the same rows: tests of no difference, and a few disagreements.

McNemar's exact test: McNemar, Psychometrika 12 (1947); the binomial form of it. Permutation test:
Fisher (1935), the names of the two models exchanged row by row. Intervals where few rows differ:
Agresti and Min, Statistics in Medicine 24 (2005), half a row added to each of the four cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import binomtest, norm

from tunesmith.stages.evaluate.bootstrap import Array
from tunesmith.stages.evaluate.sums import permuted

FEW = 10
"""Below so many rows that differ, a bootstrap of them is too narrow: of none it has no width."""
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


def of_few(rows: Sequence[float], confidence: float) -> tuple[float, float]:
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
