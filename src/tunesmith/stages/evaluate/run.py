"""Evaluate a model on rows of a dataset, and judge a tuned one against its base."""

from __future__ import annotations

from tunesmith.core.ref import PARQUET
from tunesmith.core.step import Context
from tunesmith.records.audit import Audit
from tunesmith.records.data import Dataset
from tunesmith.records.evaluation import Evaluation, GateResult
from tunesmith.records.model import BaseModel, ModelVersion
from tunesmith.records.release import Standings
from tunesmith.records.suite import SuiteLimits, SuiteResult, outcomes
from tunesmith.stages.evaluate.compare import compare
from tunesmith.stages.evaluate.config import EvaluateConfig, GateConfig
from tunesmith.stages.evaluate.gate import apply_rules
from tunesmith.stages.evaluate.outcome import Rival, outcome_of
from tunesmith.stages.evaluate.predictions import to_parquet
from tunesmith.stages.evaluate.rows import asked_rows, trained_on
from tunesmith.stages.evaluate.scorer import Asked, score


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


def judge(
    config: GateConfig,
    ctx: Context,
    *,
    base: Evaluation,
    tuned: Evaluation,
    rivals: tuple[Evaluation, ...] = (),
    standings: Standings | None = None,
    audit: Audit | None = None,
    suites: tuple[SuiteResult, ...] = (),
) -> GateResult:
    """What the gate says of the tuned model; all evaluations must be of the same rows.

    `rivals` are the evaluations of the models of `standings`, in their order. Rows that such a
    model was itself tuned on are left out of the comparison with it. An `audit` brings rules of its
    own, and each of the `suites` those that its limits in the settings are.

    Raises:
        DataError: they are not of the same rows, or no row is left.
        UsageError: a rule's metric is not one of theirs, or a limit is of no figure of its suite.
    """
    comparison = compare(base, tuned, ctx.blobs, confidence=config.confidence, seed=ctx.seed)
    against = {"base": Rival(version="base", evaluation=base)}
    for standing, evaluation in zip(standings.standings if standings else (), rivals, strict=True):
        against[standing.against] = Rival(
            version=standing.version,
            evaluation=evaluation,
            seen=frozenset(trained_on(ctx.blobs, standing.model)),
        )
    found = [outcome_of(rule, config, ctx, tuned, against) for rule in config.rules]
    further = [outcome for outcome, _ in found] + [*(audit.rules if audit else ())]
    for suite in suites:
        limits = SuiteLimits(suite=suite.suite, limits=config.limits[suite.suite])
        further += outcomes(suite, limits)
    verdict, rules = apply_rules(config, comparison, further)
    return GateResult(
        gate=config.name,
        model=tuned.model,
        verdict=verdict,
        rules=rules,
        comparisons=(comparison, *(each for _, each in found if each is not None)),
        inconclusive=config.inconclusive,
        inputs={"tuned": tuned.predictions.sha256}
        | {rival.version: rival.evaluation.predictions.sha256 for rival in against.values()}
        | {f"suite {suite.suite}": suite.examples.sha256 for suite in suites},
    )


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
        value=sum(scored.scores) / len(scored.scores),
        others=scored.others,
        per_label_f1=scored.per_label_f1,
        predictions=ctx.blobs.put(to_parquet(rows["row_id"].to_pylist(), scored), PARQUET),
    )
