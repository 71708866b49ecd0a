"""From data assets to a dataset: filtered, without duplicates, split without leaks, carded."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence

from tunesmith.core.canonical import parse
from tunesmith.core.errors import DataError
from tunesmith.core.ref import PARQUET
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset, Dataset, Split
from tunesmith.records.model import BaseModel
from tunesmith.stages.curate.card import CardFacts, write_card
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.curate.filters import duplicate_thresholds, leak_thresholds
from tunesmith.stages.curate.formatted import choose_formatted
from tunesmith.stages.curate.labelled import choose_labelled
from tunesmith.stages.curate.rows import (
    Dropped,
    Row,
    drop,
    read_rows,
    reporter,
    write_dropped,
    write_split,
)
from tunesmith.stages.curate.split import Caps, Sides, caps_of_all, caps_per_label, split
from tunesmith.text.dedup import Closest, duplicates, most_similar


def curate(
    config: DatasetConfig, ctx: Context, *, assets: tuple[DataAsset, ...], base: BaseModel
) -> Dataset:
    """The dataset that `config` asks for, and every row that is not in it, with its reason.

    Raises:
        DataError: there are no rows, or too few are left; or a test row resembles a training row
            after all.
    """
    source_rows = list(read_rows(assets, ctx.blobs))
    if not source_rows:
        raise DataError(
            f"dataset {config.name!r} is empty: its sources have no rows",
            remedy=f"check the sources {', '.join(config.sources)}",
        )
    choose = choose_labelled if config.format == "labels" else choose_formatted
    chosen = choose(config, ctx, source_rows, base)
    rows, confusable = _with_components(config, chosen.rows, reporter(ctx, "groups rows"))
    sides = split(rows, seed=ctx.seed, caps=_caps(config, rows))
    dropped = [*chosen.dropped, *(drop(row, "over the cap", row.label) for row in sides.surplus)]
    closest = _check_leakage(config, sides)
    assert len(source_rows) == len(sides.train) + len(sides.test) + len(dropped)
    facts = CardFacts(
        config=config,
        assets=assets,
        base=base,
        seed=ctx.seed,
        num_in=len(source_rows),
        sides=sides,
        chosen=chosen,
        dropped_by_reason=dict(sorted(Counter(row.reason for row in dropped).items())),
        confusable=confusable,
        closest=closest,
    )
    return _record(facts, ctx, dropped)


def _caps(config: DatasetConfig, rows: Sequence[Row]) -> Caps:
    totals = Counter(row.label for row in rows)
    if config.format == "labels":
        return caps_per_label(totals, config.train_per_label, config.test_per_label)
    return caps_of_all(
        totals,
        train_rows=config.train_rows,
        test_rows=config.test_rows,
        test_share=config.test_share,
    )


def _with_components(
    config: DatasetConfig, rows: Sequence[Row], progress: Callable[[int, int], None]
) -> tuple[list[Row], tuple[frozenset[str], ...]]:
    """The rows, each with its component: named by its smallest row_id, so that it is stable.

    And the row ids of each pair of near duplicates with different labels.
    """
    found = duplicates([row.text for row in rows], leak_thresholds(config), progress=progress)
    names: dict[int, str] = {}
    for row, component in zip(rows, found.components, strict=True):
        names[component] = min(names.get(component, row.row_id), row.row_id)
    near = duplicate_thresholds(config)
    confusable = tuple(
        frozenset((rows[pair.first].row_id, rows[pair.second].row_id))
        for pair in found.pairs
        if pair.reaches(near) and rows[pair.first].label != rows[pair.second].label
    )
    named = [
        dataclasses.replace(row, component=names[component])
        for row, component in zip(rows, found.components, strict=True)
    ]
    return named, confusable


def _check_leakage(config: DatasetConfig, sides: Sides) -> Closest:
    """The most similar pairs across the split, by looking at all pairs."""
    closest = most_similar([row.text for row in sides.train], [row.text for row in sides.test])
    for pair in (closest.words, closest.runs):
        if pair is not None and pair.reaches(leak_thresholds(config)):
            train, test = sides.train[pair.first], sides.test[pair.second]
            raise DataError(
                f"dataset {config.name!r} leaks: test row {test.pointer} shares "
                f"{pair.jaccard:.2f} of its {'words' if pair.short else 'word 5-grams'} with "
                f"training row {train.pointer}",
                remedy="take another seed, or lower leak_similarity",
            )
    return closest


def _record(facts: CardFacts, ctx: Context, dropped: Sequence[Dropped]) -> Dataset:
    config, sides = facts.config, facts.sides
    return Dataset(
        name=config.name,
        instruction=config.instruction,
        labels=facts.chosen.labels or _tags(config, sides),
        train=_side(sides.train, ctx, "train"),
        test=_side(sides.test, ctx, "test"),
        dropped=ctx.blobs.put(write_dropped(dropped, ctx.workdir / "dropped"), PARQUET),
        num_in=facts.num_in,
        num_dropped=len(dropped),
        dropped_by_reason=facts.dropped_by_reason,
        num_components=facts.num_components,
        card=ctx.blobs.put(write_card(facts).encode(), "text/markdown"),
        licences=tuple(sorted({asset.licence for asset in facts.assets})),
        format=config.format,
    )


def _tags(config: DatasetConfig, sides: Sides) -> tuple[str, ...]:
    """Every tag that occurs, sorted; none where the format has no tags."""
    if config.format != "tags":
        return ()
    rows = (*sides.train, *sides.test)
    return tuple(sorted({tag for row in rows for tag in parse(row.content.encode())["tags"]}))


def _side(rows: Sequence[Row], ctx: Context, name: str) -> Split:
    return Split(
        rows=ctx.blobs.put(write_split(rows, ctx.workdir / name), PARQUET),
        num_rows=len(rows),
        num_tokens=sum(row.num_tokens for row in rows),
    )
