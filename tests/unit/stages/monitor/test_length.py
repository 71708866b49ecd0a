from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ks_2samp

from tunesmith.stages.monitor.judge import judge
from tunesmith.stages.monitor.length import compare_lengths, joint_margin

ALPHA = 0.005


def texts(random: np.random.Generator, rows: int, shift: float = 0.0) -> list[str]:
    lengths = np.exp(random.normal(2.5 + shift, 0.7, rows)).astype(int) + 1
    return ["word " * length for length in lengths]


def compare(reference: list[str], traffic: list[str]):  # type: ignore[no-untyped-def]
    return compare_lengths(reference, traffic, alpha=ALPHA, tolerance=0.1, acceptable=0.4)


@pytest.mark.parametrize(("n", "method"), [(96, "exact"), (700, "asymp")])
def test_the_statistic_and_p_value_are_those_of_scipy(n: int, method: str) -> None:
    random = np.random.default_rng(0)
    reference, traffic = texts(random, 480), texts(random, n, 0.2)
    found = compare(reference, traffic)
    oracle = ks_2samp(
        [len(t.split()) for t in reference], [len(t.split()) for t in traffic], method=method
    )
    assert found.effect == pytest.approx(oracle.statistic)
    assert found.p_value == pytest.approx(oracle.pvalue)


def test_the_margin_lies_between_the_separate_bounds_and_their_geometric_sum() -> None:
    for n, m in [(20, 480), (96, 480), (1000, 1000)]:
        separate = sum(np.sqrt(np.log(4 / ALPHA) / (2 * rows)) for rows in (n, m))
        geometric = np.sqrt(np.log(2 / ALPHA) / 2 * (1 / n + 1 / m))
        assert geometric < joint_margin(n, m, ALPHA) < separate
    # With one side known exactly, it is the bound of Massart.
    assert joint_margin(100, 10**9, ALPHA) == pytest.approx(
        np.sqrt(np.log(2 / ALPHA) / 200), abs=1e-3
    )


@pytest.mark.parametrize("n", [50, 96, 300])
def test_false_alarms_are_rarer_than_promised(n: int) -> None:
    random = np.random.default_rng(n)
    repeats = 300
    alarms = sum(
        judge(compare(texts(random, 480), texts(random, n)), ALPHA).verdict == "changed"
        for _ in range(repeats)
    )
    assert alarms / repeats <= ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / repeats)


@pytest.mark.parametrize("n", [30, 96, 300])
def test_the_lower_bound_holds(n: int) -> None:
    """The true D between Poisson-like lengths that are shifted is known; the bound is below it."""
    random = np.random.default_rng(n)
    repeats, wrong = 300, 0
    for _ in range(repeats):
        # Uniform on 1..10 against uniform on 4..13: D is 3/10.
        reference = ["w " * length for length in random.integers(1, 11, 480)]
        traffic = ["w " * length for length in random.integers(4, 14, n)]
        wrong += compare(reference, traffic).low > 0.3
    assert wrong / repeats <= ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / repeats)


@pytest.mark.parametrize("n", [96, 300])
def test_an_effect_of_the_detectable_size_is_seen(n: int) -> None:
    random = np.random.default_rng(n)
    size = compare(texts(random, 480), texts(random, n)).detectable(n)
    repeats = 200
    seen = 0
    for _ in range(repeats):
        # Uniform lengths on 1..1000, of which a share `size` moves beyond all of them.
        reference = random.integers(1, 1001, 480)
        traffic = np.where(random.random(n) < size, 1001, random.integers(1, 1001, n))
        found = compare(["w " * k for k in reference // 10], ["w " * k for k in traffic // 10])
        seen += judge(found, ALPHA).verdict == "changed"
    assert seen / repeats >= 0.8 - 2 * np.sqrt(0.16 / repeats)


def test_no_traffic_at_all_needs_more() -> None:
    check = judge(compare(["a b"] * 480, []), ALPHA)
    assert check.verdict == "need_more"
    assert 50 < check.num_needed < 120
