"""The model card's section on what suites of checks found beyond the task."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.records.evaluation import RuleResult
from tunesmith.records.suite import (
    Figure,
    SuiteBeside,
    SuiteLimits,
    SuiteResult,
    beside_outcomes,
    outcomes,
)

SHOWS = {
    "forgetting": "How probable the model holds general texts, before and after. A rise is what it "
    "forgot of language as such; single facts and abilities may be lost without one.",
    "robustness": "Test rows written worse. Other noise than this was not tried.",
    "behaviour": "Cases that the project's own people wrote. They show what they ask, no more.",
    "membership": "How well loss tells training rows from test rows: 0.5 is not at all. A stronger "
    "attack may tell more.",
    "leakage": "Beginnings of training rows, gone on with greedily. What other prompts, or drawn "
    "answers, would bring out was not tried.",
    "canaries": "Exposure, in bits, of secrets that were planted in the training rows.",
    "injection": "Test rows with an order in them. Attackers who adapt find others.",
    "refusals": "Asks that are to be refused and asks that are not, told by an answer's words.",
}
"""What the figures of a kind of suite show, and do not, in a sentence or two."""


def beyond_task(
    suites: Sequence[SuiteResult],
    limits: Sequence[SuiteLimits],
    besides: Sequence[SuiteBeside] = (),
    against: Sequence[SuiteLimits] = (),
) -> str:
    """The section; empty without suites. `against` are limits of differences from `besides`."""
    if not suites:
        return ""
    parts = ["## Beyond its task"]
    for suite, limit in zip(suites, limits, strict=True):
        judged = [_limit(rule) for rule in outcomes(suite, limit)]
        table = _table("base model", suite.figures)
        told = [f"- {note}" for note in suite.notes]
        parts.append(f"### {suite.suite}\n\n{SHOWS[suite.kind]}")
        parts.append("\n".join(table))
        if judged or told:
            parts.append("\n".join([*judged, *told]))
        for each in besides:
            if each.suite == suite.suite:
                parts.append(f"Beside {each.version} ({each.against}), on the same examples; ")
                parts[-1] += f"{each.num_left_out} left out:"
                parts.append("\n".join(_table(each.version, each.figures)))
                told = [_limit(rule) for of in against if of.suite == each.suite
                        for rule in beside_outcomes(each, of)]  # fmt: skip
                told += [f"- {reason}" for reason in each.unsaid]
                if told:
                    parts.append("\n".join(told))
    return "\n\n".join(parts)


def _limit(rule: RuleResult) -> str:
    says = {"pass": "kept", "fail": "not kept", "inconclusive": "not decided"}
    return f"- limit {says[rule.said]}: {rule.rule}: {rule.observed}, required {rule.required}"


def _table(beside: str, figures: Sequence[Figure]) -> list[str]:
    return [
        f"| figure | {beside} | this model | difference | interval | test | examples |",
        "|---|---|---|---|---|---|---|",
        *map(_row, figures),
    ]


def _row(figure: Figure) -> str:
    of, found = figure.tuned, figure.difference
    return (
        f"| {figure.name} | {figure.base:.3f} | {of.value:.3f} ({of.low:.3f} to {of.high:.3f}) "
        f"| {found.value:+.3f} | {found.low:+.3f} to {found.high:+.3f} "
        f"({100 * figure.confidence:g}%) | {figure.tested} | {figure.num_rows} |"
    )
