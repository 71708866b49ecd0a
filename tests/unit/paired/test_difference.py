from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tunesmith.paired.bootstrap import Interval
from tunesmith.paired.difference import (
    MCNEMAR,
    PERMUTATION,
    no_difference,
    not_beyond,
    of_few,
    of_outcomes,
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


def mcnemar(won: int, lost: int) -> float:
    """Two-sided, by the distribution function of the binomial."""
    return min(1.0, 2 * float(stats.binom.cdf(min(won, lost), won + lost, 0.5)))


@pytest.mark.parametrize("confidence", [0.8, 0.9, 0.95, 0.99, 0.995])
def test_the_interval_leaves_0_out_where_the_exact_test_does_and_only_there(
    confidence: float,
) -> None:
    for num_rows in (10, 96, 3000):
        for differ in range(min(num_rows, 40) + 1):
            for lost in range(differ // 2 + 1):
                found = of_outcomes(differ - lost, lost, num_rows, confidence)
                is_shown = found.low > 0
                assert is_shown == (mcnemar(differ - lost, lost) <= 1 - confidence), (differ, lost)


@given(
    num_rows=st.integers(1, 200),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    confidence=st.sampled_from([0.8, 0.95, 0.999]),
)
def test_laws_of_outcomes(num_rows: int, shares: tuple[float, float], confidence: float) -> None:
    won = int(shares[0] * num_rows)
    lost = int(shares[1] * (num_rows - won))
    found = of_outcomes(won, lost, num_rows, confidence)
    turned = of_outcomes(lost, won, num_rows, confidence)

    assert -1 <= found.low <= found.difference <= found.high <= 1
    assert found.low < found.high
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))
    assert 0 < found.detectable <= 1


def test_of_many_rows_it_is_the_interval_of_scipys_bootstrap() -> None:
    rows = np.repeat((-1.0, 0.0, 1.0), (130, 600, 270))
    found = of_outcomes(270, 130, 1000, 0.95)
    expected = stats.bootstrap(
        (rows,), np.mean, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval

    assert found.difference == pytest.approx(0.14)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.003)


@pytest.mark.parametrize(("num_rows", "differ", "gap"), [(50, 0.1, 0.0), (50, 0.5, 0.2)])
def test_a_difference_that_is_not_there_passes_no_more_often_than_is_stated(
    num_rows: int, differ: float, gap: float
) -> None:
    """Simulated: the margin of a rule is the true difference; 2.5 % may lie above it."""
    chances = [(differ + gap) / 2, (differ - gap) / 2, 1 - differ]
    counts = np.random.default_rng(0).multinomial(num_rows, chances, size=4000)
    pairs, times = np.unique(counts[:, :2], axis=0, return_counts=True)
    above = [of_outcomes(won, lost, num_rows, 0.95).low > gap for won, lost in pairs.tolist()]

    assert (times * above).sum() / 4000 <= 0.025


def test_the_detectable_difference_is_seen_four_times_out_of_five() -> None:
    """Simulated: 200 rows, a tenth lost, and as many won as make the detectable difference."""
    share_won = 0.1
    for _ in range(20):  # the difference depends on the shares, and they on it
        share_won = 0.1 + of_outcomes(round(share_won * 200), 20, 200, 0.95).detectable
    counts = np.random.default_rng(0).multinomial(200, [share_won, 0.1, 0.9 - share_won], size=500)
    seen = [of_outcomes(won, lost, 200, 0.95).low > 0 for won, lost, _ in counts.tolist()]

    assert np.mean(seen) == pytest.approx(0.8, abs=0.05)


def test_an_interval_holds_0_where_the_test_does_not_exclude_it() -> None:
    found = Interval(difference=0.2, low=0.05, high=0.35, detectable=0.1)

    assert not_beyond(found, 0.06, 0.95).low == 0
    assert not_beyond(found, 0.05, 0.95) == found
    below = Interval(difference=-0.2, low=-0.35, high=-0.05, detectable=0.1)
    assert not_beyond(below, 0.06, 0.95).high == 0
