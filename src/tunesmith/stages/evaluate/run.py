"""Evaluate a model on rows of a dataset, and judge a tuned one against its base."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict, Unpack

from tunesmith.core.ref import PARQUET
from tunesmith.core.step import Context
from tunesmith.paired.seen import trained_on
from tunesmith.records.audit import Audit
from tunesmith.records.data import Dataset
from tunesmith.records.document import Documented
from tunesmith.records.evaluation import Evaluation, GateResult, RuleResult, Slices
from tunesmith.records.model import BaseModel, ModelVersion
from tunesmith.records.pairwise import People, Verdicts
from tunesmith.records.release import Standings
from tunesmith.records.suite import (
    Limits,
    SuiteBeside,
    SuiteLimits,
    SuiteResult,
    beside_outcomes,
    outcomes,
)
from tunesmith.stages.evaluate.compare import compare
from tunesmith.stages.evaluate.config import EvaluateConfig, GateConfig
from tunesmith.stages.evaluate.documented import document_rules
from tunesmith.stages.evaluate.gate import apply_rules
from tunesmith.stages.evaluate.outcome import Judged, Rival, outcome_of
from tunesmith.stages.evaluate.predictions import to_parquet
from tunesmith.stages.evaluate.rows import asked_rows
from tunesmith.stages.evaluate.scorer import Asked, score
from tunesmith.stages.evaluate.win_rate import win_rate


def evaluate_base(
    config: EvaluateConfig, ctx: Context, *, base: BaseModel, dataset: Dataset
) -> Evaluation:
    """How well `base` does on the rows that are asked, as it came.

    Raises:
        DataError: there are no such rows, or the model cannot be scored here.
        UsageError: a row does not fit the model's context.
    """
    return _evaluate(config, ctx, base, None, dataset)


def evaluate_tuned(
    config: EvaluateConfig, ctx: Context, *, model: ModelVersion, dataset: Dataset
) -> Evaluation:
    """How well `model` does on the rows that are asked, as it would be served.

    Raises:
        DataError: there are no such rows, or the model cannot be scored here.
        UsageError: a row does not fit the model's context.
    """
    return _evaluate(config, ctx, model.base, model, dataset)


class Beside(TypedDict, total=False):
    """What a gate looks at beside the evaluations of the base and of the tuned model."""

    rivals: tuple[Evaluation, ...]
    """The evaluations of the models of `standings`, in their order."""
    standings: Standings | None
    tasks: tuple[Evaluation, ...]
    """Those of the gate's tasks: by the base model, by the tuned one, and by each rival in turn."""
    slices: Slices | None
    audit: Audit | None
    """Brings rules of its own."""
    suites: tuple[SuiteResult, ...]
    """Of each its limits in the settings are rules."""
    limits_against: Limits | None
    """Of suites that are compared with an alias: limits of the differences, rules too."""
    besides: tuple[SuiteBeside, ...]
    """Those differences, of the suites of which another version stands there."""
    verdicts: tuple[Verdicts, ...]
    """What the judges of tasks said of the tuned model's answers beside others'."""
    people: People | None
    """What people said of the same pairs."""
    documents: Documented | None
    """What the documents that it asks for could say; each is a rule."""


