from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss

from tunesmith.stages.evaluate.calibration import brier_score, calibration_error


@given(seed=st.integers(0, 1000), num_rows=st.integers(2, 40), num_labels=st.integers(2, 5))
def test_the_brier_score_is_that_of_sklearn(seed: int, num_rows: int, num_labels: int) -> None:
    draws = np.random.default_rng(seed)
    chances = draws.dirichlet(np.ones(num_labels), size=num_rows)
    wanted = draws.integers(0, num_labels, size=num_rows)

    of_labels = {"labels": list(range(num_labels)), "scale_by_half": False}
    expected = brier_score_loss(wanted, chances if num_labels > 2 else chances[:, 1], **of_labels)
    assert brier_score(chances, wanted.tolist()) == pytest.approx(expected)


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
