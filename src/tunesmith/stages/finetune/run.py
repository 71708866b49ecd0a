"""Fine-tune a base model on a dataset."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from tunesmith.core.ref import Blob
from tunesmith.core.step import Context
from tunesmith.lm.attention import attend_by_document
from tunesmith.lm.load import load_model
from tunesmith.records.data import Dataset
from tunesmith.records.model import BaseModel, ModelVersion
from tunesmith.stages.finetune.batches import read_rows
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.forecast import forecast
from tunesmith.stages.finetune.loop import StepRecord, train
from tunesmith.stages.finetune.lora import adapter_bytes, adapter_config, add_lora, trainable


def finetune(
    config: ModelConfig, ctx: Context, *, base: BaseModel, dataset: Dataset
) -> ModelVersion:
    """The adapter that tunes `base` to answer as the training rows of `dataset` do.

    Deterministic given the settings, the inputs and `ctx.seed`, on one machine.

    Raises:
        DataError: no rows, rows that cannot be learnt from, or a loss that is not finite.
    """
    wall, cpu = time.monotonic(), time.process_time()
    ctx.progress(0, 0, "loading the base model")
    loaded = load_model(base, ctx.blobs)
    model = loaded.model
    attend_by_document(model)
    ctx.progress(0, 0, "rendering the rows")
    rows = read_rows(
        ctx.blobs.path(dataset.train.rows),
        loaded.tokenizer,
        dataset.instruction,
        loaded.context_length,
    )
    layers = add_lora(model, config.rank, config.alpha, ctx.seed)
    parameters = trainable(layers)
    ctx.progress(0, 0, "timing a few steps for the forecast")
    spent = time.monotonic() - wall, time.process_time() - cpu
    ctx.forecast(forecast(model, parameters, rows, config, ctx.seed, spent))

    report = _Report(ctx, config.epochs * sum(len(row.ids) for row in rows))
    curve = []
    for record in train(model, parameters, rows, config, ctx.seed, report.micro):
        ctx.metric("loss", record.loss, record.step)
        report.loss = record.loss
        curve.append(record)
    return ModelVersion(
        name=config.name,
        base=base,
        adapter=ctx.blobs.put(adapter_bytes(layers)),
        adapter_config=ctx.blobs.put(
            adapter_config(layers, config.rank, config.alpha, base.origin), "application/json"
        ),
        instruction=dataset.instruction,
        labels=dataset.labels,
        curve=_put_curve(ctx, curve),
        num_steps=len(curve),
        num_trained_tokens=sum(record.num_tokens for record in curve),
        num_labelled_tokens=sum(record.num_labels for record in curve),
        num_trainable=sum(parameter.numel() for parameter in parameters),
        num_parameters=loaded.num_parameters,
        first_loss=_mean_loss(curve[: _tenth(curve)]),
        last_loss=_mean_loss(curve[-_tenth(curve) :]),
    )


class _Report:
    """Progress in tokens, with the loss and the speed since the first step."""

    def __init__(self, ctx: Context, num_tokens: int) -> None:
        self._ctx = ctx
        self._num_tokens = num_tokens
        self._done = 0
        self._start = time.monotonic()
        self.loss: float | None = None

    def micro(self, num_tokens: int, loss: float) -> None:
        """One micro-batch is done; its own loss is shown until a step's is known."""
        self._done += num_tokens
        speed = self._done / (time.monotonic() - self._start)
        shown = loss if self.loss is None else self.loss
        self._ctx.progress(self._done, self._num_tokens, f"loss {shown:.3f}, {speed:.0f} tokens/s")


def _put_curve(ctx: Context, curve: Sequence[StepRecord]) -> Blob:
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
    return ctx.blobs.put("".join(f"{line}\n" for line in lines).encode(), "application/x-ndjson")


def _tenth(curve: Sequence[StepRecord]) -> int:
    return max(1, len(curve) // 10)


def _mean_loss(curve: Sequence[StepRecord]) -> float:
    num_labels = sum(record.num_labels for record in curve)
    return sum(record.loss * record.num_labels for record in curve) / num_labels
