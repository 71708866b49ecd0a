"""One rule of a gate, on the evaluations that it speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tunesmith.core.step import Context
from tunesmith.records.evaluation import Comparison, Evaluation, RuleResult
from tunesmith.stages.evaluate.compare import Asking, compare_as, floor_interval
from tunesmith.stages.evaluate.config import GateConfig, GateRule
from tunesmith.stages.evaluate.gate import compared, floored, nothing_stands


@dataclass(frozen=True, kw_only=True, slots=True)
class Rival:
    """A model that another is compared with."""

    version: str
    """"base", or a version such as "desk@1"."""
    evaluation: Evaluation
    seen: frozenset[str] = frozenset()
    """Ids of rows that it was tuned on: its answers to them say nothing."""


def outcome_of(
    rule: GateRule,
    config: GateConfig,
    ctx: Context,
    tuned: Evaluation,
    against: Mapping[str, Rival],
) -> tuple[RuleResult, Comparison | None]:
    """How `rule` came out, and the comparison that it rests on, if it is one.

    Raises:
        DataError: the models were not asked the same rows, or no row is left.
        UsageError: the rule's metric is not one of theirs.
    """
    confidence = rule.confidence or config.confidence
    metric = rule.metric or tuned.metric
    if not rule.against:
        found = floor_interval(
            tuned, ctx.blobs, metric=metric, confidence=confidence, seed=ctx.seed
        )
        return floored(rule, metric, found, tuned.num_rows, confidence), None
    if rule.against not in against:
        return nothing_stands(rule), None
    rival = against[rule.against]
    comparison = compare_as(
        rival.evaluation,
        tuned,
        ctx.blobs,
        Asking(
            confidence=confidence,
            seed=ctx.seed,
            metric=metric,
            versus=rival.version,
            left_out=rival.seen,
        ),
    )
    named = rival.version if rule.against == "base" else f"{rule.against} ({rival.version})"
    return compared(f"{metric} beside {named}", comparison, rule.margin), comparison
