from __future__ import annotations

import dataclasses
from math import ceil
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from tunesmith.paired.difference import of_outcomes
from tunesmith.records.evaluation import Comparison, RuleResult
from tunesmith.records.rivals import Estimate
from tunesmith.stages.evaluate.config import GateConfig, GateRule
from tunesmith.stages.evaluate.gate import apply_rules, compared, floored


def comparison(base: float, tuned: float, half_width: float) -> Comparison:
    difference = tuned - base
    return Comparison(
        metric="accuracy",
        base=base,
        tuned=tuned,
        difference=difference,
        low=difference - half_width,
        high=difference + half_width,
        confidence=0.95,
        num_rows=96,
        num_resamples=10_000,
        detectable=0.1,
    )


@pytest.mark.parametrize(
    ("found", "settings", "verdict", "passed"),
    [
        (comparison(0.25, 0.75, 0.1), {}, "pass", [True]),
        (comparison(0.25, 0.75, 0.1), {"at_least": 0.75}, "pass", [True, True]),
        (comparison(0.25, 0.75, 0.1), {"at_least": 0.8}, "fail", [True, False]),
        (comparison(0.25, 0.75, 0.1), {"beats_base_by": 0.3}, "pass", [True]),
        (comparison(0.25, 0.75, 0.1), {"beats_base_by": 0.45}, "inconclusive", [False]),
        (comparison(0.25, 0.75, 0.1), {"beats_base_by": 0.55}, "inconclusive", [False]),
        (comparison(0.25, 0.75, 0.1), {"beats_base_by": 0.65}, "fail", [False]),
        (comparison(0.5, 0.55, 0.1), {}, "inconclusive", [False]),
        (comparison(0.5, 0.55, 0.1), {"at_least": 0.6}, "fail", [False, False]),
        (comparison(0.5, 0.625, 0.125), {}, "inconclusive", [False]),
        (comparison(0.5, 0.5, 0.1), {}, "inconclusive", [False]),
        (comparison(0.75, 0.25, 0.1), {}, "fail", [False]),
        (comparison(0.5, 0.5, 0.0), {}, "inconclusive", [False]),
    ],
)
def test_verdicts(
    found: Comparison, settings: dict[str, Any], verdict: str, passed: list[bool]
) -> None:
    said, rules = apply_rules(GateConfig(model="desk", **settings), found)

    assert said == verdict
    assert [rule.passed for rule in rules] == passed


def test_a_rule_says_what_it_saw_and_what_it_wanted() -> None:
    _, (beats, floor) = apply_rules(
        GateConfig(model="desk", at_least=0.6), comparison(0.25, 0.75, 0.1)
    )

    assert beats.observed == "+0.5000 (+0.4000 to +0.6000 at 95% confidence)"
    assert (floor.observed, floor.required) == ("0.7500", "at least 0.6000")


def test_an_inconclusive_rule_says_how_many_rows_would_settle_it() -> None:
    """96 rows whose interval reaches 0.1 each way from 0.05: z and power make it 0.1 * 1.43, which
    has to shrink to 0.05, and falls with the root of the rows."""
    _, (rule,) = apply_rules(GateConfig(model="desk"), comparison(0.5, 0.55, 0.1))

    z, power = norm.ppf(0.975), norm.ppf(0.8)
    assert rule.verdict == "inconclusive"
    assert rule.num_rows_needed == ceil(96 * (0.1 * (1 + power / z) / 0.05) ** 2)
    _, (even,) = apply_rules(GateConfig(model="desk"), comparison(0.5, 0.5, 0.1))
    assert (even.verdict, even.num_rows_needed) == ("inconclusive", 0)


@pytest.mark.parametrize(
    ("won", "lost", "num_rows", "margin"),
    [(12, 5, 100, 0.0), (5, 1, 50, 0.0), (30, 20, 300, 0.0), (9, 5, 100, -0.02)],
)
def test_so_many_rows_do_settle_it_four_times_out_of_five(
    won: int, lost: int, num_rows: int, margin: float
) -> None:
    """Simulated: so many rows are won and lost, and that is how things are."""
    one = of_outcomes(won, lost, num_rows, 0.95)
    found = dataclasses.replace(
        comparison(0.5, 0.5, 0.1),
        difference=one.difference,
        low=one.low,
        high=one.high,
        num_rows=num_rows,
    )
    rule = compared("beats", found, margin)
    assert rule.verdict == "inconclusive"
    needed = rule.num_rows_needed

    shares = [won / num_rows, lost / num_rows, 1 - (won + lost) / num_rows]
    counts = np.random.default_rng(1).multinomial(needed, shares, size=400)
    settled = [
        of_outcomes(more, fewer, needed, 0.95).low > margin for more, fewer, _ in counts.tolist()
    ]
    assert 0.75 <= np.mean(settled) <= 0.9


