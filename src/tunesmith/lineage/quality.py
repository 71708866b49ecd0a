"""How good the rows of a frozen dataset look, one by one, and which of its cells have few rows.

Six things are looked at, each from 1 (nothing to object) to 0. A row's score is the least of them,
so it has a reason. It says how a row looks, and not whether it is true; nothing is dropped.
"""

from __future__ import annotations

import math
import statistics
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from tunesmith.core.canonical import parse
from tunesmith.core.errors import NotFound, StoreError
from tunesmith.lineage.versions import Held, path_of
from tunesmith.project import Project
from tunesmith.records.data import Dataset
from tunesmith.stages.curate.config import SHORT_SIMILARITY, DatasetConfig
from tunesmith.stages.curate.doubts import doubtful_rows
from tunesmith.stages.curate.privacy import texts_of
from tunesmith.text.dedup import Thresholds, duplicates
from tunesmith.text.language import UNTOLD, language
from tunesmith.text.quality import MIN_WORDS

LOW = 0.5
"""Rows below it are counted as low."""
FEW = 5
"""A cell with fewer rows to train than this is thin."""
_OUTLIER = 3.0, 6.0
"""Robust standard deviations of the logarithm of the length: up to the first nothing is objected,
from the second on the length is 0."""
_LEAST_SPREAD = 0.1
"""... which is never taken to be less than this: texts that are nearly as long differ by chance."""
_MOSTLY = 0.7
"""Share of letters, digits and blanks from which nothing is objected."""
_RUN = 3
"""Words in a run that may not be repeated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RowQuality:
    """A row, and what is to be thought of it."""

    row_id: str
    asset: str
    pointer: str
    side: str
    """"train" or "test"."""
    label: str
    score: float
    """In [0, 1]: the least of `parts`."""
    why: str
    """Which of `parts` that is; empty of a row that nothing is objected to."""
    parts: Mapping[str, float]
    """length, repetition, symbols, language, duplicate, and, of labels, label."""
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """The rows of one label from one source; of a format without labels all of a source."""

    label: str
    asset: str
    num_train: int
    num_test: int

    @property
    def is_thin(self) -> bool:
        """Whether there are few rows to train, or none to test."""
        return self.num_train < FEW or self.num_test == 0


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetQuality:
    """All rows of a dataset, the worst first."""

    dataset: str
    median: float
    num_low: int
    low_by_part: Mapping[str, int]
    """Rows below `LOW` for that reason."""
    rows: tuple[RowQuality, ...]
    cells: tuple[Cell, ...]


def quality(project: Project, held: Held) -> DatasetQuality:
    """The scores of a dataset's rows: the same for the same version, whenever they are asked for.

    Raises:
        NotFound: its rows were erased.
        StoreError: they are not there for another reason.
    """
    assert isinstance(held.record, Dataset)
    rows = _rows(project, held)
    said = [_said(row, held.record.format) for row in rows]
    parts = {
        "length": _lengths(said),
        "repetition": [_repetition(text) for text in said],
        "symbols": [_symbols(text) for text in said],
        "language": _languages(said),
        "duplicate": _duplicates([row["text"] for row in rows], held),
    }
    if held.record.format == "labels":
        parts["label"] = _labels(project, held.record, rows)
    found = [
        _scored(row, {name: round(values[at], 4) for name, values in parts.items()})
        for at, row in enumerate(rows)
    ]
    found.sort(key=lambda row: (row.score, row.row_id, row.asset))
    low = [row for row in found if row.score < LOW]
    return DatasetQuality(
        dataset=held.ref,
        median=statistics.median(row.score for row in found),
        num_low=len(low),
        low_by_part=dict(Counter(row.why for row in low).most_common()),
        rows=tuple(found),
        cells=_cells(rows),
    )


def coverage(project: Project, held: Held) -> tuple[Cell, ...]:
    """Every cell of a dataset, empty ones too: each of its labels with each of its sources; none
    where its rows are not there any more."""
    try:
        return _cells(_rows(project, held, ["label", "asset"]))
    except (NotFound, StoreError):  # erased, collected, or damaged: `tunesmith verify` says which
        return ()


def _rows(
    project: Project, held: Held, columns: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    wanted = columns or ["row_id", "asset", "pointer", "text", "label", "content"]
    return [
        {**row, "side": side}
        for side in ("train", "test")
        for row in pq.read_table(path_of(project, held, side), columns=wanted).to_pylist()
    ]


def _cells(rows: Sequence[Mapping[str, Any]]) -> tuple[Cell, ...]:
    counts = Counter((row["label"], row["asset"], row["side"]) for row in rows)
    labels, assets = (sorted({row[key] for row in rows}) for key in ("label", "asset"))
    return tuple(
        Cell(
            label=label,
            asset=asset,
            num_train=counts[label, asset, "train"],
            num_test=counts[label, asset, "test"],
        )
        for label in labels
        for asset in assets
    )


def _scored(row: Mapping[str, Any], parts: Mapping[str, float]) -> RowQuality:
    why = min(parts, key=lambda name: parts[name])
    names = ("row_id", "asset", "pointer", "side", "label", "text")
    return RowQuality(
        **{name: row[name] for name in names},
        score=parts[why],
        why=why if parts[why] < 1 else "",
        parts=parts,
    )


def _said(row: Mapping[str, Any], format: str) -> str:
    """All that a row says; of a labelled text the text."""
    if format == "labels":
        return str(row["text"])
    between = " " if format == "tags" else "\n"
    return between.join(texts_of(parse(row["content"].encode())))


# What is looked at.


def _lengths(texts: Sequence[str]) -> list[float]:
    """By how far a text's length is from that of the others: its logarithm's distance from the
    median, in units of 1.4826 median absolute deviations (Iglewicz and Hoaglin, 1993)."""
    logs = [math.log(len(text) + 1) for text in texts]
    middle = statistics.median(logs)
    spread = max(1.4826 * statistics.median(abs(each - middle) for each in logs), _LEAST_SPREAD)
    first, last = _OUTLIER
    return [
        min(1.0, max(0.0, (last - abs(each - middle) / spread) / (last - first))) for each in logs
    ]


def _repetition(text: str) -> float:
    """The share of its runs of words that did not stand there before; 1 of a short text."""
    words = text.casefold().split()
    if len(words) < MIN_WORDS:
        return 1.0
    runs = list(zip(*(words[at:] for at in range(_RUN)), strict=False))
    return len(set(runs)) / len(runs)


def _symbols(text: str) -> float:
    """The share of letters, digits and blanks, of the share that is usual."""
    if not text:
        return 0.0
    plain = sum(unicodedata.category(each)[0] in "LMN" or each.isspace() for each in text)
    return min(1.0, plain / len(text) / _MOSTLY)


def _languages(texts: Sequence[str]) -> list[float]:
    """1 less the confidence with which another language is told than most rows have."""
    told = [language(text) for text in texts]
    counts = Counter(code for code, _ in told if code != UNTOLD)
    most = min(counts, key=lambda code: (-counts[code], code), default=UNTOLD)
    return [1.0 if code in (most, UNTOLD) else 1 - confidence for code, confidence in told]


def _duplicates(texts: Sequence[str], held: Held) -> list[float]:
    """1 less the similarity to the most similar other row, where that is a near duplicate."""
    default = DatasetConfig.model_fields["similarity"].default  # not every format reads it
    least = held.run.identity["config"].get("similarity", default)
    found = [1.0] * len(texts)
    for pair in duplicates(texts, Thresholds(words=max(least, SHORT_SIMILARITY), runs=least)):
        for at in (pair.first, pair.second):
            found[at] = min(found[at], 1 - pair.jaccard)
    return found


def _labels(project: Project, dataset: Dataset, rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """How probable a doubtful label is, of the probability of the one that is suggested."""
    doubts: Iterator[tuple[tuple[str, str], float]] = (
        ((each.row_id, each.asset), each.probability / each.probability_of_suggested)
        for each in doubtful_rows(dataset, project.runner.blobs)
    )
    by_row = dict(doubts)
    return [by_row.get((row["row_id"], row["asset"]), 1.0) for row in rows]
