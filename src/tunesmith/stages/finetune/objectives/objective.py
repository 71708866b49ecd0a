"""The one interface of all objectives: rows -> micro-batches -> sum of loss, sum of weight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from tunesmith.core.blobs import Blobs
from tunesmith.core.errors import ConfigError
from tunesmith.core.kinds import resolve
from tunesmith.core.step import Context
from tunesmith.lm.example import Example, MicroBatch
from tunesmith.records.data import Dataset
from tunesmith.records.model import BaseModel, ModelVersion
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.preflight import Preflight

Hidden = Callable[[MicroBatch], torch.Tensor]
"""A micro-batch to the final states of its stream, (num_tokens, hidden_size)."""

_HERE = "tunesmith.stages.finetune.objectives"
_SAID = ("labels", "chat", "completion")
OBJECTIVES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "sft": (f"{_HERE}.answers:Answers", _SAID),
    "cpt": (f"{_HERE}.answers:Answers", ("text",)),
    "distil": (f"{_HERE}.distil:Distillation", _SAID),
    "dpo": (f"{_HERE}.preference:Pairs", ("preference",)),
    "ipo": (f"{_HERE}.preference:Pairs", ("preference",)),
    "orpo": (f"{_HERE}.preference:Pairs", ("preference",)),
    "simpo": (f"{_HERE}.preference:Pairs", ("preference",)),
    "kto": (f"{_HERE}.feedback:Liked", ("feedback",)),
    "grpo": (f"{_HERE}.rewarded:Rewarded", ("checked",)),
    "classify": (f"{_HERE}.classify:Classify", ("labels",)),
    "tag": (f"{_HERE}.tag:Tag", ("tags",)),
    "reward": (f"{_HERE}.reward:Reward", ("preference",)),
    "rerank": (f"{_HERE}.rerank:Rerank", ("pairs",)),
    "embed": (f"{_HERE}.embed:Embed", ("pairs",)),
}
"""Name in the project file -> class, made of (config, dataset) and the teacher, if any, and
the formats of the rows that it learns from."""


class Objective(Protocol):
    """What is learnt, and from what. The loop, the forecast and the certificate know no more.

    The loss of a global step is the sum of `loss` over its micro-batches by the sum of `weight`
    over its examples.
    """

    whole_step: bool
    """Whether the loss of an example depends on the others of its global step, so that the step is
    one micro-batch."""

    draws: bool
    """Whether the model answers itself, so that another thing is learnt of a row each time."""

    def load(
        self, base: BaseModel, blobs: Blobs, *, seed: int = 0, drawn_from: int | None = None
    ) -> Any:
        """The model that is tuned, ready for `read`: a `LoadedModel` or a `LoadedHead`.

        What the base model lacks, such as a head, is drawn from `seed`. With `drawn_from`, random
        weights in place of the base model's, drawn from that seed.
        """
        ...

    def read(self, path: Path, loaded: Any) -> Iterator[Example]:
        """The rows of a split's Parquet file as tokens, in the file's order, whole.

        Raises:
            DataError: a row cannot be rendered.
        """
        ...

    def inspect(self, path: Path, loaded: Any, examples: Sequence[Example]) -> Preflight:
        """What is wrong with the rows that were read from `path`."""
        ...

    def prepare(
        self, ctx: Context, model: Any, hidden: Hidden, examples: Sequence[Example]
    ) -> None:
        """Find out what must be known before the first step, of the model as it is then; `hidden`
        gives its states."""
        ...

    def answered(self, step: int, examples: Sequence[Example]) -> Sequence[Example]:
        """The rows of a global step, from 1, with what is learnt of them; 0 is the certificate's.
        Where the model answers itself it does so here."""
        ...

    def foreseen(self, examples: Sequence[Example]) -> Sequence[Example]:
        """Examples that will cost what these rows will, once they are answered."""
        ...

    def answering_s(self, num_rows: int) -> float:
        """Seconds that it takes the model to answer so many rows, if it does."""
        ...

    def weight(self, example: Example) -> float:
        """What an example adds to the denominator of its global step."""
        ...

    def cut(self, examples: Sequence[Example]) -> Iterator[MicroBatch]:
        """The examples of one global step as micro-batches."""
        ...

    def loss(self, model: Any, states: torch.Tensor, micro: MicroBatch) -> torch.Tensor:
        """The sum of the losses of a micro-batch, a scalar; `states` are its stream's final ones,
        (num_tokens, hidden_size)."""
        ...

    def plain_mean(self, stock: Any, examples: Sequence[Example]) -> torch.Tensor:
        """The mean loss of `examples` as one global step, by transformers' forward pass of each
        document alone and torch's functions: what the engine is compared with before the first
        step. What it is the mean of is counted here, so that a wrong `weight` shows."""
        ...


def make_objective(
    config: ModelConfig, dataset: Dataset, teacher: BaseModel | ModelVersion | None = None
) -> Objective:
    """The objective of `config`, on rows of `dataset`.

    Raises:
        ConfigError: it cannot be learnt from rows of that format.
    """
    path, formats = OBJECTIVES[config.objective]
    if dataset.format not in formats:
        raise ConfigError(
            f"model.{config.name}.objective",
            f"{config.objective!r} cannot be learnt from dataset {dataset.name!r}, whose rows are "
            f"of format {dataset.format!r}",
            remedy=f"give it a dataset of format {' or '.join(formats)}, or another objective",
        )
    given = () if teacher is None else (teacher,)
    objective: Objective = resolve(path)(config, dataset, *given)
    return objective
