from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tunesmith.stages.evaluate.bootstrap import bootstrap_mean, paired_bootstrap


def right(num_rows: int, share: float, seed: int) -> list[bool]:
    return (np.random.default_rng(seed).random(num_rows) < share).tolist()


def test_the_interval_is_the_one_of_scipy() -> None:
    base, tuned = right(96, 0.3, 1), right(96, 0.7, 2)
    found = paired_bootstrap(base, tuned, confidence=0.95, seed=0)
    expected = stats.bootstrap(
        (np.array(tuned, float) - np.array(base, float),),
        np.mean,
        method="percentile",
        n_resamples=10_000,
        rng=np.random.default_rng(0),
    ).confidence_interval

    assert found.low == pytest.approx(expected.low, abs=0.015)
    assert found.high == pytest.approx(expected.high, abs=0.015)
    assert found.difference == pytest.approx(np.mean(tuned) - np.mean(base))


@given(
    rows=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=50),
    seed=st.integers(0, 5),
)
def test_laws(rows: list[tuple[bool, bool]], seed: int) -> None:
    base, tuned = map(list, zip(*rows, strict=True))
    found = paired_bootstrap(base, tuned, confidence=0.9, seed=seed)
    wider = paired_bootstrap(base, tuned, confidence=0.99, seed=seed)

    assert -1 <= found.low <= found.difference + 1e-12
    assert found.difference - 1e-12 <= found.high <= 1
    assert wider.low <= found.low
    assert wider.high >= found.high
    assert 0 < found.detectable <= 1
    assert paired_bootstrap(base, tuned, confidence=0.9, seed=seed) == found


def rows_of(lost: int, num_rows: int, won: int) -> tuple[list[float], list[float]]:
    """Rows of which some were lost, some won, and the others wrong both times."""
    base = [1.0] * lost + [0.0] * (num_rows - lost)
    return base, [0.0] * (num_rows - won) + [1.0] * won


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


def test_a_model_is_not_told_apart_from_itself() -> None:
    same = right(50, 0.5, 3)
    found = paired_bootstrap(same, same, confidence=0.95, seed=0)

    assert (found.difference, found.low, found.high) == (0, 0, 0)
    assert found.detectable > 0.05


def test_the_detectable_difference_is_seen_four_times_out_of_five() -> None:
    """Simulated: 200 rows, a tenth lost, and as many won as make the detectable difference."""
    num_rows, share_lost = 200, 0.1
    share_won = share_lost
    for _ in range(20):  # the difference depends on the shares, and they on it
        base, tuned = rows_of(round(share_lost * num_rows), num_rows, round(share_won * num_rows))
        gap = paired_bootstrap(base, tuned, confidence=0.95, seed=0).detectable
        share_won = share_lost + gap
    generator = np.random.default_rng(0)
    counts = generator.multinomial(
        num_rows, [share_lost, 1 - share_lost - share_won, share_won], size=150
    )
    seen = 0
    for lost, _, won in counts.tolist():
        base, tuned = rows_of(lost, num_rows, won)
        seen += paired_bootstrap(base, tuned, confidence=0.95, seed=1).low > 0

    assert seen / len(counts) == pytest.approx(0.8, abs=0.09)


def test_the_interval_of_a_mean_is_the_one_of_scipy() -> None:
    values = np.random.default_rng(1).exponential(size=80)
    found = bootstrap_mean(values.tolist(), confidence=0.95, seed=0)
    expected = stats.bootstrap(
        (values,), np.mean, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval

    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.02)
