"""Evaluate a model on rows of a dataset, and judge a tuned one against its base."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa

from tunesmith.core.ref import PARQUET
from tunesmith.core.step import Context
from tunesmith.lm.load import LoadedModel, load_model
from tunesmith.lm.score import score_labels
from tunesmith.records.data import Dataset
from tunesmith.records.evaluation import Evaluation, GateResult
from tunesmith.records.model import BaseModel, ModelVersion
from tunesmith.stages.evaluate.compare import compare
from tunesmith.stages.evaluate.config import EvaluateConfig, GateConfig
from tunesmith.stages.evaluate.gate import apply_rules
from tunesmith.stages.evaluate.metrics import accuracy, f1_by_label, macro_f1
from tunesmith.stages.evaluate.predictions import from_parquet, to_parquet
from tunesmith.stages.evaluate.rows import asked_rows


def evaluate_base(
    config: EvaluateConfig, ctx: Context, *, base: BaseModel, dataset: Dataset
) -> Evaluation:
    """How well `base` names the labels of the rows that are asked, as it came.

    Raises:
        DataError: there are no such rows, or the model cannot be scored here.
        UsageError: a row does not fit the model's context.
    """
    asked = asked_rows(config, ctx.blobs, dataset, ctx.seed)
    ctx.progress(0, asked.num_rows, "loading the base model")
    loaded = load_model(base, ctx.blobs)
    return _evaluate(ctx, loaded, asked, dataset.labels, dataset.instruction, base.name, "base")


def evaluate_tuned(
    config: EvaluateConfig, ctx: Context, *, model: ModelVersion, dataset: Dataset
) -> Evaluation:
    """How well `model` names the labels of the rows that are asked, as it would be served.

    Raises:
        DataError: there are no such rows, or the model cannot be scored here.
        UsageError: a row does not fit the model's context.
    """
    asked = asked_rows(config, ctx.blobs, dataset, ctx.seed, model)
    ctx.progress(0, asked.num_rows, "loading the tuned model")
    loaded = load_model(model.base, ctx.blobs, adapter=model)
    return _evaluate(ctx, loaded, asked, dataset.labels, model.instruction, model.name, "tuned")


def judge(config: GateConfig, ctx: Context, *, base: Evaluation, tuned: Evaluation) -> GateResult:
    """What the gate says of the tuned model; the two evaluations must be of the same rows.

    Raises:
        DataError: they are not.
    """
    comparison = compare(base, tuned, ctx.blobs, confidence=config.confidence, seed=ctx.seed)
    verdict, rules = apply_rules(config, comparison)
    return GateResult(
        gate=config.name,
        model=tuned.model,
        verdict=verdict,
        rules=rules,
        comparisons=(comparison,),
    )


def _evaluate(
    ctx: Context,
    loaded: LoadedModel,
    asked: pa.Table,
    labels: tuple[str, ...],
    instruction: str,
    name: str,
    subject: Literal["base", "tuned"],
) -> Evaluation:
    truth = asked["label"].to_pylist()
    scores = score_labels(
        loaded,
        instruction,
        asked["text"].to_pylist(),
        labels,
        lambda rows: ctx.progress(rows, len(truth), f"scores {len(labels)} labels"),
    )
    blob = ctx.blobs.put(
        to_parquet(asked["row_id"].to_pylist(), truth, labels, scores),
        PARQUET,
    )
    predicted = from_parquet(ctx.blobs.get(blob)).predicted
    by_label = f1_by_label(truth, predicted, labels)
    return Evaluation(
        model=name,
        subject=subject,
        labels=labels,
        num_rows=len(truth),
        accuracy=accuracy(truth, predicted),
        macro_f1=macro_f1(by_label),
        per_label_f1=by_label,
        predictions=blob,
    )
