"""Whether what a task asks is among what is tuned on: another dataset's test rows, or its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow.parquet as pq
from pydantic import Field

from tunesmith.core.errors import DataError
from tunesmith.core.section import Section
from tunesmith.core.step import Context
from tunesmith.records.data import Dataset, Split
from tunesmith.records.evaluation import Apart, TaskRows
from tunesmith.stages.evaluate.own_rows import OwnRow, names_in, read_own, text_of, words_of
from tunesmith.stages.evaluate.task import FILE, TaskConfig
from tunesmith.text.contained import NUM_WORDS, asked_in, everything_in, held_rows
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
    turns: tuple[str, ...] = ()
    """What the user says in each turn of a conversation."""
    whole: str = ""
    """Of one that is trained on: all that it says."""


def check(
    config: ApartConfig,
    ctx: Context,
    *,
    dataset: Dataset,
    other: Dataset | None = None,
    rows: TaskRows | None = None,
) -> Apart:
    """No test row of `other`, and none of a task's own `rows`, is a training row of `dataset`,
    resembles one, or stands in one.

    Raises:
        DataError: one does; what a model said of it would be what it was told.
    """
    if config.task is not None and rows is not None:
        name, said = config.task.name, f"rows of {_file_of(config.task)}"
        asked = [_own(config.task, row) for row in read_own(config.task, rows)]
        trained = [_without_frame(config.task, row) for row in _rows(dataset.train, ctx)]
        remedy = f"leave them out of {_file_of(config.task)}, or out of what {dataset.name!r} reads"
    else:
        assert other is not None
        name, said = other.name, f"test rows of {other.name!r}"
        asked, trained = _rows(other.test, ctx), _rows(dataset.train, ctx)
        remedy = f'keep them out of tuning: apart_from = ["{name}"] in [dataset.{dataset.name}]'
    ctx.progress(0, 0, f"compares {said} with the training rows")
    found = _alike(asked, trained, Thresholds(words=config.words, runs=config.runs))
    if found:
        shown = "; ".join([*found[:_SHOWN], *(["and so on"] if len(found) > _SHOWN else [])])
        raise DataError(
            f"{len(found)} of the {len(asked)} {said} are rows that {dataset.name!r} tunes on, "
            f"resemble them, or stand in them: {shown}",
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
    """A sentence on each of the rows asked that is one of those trained on, resembles one, or
    stands in one."""
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
    looked_for = [(*row.texts, *row.turns) for row in asked]
    for held in held_rows(looked_for, [row.whole for row in trained]):
        one, of = asked[held.first].where, trained[held.second].where
        share = f"{held.share:.2f} of its word {NUM_WORDS}-grams"
        said.setdefault(one, f"{one} stands in {of}, by {share}")
    return list(said.values())


def _rows(split: Split, ctx: Context) -> list[_Row]:
    """The rows of one side of a dataset."""
    columns = ["pointer", "text", "content"]
    return [
        _Row(
            where=row["pointer"],
            texts=(row["text"],),
            turns=asked_in(row["content"]),
            whole=everything_in(row["content"]),
        )
        for row in pq.read_table(ctx.blobs.path(split.rows), columns=columns).to_pylist()
    ]


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
    """A training row, and each turn of the user in it, without those words: it may ask as the task
    does."""
    frame = [piece.strip() for piece in words_of(task.prompt)]
    frame = [piece for piece in frame if len(piece.split()) >= _FRAME_WORDS]
    texts = []
    for text in (*row.texts, *row.turns):
        bare = text
        for piece in frame:
            bare = bare.replace(piece, " ")
        texts.append(bare if bare.strip() else text)
    return replace(row, texts=tuple(texts))


def _file_of(task: TaskConfig) -> str:
    return task.rows.removeprefix(FILE)
