"""Whether a model is as often right as it says: what its probabilities of labels are worth.

Calibration error with bins of equally many rows: Nguyen and O'Connor (EMNLP 2015), "adaptive" in
Nixon et al., arXiv 1904.01685. Brier score: Brier, Monthly Weather Review 78 (1950), the sum over
the labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.paired.bootstrap import NUM_RESAMPLES, Array, Interval
from tunesmith.paired.power import quantiles
from tunesmith.paired.sums import AT_ONCE, permuted
from tunesmith.records.rivals import Estimate

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
    gaps = [
        abs(float(hits[rows].mean() - surest[rows].mean())) * len(rows)
        for rows in np.array_split(order, _num_bins(len(order)))
    ]
    return sum(gaps) / len(order)


def brier_scores(probabilities: NDArray[np.float64], wanted: Sequence[int]) -> list[float]:
    """Of each row the squared distance between its probabilities, (num_rows, num_labels), and what
    is so: 0 is the best, 2 the worst. Their mean is the Brier score."""
    so = np.zeros_like(probabilities)
    so[np.arange(len(wanted)), wanted] = 1
    return [float(each) for each in ((probabilities - so) ** 2).sum(axis=1)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sureness:
    """How sure a model is of what it says of each row, and whether that is right: (num_rows,)."""

    sure: Array
    right: Array

    @property
    def gaps(self) -> Array:
        """How far each row is from what was said of it."""
        return np.abs(self.right - self.sure)


def error_of_one(model: Sureness, *, confidence: float, seed: int) -> Estimate:
    """The calibration error of one model and its interval.

    Of few rows the error is too high, and of their resamples, which have fewer rows still, more so:
    the percentile interval lies above the truth. So what it has above the error that was found is
    counted downwards, too.
    """
    found = calibration_error(model.sure.tolist(), model.right.tolist())
    drawn = np.concatenate([_of_rows(model, rows) for rows in _rows_drawn(len(model.sure), seed)])
    half = max(0.0, float(np.quantile(drawn, (1 + confidence) / 2)) - found)
    return Estimate(mean=found, low=max(0.0, found - half), high=min(1.0, found + half))


def error_of_two(
    before: Sureness, after: Sureness, *, confidence: float, seed: int
) -> tuple[Interval, float]:
    """The calibration error of `after` minus that of `before`, of the same rows, with its interval,
    which reaches as far on both sides as the further end of the percentile interval; and the
    p-value of a permutation test."""
    num_rows = len(after.sure)
    one, other = (calibration_error(m.sure.tolist(), m.right.tolist()) for m in (after, before))
    difference = one - other
    drawn = np.concatenate(
        [_of_rows(after, rows) - _of_rows(before, rows) for rows in _rows_drawn(num_rows, seed)]
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    half = float(max(high - difference, difference - low))
    interval = Interval(
        difference=difference,
        low=max(-1.0, difference - half),
        high=min(1.0, difference + half),
        detectable=float(quantiles(confidence) * drawn.std()),
    )

    def exchanged(flips: Array) -> Array:
        found = []
        for mine, others in ((after, before), (before, after)):
            sure = np.where(flips > 0, others.sure, mine.sure)
            gap = np.where(flips > 0, others.right - others.sure, mine.right - mine.sure)
            order = np.argsort(sure, axis=1, kind="stable")
            found.append(_of_sorted(np.take_along_axis(gap, order, axis=1)))
        return found[0] - found[1]

    return interval, permuted(abs(difference), seed, num_rows, exchanged)


def _rows_drawn(num_rows: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Which rows were drawn, (AT_ONCE, num_rows), until there are NUM_RESAMPLES."""
    generator = np.random.default_rng(seed)
    for _ in range(NUM_RESAMPLES // AT_ONCE):
        yield generator.integers(0, num_rows, size=(AT_ONCE, num_rows))


def _of_rows(model: Sureness, rows: NDArray[np.int64]) -> Array:
    """The error of each line of `rows`, (num_resamples, num_rows)."""
    order = np.argsort(model.sure, kind="stable")
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    gaps = (model.right - model.sure)[order]
    return _of_sorted(gaps[np.sort(places[rows], axis=1)])


def _of_sorted(gaps: Array) -> Array:
    """The error of each line, (num_resamples, num_rows), whose rows stand in order of sureness."""
    num_rows = gaps.shape[1]
    sizes = [len(each) for each in np.array_split(np.arange(num_rows), _num_bins(num_rows))]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    errors: Array = np.abs(np.add.reduceat(gaps, starts, axis=1)).sum(axis=1) / num_rows
    return errors


def _num_bins(num_rows: int) -> int:
    return min(MAX_BINS, max(1, num_rows // ROWS_OF_BIN))
