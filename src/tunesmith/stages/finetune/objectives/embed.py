"""Vectors for search: a text is nearer to what belongs to it than to all else in its step.

In-batch contrastive loss (arXiv 1705.00652, 1807.03748), as sentence-transformers'
MultipleNegativesRankingLoss; vectors that may be cut (Matryoshka, arXiv 2205.13147).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.nn.functional import cosine_similarity, cross_entropy, normalize

from tunesmith.core.blobs import Blobs
from tunesmith.core.errors import ConfigError
from tunesmith.lm.encode import embedded
from tunesmith.lm.example import Example, MicroBatch, pack
from tunesmith.lm.heads import outputs
from tunesmith.lm.load import LoadedHead
from tunesmith.records.model import BaseModel
from tunesmith.records.rows import Pair
from tunesmith.stages.finetune.objectives.of_states import OfStates
from tunesmith.stages.finetune.stock import stock_outputs


class Embed(OfStates):
    """Cross-entropy of each anchor's own text among those of all rows of the global step and their
    negatives; the logits are `scale` times the cosines. With `dims`, the sum over those lengths."""

    whole_step = True
    task = "embed"
    content = Pair
    rules = ("rivals",)

    def load(
        self, base: BaseModel, blobs: Blobs, *, seed: int = 0, drawn_from: int | None = None
    ) -> LoadedHead:
        """The model without a head."""
        loaded = super().load(base, blobs, seed=seed, drawn_from=drawn_from)
        width = int(loaded.model.config.hidden_size)
        if max(self._config.dims, default=0) > width:
            raise ConfigError(
                f"model.{self._config.name}.dims",
                f"the base model's vectors have {width} numbers, not {max(self._config.dims)}",
                remedy=f"set it to lengths of at most {width}",
            )
        return loaded

    def example(self, loaded: LoadedHead, row_id: str, said: Pair) -> Example:
        """The anchor and the other texts, each by itself."""
        return embedded(loaded, row_id, said)

    def faults_of_all(self, contents: Sequence[Pair]) -> list[list[str]]:
        """Not two texts that an anchor could belong to."""
        texts = {text for said in contents for text in (said.positive, *said.negatives)}
        return [["rivals"]] * len(contents) if len(texts) < 2 else []

    def cut(self, examples: Sequence[Example]) -> Iterator[MicroBatch]:
        """All in one: each anchor is compared with the texts of every row."""
        yield pack(examples)

    def loss(self, model: Any, states: torch.Tensor, micro: MicroBatch) -> torch.Tensor:
        """One product of vectors for each length."""
        whole = outputs(model, states, micro)
        anchors, candidates = _columns(micro.examples)
        total = whole.new_zeros(())
        for width in self._config.dims or (whole.shape[1],):
            vectors = normalize(whole[:, :width], dim=-1)
            scores = self._config.scale * vectors[anchors] @ vectors[candidates].t()
            total = total + cross_entropy(scores, torch.arange(len(anchors)), reduction="sum")
        return total

    def plain_mean(self, stock: Any, examples: Sequence[Example]) -> torch.Tensor:
        """The cosine of each two texts, of the states that transformers' model gives each alone."""
        how = stock.config.sentence_pooling
        texts = [
            [states[0] if how == "cls" else states.mean(dim=0) for states in found]
            for found in (stock_outputs(stock, example) for example in examples)
        ]
        belonging = [row[1] for row in texts]
        others = [text for row in texts for text in row[2:]]
        total = torch.zeros((), dtype=torch.float64)
        for width in self._config.dims or (len(belonging[0]),):
            for number, (anchor, *_) in enumerate(texts):
                cosines = [
                    cosine_similarity(anchor[:width].double(), text[:width].double(), dim=0)
                    for text in (*belonging, *others)
                ]
                logits = self._config.scale * torch.stack(cosines)
                total = total + torch.logsumexp(logits, dim=0) - logits[number]
        return total / len(texts)


def _columns(examples: Sequence[Example]) -> tuple[list[int], list[int]]:
    """The units that are anchors, and those that they are compared with: first what belongs to
    each, in their order, and then what belongs to none."""
    anchors: list[int] = []
    belonging: list[int] = []
    others: list[int] = []
    start = 0
    for example in examples:
        end = start + len(example.answers)
        anchors.append(start)
        belonging.append(start + 1)
        others += range(start + 2, end)
        start = end
    return anchors, belonging + others
