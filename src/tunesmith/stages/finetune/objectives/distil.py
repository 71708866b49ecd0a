"""Distillation: a smaller model learns what a larger one would say of each token of the answers
(Hinton, Vinyals and Dean, arXiv 1503.02531).

The teacher runs once over all rows, before the first step. What is kept of it is the state of each
labelled token, not its logits, which are a hundred times as large: they are one product with the
teacher's head away.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy, kl_div, linear

from tunesmith.core.blobs import Blobs
from tunesmith.core.errors import ConfigError
from tunesmith.core.step import Context
from tunesmith.lm.attention import attend_by_document, hidden_states
from tunesmith.lm.example import Example, MicroBatch, streams
from tunesmith.lm.load import LoadedModel, load_model
from tunesmith.records.data import Dataset
from tunesmith.records.model import BaseModel, ModelVersion
from tunesmith.stages.finetune.batches import MICRO_TOKENS
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.loss import head_loss_sum
from tunesmith.stages.finetune.objectives.answers import Answers
from tunesmith.stages.finetune.objectives.causal import Causal
from tunesmith.stages.finetune.objectives.objective import Hidden
from tunesmith.stages.finetune.preflight import Preflight
from tunesmith.stages.finetune.stock import stock_logits


class Distillation(Causal):
    """`share` * T^2 * KL(teacher || student), both at temperature T, plus (1 - `share`) times the
    cross-entropy of the answer's own token; for each labelled token, by its weight."""

    def __init__(
        self,
        config: ModelConfig,
        dataset: Dataset,
        teacher: BaseModel | ModelVersion | None = None,
    ) -> None:
        self._answers = Answers(config, dataset)
        self._config, self._teacher = config, teacher
        self._tokenizer_of_student: Any = None
        self._states: dict[str, torch.Tensor] = {}
        self._head = torch.empty(0)

    def load(
        self, base: BaseModel, blobs: Blobs, *, seed: int = 0, drawn_from: int | None = None
    ) -> LoadedModel:
        """A causal language model."""
        loaded = super().load(base, blobs, seed=seed, drawn_from=drawn_from)
        self._tokenizer_of_student = loaded.tokenizer
        return loaded

    def read(self, path: Path, loaded: LoadedModel) -> Iterator[Example]:
        """As answers are read."""
        return self._answers.read(path, loaded)

    def inspect(self, path: Path, loaded: LoadedModel, examples: Sequence[Example]) -> Preflight:
        """As answers are inspected."""
        return self._answers.inspect(path, loaded, examples)

    def prepare(
        self,
        ctx: Context,
        model: Any,  # noqa: ARG002
        hidden: Hidden,  # noqa: ARG002
        examples: Sequence[Example],
    ) -> None:
        """Run the teacher over all rows.

        Raises:
            ConfigError: the teacher's tokens are others than the student's.
        """
        assert self._teacher is not None
        teacher = _loaded(self._teacher, ctx.blobs)
        self._require_same_tokens(teacher)
        attend_by_document(teacher.model)
        self._head = teacher.model.get_output_embeddings().weight.detach()
        store = _store(ctx.workdir / "teacher", examples, self._head.shape[1])
        done = 0
        with torch.no_grad():
            for micro in streams(examples, MICRO_TOKENS):
                states = hidden_states(teacher.model, micro.ids, micro.positions, micro.documents)[
                    micro.predicting
                ]
                store[done : done + len(states)] = states
                sizes = [example.num_labels for example in micro.examples]
                kept = torch.split(store[done : done + len(states)], sizes)
                self._states |= dict(zip(micro.row_ids, kept, strict=True))
                done += len(states)
                ctx.progress(done, len(store), "asking the teacher")

    def weight(self, example: Example) -> float:
        """The weights of its labels."""
        return example.label_weight

    def loss(self, model: Any, states: torch.Tensor, micro: MicroBatch) -> torch.Tensor:
        """Both models' logits of some tokens at a time; nothing of that size is kept."""
        head = model.get_output_embeddings().weight
        taught = torch.cat([self._states[row_id] for row_id in micro.row_ids]).to(states.dtype)
        teacher_head = self._head.to(states.dtype)
        weights, labels = micro.weights.to(states.dtype), micro.labels
        temperature, share = self._config.temperature, self._config.teacher_share

        def chunk_loss(chunk: slice, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            wanted, weight = labels[chunk, None], weights[chunk, None]
            log_t = torch.log_softmax(linear(taught[chunk], teacher_head) / temperature, dim=-1)
            log_s = torch.log_softmax(logits / temperature, dim=-1)
            p_t = log_t.exp()
            divergence = (p_t * (log_t - log_s)).sum(dim=-1, keepdim=True)
            log_p = log_s if temperature == 1 else torch.log_softmax(logits, dim=-1)
            plain = -log_p.gather(1, wanted)
            loss = share * temperature**2 * divergence + (1 - share) * plain
            grad = (log_s.exp() - p_t).mul_(share * temperature)
            grad.add_(log_p.exp(), alpha=1 - share)
            grad.scatter_add_(1, wanted, grad.new_full(wanted.shape, share - 1))
            return (loss * weight).sum(), grad.mul_(weight)

        return head_loss_sum(states[micro.predicting], head, chunk_loss)

    def plain_mean(self, stock: Any, examples: Sequence[Example]) -> torch.Tensor:
        """torch's divergence and cross-entropy of each row."""
        losses, weights = zip(*(self._plain(stock, example) for example in examples), strict=True)
        return torch.stack(losses).sum() / torch.stack(weights).sum()

    def _plain(self, stock: Any, example: Example) -> tuple[torch.Tensor, torch.Tensor]:
        """The sum of the losses of a row's labels, and that of their weights."""
        (answer,) = example.answers
        ids = torch.tensor(example.prompt + answer.ids)
        first = max(len(example.prompt), 1)
        weights = torch.tensor(answer.weights or (1.0,) * len(answer.ids))
        weights = weights[first - len(example.prompt) :]
        logits = stock_logits(stock, ids)[first - 1 : -1][weights > 0].double()
        wanted, weights = ids[first:][weights > 0], weights[weights > 0].double()
        taught = self._states[example.row_id].double() @ self._head.double().t()
        temperature, share = self._config.temperature, self._config.teacher_share
        divergence = kl_div(
            torch.log_softmax(logits / temperature, dim=-1),
            torch.log_softmax(taught / temperature, dim=-1),
            log_target=True,
            reduction="none",
        ).sum(dim=-1)
        plain = cross_entropy(logits, wanted, reduction="none")
        losses = share * temperature**2 * divergence + (1 - share) * plain
        return losses @ weights, weights.sum()

    def _require_same_tokens(self, teacher: LoadedModel) -> None:
        student = self._tokenizer_of_student.core.get_vocab(with_added_tokens=True)
        if teacher.tokenizer.core.get_vocab(with_added_tokens=True) != student:
            raise ConfigError(
                f"model.{self._config.name}.teacher",
                f"{self._config.teacher} has another vocabulary than the base model, so what it "
                "says of a token says nothing here",
                remedy="take a teacher of the same family, with the same tokenizer",
            )


def _loaded(teacher: BaseModel | ModelVersion, blobs: Blobs) -> LoadedModel:
    if isinstance(teacher, BaseModel):
        return load_model(teacher, blobs)
    return load_model(teacher.base, blobs, adapter=teacher)


def _store(path: Path, examples: Sequence[Example], width: int) -> torch.Tensor:
    """Room for a state of each labelled token, (num_labels, width), in a file."""
    num_labels = sum(example.num_labels for example in examples)
    mapped = np.memmap(path, dtype=np.float32, mode="w+", shape=(num_labels, width))
    return torch.from_numpy(mapped)
