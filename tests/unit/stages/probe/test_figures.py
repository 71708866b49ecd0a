from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from tunesmith.stages.probe.figures import area, auc, auc_interval, drop, ratio, share

SCORES = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=30)


@given(SCORES, SCORES)
def test_the_area_is_scikit_learns(members, others):
    truth = [1] * len(members) + [0] * len(others)
    assert auc(members, others) == pytest.approx(roc_auc_score(truth, members + others), abs=1e-12)


@given(
    st.floats(0, 1),
    st.integers(2, 300),
    st.integers(2, 300),
)
def test_the_interval_of_an_area_holds_it_and_has_a_width(found, num_members, num_others):
    low, high = auc_interval(found, num_members, num_others, 0.95)
    assert 0 <= low <= found + 1e-9
    assert found - 1e-9 <= high <= 1
    assert high - low > 1e-4


def test_the_interval_of_an_area_holds_the_truth_as_often_as_it_says():
    """Two normal distributions a standard deviation apart have an area of Phi(1 / sqrt(2))."""
    truth, draw, held = 0.7602499, np.random.default_rng(1), 0
    for _ in range(400):
        low, high = auc_interval(auc(draw.normal(1, 1, 40), draw.normal(0, 1, 60)), 40, 60, 0.95)
        held += low <= truth <= high
    assert 0.92 <= held / 400 <= 0.985


def test_two_models_are_compared_on_the_same_rows():
    draw = np.random.default_rng(2)
    members, others = draw.normal(0, 1, 60), draw.normal(0, 1, 60)
    found = area(
        "a", (members, others), (members + 2, others), confidence=0.95, seed=1
    )  # fmt: skip
    assert found.base == auc(members, others)
    assert found.difference.low > 0.25
    same = area("a", (members, others), (members, others), confidence=0.95, seed=1)
    assert (same.difference.value, same.difference.low, same.difference.high) == (0, 0, 0)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_a_share_and_its_difference_are_counted(pairs):
    base, tuned = ([pair[side] for pair in pairs] for side in (0, 1))
    found = share("s", base, tuned, confidence=0.95, worse="lower")
    assert found.tuned.value == pytest.approx(np.mean(tuned))
    assert found.difference.value == pytest.approx(np.mean(tuned) - np.mean(base))
    assert found.tuned.low <= found.tuned.value + 1e-9
    assert found.tuned.value - 1e-9 <= found.tuned.high
    assert found.difference.low < found.difference.high  # also where no row differs


def test_a_drop_is_what_was_before_less_what_is_after():
    found = drop(
        "d",
        ([True] * 10, [True] * 10),
        ([True] * 10, [True] * 4 + [False] * 6),
        confidence=0.95,
        seed=1,
    )
    assert (found.base, found.tuned.value, found.difference.value) == (0.0, 0.6, 0.6)
    assert 0 < found.tuned.low < 0.6 < found.tuned.high
    assert 0 < found.difference.low < 0.6 < found.difference.high


@settings(max_examples=20)
@given(st.lists(st.tuples(st.floats(0, 50), st.integers(1, 40)), min_size=2, max_size=12))
def test_the_loss_of_a_token_is_of_all_tokens(rows):
    losses, counts = ([row[side] for row in rows] for side in (0, 1))
    worse = [loss + count for loss, count in rows]
    found = ratio("r", losses, worse, counts, confidence=0.95, seed=1)
    assert found.base == pytest.approx(sum(losses) / sum(counts))
    # A nat more for each token is a nat more whichever texts are drawn.
    values = (found.difference.value, found.difference.low, found.difference.high)
    assert values == pytest.approx((1, 1, 1))


def test_an_interval_of_a_loss_is_that_of_all_resamples():
    """Of three texts there are 27 resamples; their quantiles are the interval's."""
    base, tuned, counts = [3.0, 8.0, 1.0], [4.0, 15.0, 1.5], [2, 4, 1]
    gaps = [
        sum(tuned[i] - base[i] for i in drawn) / sum(counts[i] for i in drawn)
        for drawn in itertools.product(range(3), repeat=3)
    ]
    found = ratio("r", base, tuned, counts, confidence=0.8, seed=1)
    low, high = np.quantile(gaps, [0.1, 0.9])
    assert found.difference.low == pytest.approx(low, abs=0.05)
    assert found.difference.high == pytest.approx(high, abs=0.05)
