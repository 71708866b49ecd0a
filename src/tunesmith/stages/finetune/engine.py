"""A model made ready to be tuned: fast, if that is exact for it, else by transformers' own code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tunesmith.lm.attention import attend_by_document
from tunesmith.lm.matmul import speed_up
from tunesmith.stages.finetune.batches import MicroBatch, TrainRow
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.fuse import fuse
from tunesmith.stages.finetune.invariants import Subject
from tunesmith.stages.finetune.loop import Training, accumulate, micro_loss
from tunesmith.stages.finetune.optimiser import make_optimiser
from tunesmith.stages.finetune.stock import (
    Comparison,
    matches_stock,
    stock_hidden,
    stock_micro_loss,
    stock_twin,
)
from tunesmith.stages.finetune.trained import Trained, prepare
from tunesmith.stages.finetune.trunk import Trunk


@dataclass(frozen=True, kw_only=True, eq=False)
class Engine:
    """A model, what is trained of it, and how its loss is computed."""

    model: Any
    trained: Trained
    loss: Callable[[MicroBatch], torch.Tensor]
    """Sum of the losses of a micro-batch's labels."""
    twin: Any
    """The same model with the same parameters, and no code of ours but the adapters'."""
    first: MicroBatch
    """The first micro-batch of the run."""
    comparison: Comparison
    """How far the packed forward pass was from the twin's on it."""


def make_training(
    engine: Engine, rows: Sequence[TrainRow], config: ModelConfig, seed: int, folder: Path
) -> Training:
    """A run of `engine` that has not begun; `folder` is for what it need not compute twice."""
    parameters = engine.trained.parameters
    trunk = _trunk(engine, rows, config, folder)
    return Training(
        loss=trunk.micro_loss if trunk else engine.loss,
        is_known=trunk.is_known if trunk else None,
        parameters=parameters,
        rows=rows,
        config=config,
        seed=seed,
        optimiser=make_optimiser(parameters, config),
    )


def _trunk(
    engine: Engine, rows: Sequence[TrainRow], config: ModelConfig, folder: Path
) -> Trunk | None:
    """What is frozen below the trained layers, where it pays to keep its states and is exact."""
    lowest = engine.trained.lowest_layer
    if lowest == 0 or config.epochs == 1 or engine.model is engine.twin:
        return None
    trunk = Trunk(engine.model, lowest, rows, folder)
    return trunk if trunk.is_exact(engine.first) else None


def subject_of(engine: Engine, rows: Sequence[TrainRow]) -> Subject:
    """What the run's certificate is about."""
    return Subject(
        model=engine.model,
        parameters=engine.trained.parameters,
        rows=rows,
        loss=engine.loss,
        accumulate=lambda rows, cut: accumulate(engine.loss, rows, lambda *_: None, cut),
    )


def make_engine(model: Any, config: ModelConfig, seed: int, first: MicroBatch) -> Engine:
    """Prepare `model`, in place, to be tuned as `config` says.

    Its packed forward pass is compared with transformers' own on the micro-batch `first`; where
    they differ, the engine takes the slow path: each document alone through stock code.

    Raises:
        ConfigError: more layers are to be trained than the model has.
        DataError: the architecture cannot be served here, so that tuning it would be in vain.
    """
    trained = prepare(model, config, seed)
    twin = stock_twin(model)
    attend_by_document(model)
    speed_up(model)
    if config.method == "lora":
        fuse(model)
    comparison = matches_stock(model, partial(stock_hidden, twin), first)
    fast = comparison.ok
    return Engine(
        model=model if fast else twin,
        trained=trained,
        loss=partial(micro_loss, model) if fast else partial(stock_micro_loss, twin),
        twin=twin,
        first=first,
        comparison=comparison,
    )
