"""From data assets to a dataset: filtered, without duplicates, split without leaks, carded."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

from tunesmith.asset.accounted import require_accounted
from tunesmith.core.canonical import parse
from tunesmith.core.errors import DataError
from tunesmith.core.ref import PARQUET
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset, Dataset, Split, TrueSize
from tunesmith.records.licence import LicenceStatements
from tunesmith.records.model import BaseModel
from tunesmith.records.review import ReviewedLabels
from tunesmith.stages.curate.apart import barred_rows, kept_apart
from tunesmith.stages.curate.card import CardFacts, write_card
from tunesmith.stages.curate.config import READ_BY, DatasetConfig
from tunesmith.stages.curate.dates import dated
from tunesmith.stages.curate.filters import duplicate_thresholds, leak_thresholds
from tunesmith.stages.curate.formatted import choose_formatted
from tunesmith.stages.curate.labelled import choose_labelled
from tunesmith.stages.curate.licensed import require_licences
from tunesmith.stages.curate.mix import mixed
from tunesmith.stages.curate.privacy import counts, privacy_of
from tunesmith.stages.curate.reviewed import with_reviewed_labels
from tunesmith.stages.curate.rows import (
    Chosen,
    Dropped,
    Row,
    drop,
    read_rows,
    reporter,
    write_dropped,
    write_split,
)
from tunesmith.stages.curate.semantic import (
    REASON,
    Contradiction,
    Meanings,
    facts_of,
    joined_by_meaning,
    meanings_of,
    semantic_size,
)
from tunesmith.stages.curate.split import Caps, Sides, caps_of_all, caps_per_label, split
from tunesmith.stages.curate.synthetic import GENERATED, beside_their_seeds, require_share
from tunesmith.stages.curate.together import joined
from tunesmith.text.dedup import (
    Closest,
    Pair,
    components,
    duplicate_of,
    duplicates,
    most_similar,
)

DUPLICATES = ("exact duplicate", "near duplicate", REASON)
"""Reasons for which a row is dropped for one that stays; the detail is its id."""


def curate(
    config: DatasetConfig,
    ctx: Context,
    *,
    assets: tuple[DataAsset, ...],
    base: BaseModel,
    apart: tuple[Dataset, ...] = (),
    reviewed: ReviewedLabels | None = None,
    encoder: BaseModel | None = None,
    licences: tuple[LicenceStatements, ...] = (),
) -> Dataset:
    """The dataset that `config` asks for, and every row that is not in it, with its reason.

    It may not train on test rows of `apart`; what was `reviewed` stands in place of the sources';
    `encoder` says which rows mean the same; `licences` say what was found of the sources'.

    Raises:
        DataError: a licence is not allowed, or doubtful; there are no rows, or too few are left; a
            test row resembles a training row after all; there is personal data, or more that is
            synthetic, which `config` refuses; nothing of its review was accepted; or the encoder
            cannot make vectors.
    """
    require_licences(config, assets, licences)
    meanings = meanings_of(config, encoder, ctx)
    source_rows = _source_rows(config, assets, ctx)
    usable, unusable, applied = with_reviewed_labels(config, source_rows, reviewed)
    chosen = _choose(config, ctx, usable, base, meanings, reviewed)
    rows, undated = dated(config, chosen.rows)
    seeded = beside_their_seeds(rows, chosen.dropped, DUPLICATES)
    rows, near, contradictions = _with_components(config, rows, assets, seeded, meanings, ctx)
    rows = kept_apart(config, rows, apart, meanings, ctx)
    sides = _sides(config, rows, ctx)
    dropped = [*unusable, *chosen.dropped, *undated, *_left_out(sides)]
    require_accounted(len(source_rows), len(sides.train), len(sides.test), len(dropped))
    dropped_by_reason = dict(sorted(Counter(row.reason for row in dropped).items()))
    size = _true_size(config, chosen, dropped_by_reason, near)
    semantic = None
    if meanings is not None:
        num_dropped = dropped_by_reason.get(REASON, 0)
        semantic = facts_of(config, rows, sides, contradictions, num_dropped, meanings, ctx)
        size = semantic_size(size, _not_dropped(config, rows, near), semantic, meanings, ctx)
    facts = CardFacts(
        config=config,
        assets=assets,
        base=base,
        seed=ctx.seed,
        num_in=len(source_rows),
        sides=sides,
        chosen=chosen,
        dropped_by_reason=dropped_by_reason,
        confusable=_confusable(rows, near),
        closest=_check_leakage(config, sides),
        size=size,
        pii=counts(config, (*sides.train, *sides.test), privacy_of(config, ctx.project)),
        semantic=semantic,
        applied=applied or chosen.applied,
        licences=licences,
    )
    return _record(facts, ctx, dropped)


def _choose(
    config: DatasetConfig,
    ctx: Context,
    rows: list[Row],
    base: BaseModel,
    meanings: Meanings | None,
    reviewed: ReviewedLabels | None,
) -> Chosen:
    if config.format == "labels":
        return choose_labelled(config, ctx, rows, base, meanings)
    return choose_formatted(config, ctx, rows, base, meanings, reviewed)


def _source_rows(config: DatasetConfig, assets: Sequence[DataAsset], ctx: Context) -> list[Row]:
    # Of two that say the same the first stays: not the one that was generated.
    rows = list(read_rows(sorted(assets, key=lambda asset: asset.synthetic is not None), ctx.blobs))
    if not rows:
        raise DataError(
            f"dataset {config.name!r} is empty: its sources have no rows",
            remedy=f"check the sources {', '.join(config.sources)}",
        )
    return rows


def _left_out(sides: Sides) -> list[Dropped]:
    """The rows that the split leaves out."""
    found = [drop(row, "belongs to an earlier row", row.component) for row in sides.straddling]
    found += [drop(row, "over the cap", row.label) for row in sides.surplus]
    found += [drop(row, GENERATED, row.component) for row in sides.generated]
    found += [drop(row, "beyond its source's share", row.asset) for row in sides.unmixed]
    return found + barred_rows(sides)


def _confusable(rows: Sequence[Row], near: Sequence[Pair]) -> tuple[frozenset[str], ...]:
    return tuple(
        frozenset((rows[pair.first].row_id, rows[pair.second].row_id))
        for pair in near
        if rows[pair.first].label != rows[pair.second].label
    )


def _sides(config: DatasetConfig, rows: Sequence[Row], ctx: Context) -> Sides:
    sides = split(
        rows,
        seed=ctx.seed,
        caps=_caps(config, rows),
        by_date=bool(config.test_from),
        tests_synthetic=config.test_synthetic,
    )
    sides = mixed(config, sides, ctx.seed)
    require_share(config, sides)
    return sides


def _caps(config: DatasetConfig, rows: Sequence[Row]) -> Caps:
    totals = Counter(row.label for row in rows)
    tested = (
        totals
        if config.test_synthetic
        else Counter(row.label for row in rows if not row.is_synthetic)
    )
    if config.format == "labels" and config.test_from:  # the date has shared them out
        train, test = config.train_per_label, config.test_per_label
        return Caps(train=dict.fromkeys(totals, train), test=dict.fromkeys(totals, test))
    if config.format == "labels":
        return dataclasses.replace(
            caps_per_label(totals, config.train_per_label, config.test_per_label),
            test=caps_per_label(tested, config.train_per_label, config.test_per_label).test,
        )

    def caps(of: Mapping[str, int]) -> Caps:
        return caps_of_all(
            of,
            train_rows=config.train_rows,
            test_rows=config.test_rows,
            test_share=1.0 if config.test_from else config.test_share,
        )

    return Caps(train=caps(totals).train, test=caps(tested).test)


def _with_components(
    config: DatasetConfig,
    rows: Sequence[Row],
    assets: Sequence[DataAsset],
    seeded: Sequence[tuple[int, int]],
    meanings: Meanings | None,
    ctx: Context,
) -> tuple[list[Row], list[Pair], list[Contradiction]]:
    """The rows, each with its component: named by its smallest row_id, so that it is stable.

    And each pair of near duplicates that are still there, by position; and the contradictions.
    """
    progress = reporter(ctx, "groups rows")
    found = duplicates([row.text for row in rows], leak_thresholds(config), progress=progress)
    edges = [*seeded, *((pair.first, pair.second) for pair in found)]
    edges += joined(config, rows, {asset.name: asset.subject for asset in assets})
    alike, contradictions = joined_by_meaning(rows, meanings, ctx)
    edges += alike
    places = components(len(rows), edges)
    names: dict[int, str] = {}
    for row, component in zip(rows, places, strict=True):
        names[component] = min(names.get(component, row.row_id), row.row_id)
    thresholds = duplicate_thresholds(config)
    near = [pair for pair in found if pair.reaches(thresholds)]
    named = [
        dataclasses.replace(row, component=names[component])
        for row, component in zip(rows, places, strict=True)
    ]
    return named, near, contradictions


def _true_size(
    config: DatasetConfig, chosen: Chosen, dropped: Mapping[str, int], near: Sequence[Pair]
) -> TrueSize:
    """How much the rows that fit say; `near` are the near duplicates among the chosen ones."""
    num_exact, num_near = (dropped.get(f"{which} duplicate", 0) for which in ("exact", "near"))
    kept = sum(chosen.distinct.values()) + dropped.get(REASON, 0)
    if config.format not in READ_BY["similarity"]:  # they were not dropped, so they are counted
        num_near = sum(pair is not None for pair in duplicate_of(len(chosen.rows), near))
        kept -= num_near
    return TrueSize(rows=kept + num_near + num_exact, distinct=kept + num_near, near_distinct=kept)


def _not_dropped(config: DatasetConfig, rows: Sequence[Row], near: Sequence[Pair]) -> list[Row]:
    """The near-distinct rows of a format that drops no duplicates; of others none."""
    if config.format in READ_BY["similarity"]:
        return []
    goes = duplicate_of(len(rows), near)
    return [row for row, pair in zip(rows, goes, strict=True) if pair is None]


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
        pii=facts.pii,
        size=facts.size,
        pii_treatment=config.pii,
        num_synthetic=sum(row.is_synthetic for row in (*sides.train, *sides.test)),
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
