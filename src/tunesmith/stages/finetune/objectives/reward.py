"""Reward models: a number for an answer, by which the better of two gets more (Bradley and Terry
1952; arXiv 2203.02155, section 3.5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.nn.functional import logsigmoid

from tunesmith.lm.encode import preferred
from tunesmith.lm.example import Example, MicroBatch
from tunesmith.lm.heads import outputs
from tunesmith.lm.load import LoadedHead
from tunesmith.records.rows import Preference
from tunesmith.stages.finetune.objectives.of_states import OfStates
from tunesmith.stages.finetune.stock import stock_outputs


class Reward(OfStates):
    """-log sigmoid(reward of the better - reward of the worse) of each pair; a decoder computes the
    question once for both."""

    task = "reward"
    content = Preference
    rules = ("same",)

    def example(self, loaded: LoadedHead, row_id: str, said: Preference) -> Example:
        """The question with both answers, the better one first."""
        return preferred(loaded, row_id, said, self._dataset.instruction)

    def faults(self, loaded: LoadedHead, said: Preference) -> Iterator[str]:  # noqa: ARG002
        """Two answers that are the same."""
        if said.chosen == said.rejected:
            yield "same"

    def loss(self, model: Any, states: torch.Tensor, micro: MicroBatch) -> torch.Tensor:
        """Only the state that says what an answer is worth reaches the head."""
        chosen, rejected = outputs(model, states, micro).view(-1, 2).unbind(dim=1)
        return -logsigmoid(chosen - rejected).sum()

    def plain_mean(self, stock: Any, examples: Sequence[Example]) -> torch.Tensor:
        """Each answer after its question through transformers' class."""
        losses = []
        for example in examples:
            chosen, rejected = stock_outputs(stock, example)
            losses.append(-logsigmoid(chosen.double() - rejected.double()))
        return torch.cat(losses).mean()
