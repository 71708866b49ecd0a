"""One rule of a gate, on the evaluations that it speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tunesmith.core.step import Context
from tunesmith.records.evaluation import WIN_RATE, Comparison, Evaluation, RuleResult, Slices
from tunesmith.records.pairwise import Verdicts
from tunesmith.stages.evaluate.compare import Asking, compare_as, floor_interval
from tunesmith.stages.evaluate.config import GateConfig, GateRule
from tunesmith.stages.evaluate.direction import require_direction
from tunesmith.stages.evaluate.gate import (
    compared,
    enough,
    floored,
    no_rows,
    nothing_stands,
)
from tunesmith.stages.evaluate.win_rate import compared_pairs


@dataclass(frozen=True, kw_only=True, slots=True)
class Rival:
    """A model that another is compared with."""

    version: str
    """"base", or a version such as "desk@1"."""
    evaluation: Evaluation
    seen: frozenset[str] = frozenset()
    """Ids of rows that it was tuned on: its answers to them say nothing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """What one set of questions gave: those of the model's objective, or of a task."""

    tuned: Evaluation
    against: Mapping[str, Rival]
    """"base", and the aliases that the rules name, where they point at another version."""
    verdicts: Mapping[str, Verdicts] = field(default_factory=dict)
    """What a judge said, by "base" and by version; none where the task has no judge."""

    def digests(self) -> dict[str, str]:
        """Of each model's answers: by "base", "tuned", "desk@1"; with the task's name before."""
        evaluations = {"tuned": self.tuned} | {
            rival.version: rival.evaluation for rival in self.against.values()
        }
        task = f"{self.tuned.task}: " if self.tuned.task else ""
        answers = {f"{task}{name}": each.predictions.sha256 for name, each in evaluations.items()}
        return answers | {
            f"{task}verdicts of {each.judge} beside {versus}": each.pairs.sha256
            for versus, each in self.verdicts.items()
        }


def outcome_of(
    rule: GateRule,
    config: GateConfig,
    ctx: Context,
    judged: Judged,
    slices: Slices | None,
) -> tuple[RuleResult, Comparison | None]:
    """How `rule` came out, and the comparison that it rests on, if it is one.

    Raises:
        ConfigError: the rule has a floor where less is better, or a ceiling where more is.
        DataError: the models were not asked the same rows, or no row is left.
        UsageError: the rule's metric is not one of theirs.
    """
    tuned = judged.tuned
    confidence = rule.confidence or config.confidence
    metric = rule.metric or tuned.metric
    only = slices.of(tuned.task, rule.slice.said) if slices and rule.slice else None
    what = " ".join(filter(None, (f"{tuned.task}:" if tuned.task else "", metric)))
    on = f" on {only.said}" if only else ""
    rival = judged.against.get(rule.against)
    falls = tuned.falls(metric)
    require_direction(rule, config.name, metric, falls)
    if rule.against and rival is None:
        return nothing_stands(rule, falls), None
    seen = rival.seen if rival else frozenset()
    if only is not None and not set(only.row_ids) - seen:
        return no_rows(rule, what + on, falls), None
    if rival is None:
        found, num_rows = floor_interval(
            tuned, ctx.blobs, metric=metric, confidence=confidence, seed=ctx.seed, only=only
        )
        of = f"{what}{on} ({num_rows} rows)" if only else what
        return enough(floored(rule, of, found, num_rows, confidence), num_rows, only), None
    asking = Asking(
        confidence=confidence,
        seed=ctx.seed,
        metric=metric,
        versus=rival.version,
        left_out=seen,
        only=only,
    )
    if metric == WIN_RATE:
        comparison = compared_pairs(judged.verdicts[rival.version], ctx.blobs, asking)
    else:
        comparison = compare_as(rival.evaluation, tuned, ctx.blobs, asking)
    named = rival.version if rule.against == "base" else f"{rule.against} ({rival.version})"
    count = f" ({comparison.num_rows} rows)" if only else ""
    result = compared(f"{what} beside {named}{on}{count}", comparison, rule.margin)
    return enough(result, comparison.num_rows, only), comparison
