"""The rules of a gate, and the verdict that follows from them: pass, fail or inconclusive."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from tunesmith.paired.power import from_interval
from tunesmith.records.evaluation import Comparison, RuleResult, Slice, Verdict
from tunesmith.records.rivals import Estimate
from tunesmith.stages.evaluate.config import GateConfig, GateRule

NO_ROWS = "there is no such row"
"""What is observed of a slice that has none."""
MIN_ROWS = 10
"""Of fewer rows of a slice nothing is said: their interval would be chance itself."""


def apply_rules(
    config: GateConfig, comparison: Comparison, further: Sequence[RuleResult] = ()
) -> tuple[Verdict, tuple[RuleResult, ...]]:
    """Every rule's outcome and the verdict; `further` are those of the rules in tables.

    A rule is inconclusive where its interval has values on both sides of what is required. "fail"
    if a rule failed, else "inconclusive" if one is, else "pass".
    """
    rules = [compared("beats the base model", comparison, config.beats_base_by)]
    if config.at_least is not None:
        high_enough = comparison.tuned >= config.at_least
        rules.append(
            RuleResult(
                rule=comparison.metric,
                observed=f"{comparison.tuned:.4f}",
                required=f"at least {config.at_least:.4f}",
                passed=high_enough,
                verdict="pass" if high_enough else "fail",
            )
        )
    rules += further
    return worst(rule.verdict for rule in rules), tuple(rules)


def worst(verdicts: Iterable[Verdict | None]) -> Verdict:
    """The verdict on all."""
    said = set(verdicts)
    return "fail" if "fail" in said else "inconclusive" if "inconclusive" in said else "pass"


def compared(rule: str, found: Comparison, margin: float) -> RuleResult:
    """Whether the model is better by more than `margin`, at the worse end of the interval too."""
    falls = found.lower_is_better
    worse, better = (-found.high, -found.low) if falls else (found.low, found.high)
    verdict: Verdict = "pass" if worse > margin else "fail" if better < margin else "inconclusive"
    difference = -found.difference if falls else found.difference
    return RuleResult(
        rule=rule,
        observed=f"{found.difference:+.4f} ({found.low:+.4f} to {found.high:+.4f} "
        f"at {found.confidence:.0%} confidence)",
        required=_more_than(margin, falls),
        passed=verdict == "pass",
        verdict=verdict,
        num_rows_needed=_needed(
            found.num_rows, abs(difference - margin), (better - worse) / 2, found.confidence
        )
        if verdict == "inconclusive"
        else 0,
    )


def floored(
    rule: GateRule, metric: str, found: Estimate, num_rows: int, confidence: float
) -> RuleResult:
    """Whether a metric is at least, or at most, what `rule` says, at the worse end of its interval
    too."""
    verdict: Verdict
    if rule.at_most is not None:
        bound, falls = rule.at_most, True
        verdict = "pass" if found.high <= bound else "fail" if found.low > bound else "inconclusive"
    else:
        assert rule.at_least is not None
        bound, falls = rule.at_least, False
        verdict = "pass" if found.low >= bound else "fail" if found.high < bound else "inconclusive"
    # The interval of a share near 1 reaches further down than up.
    half = found.mean - found.low if found.mean > bound else found.high - found.mean
    return RuleResult(
        rule=metric,
        observed=f"{found.mean:.4f} ({found.low:.4f} to {found.high:.4f} "
        f"at {confidence:.0%} confidence)",
        required=_bounded(bound, falls),
        passed=verdict == "pass",
        verdict=verdict,
        num_rows_needed=_needed(num_rows, abs(found.mean - bound), half, confidence)
        if verdict == "inconclusive"
        else 0,
    )


def enough(result: RuleResult, num_rows: int, only: Slice | None) -> RuleResult:
    """The outcome of a rule, inconclusive where it is of a slice with too few rows."""
    if only is None or num_rows >= MIN_ROWS:
        return result
    return replace(
        result,
        observed=f"{result.observed}; too few rows to go by",
        passed=False,
        verdict="inconclusive",
        num_rows_needed=max(MIN_ROWS, result.num_rows_needed),
    )


def no_rows(rule: GateRule, what: str, falls: bool = False) -> RuleResult:
    """The outcome of a rule on a slice that has no rows; `falls` says that less of its metric is
    better."""
    bound = rule.at_most if falls else rule.at_least
    return RuleResult(
        rule=what,
        observed=NO_ROWS,
        required=_more_than(rule.margin, falls) if bound is None else _bounded(bound, falls),
        passed=False,
        verdict="inconclusive",
        num_rows_needed=MIN_ROWS,
    )


def nothing_stands(rule: GateRule, falls: bool = False) -> RuleResult:
    """The outcome of a comparison with an alias that points at no other version."""
    return RuleResult(
        rule=f"compared with {rule.against}",
        observed=f"no other version is {rule.against} yet",
        required=f"{_more_than(rule.margin, falls)}, once there is one",
        passed=True,
        verdict="pass",
    )


def _more_than(margin: float, falls: bool) -> str:
    """What a comparison requires of the model's metric minus the other's."""
    if falls:
        return f"less than {0.0 - margin:+.4f} at the upper end, as lower is better"
    return f"more than {margin:+.4f} at the lower end"


def _bounded(bound: float, falls: bool) -> str:
    if falls:
        return f"at most {bound:.4f} at the upper end, as lower is better"
    return f"at least {bound:.4f} at the lower end"


def _needed(num_rows: int, gap: float, half: float, confidence: float) -> int:
    """About how many rows would settle it four times out of five, if what was found is so: `gap`
    from what is required, in an interval that reaches `half` as far.

    An interval's width falls with the root of the number of rows. 0 where no number would: what was
    found is the threshold itself.
    """
    reach = from_interval(-half, half, confidence)
    # Counts are doubles in records: what would take more rows than that is as good as never.
    rows = num_rows * (reach / gap) ** 2 if gap > 1e-9 else 0.0
    return max(num_rows + 1, math.ceil(rows)) if rows else 0
