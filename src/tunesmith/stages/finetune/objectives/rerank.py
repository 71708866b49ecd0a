"""Rerankers: a query and a passage, read together, to a number (a cross-encoder; arXiv 1901.04085),
by binary cross-entropy of "belongs to it"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from tunesmith.lm.encode import ranked
from tunesmith.lm.example import Example, MicroBatch
from tunesmith.lm.heads import outputs
from tunesmith.lm.load import LoadedHead
from tunesmith.records.rows import Pair
from tunesmith.stages.finetune.objectives.of_states import OfStates
from tunesmith.stages.finetune.stock import stock_outputs


class Rerank(OfStates):
    """1 for the passage that belongs to the query, 0 for the others; each pair weighs the same."""

    task = "rerank"
    content = Pair
    rules = ("negatives",)

    def example(self, loaded: LoadedHead, row_id: str, said: Pair) -> Example:
        """The query with each passage."""
        return ranked(loaded, row_id, said)

    def faults_of_all(self, contents: Sequence[Pair]) -> list[list[str]]:
        """Not one passage that does not belong to its query."""
        return [] if any(said.negatives for said in contents) else [["negatives"]] * len(contents)

    def weight(self, example: Example) -> float:
        """1 for each passage."""
        return float(len(example.answers))

    def loss(self, model: Any, states: torch.Tensor, micro: MicroBatch) -> torch.Tensor:
        """Only what is pooled of each pair reaches the head."""
        return _loss(outputs(model, states, micro), micro.examples)

    def plain_mean(self, stock: Any, examples: Sequence[Example]) -> torch.Tensor:
        """torch's binary cross-entropy of the logits of transformers' class."""
        found = [each for example in examples for each in stock_outputs(stock, example)]
        return _loss(torch.stack(found).double(), examples) / len(found)


def _loss(logits: torch.Tensor, examples: Sequence[Example]) -> torch.Tensor:
    belongs = [float(not place) for each in examples for place in range(len(each.answers))]
    return binary_cross_entropy_with_logits(
        logits.squeeze(1), torch.tensor(belongs, dtype=logits.dtype), reduction="sum"
    )