@pytest.mark.parametrize(("right", "num_rows", "floor"), [(85, 100, 0.8), (57, 60, 0.9)])
def test_so_many_rows_do_settle_a_floor_four_times_out_of_five(
    right: int, num_rows: int, floor: float
) -> None:
    """Simulated: the model is right as often as it was found to be."""

    def of(hits: int, rows: int) -> RuleResult:
        within = binomtest(hits, rows).proportion_ci(0.95, "wilson")
        found = Estimate(mean=hits / rows, low=float(within.low), high=float(within.high))
        return floored(GateRule(at_least=floor), "accuracy", found, rows, 0.95)

    needed = of(right, num_rows).num_rows_needed
    hits = np.random.default_rng(2).binomial(needed, right / num_rows, size=400)

    settled = [of(each, needed).verdict != "inconclusive" for each in hits.tolist()]
    assert 0.75 <= np.mean(settled) <= 0.95


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [((0.7, 0.9), "pass"), ((0.5, 0.7), "inconclusive"), ((0.3, 0.59), "fail")],
)
def test_a_floor_among_the_rules_asks_for_the_lower_end(
    interval: tuple[float, float], verdict: str
) -> None:
    found = Estimate(mean=sum(interval) / 2, low=interval[0], high=interval[1])
    rule = floored(GateRule(at_least=0.6), "accuracy", found, 50, 0.95)

    assert (rule.verdict, rule.passed) == (verdict, verdict == "pass")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "a floor .* or a comparison"),
        ({"against": "base", "at_least": 0.5}, "at_least is of a floor"),
        ({"at_least": 0.5, "margin": 0.1}, "margin is of a comparison"),
        ({"at_most": 0.5, "margin": 0.1}, "margin is of a comparison"),
        ({"at_most": 0.5, "against": "base"}, "at_most is of a ceiling"),
        ({"at_most": 0.5, "at_least": 0.1}, "better when higher .* or when lower"),
    ],
)
def test_a_rule_is_a_floor_or_a_comparison(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GateRule(**settings)


@pytest.mark.parametrize("alias", ["", "base", "released"])
def test_an_alias_is_no_word_that_rules_use(alias: str) -> None:
    with pytest.raises(ValueError, match="alias"):
        GateConfig(model="desk", alias=alias)


def falling(base: float, tuned: float, half_width: float) -> Comparison:
    found = comparison(base, tuned, half_width)
    return dataclasses.replace(found, metric="perplexity", lower_is_better=True)


@pytest.mark.parametrize(
    ("found", "margin", "verdict"),
    [
        (falling(12.0, 8.0, 1.0), 0.0, "pass"),
        (falling(12.0, 8.0, 1.0), 2.9, "pass"),
        (falling(12.0, 8.0, 1.0), 3.5, "inconclusive"),
        (falling(12.0, 8.0, 1.0), 5.5, "fail"),
        (falling(8.0, 12.0, 1.0), 0.0, "fail"),
        (falling(8.0, 8.5, 1.0), 0.0, "inconclusive"),
        (falling(8.0, 8.5, 0.25), -1.0, "pass"),
        (falling(8.0, 9.5, 0.25), -1.0, "fail"),
        (falling(8.0, 8.0, 0.0), 0.0, "inconclusive"),
    ],
)
def test_less_of_some_metrics_is_better(found: Comparison, margin: float, verdict: str) -> None:
    """Each verdict is that of the mirrored comparison, in which more is better."""
    rule = compared("beats", found, margin)
    mirrored = dataclasses.replace(
        found,
        difference=-found.difference,
        low=-found.high,
        high=-found.low,
        lower_is_better=False,
    )
    other = compared("beats", mirrored, margin)

    assert (rule.verdict, rule.passed) == (verdict, verdict == "pass")
    assert (rule.verdict, rule.num_rows_needed) == (other.verdict, other.num_rows_needed)


def test_what_is_required_of_a_falling_metric_is_said_the_right_way_round() -> None:
    rule = compared("perplexity beside base", falling(12.0, 8.0, 1.0), 0.5)

    assert rule.observed == "-4.0000 (-5.0000 to -3.0000 at 95% confidence)"
    assert rule.required == "less than -0.5000 at the upper end, as lower is better"
    assert compared("x", falling(12.0, 8.0, 1.0), 0.0).required.startswith("less than +0.0000")
    ceiling = floored(
        GateRule(at_most=9.0), "perplexity", Estimate(mean=8.0, low=7.0, high=8.5), 50, 0.95
    )
    assert ceiling.required == "at most 9.0000 at the upper end, as lower is better"


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [((7.0, 9.0), "pass"), ((8.0, 10.0), "inconclusive"), ((9.1, 12.0), "fail")],
)
def test_a_ceiling_asks_for_the_upper_end(interval: tuple[float, float], verdict: str) -> None:
    found = Estimate(mean=sum(interval) / 2, low=interval[0], high=interval[1])
    rule = floored(GateRule(at_most=9.0), "perplexity", found, 50, 0.95)

    assert (rule.verdict, rule.passed) == (verdict, verdict == "pass")
    assert (rule.num_rows_needed > 50) == (verdict == "inconclusive" and found.mean != 9.0)
