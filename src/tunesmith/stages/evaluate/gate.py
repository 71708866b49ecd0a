"""The rules of a gate, and the verdict that follows from them."""

from __future__ import annotations

from typing import Literal

from tunesmith.records.evaluation import Comparison, RuleResult
from tunesmith.stages.evaluate.config import GateConfig

Verdict = Literal["pass", "fail", "inconclusive"]


def apply_rules(
    config: GateConfig, comparison: Comparison
) -> tuple[Verdict, tuple[RuleResult, ...]]:
    """Every rule's outcome and the verdict.

    "pass" if every rule passed. "inconclusive" if only the interval stands in the way: the
    difference is above the margin, and its lower end is not; more test rows would decide.
    Else "fail".
    """
    margin = config.beats_base_by
    above = comparison.difference > margin
    shown = above and comparison.low > margin
    high_enough = config.at_least is None or comparison.tuned >= config.at_least
    rules = [
        RuleResult(
            rule="beats the base model",
            observed=f"{comparison.difference:+.4f} ({comparison.low:+.4f} to "
            f"{comparison.high:+.4f} at {comparison.confidence:.0%} confidence)",
            required=f"more than {margin:+.4f} at the lower end",
            passed=shown,
        ),
    ]
    if config.at_least is not None:
        rules.append(
            RuleResult(
                rule=comparison.metric,
                observed=f"{comparison.tuned:.4f}",
                required=f"at least {config.at_least:.4f}",
                passed=high_enough,
            )
        )
    if shown and high_enough:
        return "pass", tuple(rules)
    return ("inconclusive" if above and high_enough else "fail"), tuple(rules)
