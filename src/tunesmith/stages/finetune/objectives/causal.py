"""What objectives have in common that tune a model which answers in text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tunesmith.core.blobs import Blobs
from tunesmith.lm.example import Example, MicroBatch
from tunesmith.lm.load import LoadedModel, load_model
from tunesmith.records.model import BaseModel
from tunesmith.stages.finetune.batches import lanes_of, micro_batches
from tunesmith.stages.finetune.config import ModelConfig


class Causal:
    """A causal language model, whose head is that of its vocabulary."""

    whole_step = False
    draws = False
    _config: ModelConfig

    def answered(self, step: int, examples: Sequence[Example]) -> Sequence[Example]:  # noqa: ARG002
        """As they are."""
        return examples

    def foreseen(self, examples: Sequence[Example]) -> Sequence[Example]:
        """As they are."""
        return examples

    def answering_s(self, num_rows: int) -> float:  # noqa: ARG002
        """None."""
        return 0.0

    def cut(self, examples: Sequence[Example]) -> Iterator[MicroBatch]:
        """As many as fit."""
        return micro_batches(examples, lanes_of(self._config))

    def load(
        self,
        base: BaseModel,
        blobs: Blobs,
        *,
        seed: int = 0,  # noqa: ARG002  (nothing that the base model has is drawn)
        drawn_from: int | None = None,
    ) -> LoadedModel:
        """As it is, or with random weights that are drawn from `drawn_from`; with the recipe's new
        tokens."""
        new = self._config.new_tokens
        return load_model(base, blobs, drawn_from=drawn_from, new_tokens=new)
