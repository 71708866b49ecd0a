"""Agreement, beside scikit-learn, Krippendorff's own example, and the definitions written out."""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from tunesmith.stages.evaluate.agreement import agreements, alpha, kappa

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C: four observers A to
# D, twelve units, a dot where one is missing. He gives 0.743 for nominal data.
UNITS = [
    "11.1", "2232", "3333", "3333", "2222", "1234",
    "4444", "1121", "2222", ".555", "..11", "..3.",
]  # fmt: skip


def said(unit: str) -> dict[str, str]:
    return {who: label for who, label in zip("ABCD", unit, strict=True) if label != "."}


def by_definition(units: list[dict[str, str]]) -> float | None:
    """1 - Do / De with every pair of values counted one by one, in fractions."""
    values = [list(unit.values()) for unit in units if len(unit) > 1]
    every = [value for unit in values for value in unit]
    if len(set(every)) < 2:
        return None
    observed = sum(
        Fraction(sum(a != b for a, b in itertools.permutations(unit, 2)), len(unit) - 1)
        for unit in values
    ) / len(every)
    expected = Fraction(
        sum(a != b for a, b in itertools.permutations(every, 2)), len(every) * (len(every) - 1)
    )
    return float(1 - observed / expected)


def test_alpha_is_what_krippendorff_published():
    found = alpha([said(unit) for unit in UNITS], seed=1)
    assert round(found.value, 3) == 0.743
    assert found.num_rows == 11  # the last unit has one value, which pairs with nothing
    assert found.low < found.value < found.high


@given(
    st.lists(
        st.dictionaries(st.sampled_from("ABCDE"), st.sampled_from("xyz"), max_size=5), max_size=12
    )
)
def test_alpha_is_its_definition_whoever_is_missing(units):
    found, expected = alpha(units, seed=1).value, by_definition(units)
    assert (found is None) == (expected is None)
    if expected is not None:
        assert math.isclose(found, expected, abs_tol=1e-9)


@given(st.lists(st.tuples(*[st.sampled_from(["a", "b", "c", "unusable"])] * 2), min_size=1))
def test_kappa_is_scikit_learns(pairs):
    first, second = zip(*pairs, strict=True)
    found = kappa(pairs, "kappa", seed=1)
    assert found.num_rows == len(pairs)
    if len({*first, *second}) == 1:
        assert found.value is None  # nothing else could have been said
    else:
        assert math.isclose(found.value, cohen_kappa_score(first, second), abs_tol=1e-9)


def test_kappa_worked_by_hand():
    """20 both yes, 5 and 10 differ, 15 both no: (0.7 - 0.5) / (1 - 0.5)."""
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    assert kappa(pairs, "kappa", seed=1).value == pytest.approx(0.4)


def test_intervals_are_those_of_resampled_rows():
    """Rows drawn one by one, and scikit-learn and the definition asked each time."""
    draw = random.Random(3)
    pairs = [
        (a, a if draw.random() < 0.8 else draw.choice("abc")) for a in draw.choices("abc", k=60)
    ]
    units = [dict(zip("AB", pair, strict=True)) for pair in pairs]
    resamples = [draw.choices(range(60), k=60) for _ in range(400)]
    kappas = [
        cohen_kappa_score(*zip(*(pairs[place] for place in places), strict=True))
        for places in resamples
    ]
    alphas = [by_definition([units[place] for place in places]) for places in resamples]
    for found, expected in ((kappa(pairs, "", seed=1), kappas), (alpha(units, seed=1), alphas)):
        low, high = np.quantile(expected, [0.025, 0.975])
        assert found.low == pytest.approx(low, abs=0.04)
        assert found.high == pytest.approx(high, abs=0.04)


def test_the_seed_decides_the_interval_and_nothing_else():
    rows = [said(unit) for unit in UNITS]
    first, again, other = (alpha(rows, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.value == other.value
    assert (first.low, first.high) != (other.low, other.high)


def test_each_two_who_share_rows_have_a_kappa_and_the_others_none():
    rows = [
        {"ann": "a", "bob": "a"},
        {"ann": "a", "bob": "b"},
        {"bob": "b", "cat": "b"},
        {"dan": "a"},
    ]
    found = agreements(rows, seed=1)
    assert [each.what for each in found] == [
        "Krippendorff's alpha",
        "Cohen's kappa of ann and bob",
        "Cohen's kappa of bob and cat",
    ]
    assert [each.num_rows for each in found] == [3, 2, 1]
    assert found[2].value is None


def test_what_cannot_be_told_is_not_told():
    assert alpha([], seed=1).value is None
    one_differs = [{"a": "x", "b": "x"}] * 2 + [{"a": "x", "b": "y"}]
    assert alpha(one_differs, seed=1).value is not None
    never = alpha([{"a": "x", "b": "x"}, {"a": "y", "b": "y"}] * 9, seed=1)
    assert (never.value, never.low, never.high) == (1.0, None, None)
    same = alpha([{"a": "x", "b": "x"}] * 9, seed=1)
    assert (same.value, same.low, same.high) == (None, None, None)
