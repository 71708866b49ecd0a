"""Evaluate a model on a dataset's test split, and judge a tuned one against its base."""

from __future__ import annotations

from typing import Literal

import pyarrow.parquet as pq

from tunesmith.core.errors import DataError
from tunesmith.core.ref import PARQUET
from tunesmith.core.step import Context
from tunesmith.lm.load import LoadedModel, load_model
from tunesmith.lm.score import score_labels
from tunesmith.records.data import Dataset
from tunesmith.records.evaluation import Comparison, Evaluation, GateResult
from tunesmith.records.model import BaseModel, ModelVersion
from tunesmith.stages.evaluate.bootstrap import NUM_RESAMPLES, paired_bootstrap
from tunesmith.stages.evaluate.config import EvaluateConfig, GateConfig
from tunesmith.stages.evaluate.gate import apply_rules
from tunesmith.stages.evaluate.metrics import accuracy, f1_by_label, macro_f1
from tunesmith.stages.evaluate.predictions import from_parquet, to_parquet


def evaluate_base(
    config: EvaluateConfig, ctx: Context, *, base: BaseModel, dataset: Dataset
) -> Evaluation:
    """How well `base` names the labels of the test rows as it came.

    Raises:
        DataError: the test split is empty, or the model cannot be scored here.
        UsageError: a row does not fit the model's context.
    """
    del config  # there is nothing to set
    ctx.progress(0, dataset.test.num_rows, "loading the base model")
    loaded = load_model(base, ctx.blobs)
    return _evaluate(ctx, loaded, dataset, dataset.instruction, base.name, "base")


def evaluate_tuned(
    config: EvaluateConfig, ctx: Context, *, model: ModelVersion, dataset: Dataset
) -> Evaluation:
    """How well `model` names the labels of the test rows, under the instruction that it serves.

    Raises:
        DataError: the test split is empty, or the model cannot be scored here.
        UsageError: a row does not fit the model's context.
    """
    del config
    ctx.progress(0, dataset.test.num_rows, "loading the tuned model")
    loaded = load_model(model.base, ctx.blobs, adapter=model)
    return _evaluate(ctx, loaded, dataset, model.instruction, model.name, "tuned")


def judge(config: GateConfig, ctx: Context, *, base: Evaluation, tuned: Evaluation) -> GateResult:
    """What the gate says of the tuned model; the two evaluations must be of the same rows.

    Raises:
        DataError: they are not.
    """
    before = from_parquet(ctx.blobs.get(base.predictions))
    after = from_parquet(ctx.blobs.get(tuned.predictions))
    if (before.row_ids, before.truth) != (after.row_ids, after.truth):
        raise DataError(
            f"gate {config.name!r}: the base model and {tuned.model!r} were evaluated on "
            "different rows, so they cannot be compared",
            remedy="evaluate both on the same version of the dataset",
        )
    interval = paired_bootstrap(
        before.right, after.right, confidence=config.confidence, seed=ctx.seed
    )
    comparison = Comparison(
        metric="accuracy",
        base=base.accuracy,
        tuned=tuned.accuracy,
        difference=interval.difference,
        low=interval.low,
        high=interval.high,
        confidence=config.confidence,
        num_rows=len(before.row_ids),
        num_resamples=NUM_RESAMPLES,
        detectable=interval.detectable,
    )
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
    dataset: Dataset,
    instruction: str,
    name: str,
    subject: Literal["base", "tuned"],
) -> Evaluation:
    table = pq.read_table(ctx.blobs.path(dataset.test.rows), columns=["row_id", "text", "label"])
    truth = table["label"].to_pylist()
    if not truth:
        raise DataError(
            f"dataset {dataset.name!r} has no test rows",
            remedy="raise test_per_label, or add data",
        )
    labels = dataset.labels
    scores = score_labels(
        loaded,
        instruction,
        table["text"].to_pylist(),
        labels,
        lambda rows: ctx.progress(rows, len(truth), f"scores {len(labels)} labels"),
    )
    blob = ctx.blobs.put(
        to_parquet(table["row_id"].to_pylist(), truth, labels, scores),
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
