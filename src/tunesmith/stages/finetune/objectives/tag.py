"""Token classification: a tag for each word, by cross-entropy at the word's first token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from tunesmith.lm.encode import NO_TAG, tagged, word_ids
from tunesmith.lm.example import Example, MicroBatch
from tunesmith.lm.heads import logits
from tunesmith.lm.load import LoadedHead
from tunesmith.records.rows import Tagged
from tunesmith.stages.finetune.objectives.of_states import OfStates
from tunesmith.stages.finetune.stock import stock_outputs


class Tag(OfStates):
    """One tag for each word; each word weighs the same, so long rows weigh more."""

    task = "tag"
    content = Tagged
    rules = ("label", "tags", "words")

    def example(self, loaded: LoadedHead, row_id: str, said: Tagged) -> Example:
        """The words, with their tags at their first tokens as the target."""
        return tagged(loaded, row_id, said)

    def faults(self, loaded: LoadedHead, said: Tagged) -> Iterator[str]:
        """A tag that is not known, too many or too few of them, or words without a token."""
        if not set(said.tags) <= set(loaded.labels):
            yield "label"
        if len(said.tags) != len(said.tokens):
            yield "tags"
        if None in word_ids(loaded, said.tokens)[1]:
            yield "words"

    def weight(self, example: Example) -> float:
        """1 for each word."""
        return float(sum(tag != NO_TAG for tag in _tags(example)))

    def loss(self, model: Any, states: torch.Tensor, micro: MicroBatch) -> torch.Tensor:
        """Only first tokens of words reach the head."""
        tags = torch.tensor([tag for example in micro.examples for tag in _tags(example)])
        tagged = tags != NO_TAG
        return cross_entropy(logits(model, states[tagged]), tags[tagged], reduction="sum")

    def plain_mean(self, stock: Any, examples: Sequence[Example]) -> torch.Tensor:
        """torch's cross-entropy of the logits of transformers' class, which leaves out `NO_TAG`."""
        found = torch.cat([stock_outputs(stock, example)[0] for example in examples])
        tags = torch.tensor([tag for example in examples for tag in _tags(example)])
        return cross_entropy(found.double(), tags, ignore_index=NO_TAG, reduction="mean")


def _tags(example: Example) -> tuple[int, ...]:
    assert isinstance(example.target, tuple)
    return example.target
