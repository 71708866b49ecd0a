"""What each training row is worth to a vote of the nearest: exact Shapley values, and the vote.

A set of training rows is worth, for one test row, the number of those among its nearest that have
the right label, divided by how many may vote. The Shapley value of a row is what it adds to a set,
averaged over all orders in which the set could have been put together. For this utility it follows
from one pass over the sorted rows: Jia, Dao, Wang, Hubis, Gurel, Li, Zhang, Spanos and Song,
"Efficient Task-Specific Data Valuation for Nearest Neighbor Algorithms", PVLDB 12 (2019), theorem
1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
Truths = NDArray[np.bool_]

NOBODY = -1
"""What a vote without voters says: no label."""


def by_nearness(tests: Array, rows: Array) -> Numbers:
    """(num_tests, num_rows): the rows by number, the nearest to each test row first.

    All vectors have length 1, so the nearest is the one with the largest product; of equally near
    rows the first comes first.
    """
    order: Numbers = np.argsort(-(tests @ rows.T), axis=1, kind="stable")
    return order


def shapley(right: Truths, neighbours: int) -> Array:
    """(num_tests, num_rows): the value of each row for each test row, in the order of `right`.

    `right` says which rows have the test row's label, (num_tests, num_rows), the nearest first.
    Those of a test row sum to what all rows are worth for it.
    """
    hits = right.astype(np.float64)
    num_rows = hits.shape[1]
    places = np.arange(1, num_rows)
    # What a row is worth more than the next one, and what the last is worth.
    more = (hits[:, :-1] - hits[:, 1:]) * np.minimum(neighbours, places) / (neighbours * places)
    last = hits[:, -1:] * (min(neighbours, num_rows) / (neighbours * num_rows))
    found: Array = np.concatenate([more, last], axis=1)[:, ::-1].cumsum(axis=1)[:, ::-1]
    return found


def utility(right: Truths, neighbours: int) -> Array:
    """(num_tests,): what all rows together are worth for each test row; `right` as in `shapley`."""
    worth: Array = right[:, :neighbours].sum(axis=1) / neighbours
    return worth


def nearest(labels: Numbers, taking_part: Truths, neighbours: int) -> Numbers:
    """(num_tests, at most `neighbours`): the labels of the nearest rows that take part.

    `labels` and `taking_part` are (num_tests, num_rows), the nearest first; equally many take part
    for each test row.
    """
    chosen = taking_part & (taking_part.cumsum(axis=1) <= neighbours)
    found: Numbers = labels[chosen].reshape(len(labels), -1)
    return found


def vote(labels: Numbers) -> Numbers:
    """(num_tests,): the commonest of the labels of each test row's nearest, (num_tests, voters).

    Where several are as common, the one of them that the nearest has; `NOBODY` without voters.
    """
    if labels.shape[1] == 0:
        return np.full(len(labels), NOBODY)
    votes = (labels[:, :, None] == labels[:, None, :]).sum(axis=2)
    said: Numbers = np.take_along_axis(labels, votes.argmax(axis=1)[:, None], axis=1)[:, 0]
    return said
