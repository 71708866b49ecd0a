from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tunesmith.stages.evaluate.power import detectable, what_could_show


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_detectable_difference_is_found_four_times_out_of_five(share: float) -> None:
    """Simulated: McNemar's exact test, on 400 rows."""
    num_rows = 400
    gap = detectable(num_rows, 0.95, share)
    won, lost = (share + gap) / 2, (share - gap) / 2
    counts = np.random.default_rng(0).multinomial(num_rows, [won, lost, 1 - share], size=2000)
    p_value = 2 * stats.binom.cdf(counts[:, 1], counts[:, 0] + counts[:, 1], 0.5)

    assert (p_value < 0.05).mean() == pytest.approx(0.8, abs=0.03)


def test_what_could_be_shown_is_said_in_points_or_not_at_all() -> None:
    assert "13.8 points" in what_could_show("labels", 96, 0.95)
    assert "29.6 points" in what_could_show("labels", 96, 0.95)
    assert "0.29 standard deviations" in what_could_show("chat", 96, 0.95)


def test_of_unbounded_rows_so_many_standard_deviations_are_found_four_times_out_of_five() -> None:
    """Simulated: a t-test of 96 differences whose mean is 0.286 of their standard deviation."""
    gap = detectable(96, 0.95, math.inf)
    rows = np.random.default_rng(0).normal(gap, 1.0, size=(4000, 96))

    assert f"{gap:.2f}" == "0.29"
    assert (stats.ttest_1samp(rows, 0.0, axis=1).pvalue < 0.05).mean() == pytest.approx(
        0.8, abs=0.04
    )


def test_scores_between_0_and_1_need_no_more_rows_than_right_and_wrong() -> None:
    """Simulated: half of the rows differ, by up to 1, on average by as much as is detectable."""
    gap = detectable(400, 0.95, 0.5)
    draws = np.random.default_rng(1)
    differs = draws.random((2000, 400)) < 0.5
    rows = np.where(differs, np.clip(draws.normal(2 * gap, 0.5, (2000, 400)), -1, 1), 0.0)

    assert (stats.ttest_1samp(rows, 0.0, axis=1).pvalue < 0.05).mean() > 0.8
