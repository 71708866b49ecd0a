from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
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
    assert found.test == "McNemar's exact test"
    won, lost = sum(t > b for b, t in pairs), sum(t < b for b, t in pairs)
    assert found.p_value == pytest.approx(binomtest(won, won + lost).pvalue if won + lost else 1.0)
    excluded = not found.difference.low <= 0 <= found.difference.high
    assert excluded == (found.p_value <= 0.05)  # one rule, not two
    assert 1 / len(pairs) <= found.detectable <= 1


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
@given(st.lists(st.tuples(st.floats(0, 50), st.integers(1, 40)), min_size=6, max_size=12))
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
    found = ratio("r", base, tuned, counts, confidence=0.7, seed=1)
    low, high = np.quantile(gaps, [0.15, 0.85])
    assert found.difference.low == pytest.approx(low, abs=0.05)
    assert found.difference.high == pytest.approx(high, abs=0.05)


def test_ten_to_nothing_of_one_hundred_is_decided_as_a_gate_would():
    base, tuned = [False] * 100, [True] * 10 + [False] * 90
    found = share("s", base, tuned, confidence=0.95, worse="lower")
    assert found.p_value == pytest.approx(2 / 2**10)
    assert found.tested == "McNemar's exact test: p = 0.00195; could show 0.102"


def test_a_drop_is_tested_by_exchanging_the_models():
    """Six rows of which only the tuned model loses each: 2 of 64 exchanges are as far apart."""
    right, wrong = [True] * 6, [False] * 6
    found = drop("d", (right, right), (right, wrong), confidence=0.95, seed=1)
    assert found.test == "permutation test"
    assert found.p_value == pytest.approx(2 / 64, abs=0.01)
    same = drop("d", (right, right), (wrong, wrong), confidence=0.95, seed=1)
    assert same.p_value == 1.0
    assert same.difference.low < 0 < same.difference.high  # no row differs, and six are few
    assert same.detectable > 0.5


def test_the_test_of_two_areas_is_wrong_as_seldom_as_it_says():
    """Two models that tell members equally well, by scores of scales of their own."""
    draw, wrong = np.random.default_rng(4), 0
    for seed in range(60):
        members, others = draw.normal(0.5, 1, 20), draw.normal(0, 1, 20)
        noisy = [side + draw.normal(0, 0.5, 20) for side in (members, others)]
        second = [np.exp(side + draw.normal(0, 0.5, 20)) for side in (members, others)]
        found = area("a", tuple(noisy), tuple(second), confidence=0.95, seed=seed)
        wrong += found.p_value <= 0.05
        if not found.difference.low <= 0 <= found.difference.high:
            assert found.p_value <= 0.05
    assert wrong / 60 <= 0.1


def test_two_areas_that_differ_are_told_apart():
    draw = np.random.default_rng(5)
    members, others = draw.normal(0, 1, 60), draw.normal(0, 1, 60)
    found = area("a", (members, others), (members + 2, others), confidence=0.95, seed=1)
    assert found.p_value < 0.001
    assert 0.05 < found.detectable < 0.3
