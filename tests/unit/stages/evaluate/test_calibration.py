from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss

from tunesmith.stages.evaluate.calibration import (
    Sureness,
    brier_scores,
    calibration_error,
    error_of_one,
    error_of_two,
)


@given(seed=st.integers(0, 1000), num_rows=st.integers(2, 40), num_labels=st.integers(2, 5))
def test_the_brier_score_is_that_of_sklearn(seed: int, num_rows: int, num_labels: int) -> None:
    draws = np.random.default_rng(seed)
    chances = draws.dirichlet(np.ones(num_labels), size=num_rows)
    wanted = draws.integers(0, num_labels, size=num_rows)

    of_labels = {"labels": list(range(num_labels)), "scale_by_half": False}
    expected = brier_score_loss(wanted, chances if num_labels > 2 else chances[:, 1], **of_labels)
    assert np.mean(brier_scores(chances, wanted.tolist())) == pytest.approx(expected)


def test_bins_have_equally_many_rows() -> None:
    """By hand: thirty rows in three bins of ten, and what is so in each."""
    sure = [0.1] * 10 + [0.5] * 10 + [0.9] * 10
    right = [0.0] * 10 + [1.0, 0.0] * 5 + [1.0] * 5 + [0.0] * 5

    assert calibration_error(sure, right) == pytest.approx((0.1 + 0.0 + 0.4) / 3)


@given(seed=st.integers(0, 1000))
def test_it_is_what_quantiles_say(seed: int) -> None:
    """Another way to the same: edges of the bins at the quantiles of how sure it is."""
    draws = np.random.default_rng(seed)
    sure = draws.random(150)
    right = (draws.random(150) < sure**2).astype(float)
    edges = np.quantile(sure, np.linspace(0, 1, 16)[1:-1])
    bins = np.digitize(sure, edges)
    expected = sum(
        np.mean(bins == each) * abs(right[bins == each].mean() - sure[bins == each].mean())
        for each in range(15)
    )

    assert calibration_error(sure, right) == pytest.approx(expected)


def test_a_model_that_is_right_as_often_as_it_says_is_calibrated() -> None:
    draws = np.random.default_rng(0)
    sure = draws.random(20_000)
    honest = (draws.random(20_000) < sure).astype(float)

    assert calibration_error(sure, honest) < 0.02
    assert calibration_error(sure, 1 - honest) > 0.3


def drawn(num_rows: int, seed: int, over: float = 0.0) -> Sureness:
    """A model that is right `over` less often than it says."""
    draws = np.random.default_rng(seed)
    sure = 0.4 + 0.6 * draws.beta(3, 1, num_rows)
    return Sureness(sure=sure, right=(draws.random(num_rows) < sure - over).astype(float))


def test_resampled_errors_are_those_of_the_rows_that_were_drawn() -> None:
    """Row by row: the interval reaches as far as the further end of these errors."""
    before, after = drawn(60, 1, 0.3), drawn(60, 2)
    draws = np.random.default_rng(5)
    found = []
    for _ in range(3000):
        rows = draws.integers(0, 60, 60)
        one, other = (
            calibration_error(model.sure[rows].tolist(), model.right[rows].tolist())
            for model in (after, before)
        )
        found.append((one, one - other))
    alone = error_of_one(after, confidence=0.9, seed=0)
    both, p_value = error_of_two(before, after, confidence=0.9, seed=0)

    error = calibration_error(after.sure.tolist(), after.right.tolist())
    reach = np.quantile([one for one, _ in found], 0.95) - error
    assert alone.mean == pytest.approx(error)
    assert (alone.low, alone.high) == pytest.approx(
        (max(0.0, error - reach), error + reach), abs=0.01
    )
    gap = error - calibration_error(before.sure.tolist(), before.right.tolist())
    low, high = np.quantile([difference for _, difference in found], [0.05, 0.95])
    reach = max(high - gap, gap - low)
    assert (both.low, both.high) == pytest.approx((gap - reach, gap + reach), abs=0.015)
    assert gap < 0
    assert p_value < 0.05
    assert error_of_two(after, after, confidence=0.9, seed=0)[1] == 1.0


def test_the_interval_has_the_error_of_all_rows_in_it() -> None:
    """100 rows of a model that is right 10 points less often than it says, a hundred times; the
    percentile interval has it 68 times."""
    inside = 0
    for seed in range(100):
        found = error_of_one(drawn(100, seed, 0.1), confidence=0.95, seed=seed)
        inside += found.low <= 0.1 <= found.high
    assert inside >= 88
