"""Who is asked, and which rows: both models, loaded once, and rows drawn from a split."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tunesmith.core.canonical import draw
from tunesmith.core.errors import OtherKind, TooFewRows
from tunesmith.core.step import Context
from tunesmith.lm.attach import load_version
from tunesmith.lm.contents import content_of
from tunesmith.lm.load import (
    LoadedHead,
    LoadedModel,
    load_head,
    load_model,
    load_tokenizer,
    load_tuned_head,
)
from tunesmith.lm.tokenizer import Tokenizer
from tunesmith.paired.seen import trained_on
from tunesmith.records.data import Dataset, Split
from tunesmith.records.model import TASKS, ModelVersion, Task
from tunesmith.records.rows import FORMATS, Content
from tunesmith.stages.probe.config import ProbeConfig
from tunesmith.stages.probe.given import Given, read_given


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A model that is asked."""

    loaded: LoadedModel | LoadedHead
    instruction: str
    labels: tuple[str, ...]
    """What it answers with one of; without any it is free."""

    @property
    def generative(self) -> LoadedModel:
        """The model, where it goes on with a text.

        Raises:
            OtherKind: it has a head. A project's own model is held against its suites before; the
                version that it is compared with may be of before the recipe changed.
        """
        if not isinstance(self.loaded, LoadedModel):
            raise OtherKind(
                "the model has a head, and what the suite asks goes on with a text",
                remedy="compare with a version that goes on with a text",
            )
        return self.loaded


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A row of the dataset."""

    row_id: str
    text: str
    label: str
    content: Content


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """A suite that runs, on a model and its base."""

    config: ProbeConfig
    ctx: Context
    model: ModelVersion
    dataset: Dataset
    given: Given | None

    @functools.cached_property
    def both(self) -> tuple[Subject, Subject]:
        """The base model and the tuned one; weights that they share are in memory once."""
        self.ctx.progress(0, 0, "loading the base model and the tuned one")
        model, blobs = self.model, self.ctx.blobs
        loaded: tuple[LoadedModel | LoadedHead, LoadedModel | LoadedHead]
        if model.objective in TASKS:
            task = cast("Task", model.objective)
            plain = load_head(model.base, blobs, task, model.labels, seed=self.ctx.seed)
            loaded = plain, load_tuned_head(model, blobs)
        else:
            bases: dict[str, LoadedModel] = {}
            tuned = load_version(model, blobs, bases)
            loaded = bases.get(model.base.weights.sha256) or load_model(model.base, blobs), tuned
        labels = model.labels if self.dataset.format == "labels" else ()
        return tuple(  # type: ignore[return-value]
            Subject(loaded=each, instruction=model.instruction, labels=labels) for each in loaded
        )

    @functools.cached_property
    def counting(self) -> Tokenizer:
        """The tokenizer whose tokens are counted when something is said of a token: the base
        model's, so that a model with new tokens does not look worse for needing fewer."""
        return load_tokenizer(self.model.base, self.ctx.blobs)

    def text_of_file(self) -> str:
        """What the file that the suite is given says.

        Raises:
            NotFound, DataError: it cannot be read.
        """
        if self.given is not None:
            return self.given.text
        assert self.ctx.project is not None, "a suite with a file runs in a project"
        return read_given(self.config.file, self.ctx.project).text

    def rows(self, split: Split, among: Callable[[str], bool] = lambda _row_id: True) -> list[Row]:
        """So many rows of `split` as the suite asks, of those whose id is `among` what is wanted.

        Which follows from the seed and their ids alone.

        Raises:
            TooFewRows: there is none.
        """
        table = pq.read_table(
            self.ctx.blobs.path(split.rows), columns=["row_id", "text", "label", "content"]
        )
        ids = [row_id for row_id in table["row_id"].to_pylist() if among(row_id)]
        if not ids:
            raise TooFewRows(
                f"dataset {self.dataset.name!r} has no rows that suite {self.config.suite!r} could "
                "ask",
                remedy="raise test_per_label, or add data",
            )
        drawn = sorted(ids, key=lambda row_id: draw(f"{self.ctx.seed}/probe/{row_id}"))
        wanted = set(drawn[: self.config.num_rows or len(drawn)])
        kept = table.filter(pc.is_in(table["row_id"], pc.cast(sorted(wanted), "string")))
        return self._rows_of(kept)

    def every(self, split: Split) -> list[Row]:
        """All rows of `split`."""
        path = self.ctx.blobs.path(split.rows)
        return self._rows_of(pq.read_table(path, columns=["row_id", "text", "label", "content"]))

    def _rows_of(self, table: pa.Table) -> list[Row]:
        kind = FORMATS[self.dataset.format]
        return [
            Row(
                row_id=row["row_id"],
                text=row["text"],
                label=row["label"],
                content=content_of(row["content"], kind),
            )
            for row in table.to_pylist()
        ]

    def trained_on(self) -> set[str]:
        """The ids of the rows that the model was tuned on."""
        return trained_on(self.ctx.blobs, self.model)

    def is_of_other_rows(self) -> bool:
        """Whether the model was tuned on rows that the dataset does not have: then it is a version
        that another is compared with, not the one that was made of the dataset."""
        rows = pq.read_table(self.ctx.blobs.path(self.dataset.train.rows), columns=["row_id"])
        return not self.trained_on() <= set(rows["row_id"].to_pylist())

    def shown(self, total: int, note: str, before: int = 0) -> Callable[[int], None]:
        """What is called as things are done, `before` of them earlier."""
        return lambda done: self.ctx.progress(before + done, total, note)
