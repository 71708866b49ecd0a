from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tunesmith.paired.bootstrap import bootstrap_mean, paired_bootstrap


def test_scores_that_are_not_shares_have_the_interval_of_scipy() -> None:
    generator = np.random.default_rng(5)
    base, tuned = generator.normal(0, 1, 70), generator.normal(0.3, 1, 70)
    found = paired_bootstrap(base.tolist(), tuned.tolist(), confidence=0.9, seed=0)
    expected = stats.bootstrap(
        (tuned - base,),
        np.mean,
        method="percentile",
        confidence_level=0.9,
        rng=np.random.default_rng(1),
    ).confidence_interval

    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.02)
    assert found.difference == pytest.approx((tuned - base).mean())
    # What a two-sided z test of 70 such rows finds four times out of five.
    quantiles = stats.norm.ppf(0.95) + stats.norm.ppf(0.8)
    assert found.detectable == pytest.approx(quantiles * stats.sem(tuned - base))


@given(
    rows=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=8),
    seed=st.integers(0, 5),
)
@settings(max_examples=15, deadline=None)
def test_laws(rows: list[tuple[float, float]], seed: int) -> None:
    base, tuned = map(list, zip(*rows, strict=True))
    found = paired_bootstrap(base, tuned, confidence=0.9, seed=seed)
    wider = paired_bootstrap(base, tuned, confidence=0.99, seed=seed)

    assert -1 <= found.low <= found.difference + 1e-12
    assert found.difference - 1e-12 <= found.high <= 1
    assert wider.low <= found.low
    assert wider.high >= found.high
    assert paired_bootstrap(base, tuned, confidence=0.9, seed=seed) == found


def test_the_interval_of_a_mean_is_the_one_of_scipy() -> None:
    values = np.random.default_rng(1).exponential(size=80)
    found = bootstrap_mean(values.tolist(), confidence=0.95, seed=0)
    expected = stats.bootstrap(
        (values,), np.mean, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval

    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.02)
