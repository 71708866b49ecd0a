from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tunesmith.stages.evaluate.paired import (
    MCNEMAR,
    PERMUTATION,
    no_difference,
    of_few,
)


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
