"""Supervised tuning: the tokens of answers are made likelier (cross-entropy, by their weights)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from tunesmith.core.step import Context
from tunesmith.lm.contents import read_contents
from tunesmith.lm.example import Example, MicroBatch
from tunesmith.lm.lessons import lessons, served_prompt
from tunesmith.lm.load import LoadedModel
from tunesmith.records.data import Dataset
from tunesmith.records.rows import FORMATS
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.loss import cross_entropy_sum
from tunesmith.stages.finetune.objectives.causal import Causal
from tunesmith.stages.finetune.objectives.objective import Hidden
from tunesmith.stages.finetune.preflight import Preflight, inspect, inspect_texts
from tunesmith.stages.finetune.stock import stock_logits


class Answers(Causal):
    """Each token of an answer, given all before it; one denominator, the sum of their weights."""

    def __init__(self, config: ModelConfig, dataset: Dataset) -> None:
        self._config, self._dataset = config, dataset

    def read(self, path: Path, loaded: LoadedModel) -> Iterator[Example]:
        """Each row as what is to be learnt of it, by the dataset's format."""
        instruction = self._dataset.instruction
        for row_id, content in read_contents(path, FORMATS[self._dataset.format]):
            yield from lessons(
                loaded.tokenizer, instruction, row_id, content, loaded.context_length
            )

    def inspect(self, path: Path, loaded: LoadedModel, examples: Sequence[Example]) -> Preflight:
        """The rules of conversations that are served as they were tuned, or of plain texts."""
        if self._dataset.format in ("completion", "text"):
            return inspect_texts(examples, loaded.tokenizer, loaded.context_length)
        instruction = self._dataset.instruction
        served = {
            row_id: served_prompt(loaded.tokenizer, instruction, content)
            for row_id, content in read_contents(path, FORMATS[self._dataset.format])
        }
        # A later piece of a row begins as serving would by construction; its first is looked at.
        prompts = [served.get(example.row_id, example.prompt) for example in examples]
        return inspect(examples, prompts, loaded.tokenizer, loaded.context_length)

    def prepare(
        self, ctx: Context, model: Any, hidden: Hidden, examples: Sequence[Example]
    ) -> None:
        """Nothing."""

    def weight(self, example: Example) -> float:
        """The weights of its labels."""
        return example.label_weight

    def loss(self, model: Any, states: torch.Tensor, micro: MicroBatch) -> torch.Tensor:
        """Only labelled tokens reach the head."""
        head = model.get_output_embeddings().weight
        return cross_entropy_sum(states[micro.predicting], head, micro.labels, micro.weights)

    def plain_mean(self, stock: Any, examples: Sequence[Example]) -> torch.Tensor:
        """torch's cross-entropy of the labels, by their definition."""
        losses, weights = zip(*(_plain(stock, example) for example in examples), strict=True)
        return torch.stack(losses).sum() / torch.stack(weights).sum()


def _plain(stock: Any, example: Example) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum of the losses of an example's labels, and that of their weights."""
    total = torch.zeros((), dtype=torch.float64)
    weight = torch.zeros((), dtype=torch.float64)
    prompt = len(example.prompt)
    first = max(prompt, 1)
    for answer in example.answers:
        ids = torch.tensor(example.prompt + answer.ids)
        weights = torch.tensor(answer.weights or (1.0,) * len(answer.ids), dtype=torch.float64)
        logits = stock_logits(stock, ids)[first - 1 : -1]
        losses = cross_entropy(logits.double(), ids[first:], reduction="none")
        total = total + losses @ weights[first - prompt :]
        weight = weight + weights[first - prompt :].sum()
    return total, weight
