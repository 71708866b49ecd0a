"""What objectives have in common that read the states of texts and not an output vocabulary."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from tunesmith.core.blobs import Blobs
from tunesmith.core.step import Context
from tunesmith.lm.contents import read_contents
from tunesmith.lm.encode import num_special
from tunesmith.lm.example import Example, MicroBatch
from tunesmith.lm.load import LoadedHead, load_head
from tunesmith.records.data import Dataset
from tunesmith.records.model import BaseModel, Task
from tunesmith.records.rows import Labelled, Pair, Preference, Tagged
from tunesmith.stages.finetune.batches import lanes_of, micro_batches
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.objectives.objective import Hidden
from tunesmith.stages.finetune.preflight import LENGTH, ROW_ID, Preflight, Rule, found_in

RULES: tuple[Rule, ...] = (
    LENGTH,
    ("text", (17,), "have a text without a token", "leave empty texts out of the source"),
    (
        "label",
        (15, 17),
        "have a label that the dataset does not list",
        "add it to the dataset's labels, or leave those rows out",
    ),
    (
        "tags",
        (15, 17),
        "have not one tag for each word",
        "mend the source: as many tags as tokens in every row",
    ),
    (
        "words",
        (17, 20),
        "have words of which the tokenizer makes nothing",
        "leave them out of the source, with their tags",
    ),
    (
        "same",
        (23,),
        "have one answer as the better and the worse",
        "leave out rows that show no preference",
    ),
    (
        "negatives",
        (15, 17),
        "have no passage that does not belong to the query, nor has any other row",
        "give the rows negatives: from those alone a model learns to say yes",
    ),
    (
        "rivals",
        (15, 17),
        "have no text in the dataset to be told from",
        "add rows that are about something else, or negatives",
    ),
    ROW_ID,
)
"""Of texts whose states are read; each objective has some of them."""


class OfStates(ABC):
    """A model under one of transformers' heads, and rows of one format."""

    whole_step = False
    draws = False
    task: ClassVar[Task]
    content: ClassVar[type]
    """What a row says: one of `records.rows`."""
    rules: ClassVar[tuple[str, ...]] = ()
    """Those that are looked at beside the length, the ids and empty texts."""

    def __init__(self, config: ModelConfig, dataset: Dataset) -> None:
        self._config, self._dataset = config, dataset

    def load(
        self, base: BaseModel, blobs: Blobs, *, seed: int = 0, drawn_from: int | None = None
    ) -> LoadedHead:
        """transformers' class for the task."""
        labels = self._dataset.labels
        return load_head(base, blobs, self.task, labels, seed=seed, drawn_from=drawn_from)

    def read(self, path: Path, loaded: LoadedHead) -> Iterator[Example]:
        """Each row as texts, with the class or the tags as the target."""
        return (self.example(loaded, row_id, said) for row_id, said in self._contents(path))

    def inspect(self, path: Path, loaded: LoadedHead, examples: Sequence[Example]) -> Preflight:
        """The rules of what is said, whatever it is rendered as."""
        names = {"length", "text", "row id", *self.rules}
        contents = [said for _, said in self._contents(path)]
        broken = [
            [*self._empty(loaded, said, example), *self.faults(loaded, said)]
            for example, said in zip(examples, contents, strict=True)
        ]
        for faults, of_all in zip(broken, self.faults_of_all(contents), strict=False):
            faults += of_all
        rules = [rule for rule in RULES if rule[0] in names]
        return found_in(examples, broken, rules, loaded.context_length)

    def prepare(  # noqa: B027  (there is nothing to do)
        self, ctx: Context, model: Any, hidden: Hidden, examples: Sequence[Example]
    ) -> None:
        """Nothing."""

    def answered(self, step: int, examples: Sequence[Example]) -> Sequence[Example]:  # noqa: ARG002
        """As they are."""
        return examples

    def foreseen(self, examples: Sequence[Example]) -> Sequence[Example]:
        """As they are."""
        return examples

    def answering_s(self, num_rows: int) -> float:  # noqa: ARG002
        """None."""
        return 0.0

    def weight(self, example: Example) -> float:  # noqa: ARG002
        """1 for each row."""
        return 1.0

    def cut(self, examples: Sequence[Example]) -> Iterator[MicroBatch]:
        """As many as fit."""
        return micro_batches(examples, lanes_of(self._config))

    @abstractmethod
    def example(self, loaded: LoadedHead, row_id: str, said: Any) -> Example:
        """A row as tokens."""

    @abstractmethod
    def loss(self, model: Any, states: torch.Tensor, micro: MicroBatch) -> torch.Tensor:
        """The sum of the losses of a micro-batch."""

    @abstractmethod
    def plain_mean(self, stock: Any, examples: Sequence[Example]) -> torch.Tensor:
        """The mean loss of a global step by its definition, each document alone."""

    def faults(self, loaded: LoadedHead, said: Any) -> Iterator[str]:  # noqa: ARG002
        """The rules that a row breaks by what it says."""
        return iter(())

    def faults_of_all(self, contents: Sequence[Any]) -> list[list[str]]:  # noqa: ARG002
        """The rules that each row breaks by what no other row makes good; none at all if none."""
        return []

    def _empty(self, loaded: LoadedHead, said: Any, example: Example) -> Iterator[str]:
        is_pair = self.task == "rerank" or (self.task == "reward" and loaded.is_encoder)
        texts = [example.prompt] if not example.answers else [each.ids for each in example.answers]
        bare = num_special(loaded, pair=is_pair) if loaded.is_encoder else 0
        if min(map(len, texts)) <= bare or not all(text.strip() for text in _texts(said)):
            yield "text"

    def _contents(self, path: Path) -> Iterator[tuple[str, Any]]:
        """The id of each row, and what it says."""
        return read_contents(path, self.content)


def _texts(said: Labelled | Pair | Preference | Tagged) -> tuple[str, ...]:
    """Those that must not be empty; a question may be."""
    match said:
        case Labelled():
            return (said.text,)
        case Pair():
            return (said.anchor, said.positive, *said.negatives)
        case Preference():
            return (said.chosen, said.rejected)
        case Tagged():
            return ()  # each word by itself
