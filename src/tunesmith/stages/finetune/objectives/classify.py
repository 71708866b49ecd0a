"""Classification: the class of a text, by cross-entropy over the dataset's labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from tunesmith.lm.encode import classified
from tunesmith.lm.example import Example, MicroBatch
from tunesmith.lm.heads import outputs
from tunesmith.lm.load import LoadedHead
from tunesmith.records.rows import Labelled
from tunesmith.stages.finetune.objectives.of_states import OfStates
from tunesmith.stages.finetune.stock import stock_outputs


class Classify(OfStates):
    """One class for each text; each row weighs the same, however long."""

    task = "classify"
    content = Labelled
    rules = ("label",)

    def example(self, loaded: LoadedHead, row_id: str, said: Labelled) -> Example:
        """The text, with its class as the target."""
        return classified(loaded, row_id, said)

    def faults(self, loaded: LoadedHead, said: Labelled) -> Iterator[str]:
        """A label that is not known."""
        if said.label not in loaded.labels:
            yield "label"

    def loss(self, model: Any, states: torch.Tensor, micro: MicroBatch) -> torch.Tensor:
        """Only what is pooled reaches the head."""
        return cross_entropy(
            outputs(model, states, micro), _classes(micro.examples), reduction="sum"
        )

    def plain_mean(self, stock: Any, examples: Sequence[Example]) -> torch.Tensor:
        """torch's cross-entropy of the logits of transformers' class."""
        found = [stock_outputs(stock, example)[0] for example in examples]
        return cross_entropy(torch.stack(found).double(), _classes(examples), reduction="mean")


def _classes(examples: Sequence[Example]) -> torch.Tensor:
    return torch.tensor([example.target for example in examples])
