"""Feedback: an answer that was liked is made likelier, one that was not, less likely (KTO).

Kahneman-Tversky optimisation (arXiv 2402.01306, eq. 7). What an answer's gain is measured
from is how much likelier the model has made answers to other questions, of the same global step:
the mean of a second answer to each prompt, that of the row before, from which nothing is learnt.
So it is in TRL, whose pairs are those of its file's order.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from tunesmith.core.step import Context
from tunesmith.lm.contents import read_contents
from tunesmith.lm.example import Answer, Example, MicroBatch, pack
from tunesmith.lm.load import LoadedModel
from tunesmith.lm.questions import feedback_example
from tunesmith.records.data import Dataset
from tunesmith.records.rows import Feedback
from tunesmith.stages.finetune.batches import steps_of_epoch, two_rows
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.objectives.causal import Causal
from tunesmith.stages.finetune.objectives.judged import (
    Reference,
    inspect_judged,
    log_probs_of_answers,
    plain_log_probs,
)
from tunesmith.stages.finetune.objectives.objective import Hidden
from tunesmith.stages.finetune.preflight import Preflight


class Liked(Causal):
    """One answer to each question, liked or not; one denominator, the number of rows."""

    whole_step = True

    def __init__(self, config: ModelConfig, dataset: Dataset) -> None:
        """Of all rows of `dataset`."""
        self._config, self._dataset = config, dataset
        self._reference = Reference()

    def read(self, path: Path, loaded: LoadedModel) -> Iterator[Example]:
        """Each row's prompt with its answer; whether it was liked is the target."""
        instruction = self._dataset.instruction
        for row_id, content in read_contents(path, Feedback):
            yield feedback_example(loaded.tokenizer, instruction, row_id, content)

    def inspect(self, path: Path, loaded: LoadedModel, examples: Sequence[Example]) -> Preflight:
        """The rules of conversations."""
        contents = [content for _, content in read_contents(path, Feedback)]
        prompts = [content.prompt for content in contents]
        answers = [(content.completion,) for content in contents]
        return inspect_judged(examples, prompts, answers, self._dataset.instruction, loaded)

    def prepare(
        self, ctx: Context, model: Any, hidden: Hidden, examples: Sequence[Example]
    ) -> None:
        """The reference's log-probabilities of each row's answer, and of that of the row before it
        in each step of the run, and in the one that is certified."""
        epochs, size = self._config.epochs, self._config.batch_rows
        steps = itertools.chain(
            *(steps_of_epoch(examples, ctx.seed, epoch, size) for epoch in range(epochs)),
            [two_rows(examples, self.weight)],
        )
        arranged = map(_with_others, steps)
        self._reference.prepare(ctx, model, hidden, arranged, epochs * len(examples))

    def weight(self, example: Example) -> float:  # noqa: ARG002
        """1 for each row, whatever its side's weight."""
        return 1.0

    def cut(self, examples: Sequence[Example]) -> Iterator[MicroBatch]:
        """One micro-batch, in which each prompt has the answer of the row before as well."""
        yield pack(_with_others(examples))

    def loss(self, model: Any, states: torch.Tensor, micro: MicroBatch) -> torch.Tensor:
        """Of each row, by the log-probability of its answer, and the mean of those of others."""
        own = log_probs_of_answers(model, states, micro)
        with torch.no_grad():
            others = log_probs_of_answers(model, states, pack(_others_counted(micro.examples)))
        reference = self._reference.of(micro)
        return self._sum(micro.examples, (own - reference)[::2], (others - reference)[1::2])

    def plain_mean(self, stock: Any, examples: Sequence[Example]) -> torch.Tensor:
        """The mean over the rows by torch in float64, before the first step: the model is its own
        reference."""
        arranged = _with_others(examples)
        pairs = [torch.stack(plain_log_probs(stock, example)) for example in arranged]
        ratios = torch.stack(pairs) - torch.stack(pairs).detach()
        return self._sum(arranged, ratios[:, 0], ratios[:, 1].detach()) / len(ratios)

    def _sum(
        self, examples: Sequence[Example], own: torch.Tensor, others: torch.Tensor
    ) -> torch.Tensor:
        """`own` and `others` are (num_rows,): how much likelier each answer has become."""
        config = self._config
        drift = others.mean().clamp(min=0)
        sides = [
            (1.0, config.desirable_weight) if example.target else (-1.0, config.undesirable_weight)
            for example in examples
        ]
        sign, weight = torch.tensor(sides, dtype=torch.float64).unbind(dim=1)
        return (weight * (1 - torch.sigmoid(config.beta * sign * (own - drift)))).sum()


def _with_others(examples: Sequence[Example]) -> list[Example]:
    """Each row with its own answer, and with that of the row before; the first with the last's.

    The second answer has no labels, so that it is not learnt.
    """
    return [
        dataclasses.replace(
            example,
            answers=(example.answers[0], _unlearnt(examples[place - 1].answers[0])),
        )
        for place, example in enumerate(examples)
    ]


def _unlearnt(answer: Answer) -> Answer:
    return Answer(ids=answer.ids, weights=(0.0,) * len(answer.ids))


def _others_counted(examples: Sequence[Example]) -> list[Example]:
    """The same stream, but that the labels are those of the second answers."""
    return [
        dataclasses.replace(example, answers=(_unlearnt(own), Answer(ids=other.ids)))
        for example in examples
        for own, other in [example.answers]
    ]
