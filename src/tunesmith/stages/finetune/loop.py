"""The training loop: one denominator, the sum of the weights over the global step."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from tunesmith.core.errors import DataError, Stopped
from tunesmith.core.failpoint import failpoint
from tunesmith.lm.example import Example, MicroBatch
from tunesmith.stages.finetune.batches import count_steps, steps_of_epoch
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.keeper import Keeper
from tunesmith.stages.finetune.lanes import ONE_BY_ONE, Lanes
from tunesmith.stages.finetune.objectives.objective import Objective
from tunesmith.stages.finetune.optimiser import learning_rate
from tunesmith.stages.finetune.step_record import StepRecord
from tunesmith.stages.finetune.trunk import Trunk


@dataclass(kw_only=True)
class Training:
    """What is trained, on what, how, and how far it has come."""

    objective: Objective
    loss: Callable[[MicroBatch], torch.Tensor]
    """Sum of the losses of a micro-batch."""
    parameters: Sequence[torch.nn.Parameter]
    rows: Sequence[Example]
    config: ModelConfig
    seed: int
    optimiser: torch.optim.Optimizer
    lanes: Lanes = ONE_BY_ONE
    trunk: Trunk | None = None
    """Where `loss` begins at kept states: what they are of, and where they are."""
    curve: list[StepRecord] = field(default_factory=list)
    """The global steps that are done."""

    @property
    def num_steps(self) -> int:
        """Global steps of the whole schedule."""
        return count_steps(len(self.rows), self.config)

    @property
    def last_step(self) -> int:
        """The step after which this run ends."""
        return min(self.config.stop_after or self.num_steps, self.num_steps)

    def num_tokens(self, rows: Sequence[Example]) -> int:
        """Tokens that go through the model in the global step of `rows`."""
        foreseen = self.objective.foreseen(rows)
        return self.config.updates * sum(m.num_tokens for m in self.objective.cut(foreseen))

    def steps_to_do(self) -> Iterator[list[Example]]:
        """The rows of each global step that is not done yet."""
        steps = (
            rows
            for epoch in range(self.config.epochs)
            for rows in steps_of_epoch(self.rows, self.seed, epoch, self.config.batch_rows)
        )
        return itertools.islice(steps, len(self.curve), self.last_step)


def accumulate(
    objective: Objective,
    loss_of: Callable[[MicroBatch], torch.Tensor],
    rows: Sequence[Example],
    done: Callable[[int, float], None] = lambda _num_tokens, _loss: None,
    cut: Callable[[Sequence[Example]], Iterator[MicroBatch]] | None = None,
    lanes: Lanes = ONE_BY_ONE,
) -> float:
    """Add the gradient of the mean loss of `rows` to the parameters' gradients; that loss.

    `loss_of(micro)` is the sum of the losses of a micro-batch; `done(num_tokens, loss)` is called
    after each with their mean. The result does not depend on how the rows are `cut`, by the
    objective or otherwise, but for rounding.
    """
    weight = sum(objective.weight(row) for row in rows)

    def heard(micro: MicroBatch, loss: float) -> None:
        # Of rows that weigh nothing the loss is nothing, and so is their mean.
        done(micro.num_tokens, loss / (sum(map(objective.weight, micro.examples)) or 1.0))

    return lanes.backward(loss_of, list((cut or objective.cut)(rows)), weight, heard) / weight


def train(
    training: Training,
    done: Callable[[int, float], None],
    keeper: Keeper,
    computed: Callable[[int], None] = lambda _num_tokens: None,
) -> Iterator[StepRecord]:
    """Take the steps that are not done yet; yields after each global step.

    `done` is told of every micro-batch its tokens and its mean loss, `computed` the tokens of those
    whose states below what is trained are computed, and kept, before the first step.

    Raises:
        DataError: a loss or a gradient is not finite; the step is not applied.
        OSError: there is no space for the states.
        Stopped: somebody asked for it, or `done` did, within a step; the whole steps are kept.
    """
    _fill(training, keeper, computed)
    optimiser, curve = training.optimiser, training.curve
    for asked in training.steps_to_do():
        step = len(curve) + 1
        counts: list[int] = []

        def micro_done(num_tokens: int, loss: float, counts: list[int] = counts) -> None:
            counts.append(num_tokens)
            done(num_tokens, loss)

        losses: list[float] = []
        try:
            rows = training.objective.answered(step, asked)
            for _ in range(training.config.updates):
                losses.append(_update(training, step, rows, micro_done))
        except (Stopped, KeyboardInterrupt, SystemExit):
            # As long as only gradients were added up the parameters are those of the last whole
            # step. Within a later update of a step they are not; what was kept before stays.
            if not losses:
                keeper.keep(training.parameters, optimiser, curve)
            raise
        loss = losses[0]
        curve.append(
            StepRecord(
                step=step,
                loss=loss,
                weight=sum(map(training.objective.weight, rows)),
                num_tokens=sum(counts),
                num_labels=sum(row.num_labels for row in rows),
                row_ids=tuple(row.row_id for row in rows),
            )
        )
        yield curve[-1]
        failpoint("finetune.step")
        keeper.after_step(training.parameters, optimiser, curve)


def _fill(training: Training, keeper: Keeper, computed: Callable[[int], None]) -> None:
    """Have the states that the steps which are left begin at."""
    if training.trunk is None or len(training.curve) == training.last_step:
        return

    def heard(num_tokens: int) -> None:
        computed(num_tokens)
        keeper.before_steps()

    training.trunk.fill(heard)


def _update(
    training: Training,
    step: int,
    rows: Sequence[Example],
    done: Callable[[int, float], None],
) -> float:
    """One step of the optimiser on `rows`; their loss before it."""
    optimiser, config = training.optimiser, training.config
    loss = accumulate(training.objective, training.loss, rows, done, lanes=training.lanes)
    norm = torch.nn.utils.clip_grad_norm_(training.parameters, config.max_grad_norm)
    if not (math.isfinite(loss) and torch.isfinite(norm)):
        raise DataError(
            f"step {step} of {training.num_steps}: the loss is {loss}, the gradient's length "
            f"{norm.item()}",
            remedy="lower learning_rate, or look at the rows of that step",
        )
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(config, step, training.num_steps)
    optimiser.step()
    optimiser.zero_grad()
    return loss
