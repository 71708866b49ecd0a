from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.stages.monitor.judge import MOST_ROWS, Finding, judge, overall

FINDING = Finding(
    name="a",
    layer="inputs",
    statistic="a difference",
    effect=0.0,
    low=0.0,
    p_value=1.0,
    tolerance=0.1,
    acceptable=0.3,
    largest=1.0,
    detectable=lambda rows: 3 / math.sqrt(rows),
    num_reference=1000,
    num_traffic=100,
    details=(),
)


def finding(**changes: object) -> Finding:
    return dataclasses.replace(FINDING, **changes)  # type: ignore[arg-type]


def test_changed_needs_both_the_bound_and_the_p_value() -> None:
    assert judge(finding(effect=0.5, low=0.2, p_value=0.001), 0.01).verdict == "changed"
    assert judge(finding(effect=0.5, low=0.1, p_value=0.001), 0.01).verdict == "need_more"
    assert judge(finding(effect=0.5, low=0.2, p_value=0.01), 0.01).verdict == "unchanged"


def test_unchanged_states_what_it_could_have_seen() -> None:
    check = judge(FINDING, 0.01)  # 3 / 10
    assert (check.verdict, check.detectable, check.num_needed) == ("unchanged", 0.3, 0)


def test_need_more_says_how_many() -> None:
    check = judge(finding(num_traffic=60), 0.01)
    assert (check.verdict, check.num_needed) == ("need_more", 40)
    assert judge(finding(num_traffic=0), 0.01).num_needed == 100


def test_a_significant_effect_within_the_margin_asks_for_the_rows_that_would_show_it() -> None:
    check = judge(finding(effect=0.15, low=0.05, p_value=1e-6), 0.01)
    assert (check.verdict, check.num_needed) == ("need_more", 300)  # 3 / 20 = 0.15
    assert "p = 1e-06" in check.details[-1]


def test_a_significant_effect_below_the_tolerance_is_no_change() -> None:
    assert judge(finding(effect=0.08, low=0.05, p_value=1e-9), 0.01).verdict == "unchanged"


def test_a_reference_too_small_for_any_traffic_is_said_to_be() -> None:
    check = judge(finding(detectable=lambda rows: 0.5), 0.01)
    assert check.verdict == "need_more"
    assert check.num_needed == MOST_ROWS - 100
    assert "larger train split" in check.details[-1]


@given(st.integers(0, 3000), st.floats(0.15, 0.9))
def test_with_the_rows_that_were_needed_it_is_no_longer_needed(rows: int, wanted: float) -> None:
    first = judge(finding(num_traffic=rows, acceptable=wanted), 0.01)
    assert (first.num_needed > 0) == (first.verdict == "need_more")
    enough = rows + first.num_needed
    assert judge(finding(num_traffic=enough, acceptable=wanted), 0.01).verdict == "unchanged"
    if first.num_needed:
        fewer = judge(finding(num_traffic=enough - 1, acceptable=wanted), 0.01)
        assert fewer.verdict == "need_more"


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (("unchanged", "changed", "need_more"), "changed"),
        (("unchanged", "need_more"), "need_more"),
        (("unchanged", "unchanged"), "unchanged"),
    ],
)
def test_the_verdict_over_all_checks(verdicts: tuple, expected: str) -> None:  # type: ignore[type-arg]
    assert overall(verdicts) == expected
