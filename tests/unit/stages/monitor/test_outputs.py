from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import power_divergence

from tunesmith.stages.monitor.judge import judge
from tunesmith.stages.monitor.outputs import _g_test, compare_outputs

ALPHA = 0.0033
LABELS = tuple(f"label{number}" for number in range(12))


def compare(reference: list[str], answers: list[str]):  # type: ignore[no-untyped-def]
    return compare_outputs(
        reference, answers, labels=LABELS, alpha=ALPHA, tolerance=0.05, acceptable=0.45
    )


def test_total_variation_by_hand() -> None:
    reference = ["label0"] * 60 + ["label1"] * 40
    answers = ["label0"] * 30 + ["label1"] * 50 + ["I cannot say"] * 20
    found = compare(reference, answers)
    assert found.effect == pytest.approx(0.3)  # (0.3 + 0.1 + 0.2) / 2
    assert found.details[:2] == (
        "label0: 30% of answers, 60% of the reference",
        "(no label): 20% of answers, 0% of the reference",
    )


def test_the_g_test_is_that_of_scipy_without_rare_cells() -> None:
    ours, theirs = np.array([50.0, 30.0, 20.0]), np.array([20.0, 25.0, 15.0])
    together = ours + theirs
    expected = np.concatenate([together * 100 / 160, together * 60 / 160])
    oracle = power_divergence(
        np.concatenate([ours, theirs]), expected, ddof=3, lambda_="log-likelihood"
    )
    assert _g_test(ours, theirs) == pytest.approx(oracle.pvalue)


def test_rare_cells_are_pooled() -> None:
    ours, theirs = np.array([50.0, 2.0, 1.0, 3.0]), np.array([50.0, 1.0, 2.0, 3.0])
    assert _g_test(ours, theirs) == pytest.approx(_g_test(np.array([50.0, 6]), np.array([50.0, 6])))
    assert _g_test(np.array([3.0, 1.0]), np.array([1.0, 3.0])) == 1.0


@pytest.mark.parametrize("n", [50, 96, 300])
def test_false_alarms_are_rarer_than_promised(n: int) -> None:
    random = np.random.default_rng(n)
    repeats = 400
    found = [
        compare(list(random.choice(LABELS, 480)), list(random.choice(LABELS, n)))
        for _ in range(repeats)
    ]
    alarms = sum(judge(each, ALPHA).verdict == "changed" for each in found)
    assert alarms / repeats <= ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / repeats)
    significant = sum(each.p_value < 0.05 for each in found)
    assert significant / repeats <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / repeats)


@pytest.mark.parametrize("n", [96, 300])
def test_an_effect_of_the_detectable_size_is_seen(n: int) -> None:
    random = np.random.default_rng(n)
    size = compare(list(random.choice(LABELS, 480)), list(random.choice(LABELS, n))).detectable(n)
    moved = np.full(12, (1 - size) / 12)
    moved[0] += size  # a share of size * 11/12 moves, a little less than what must be seen
    repeats = 200
    seen = sum(
        judge(
            compare(list(random.choice(LABELS, 480)), list(random.choice(LABELS, n, p=moved))),
            ALPHA,
        ).verdict
        == "changed"
        for _ in range(repeats)
    )
    assert seen / repeats >= 0.8 - 2 * np.sqrt(0.16 / repeats)


@pytest.mark.parametrize("size", [0.0, 0.3])
def test_the_lower_bound_holds(size: float) -> None:
    """Chance alone makes the observed total variation larger than the true one."""
    random = np.random.default_rng(0)
    moved = np.full(12, 1 / 12)
    moved[:6] += size / 6
    moved[6:] -= size / 6
    true = float(np.abs(moved - 1 / 12).sum() / 2)
    repeats, alpha, wrong = 300, 0.1, 0
    for _ in range(repeats):
        found = compare_outputs(
            list(random.choice(LABELS, 480)),
            list(random.choice(LABELS, 96, p=moved)),
            labels=LABELS,
            alpha=alpha,
            tolerance=0.05,
            acceptable=0.45,
        )
        wrong += found.low > true
    assert wrong / repeats <= alpha + 2 * np.sqrt(alpha * (1 - alpha) / repeats)
