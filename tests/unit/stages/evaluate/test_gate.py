from __future__ import annotations

from typing import Any

import pytest

from tunesmith.records.evaluation import Comparison
from tunesmith.stages.evaluate.config import GateConfig
from tunesmith.stages.evaluate.gate import apply_rules


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
        (comparison(0.25, 0.75, 0.1), {"beats_base_by": 0.55}, "fail", [False]),
        (comparison(0.5, 0.55, 0.1), {}, "inconclusive", [False]),
        (comparison(0.5, 0.55, 0.1), {"at_least": 0.6}, "fail", [False, False]),
        (comparison(0.5, 0.625, 0.125), {}, "inconclusive", [False]),
        (comparison(0.5, 0.5, 0.1), {}, "fail", [False]),
        (comparison(0.75, 0.25, 0.1), {}, "fail", [False]),
        (comparison(0.5, 0.5, 0.0), {}, "fail", [False]),
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
