"""Whether what a task asks is among what is tuned on: another dataset's test rows, or its own."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq
from pydantic import Field

from tunesmith.core.errors import DataError
from tunesmith.core.section import Section
from tunesmith.core.step import Context
from tunesmith.records.data import Dataset
from tunesmith.records.evaluation import Apart, TaskRows
from tunesmith.stages.evaluate.own_rows import OwnRow, names_in, read_own, text_of
from tunesmith.stages.evaluate.task import FILE, TaskConfig
from tunesmith.text.dedup import Thresholds, resembling

_SHOWN = 3
"""How many rows a message names."""
_FRAME_WORDS = 3
"""Words from which a piece of a task's prompt is taken out of training rows: of fewer it may be
part of any sentence."""


class ApartConfig(Section):
    """From where on two rows are alike: as the dataset that is tuned on says of its own split."""

    words: float = Field(gt=0, le=1)
    """The share of common words, where a row is short."""
    runs: float = Field(gt=0, le=1)
    """The share of common runs of five words, where none is."""
    task: TaskConfig | None = None
    """The task whose own rows are asked; None where they are test rows of another dataset."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    """A row that is asked, or trained on."""

    where: str
    """Where its source has it, for people."""
    texts: tuple[str, ...]
    """Each of them is compared by itself."""


def check(
    config: ApartConfig,
    ctx: Context,
    *,
    dataset: Dataset,
    other: Dataset | None = None,
    rows: TaskRows | None = None,
) -> Apart:
    """No test row of `other`, and none of a task's own `rows`, is a training row of `dataset`, or
    resembles one.

    Raises:
        DataError: one does; what a model said of it would be what it was told.
    """
    if config.task is not None and rows is not None:
        name, said = config.task.name, f"rows of {_file_of(config.task)}"
        asked = [_own(config.task, row) for row in read_own(config.task, rows)]
        trained = [_without_frame(config.task, row) for row in _rows(dataset, ctx, turns=True)]
        remedy = f"leave them out of {_file_of(config.task)}, or out of what {dataset.name!r} reads"
    else:
        assert other is not None
        name, said = other.name, f"test rows of {other.name!r}"
        asked, trained = _rows(other, ctx, tested=True), _rows(dataset, ctx)
        remedy = f'keep them out of tuning: apart_from = ["{name}"] in [dataset.{dataset.name}]'
    ctx.progress(0, 0, f"compares {said} with the training rows")
    found = _alike(asked, trained, Thresholds(words=config.words, runs=config.runs))
    if found:
        shown = "; ".join(found[:_SHOWN])
        raise DataError(
            f"{len(found)} of the {len(asked)} {said} are rows that {dataset.name!r} tunes on, or "
            f"resemble them: {shown}{'; and so on' if len(found) > _SHOWN else ''}",
            remedy=remedy,
        )
    return Apart(
        asked=name,
        trained=dataset.name,
        num_asked=len(asked),
        num_trained=len(trained),
        words=config.words,
        runs=config.runs,
    )


def _alike(asked: Sequence[_Row], trained: Sequence[_Row], thresholds: Thresholds) -> list[str]:
    """A sentence on each of the rows asked that is one of those trained on, or resembles one."""
    of_asked, of_trained = (
        [(row.where, text) for row in rows for text in row.texts] for rows in (asked, trained)
    )
    left, right = ([text for _, text in rows] for rows in (of_asked, of_trained))
    said: dict[str, str] = {}
    for pair in resembling(left, right, thresholds):
        if pair is not None:
            (one, _), (of, _) = of_asked[pair.first], of_trained[pair.second]
            what = "words" if pair.short else "word 5-grams"
            said.setdefault(one, f"{one} is {of}, or has {pair.jaccard:.2f} of its {what}")
    return list(said.values())


def _rows(
    dataset: Dataset, ctx: Context, *, tested: bool = False, turns: bool = False
) -> list[_Row]:
    """The training rows of a dataset, or those that it is tested on; with what the user says in
    each turn of a conversation, if `turns`, beside all of it."""
    split = dataset.test if tested else dataset.train
    columns = ["pointer", "text", "content"]
    return [
        _Row(
            where=row["pointer"],
            texts=(row["text"], *(_asked_in(row["content"]) if turns else ())),
        )
        for row in pq.read_table(ctx.blobs.path(split.rows), columns=columns).to_pylist()
    ]


def _asked_in(content: str) -> list[str]:
    """What the user says in each turn of a conversation; nothing in other rows."""
    said: dict[str, Any] = json.loads(content)
    turns = said.get("messages", ())
    return [turn["content"] for turn in turns if turn["role"] == "user" and turn["content"]]


def _own(task: TaskConfig, row: OwnRow) -> _Row:
    """What is asked without the words that all rows of the task are asked in, which would make
    every one like every other; and that with what is right, for texts that say both."""
    fields = [text_of(row.fields[name]) for name in names_in(task.prompt)]
    asked = "\n".join(fields) or row.prompt
    line = row.row_id.rpartition(":")[2]
    return _Row(
        where=f"{_file_of(task)}, line {line}",
        texts=(asked, *(f"{asked}\n{right}" for right in row.right)),
    )


def _without_frame(task: TaskConfig, row: _Row) -> _Row:
    """A training row without those words: it may ask as the task does."""
    frame = [piece.strip() for piece in re.split(r"\{[^{}]*\}", task.prompt)]
    frame = [piece for piece in frame if len(piece.split()) >= _FRAME_WORDS]
    texts = []
    for text in row.texts:
        bare = text
        for piece in frame:
            bare = bare.replace(piece, " ")
        texts.append(bare if bare.strip() else text)
    return _Row(where=row.where, texts=tuple(texts))


def _file_of(task: TaskConfig) -> str:
    return task.rows.removeprefix(FILE)
