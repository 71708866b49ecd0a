from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tunesmith.stages.evaluate.power import detectable, what_could_show


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_detectable_difference_is_found_four_times_out_of_five(share: float) -> None:
    """Simulated: McNemar's test, by its normal approximation, on 400 rows."""
    num_rows = 400
    gap = detectable(num_rows, 0.95, share)
    won, lost = (share + gap) / 2, (share - gap) / 2
    counts = np.random.default_rng(0).multinomial(num_rows, [won, lost, 1 - share], size=2000)
    z = (counts[:, 0] - counts[:, 1]) / np.sqrt(counts[:, 0] + counts[:, 1])

    assert (z > stats.norm.ppf(0.975)).mean() == pytest.approx(0.8, abs=0.04)


def test_what_could_be_shown_is_said_in_points_or_not_at_all() -> None:
    assert "12.8 points" in what_could_show("labels", 96, 0.95)
    assert "28.6 points" in what_could_show("labels", 96, 0.95)
    assert "not known beforehand" in what_could_show("chat", 96, 0.95)
