"""Supervised tuning: the tokens of answers are made likelier (cross-entropy, by their weights)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from torch.nn.functional import cross_entropy

from tunesmith.core.blobs import Blobs
from tunesmith.core.step import Context
from tunesmith.lm.chat_template import conversation
from tunesmith.lm.example import Answer, Example, MicroBatch
from tunesmith.lm.load import LoadedModel, load_model
from tunesmith.records.data import Dataset
from tunesmith.records.model import BaseModel
from tunesmith.stages.finetune.batches import micro_batches
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.loss import cross_entropy_sum
from tunesmith.stages.finetune.objectives.objective import Hidden
from tunesmith.stages.finetune.preflight import Preflight, inspect, served_prompts
from tunesmith.stages.finetune.stock import stock_logits


class Answers:
    """Each token of an answer, given all before it; one denominator, the sum of their weights."""

    whole_step = False

    def __init__(self, config: ModelConfig, dataset: Dataset) -> None:
        self._config, self._dataset = config, dataset

    def load(
        self,
        base: BaseModel,
        blobs: Blobs,
        *,
        seed: int = 0,  # noqa: ARG002  (its head is the vocabulary's)
        drawn_from: int | None = None,
    ) -> LoadedModel:
        """A causal language model."""
        return load_model(base, blobs, drawn_from=drawn_from)

    def read(self, path: Path, loaded: LoadedModel) -> Iterator[Example]:
        """Each row's text as a question and its label as the answer."""
        for batch in pq.ParquetFile(path).iter_batches(columns=["row_id", "text", "label"]):
            for row in batch.to_pylist():
                rendered = conversation(
                    loaded.tokenizer, self._dataset.instruction, row["text"], row["label"]
                )
                yield labelled(row["row_id"], rendered.ids, rendered.num_prompt)

    def inspect(self, path: Path, loaded: LoadedModel, examples: Sequence[Example]) -> Preflight:
        """The rules of conversations that are served as they were tuned."""
        served = served_prompts(path, loaded.tokenizer, self._dataset.instruction)
        return inspect(examples, served, loaded.tokenizer, loaded.context_length)

    def prepare(
        self, ctx: Context, model: Any, hidden: Hidden, examples: Sequence[Example]
    ) -> None:
        """Nothing."""

    def weight(self, example: Example) -> float:
        """The weights of its labels."""
        return example.label_weight

    def cut(self, examples: Sequence[Example]) -> Iterator[MicroBatch]:
        """As many as fit."""
        return micro_batches(examples)

    def loss(self, model: Any, states: torch.Tensor, micro: MicroBatch) -> torch.Tensor:
        """Only labelled tokens reach the head."""
        head = model.get_output_embeddings().weight
        return cross_entropy_sum(states[micro.predicting], head, micro.labels, micro.weights)

    def plain_loss(self, stock: Any, examples: Sequence[Example]) -> torch.Tensor:
        """torch's cross-entropy of the labels, by their definition."""
        return torch.stack([_plain(stock, example) for example in examples]).sum()


def labelled(row_id: str, ids: Sequence[int], num_prompt: int) -> Example:
    """A conversation of which all after the first `num_prompt` tokens is the answer."""
    return Example(
        row_id=row_id,
        prompt=tuple(ids[:num_prompt]),
        answers=(Answer(ids=tuple(ids[num_prompt:])),),
    )


def _plain(stock: Any, example: Example) -> torch.Tensor:
    total = torch.zeros((), dtype=torch.float64)
    prompt = len(example.prompt)
    first = max(prompt, 1)
    for answer in example.answers:
        ids = torch.tensor(example.prompt + answer.ids)
        weights = torch.tensor(answer.weights or (1.0,) * len(answer.ids), dtype=torch.float64)
        logits = stock_logits(stock, ids)[first - 1 : -1]
        losses = cross_entropy(logits.double(), ids[first:], reduction="none")
        total = total + losses @ weights[first - prompt :]
    return total
