"""What the tests of the engine share: the objective of most of them, its rows, its loss, a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from tunesmith.lm.example import Example, MicroBatch
from tunesmith.lm.load import load_model
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.engine import packed_states
from tunesmith.stages.finetune.loop import Training
from tunesmith.stages.finetune.objectives.answers import Answers
from tunesmith.stages.finetune.optimiser import make_optimiser


@pytest.fixture
def objective(tiny: Any) -> Answers:
    """Supervised tuning."""
    return Answers(ModelConfig(base="tiny", dataset="tiny"), tiny.dataset([]))


@pytest.fixture
def read(tiny: Any, objective: Answers) -> Callable[[Sequence[tuple[str, str]]], list[Example]]:
    """read([(text, answer), ...]) -> those rows as a run reads them."""
    loaded = load_model(tiny.base, tiny.blobs)
    return lambda texts: list(objective.read(tiny.blobs.path(tiny.split(texts).rows), loaded))


@pytest.fixture
def loss_by(objective: Answers) -> Callable[[Any], Callable[[MicroBatch], torch.Tensor]]:
    """loss_by(model)(micro) -> the sum of the losses of a micro-batch in one packed pass."""
    return lambda model: lambda micro: objective.loss(model, packed_states(model, micro), micro)


@pytest.fixture
def make_training(
    objective: Answers, loss_by: Callable[[Any], Callable[[MicroBatch], torch.Tensor]]
) -> Callable[..., Training]:
    """make_training(model, parameters, rows, config) -> a run that has not begun."""

    def make(
        model: Any,
        parameters: Sequence[torch.nn.Parameter],
        rows: Sequence[Example],
        config: ModelConfig,
    ) -> Training:
        return Training(
            objective=objective,
            loss=loss_by(model),
            parameters=parameters,
            rows=rows,
            config=config,
            seed=0,
            optimiser=make_optimiser(parameters, config),
        )

    return make
