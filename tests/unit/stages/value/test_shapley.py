"""Values against their definition, over all subsets and all orders; votes against scikit-learn."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from tunesmith.stages.value.shapley import (
    NOBODY,
    by_nearness,
    nearest,
    shapley,
    utility,
    vote,
)

RIGHT = st.lists(st.booleans(), min_size=1, max_size=7)
NEIGHBOURS = st.integers(1, 9)


def worth(right: list[bool], subset: tuple[int, ...], neighbours: int) -> float:
    """What a set of rows, the nearest first, is worth for one test row."""
    return sum(right[row] for row in sorted(subset)[:neighbours]) / neighbours


def by_subsets(right: list[bool], row: int, neighbours: int) -> float:
    """Shapley (1953): what `row` adds to each subset of the others, weighted by its size."""
    others = [other for other in range(len(right)) if other != row]
    total = 0.0
    for size in range(len(right)):
        for subset in itertools.combinations(others, size):
            added = worth(right, (*subset, row), neighbours) - worth(right, subset, neighbours)
            total += added / (len(right) * math.comb(len(others), size))
    return total


@settings(max_examples=60)
@given(RIGHT, NEIGHBOURS)
def test_values_are_those_of_all_subsets(right: list[bool], neighbours: int) -> None:
    (found,) = shapley(np.array([right]), neighbours)
    expected = [by_subsets(right, row, neighbours) for row in range(len(right))]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@settings(max_examples=20)
@given(st.lists(st.booleans(), min_size=1, max_size=5), NEIGHBOURS)
def test_values_are_those_of_all_orders(right: list[bool], neighbours: int) -> None:
    added = np.zeros(len(right))
    orders = list(itertools.permutations(range(len(right))))
    for order in orders:
        for place, row in enumerate(order):
            before, after = order[:place], order[: place + 1]
            added[row] += worth(right, after, neighbours) - worth(right, before, neighbours)
    np.testing.assert_allclose(
        shapley(np.array([right]), neighbours)[0], added / len(orders), atol=1e-12
    )


def test_two_rows_by_hand() -> None:
    """One votes. The wrong one is nearer: alone it is worth 0, and it takes 1 from the other."""
    np.testing.assert_allclose(shapley(np.array([[False, True]]), 1), [[-0.5, 0.5]])
    np.testing.assert_allclose(shapley(np.array([[True, False]]), 1), [[1.0, 0.0]])


@given(st.integers(0, 2**32 - 1), st.integers(1, 300), NEIGHBOURS)
def test_values_sum_to_what_all_are_worth(seed: int, num_rows: int, neighbours: int) -> None:
    right = np.random.default_rng(seed).random((4, num_rows)) < 0.4
    expected = [worth(list(row), tuple(range(num_rows)), neighbours) for row in right]
    np.testing.assert_allclose(shapley(right, neighbours).sum(axis=1), expected, atol=1e-12)
    np.testing.assert_allclose(utility(right, neighbours), expected, atol=1e-12)


def unit(*shape: int, seed: int) -> Any:
    drawn = np.random.default_rng(seed).normal(size=shape)
    return drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)


def test_the_order_and_the_vote_are_scikit_learns() -> None:
    rows, tests = unit(60, 4, seed=0), unit(40, 4, seed=1)
    labels = (rows[:, 0] > 0).astype(np.int64)  # two labels and five votes: never a tie
    order = by_nearness(tests, rows)
    theirs = NearestNeighbors(n_neighbors=60).fit(rows).kneighbors(tests, return_distance=False)
    np.testing.assert_array_equal(order, theirs)
    for without in (labels >= 0, np.arange(60) % 3 != 0, np.arange(60) < 20):
        voters = nearest(labels[order], without[order], 5)
        classifier = KNeighborsClassifier(n_neighbors=5).fit(rows[without], labels[without])
        np.testing.assert_array_equal(vote(voters), classifier.predict(tests))


def test_equally_near_rows_keep_their_order() -> None:
    rows = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert by_nearness(np.array([[1.0, 0.0]]), rows).tolist() == [[1, 3, 0, 2]]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([4, 4, 1], 4),
        ([1, 4, 4], 4),
        ([1, 4, 4, 1], 1),
        ([4, 1, 1, 4, 2], 4),
        ([3, 2, 1], 3),
        ([7], 7),
        ([], NOBODY),
    ],
)
def test_of_equally_common_labels_the_nearest_wins(labels: list[int], said: int) -> None:
    assert vote(np.array([labels], dtype=np.int64)).tolist() == [said]


def test_fewer_rows_than_votes_all_vote() -> None:
    labels = np.array([[5, 6, 7], [7, 6, 5]])
    taking_part = np.array([[True, False, True], [True, False, True]])
    assert nearest(labels, taking_part, 9).tolist() == [[5, 7], [7, 5]]
    assert nearest(labels, taking_part & False, 9).shape == (2, 0)
