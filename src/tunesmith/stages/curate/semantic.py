"""Rows that say the same in other words, as an encoder sees it.

Each text is read once. What the encoder cannot read whole is not compared by it: of two texts that
begin alike, or whose words it does not know, it would say that they are one.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tunesmith.core.errors import DataError
from tunesmith.core.ref import PARQUET
from tunesmith.core.step import Context
from tunesmith.records.data import SemanticSize, TrueSize
from tunesmith.records.model import BaseModel
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.curate.rows import Dropped, Row, drop, reporter
from tunesmith.stages.curate.split import Sides
from tunesmith.text.cosine import Progress, Vectors, nearest, pairs, repeats
from tunesmith.text.dedup import components

if TYPE_CHECKING:
    from tunesmith.lm.load import LoadedHead

REASON = "semantic duplicate"
_TEXTS_AT_ONCE = 256

Edges = list[tuple[int, int]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Meanings:
    """An encoder, and its vectors of the texts that it was asked for."""

    encoder: BaseModel
    at_least: float
    loaded: LoadedHead
    unknown: int | None
    """The id that stands for words that the encoder does not know."""
    has_labels: bool
    """Whether rows have labels, which tell them apart."""
    read: dict[str, Vectors | None] = field(default_factory=dict)
    """By text its vector, of length 1; None if the encoder cannot read it whole."""

    def of(self, texts: Sequence[str], progress: Progress) -> tuple[list[int], Vectors]:
        """Positions of those of `texts` that can be read, and a vector of each.

        A text that was read before is not read again.
        """
        new = [text for text in dict.fromkeys(texts) if text not in self.read]
        for start in range(0, len(new), _TEXTS_AT_ONCE):
            progress(start, len(new))
            self._read(new[start : start + _TEXTS_AT_ONCE])
        found = [(place, self.read[text]) for place, text in enumerate(texts)]
        known = [(place, vector) for place, vector in found if vector is not None]
        width = int(self.loaded.model.config.hidden_size)
        stacked = np.stack([vector for _, vector in known]) if known else np.empty((0, width))
        return [place for place, _ in known], stacked.astype(np.float32, copy=False)

    def _read(self, texts: Sequence[str]) -> None:
        from tunesmith.lm.embed import vectors
        from tunesmith.lm.encode import num_special, text_ids

        least, most = num_special(self.loaded, pair=False), self.loaded.context_length
        can_read = []
        for text in texts:
            ids = text_ids(self.loaded, text)
            if least < len(ids) <= most and self.unknown not in ids:
                can_read.append(text)
            else:
                self.read[text] = None
        for text, vector in zip(can_read, vectors(self.loaded, can_read).numpy(), strict=True):
            self.read[text] = vector.copy()


@dataclass(frozen=True, kw_only=True, slots=True)
class Contradiction:
    """A row, and the row with another label that is most similar to it in meaning."""

    row: Row
    other: Row
    cosine: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SemanticFacts:
    """What an encoder found out about a dataset."""

    encoder: BaseModel
    contradictions: tuple[Contradiction, ...]
    """The most similar first."""
    closest: float | None
    """The highest cosine across the split; None if no two rows of different sides were read."""
    num_dropped: int
    """Rows that were dropped for meaning the same as another."""
    num_unread: int
    """Rows that it could not read."""


def meanings_of(config: DatasetConfig, encoder: BaseModel | None, ctx: Context) -> Meanings | None:
    """The encoder that `config` asks for, loaded; None if it asks for none.

    Raises:
        DataError: it cannot make vectors of texts.
    """
    if config.semantic is None:
        return None
    assert encoder is not None  # the graph gives it
    from tunesmith.lm.load import load_head

    try:
        loaded = load_head(encoder, ctx.blobs, "embed")
    except DataError as error:
        raise DataError(
            f"dataset {config.name!r}: base {encoder.name!r} cannot be its semantic encoder: "
            f"{error.message}",
            remedy=error.remedy,
        ) from error
    # Of a fast tokenizer's file: by number in some models, by name in others.
    model = json.loads(loaded.tokenizer.core.to_str())["model"]
    unknown = model.get("unk_id")
    if unknown is None and model.get("unk_token"):
        unknown = loaded.tokenizer.core.token_to_id(model["unk_token"])
    return Meanings(
        encoder=encoder,
        at_least=config.semantic.at_least,
        loaded=loaded,
        unknown=unknown,
        has_labels=config.format == "labels",
    )


def semantic_duplicates(
    rows: Sequence[Row], meanings: Meanings | None, ctx: Context
) -> tuple[list[Row], list[Dropped]]:
    """Keep rows of which no two of one label mean the same, greedily in order; all of them where
    no encoder was asked for.

    A row that goes is that similar to one of its label that stays. Rows with different labels that
    mean the same all stay: one of them is wrong, or they are the hard cases.
    """
    if meanings is None:
        return list(rows), []
    gone = repeated(rows, meanings, ctx)
    kept = [row for place, row in enumerate(rows) if place not in gone]
    dropped = [drop(row, REASON, gone[n].row_id) for n, row in enumerate(rows) if n in gone]
    return kept, dropped


def repeated(rows: Sequence[Row], meanings: Meanings, ctx: Context) -> dict[int, Row]:
    """By position, the rows that are to go, and the kept row that each means the same as."""
    places, vectors = _vectors(rows, meanings, ctx)
    by_label: dict[str, list[int]] = defaultdict(list)
    for number, place in enumerate(places):
        by_label[rows[place].label if meanings.has_labels else ""].append(number)
    gone: dict[int, Row] = {}
    done = 0
    for numbers in by_label.values():
        progress = partial(_report, ctx, done, len(places))
        for number, twins in zip(
            numbers, repeats(vectors[numbers], meanings.at_least, progress), strict=True
        ):
            if twins is not None:
                gone[places[number]] = rows[places[numbers[twins.first]]]
        done += len(numbers)
    return gone


def _report(ctx: Context, before: int, total: int, done: int, _of_label: int) -> None:
    ctx.progress(before + done, total, "compares meanings")


def joined_by_meaning(
    rows: Sequence[Row], meanings: Meanings | None, ctx: Context
) -> tuple[Edges, list[Contradiction]]:
    """Pairs of `rows`, by position, that join all those that mean the same, whatever their labels.

    And for each row that means the same as one with another label the most similar such row, the
    most similar ones first.
    """
    if meanings is None:
        return [], []
    places, vectors = _vectors(rows, meanings, ctx)
    closest: dict[int, tuple[float, int]] = {}

    def found() -> Iterator[tuple[int, int]]:
        progress = reporter(ctx, "compares meanings")
        for twins in pairs(vectors, meanings.at_least, progress):
            first, second = places[twins.first], places[twins.second]
            if meanings.has_labels and rows[first].label != rows[second].label:
                for row, other in ((first, second), (second, first)):
                    # Of equally similar ones the first.
                    closest[row] = max(closest.get(row, (-1.0, 0)), (twins.cosine, -other))
            yield first, second

    groups = components(len(rows), found())
    edges = [(group, row) for row, group in enumerate(groups) if group != row]
    order = sorted(closest, key=lambda row: (-closest[row][0], row))
    return edges, [
        Contradiction(row=rows[row], other=rows[-closest[row][1]], cosine=closest[row][0])
        for row in order
    ]


def most_alike(
    left: Sequence[Row], right: Sequence[str], meanings: Meanings, ctx: Context
) -> dict[int, tuple[int, float]]:
    """By position in `left`, the text of `right` that is most similar in meaning, and the cosine;
    of rows and texts that were read."""
    places, vectors = _vectors(left, meanings, ctx)
    others, theirs = meanings.of(right, reporter(ctx, "reads what rows mean"))
    if not others:
        return {}
    found, cosines = nearest(vectors, theirs)
    return {
        place: (others[at], cosine)
        for place, at, cosine in zip(places, found.tolist(), cosines.tolist(), strict=True)
    }


def _require_apart(
    config: DatasetConfig, sides: Sides, meanings: Meanings, ctx: Context
) -> float | None:
    """The highest cosine of a training row and a test row, by looking at all of them; None if
    the encoder could read no two."""
    found = most_alike(sides.test, [row.text for row in sides.train], meanings, ctx)
    if not found:
        return None
    place = max(found, key=lambda place: found[place][1])
    at, cosine = found[place]
    if cosine >= meanings.at_least:
        raise DataError(
            f"dataset {config.name!r} leaks: test row {sides.test[place].pointer} means the same "
            f"as training row {sides.train[at].pointer} (cosine {cosine:.3f})",
            remedy="take another seed, or lower semantic.at_least",
        )
    return cosine


def facts_of(
    config: DatasetConfig,
    rows: Sequence[Row],
    sides: Sides,
    contradictions: Sequence[Contradiction],
    num_dropped: int,
    meanings: Meanings,
    ctx: Context,
) -> SemanticFacts:
    """What is to be said of a dataset that was cut from `rows`.

    Raises:
        DataError: two rows of different sides mean the same.
    """
    return SemanticFacts(
        encoder=meanings.encoder,
        contradictions=tuple(contradictions),
        closest=_require_apart(config, sides, meanings, ctx),
        num_dropped=num_dropped,
        num_unread=sum(meanings.read[row.text] is None for row in rows),
    )


def semantic_size(
    plain: TrueSize, standing: Sequence[Row], facts: SemanticFacts, meanings: Meanings, ctx: Context
) -> SemanticSize:
    """How much there is by meaning, too. `plain` is without it; `standing` are the near-distinct
    rows of a format that drops no duplicates: those that would go are counted."""
    num_repeated = len(repeated(standing, meanings, ctx)) if standing else facts.num_dropped
    path = ctx.workdir / "contradictions"
    return SemanticSize(
        rows=plain.rows,
        distinct=plain.distinct,
        near_distinct=plain.near_distinct,
        semantic_distinct=plain.near_distinct - num_repeated,
        num_unread=facts.num_unread,
        num_contradictions=len(facts.contradictions),
        contradictions=ctx.blobs.put(write_contradictions(facts.contradictions, path), PARQUET),
    )


def write_contradictions(found: Sequence[Contradiction], path: Path) -> Path:
    """As Parquet; nothing in it is text of a row."""
    columns: dict[str, pa.Array] = {}
    for prefix, rows in (("", [each.row for each in found]), ("other_", [e.other for e in found])):
        for name in ("row_id", "asset", "pointer", "label"):
            said = [getattr(row, name) for row in rows]
            columns[f"{prefix}{name}"] = pa.array(said, pa.string())
    columns["cosine"] = pa.array([each.cosine for each in found], pa.float64())
    pq.write_table(pa.table(columns), path, compression="zstd", row_group_size=10_000)
    return path


def _vectors(rows: Sequence[Row], meanings: Meanings, ctx: Context) -> tuple[list[int], Vectors]:
    return meanings.of([row.text for row in rows], reporter(ctx, "reads what rows mean"))
