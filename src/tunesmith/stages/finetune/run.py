"""Fine-tune a base model on a dataset."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from tunesmith.core.canonical import canonical_json
from tunesmith.core.meter import Meter
from tunesmith.core.step import Context
from tunesmith.lm.adapter import merge_adapter
from tunesmith.lm.example import Example
from tunesmith.records.certificate import Certificate
from tunesmith.records.data import Dataset
from tunesmith.records.model import BaseModel, ModelVersion
from tunesmith.stages.finetune.batches import share_of
from tunesmith.stages.finetune.certificate import after, before, fingerprints, require_held
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.engine import make_engine, make_training, subject_of
from tunesmith.stages.finetune.forecast import Clock, Ending, forecast
from tunesmith.stages.finetune.keeper import keeper_of
from tunesmith.stages.finetune.loop import train
from tunesmith.stages.finetune.objectives.objective import Objective, make_objective
from tunesmith.stages.finetune.preflight import Preflight, require_sound
from tunesmith.stages.finetune.report import Report
from tunesmith.stages.finetune.states import shelf_of
from tunesmith.stages.finetune.step_record import StepRecord
from tunesmith.stages.finetune.stock import stock_logits
from tunesmith.stages.finetune.token_rows import require_used
from tunesmith.stages.finetune.tokens import tokenised
from tunesmith.stages.finetune.trained import trained_bytes, trained_config

JSON = "application/json"


def finetune(
    config: ModelConfig,
    ctx: Context,
    *,
    base: BaseModel,
    dataset: Dataset,
    teacher: BaseModel | ModelVersion | None = None,
) -> ModelVersion:
    """What tunes `base` on the training rows of `dataset`, and the run's certificate. Deterministic
    on one machine, given the inputs and `ctx.seed`, also when it was interrupted.

    Raises:
        DataError: no rows, rows that cannot be learnt from, a check of the certificate that does
            not hold, or a loss that is not finite.
        Stopped: somebody asked for it; what was done is kept.
    """
    clock = Clock()
    drawn_from = ctx.seed if config.start == "random" else None
    objective = make_objective(config, dataset, teacher)
    with Meter(interval_s=0.01) as meter:
        loaded = objective.load(base, ctx.blobs, seed=ctx.seed, drawn_from=drawn_from)
    all_rows = tokenised(config, ctx, objective, loaded, base, dataset)
    preflight = _inspected(ctx, objective, loaded, dataset, all_rows)
    new = [loaded.tokenizer.id_of(token) for token in config.new_tokens]
    require_used(dict(zip(new, config.new_tokens, strict=True)), all_rows)
    rows = share_of(all_rows, config.share_of_rows, ctx.seed)

    ctx.progress(0, 0, "comparing the engine with transformers' own code")
    engine = make_engine(loaded.model, objective, config, ctx.seed, rows, new)
    objective.prepare(ctx, engine.model, engine.hidden, rows)
    subject = subject_of(engine, rows)
    hashing = Clock()
    was = fingerprints(engine.model, engine.trained.parameters)
    ending = Ending(load=meter.usage, load_bytes=4 * loaded.num_parameters, hashed_s=hashing.wall_s)
    checks = before(subject, engine.twin, engine.comparison, preflight, ctx.seed)
    require_held(checks)

    training = make_training(engine, rows, config, ctx.seed, shelf_of(ctx, base))
    keeper = keeper_of(ctx, config.name)
    training.curve = keeper.restore(training.parameters, training.optimiser)
    ctx.forecast(forecast(training, clock, ending, keeper))
    report = Report(ctx, training)
    for record in train(training, report.micro, keeper, report.computed):
        report.step(record)

    tensors, settings = trained_bytes(engine.trained), trained_config(engine.trained, config, base)
    fresh = _reloaded(ctx, objective, base, tensors, settings)
    log = [record.row_ids for record in training.curve]
    checks += after(subject, was, partial(stock_logits, fresh), log, ctx.seed, config.batch_rows)
    require_held(checks)
    return ModelVersion(
        base=base,
        adapter=ctx.blobs.put(tensors),
        adapter_config=ctx.blobs.put(settings, JSON),
        certificate=ctx.blobs.put(canonical_json(Certificate(checks=tuple(checks))), JSON),
        num_parameters=loaded.num_parameters,
        num_trainable=sum(parameter.numel() for parameter in training.parameters),
        **_of_settings(config, dataset),
        **_of_curve(ctx, training.curve),
    )


def _reloaded(
    ctx: Context, objective: Objective, base: BaseModel, tensors: bytes, settings: bytes
) -> Any:
    """The model that what was trained is of, by what is saved of it."""
    ctx.progress(0, 0, "loading what was trained onto a fresh base model")
    model = objective.load(base, ctx.blobs).model
    merge_adapter(model, tensors, settings)
    return model


def _inspected(
    ctx: Context, objective: Objective, loaded: Any, dataset: Dataset, rows: Sequence[Example]
) -> Preflight:
    """What was found in all training rows, also in those that a share leaves out."""
    ctx.progress(0, 0, "looking at each row")
    preflight = objective.inspect(ctx.blobs.path(dataset.train.rows), loaded, rows)
    require_sound(preflight)
    return preflight


def _of_settings(config: ModelConfig, dataset: Dataset) -> dict[str, Any]:
    """What was asked for."""
    return {
        "name": config.name,
        "objective": config.objective,
        "method": config.method,
        "instruction": dataset.instruction,
        "labels": dataset.labels,
        "new_tokens": config.new_tokens,
    }


def _of_curve(ctx: Context, curve: Sequence[StepRecord]) -> dict[str, Any]:
    """What the steps come to, and the steps themselves."""
    lines = (
        json.dumps(
            {
                "step": record.step,
                "loss": record.loss,
                "num_tokens": record.num_tokens,
                "row_ids": record.row_ids,
            }
        )
        for record in curve
    )
    data = "".join(f"{line}\n" for line in lines).encode()
    tenth = max(1, len(curve) // 10)
    return {
        "curve": ctx.blobs.put(data, "application/x-ndjson"),
        "num_steps": len(curve),
        "num_trained_tokens": sum(record.num_tokens for record in curve),
        "num_labelled_tokens": sum(record.num_labels for record in curve),
        "first_loss": _mean_loss(curve[:tenth]),
        "last_loss": _mean_loss(curve[-tenth:]),
    }


def _mean_loss(curve: Sequence[StepRecord]) -> float:
    weight = sum(record.weight for record in curve)
    return sum(record.loss * record.weight for record in curve) / weight
