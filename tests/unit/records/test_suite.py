from __future__ import annotations

import pytest

from tunesmith.core.errors import UsageError
from tunesmith.core.ref import Blob, from_plain, to_plain
from tunesmith.records.suite import Figure, Range, SuiteLimits, SuiteResult, outcomes


def figure(low: float, high: float, **changes):
    middle = (low + high) / 2
    fields = {
        "name": "f",
        "base": 0.0,
        "tuned": Range(value=middle, low=low, high=high),
        "difference": Range(value=-middle, low=-high, high=-low),
        "num_rows": 100,
        "confidence": 0.95,
        "worse": "higher",
    }
    return Figure(**fields | changes)


@pytest.mark.parametrize(
    ("limit", "worse", "verdict"),
    [
        (0.5, "higher", "pass"),
        (0.4, "higher", "pass"),
        (0.3, "higher", "inconclusive"),
        (0.1, "higher", "fail"),
        (0.1, "lower", "pass"),
        (0.3, "lower", "inconclusive"),
        (0.5, "lower", "fail"),
    ],
)
def test_a_limit_holds_at_the_bad_end_of_the_interval(limit, worse, verdict):
    rule = figure(0.2, 0.4, worse=worse).outcome("s", limit)
    assert rule.said == verdict
    assert rule.passed == (verdict == "pass")
    assert ("upper" if worse == "higher" else "lower") in rule.required


def test_what_is_limited_may_be_the_difference():
    rule = figure(0.2, 0.4, limited="difference").outcome("s", -0.1)
    assert rule.said == "pass"
    assert "tuned minus base" in rule.rule
    assert rule.observed.startswith("-0.3000")


def test_rows_that_would_settle_it_are_said():
    rule = figure(0.2, 0.4).outcome("s", 0.35)
    # Half the width is 0.1 at 1.96 standard errors; 2.8 are wanted within 0.05.
    assert rule.num_rows_needed == pytest.approx(
        100 * (0.1 * (1 + 0.8416 / 1.96) / 0.05) ** 2, 0.01
    )
    assert figure(0.2, 0.4).outcome("s", 0.3).num_rows_needed == 0


def test_limits_are_of_figures_that_are_there():
    blob = Blob(sha256="0" * 64, num_bytes=0)
    result = SuiteResult(
        suite="s", kind="leakage", model="m", figures=(figure(0.2, 0.4),), examples=blob,
        num_examples=1,
    )  # fmt: skip
    assert from_plain(SuiteResult, to_plain(result)) == result
    (rule,) = outcomes(result, SuiteLimits(suite="s", limits={"f": 1.0}))
    assert rule.rule == "suite s: f"
    with pytest.raises(UsageError, match=r"suite\.s\.limits: there is no figure 'g'"):
        outcomes(result, SuiteLimits(suite="s", limits={"g": 1.0}))
