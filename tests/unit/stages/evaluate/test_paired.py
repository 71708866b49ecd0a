from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from tunesmith.stages.evaluate.paired import (
    MCNEMAR,
    PERMUTATION,
    macro_f1_interval,
    macro_f1_of_one,
    no_difference,
    of_few,
)
from tunesmith.stages.evaluate.predictions import Predictions

LABELS = ("a", "b", "c")


def said(truth: list[str], predicted: list[str]) -> Predictions:
    return Predictions(
        row_ids=tuple(map(str, range(len(truth)))),
        truth=tuple(truth),
        predicted=tuple(predicted),
        scores=tuple(float(t == p) for t, p in zip(truth, predicted, strict=True)),
        losses=(0.0,) * len(truth),
    )


def drawn(num_rows: int, right: float, seed: int) -> Predictions:
    generator = np.random.default_rng(seed)
    truth = [LABELS[row % 3] for row in range(num_rows)]
    other = generator.choice(LABELS, num_rows).tolist()
    is_right = generator.random(num_rows) < right
    return said(truth, [t if r else o for t, o, r in zip(truth, other, is_right, strict=True)])


def test_mcnemar_by_hand() -> None:
    """Won 8 and lost 1 of nine rows that differ: 2 (1 + 9) / 2^9."""
    before = [0.0] * 8 + [1.0] + [1.0] * 20
    after = [1.0] * 8 + [0.0] + [1.0] * 20

    test, p_value = no_difference(before, after, seed=0)

    assert test == MCNEMAR
    assert p_value == pytest.approx(2 * (1 + 9) / 2**9)
    assert no_difference(after, after, seed=0) == (MCNEMAR, 1.0)


def test_the_permutation_test_is_the_one_of_scipy() -> None:
    generator = np.random.default_rng(2)
    before = generator.normal(0, 1, 40)
    after = before + generator.normal(0.15, 0.5, 40)
    expected = stats.permutation_test(
        (after, before),
        lambda x, y, axis: (x - y).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=10_000,
        rng=np.random.default_rng(3),
    )

    test, p_value = no_difference(before.tolist(), after.tolist(), seed=0)

    assert test == PERMUTATION
    assert p_value == pytest.approx(expected.pvalue, abs=0.02)


def test_models_that_never_differ_are_not_known_to_be_equal() -> None:
    """A bootstrap of no differing row has no width; five rows show hardly anything."""
    low, high = of_few([0.0] * 5, 0.95)
    assert low < -0.2
    assert high > 0.2
    assert of_few([0.0] * 5000, 0.95)[0] > -0.002


def test_few_differing_rows_have_the_interval_of_agresti_and_min() -> None:
    """By their formula: b = 4 won, c = 1 lost of 30 rows, half a row added to each cell."""
    b, c, n = 4.5, 1.5, 32.0
    middle = (b - c) / n
    half = stats.norm.ppf(0.975) * np.sqrt((b + c) - (b - c) ** 2 / n) / n

    found = of_few([1.0] * 4 + [-1.0] + [0.0] * 25, 0.95)

    assert found == pytest.approx((middle - half, middle + half))


def test_macro_f1_and_its_interval_are_those_of_scikit_learn_and_scipy() -> None:
    before, after = drawn(90, 0.3, 1), drawn(90, 0.7, 2)

    def macro(one: Predictions, rows: list[int]) -> float:
        kept = one.at(rows)
        return float(
            f1_score(kept.truth, kept.predicted, labels=LABELS, average="macro", zero_division=0)
        )

    interval, p_value = macro_f1_interval(before, after, LABELS, confidence=0.9, seed=0)
    alone = macro_f1_of_one(after, LABELS, confidence=0.9, seed=0)

    everything = list(range(90))
    assert interval.difference == pytest.approx(
        macro(after, everything) - macro(before, everything)
    )
    assert alone.mean == pytest.approx(macro(after, everything))
    generator = np.random.default_rng(9)
    resampled = [generator.integers(0, 90, 90).tolist() for _ in range(400)]
    pairs = [(macro(before, rows), macro(after, rows)) for rows in resampled]
    low, high = np.quantile([second - first for first, second in pairs], [0.05, 0.95])
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.03)
    low, high = np.quantile([second for _, second in pairs], [0.05, 0.95])
    assert (alone.low, alone.high) == pytest.approx((low, high), abs=0.03)
    assert p_value < 0.01
    assert macro_f1_interval(after, after, LABELS, confidence=0.9, seed=0)[1] == 1.0