def judge(
    config: GateConfig,
    ctx: Context,
    *,
    base: Evaluation,
    tuned: Evaluation,
    **beside: Unpack[Beside],
) -> GateResult:
    """What the gate says of the tuned model; all evaluations must be of the same rows.

    Rows that a rival was itself tuned on are left out of the comparison with it.

    Raises:
        DataError: they are not of the same rows, or no row is left.
        UsageError: a rule's metric is not one of theirs, a limit is of no figure of its suite, or
            of a document that is asked for nothing is known.
    """
    judged = _judged(ctx, base, tuned, beside)
    overall = [
        compare(
            each.against["base"].evaluation,
            each.tuned,
            ctx.blobs,
            confidence=config.confidence,
            seed=ctx.seed,
        )
        for each in judged.values()
    ]
    slices, audit = beside.get("slices"), beside.get("audit")
    suites, documents = beside.get("suites", ()), beside.get("documents")
    said = beside.get("people")
    people = {each.task: each for each in said.of} if said else {}
    found = [outcome_of(rule, config, ctx, judged[rule.task], slices) for rule in config.rules]
    further = [outcome for outcome, _ in found] + [*(audit.rules if audit else ())]
    further += _suite_rules(config, beside)
    further += document_rules(config, documents)
    verdict, rules = apply_rules(config, overall[0], further)
    return GateResult(
        gate=config.name,
        model=tuned.model,
        verdict=verdict,
        rules=rules,
        comparisons=(*overall, *(each for _, each in found if each is not None)),
        inconclusive=config.inconclusive,
        inputs={name: digest for each in judged.values() for name, digest in each.digests().items()}
        | {f"suite {suite.suite}": suite.examples.sha256 for suite in suites},
        win_rates=tuple(
            win_rate(
                each,
                ctx.blobs,
                people.get(each.task),
                confidence=config.confidence,
                seed=ctx.seed,
            )
            for each in beside.get("verdicts", ())
        ),
        documents=documents.documents if documents else (),
    )


def _suite_rules(config: GateConfig, beside: Beside) -> Iterator[RuleResult]:
    """How the limits of suites came out: of their figures, and of the differences from what stands
    under an alias."""
    for suite in beside.get("suites", ()):
        yield from outcomes(
            suite, SuiteLimits(suite=suite.suite, limits=config.limits[suite.suite])
        )
    found = {each.suite: each for each in beside.get("besides", ())}
    against = beside.get("limits_against")
    for limits in against.of if against else ():
        yield from beside_outcomes(found.get(limits.suite), limits)


def _judged(ctx: Context, base: Evaluation, tuned: Evaluation, beside: Beside) -> dict[str, Judged]:
    """What each set of questions gave, by task; that of the model's objective first."""
    standings, tasks = beside.get("standings"), beside.get("tasks", ())
    stands = standings.standings if standings else ()
    seen = [frozenset(trained_on(ctx.blobs, standing.model)) for standing in stands]
    num_tasks = len(tasks) // (2 + len(stands))
    asked = [
        (base, tuned, *beside.get("rivals", ())),
        *(tasks[at::num_tasks] for at in range(num_tasks)),
    ]
    judged = {}
    for of_base, of_tuned, *of_rivals in asked:
        against = {"base": Rival(version="base", evaluation=of_base)}
        for standing, rows, evaluation in zip(stands, seen, of_rivals, strict=True):
            against[standing.against] = Rival(
                version=standing.version, evaluation=evaluation, seen=rows
            )
        verdicts = {
            each.versus: each for each in beside.get("verdicts", ()) if each.task == of_tuned.task
        }
        judged[of_tuned.task] = Judged(tuned=of_tuned, against=against, verdicts=verdicts)
    return judged


def _evaluate(
    config: EvaluateConfig,
    ctx: Context,
    base: BaseModel,
    model: ModelVersion | None,
    dataset: Dataset,
) -> Evaluation:
    rows = asked_rows(config, ctx.blobs, dataset, ctx.seed, model)
    ctx.progress(0, rows.num_rows, f"loading the {'tuned' if model else 'base'} model")
    asked = Asked(ctx=ctx, base=base, model=model, dataset=dataset, rows=rows, config=config)
    scored = score(asked)
    return Evaluation(
        model=model.name if model else base.name,
        subject="tuned" if model else "base",
        labels=dataset.labels,
        num_rows=rows.num_rows,
        metric=scored.metric,
        value=scored.value,
        others=scored.all_others(),
        per_label_f1=scored.per_label_f1,
        predictions=ctx.blobs.put(to_parquet(rows["row_id"].to_pylist(), scored), PARQUET),
    )
