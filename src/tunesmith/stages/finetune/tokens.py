"""The rows of a run as tokens, made once for all runs that would make the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunesmith.core.canonical import fingerprint
from tunesmith.core.step import Context
from tunesmith.lm.example import Example
from tunesmith.lm.shard import Shard, open_shard, write_shard
from tunesmith.records.data import Dataset
from tunesmith.records.model import BaseModel
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.objectives.objective import Objective

SHOWN_EVERY = 500


def tokenised(
    config: ModelConfig,
    ctx: Context,
    objective: Objective,
    loaded: Any,
    base: BaseModel,
    dataset: Dataset,
) -> Shard:
    """The training rows of `dataset`, from the cache if another run has made them.

    Raises:
        DataError: a row cannot be rendered.
    """
    path = _place(config, ctx, base, dataset)
    found = open_shard(path)
    if found is None:
        rows = objective.read(ctx.blobs.path(dataset.train.rows), loaded)
        write_shard(path, _shown(ctx, rows, dataset.train.num_rows))
        found = Shard(path)
    return found


def _place(config: ModelConfig, ctx: Context, base: BaseModel, dataset: Dataset) -> Path:
    """Named by all that the tokens depend on: the rows, the tokenizer, the code."""
    made_of = {
        "rows": dataset.train.rows.sha256,
        "base": base.weights.sha256,
        "instruction": dataset.instruction,
        "labels": dataset.labels,
        "format": dataset.format,
        "objective": config.objective,
        "new_tokens": config.new_tokens,
        "code": ctx.identity.get("code", ""),
        "environment": ctx.identity.get("environment", {}),
    }
    folder = ctx.cache or ctx.workdir
    folder.mkdir(exist_ok=True, mode=0o700)
    return folder / f"tokens-{fingerprint(made_of)[:32]}"


def _shown(ctx: Context, rows: Iterator[Example], num_rows: int) -> Iterator[Example]:
    for done, row in enumerate(rows):
        if done % SHOWN_EVERY == 0:
            ctx.progress(done, num_rows, "turning rows into tokens")
        yield row
