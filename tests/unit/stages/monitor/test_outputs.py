from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import power_divergence

from tunesmith.records.signal import Check
from tunesmith.stages.monitor.judge import judge
from tunesmith.stages.monitor.outputs import (
    MOST_REFERENCE,
    _g_test,
    compare_outputs,
    split_answers,
)

ALPHA = 0.0033
LABELS = tuple(f"label{number}" for number in range(12))


def compare(reference: list[str], answers: list[str]):  # type: ignore[no-untyped-def]
    return compare_outputs(
        reference,
        answers,
        labels=LABELS,
        alpha=ALPHA,
        tolerance=0.05,
        acceptable=0.45,
        most_reference=len(reference),
    )


def asked(answers: Iterable[str]) -> list[tuple[str, str]]:
    return [(f"text {number}", answer) for number, answer in enumerate(answers)]


def test_the_first_half_is_the_reference_in_order_of_time() -> None:
    requests = asked(["mit", "", " bsd\n", "gpl", "mit", "apache"])
    assert split_answers(requests, 100) == (("mit", "bsd", "gpl"), ("apache", "mit"))
    assert split_answers(requests[:1], 100) == (("mit",), ())
    assert split_answers([("a", "")], 100) == ((), ())


def test_the_reference_stops_growing_and_the_latest_answers_are_kept() -> None:
    requests = asked(str(number) for number in range(5 * MOST_REFERENCE))
    first, later = split_answers(requests, MOST_REFERENCE + 10)
    assert first == tuple(str(number) for number in range(MOST_REFERENCE))
    assert (len(later), later[0]) == (MOST_REFERENCE + 10, str(5 * MOST_REFERENCE - 1))
    assert [len(side) for side in split_answers(requests, 7)] == [7, 7]


def test_a_pair_that_is_repeated_counts_once_a_side() -> None:
    requests = [("same", "mit")] * 500 + asked(["bsd"] * 4)
    first, later = split_answers(requests, 100)
    assert first == ("mit", "bsd", "bsd")
    assert later == ("bsd", "bsd")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["", "x", "y"]))))
def test_no_answer_is_lost_or_made_up(requests: list[tuple[str, str]]) -> None:
    first, later = split_answers(requests, 1000)
    distinct = {pair for pair in requests if pair[1]}
    assert len(distinct) <= len(first) + len(later) <= 2 * len(distinct)
    assert set(first) | set(later) == {answer for _, answer in distinct}
    assert len(first) >= len(later)


@pytest.mark.parametrize("num_answers", [16, 40, 120])
def test_with_the_answers_that_were_needed_it_is_unchanged(num_answers: int) -> None:
    def check(number: int) -> Check:
        first, later = split_answers(asked(LABELS[i % 4] for i in range(number)), 1000)
        found = compare_outputs(
            first,
            later,
            labels=LABELS,
            alpha=ALPHA,
            tolerance=0.05,
            acceptable=0.45,
            most_reference=500,
        )
        return judge(found, ALPHA)

    needed = check(num_answers).num_needed
    assert check(num_answers).verdict == "need_more"
    assert check(num_answers + needed).verdict == "unchanged"
    assert check(num_answers + needed - 4).verdict == "need_more"


def test_total_variation_by_hand() -> None:
    reference = ["label0"] * 60 + ["label1"] * 40
    answers = ["label0"] * 30 + ["label1"] * 50 + ["I cannot say"] * 20
    found = compare(reference, answers)
    assert found.effect == pytest.approx(0.3)  # (0.3 + 0.1 + 0.2) / 2
    assert found.details[:2] == (
        "label0: 30% of the later answers, 60% of the first",
        "(no label): 20% of the later answers, 0% of the first",
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
            most_reference=480,
        )
        wrong += found.low > true
    assert wrong / repeats <= alpha + 2 * np.sqrt(alpha * (1 - alpha) / repeats)
