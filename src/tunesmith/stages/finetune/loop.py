"""The training loop: one denominator, the sum of label tokens over the global step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tunesmith.core.errors import DataError
from tunesmith.lm.attention import hidden_states
from tunesmith.stages.finetune.batches import MicroBatch, TrainRow, micro_batches, steps_of_epoch
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.loss import cross_entropy_sum
from tunesmith.stages.finetune.optimiser import learning_rate, make_optimiser


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRecord:
    """One global step; a line of the curve."""

    step: int
    loss: float
    """Mean over the step's label tokens, in nats."""
    num_tokens: int
    num_labels: int
    row_ids: tuple[str, ...]


def micro_loss(model: Any, micro: MicroBatch) -> torch.Tensor:
    """Sum of the cross-entropies of the labels of one micro-batch."""
    hidden = hidden_states(model, micro.ids, micro.positions, micro.documents)
    head = model.get_output_embeddings().weight
    return cross_entropy_sum(hidden[micro.predicting], head, micro.labels)


def accumulate(
    model: Any,
    rows: Sequence[TrainRow],
    done: Callable[[int, float], None],
    micros: Callable[[Sequence[TrainRow]], Iterator[MicroBatch]] = micro_batches,
) -> float:
    """Add the gradient of the mean loss of `rows` to the parameters' gradients; that loss.

    `done(num_tokens, loss)` is called after each micro-batch with the loss of its labels. The
    result does not depend on how `micros` cuts the rows, but for rounding.
    """
    num_labels = sum(row.num_labels for row in rows)
    total = 0.0
    for micro in micros(rows):
        loss = micro_loss(model, micro)
        torch.autograd.backward(loss / num_labels)
        total += loss.item()
        done(micro.num_tokens, loss.item() / len(micro.labels))
    return total / num_labels


def train(
    model: Any,
    parameters: Sequence[torch.nn.Parameter],
    rows: Sequence[TrainRow],
    config: ModelConfig,
    seed: int,
    done: Callable[[int, float], None],
) -> Iterator[StepRecord]:
    """Train `parameters` on `rows`; yields after each global step.

    Raises:
        DataError: a loss or a gradient is not finite; the step is not applied.
    """
    optimiser = make_optimiser(parameters, config)
    num_steps = count_steps(len(rows), config)
    step = 0
    for epoch in range(config.epochs):
        for step_rows in steps_of_epoch(rows, seed, epoch, config.batch_rows):
            step += 1
            loss = accumulate(model, step_rows, done)
            norm = torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
            if not (math.isfinite(loss) and torch.isfinite(norm)):
                raise DataError(
                    f"step {step} of {num_steps}: the loss is {loss}, the gradient's length "
                    f"{norm.item()}",
                    remedy="lower learning_rate, or look at the rows of that step",
                )
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(config, step, num_steps)
            optimiser.step()
            optimiser.zero_grad()
            yield StepRecord(
                step=step,
                loss=loss,
                num_tokens=sum(len(row.ids) for row in step_rows),
                num_labels=sum(row.num_labels for row in step_rows),
                row_ids=tuple(row.row_id for row in step_rows),
            )


def count_steps(num_rows: int, config: ModelConfig) -> int:
    """Global steps of the whole run."""
    return config.epochs * -(-num_rows // config.batch_rows)
