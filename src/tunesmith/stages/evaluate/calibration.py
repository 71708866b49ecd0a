"""Whether a model is as often right as it says: what its probabilities of labels are worth.

Calibration error with bins of equally many rows: Nguyen and O'Connor (EMNLP 2015), "adaptive" in
Nixon et al., arXiv 1904.01685. Brier score: Brier, Monthly Weather Review 78 (1950), the sum over
the labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MAX_BINS = 15
ROWS_OF_BIN = 10
"""A bin has at least so many rows, where there are as many: the share of right ones among fewer
says little."""


def calibration_error(sure: Sequence[float], right: Sequence[float]) -> float:
    """The mean distance between how sure a model is of what it says and how often that is right.

    Rows are put into bins of (nearly) equally many by how sure it is; it is 0 for a model that is
    right as often as it says, and at most 1. Of few rows it is too high: chance is a distance too.

    >>> calibration_error([0.9, 0.9], [1.0, 1.0])
    0.09999999999999998
    """
    surest, hits = np.asarray(sure, dtype=np.float64), np.asarray(right, dtype=np.float64)
    order = np.argsort(surest, kind="stable")
    num_bins = min(MAX_BINS, max(1, len(order) // ROWS_OF_BIN))
    gaps = [
        abs(float(hits[rows].mean() - surest[rows].mean())) * len(rows)
        for rows in np.array_split(order, num_bins)
    ]
    return sum(gaps) / len(order)


def brier_score(probabilities: NDArray[np.float64], wanted: Sequence[int]) -> float:
    """The mean squared distance between the probabilities, (num_rows, num_labels), and what is so:
    0 is the best, 2 the worst."""
    so = np.zeros_like(probabilities)
    so[np.arange(len(wanted)), wanted] = 1
    return float(((probabilities - so) ** 2).sum(axis=1).mean())
