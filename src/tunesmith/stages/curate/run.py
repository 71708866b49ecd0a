"""From data assets to a dataset: filtered, without duplicates, split without leaks, carded."""

from __future__ import annotations

import dataclasses
import difflib
from collections import Counter
from collections.abc import Callable, Sequence

from tunesmith.core.errors import DataError
from tunesmith.core.ref import PARQUET
from tunesmith.core.step import Context
from tunesmith.lm.chat_template import conversation
from tunesmith.lm.load import load_tokenizer
from tunesmith.records.data import DataAsset, Dataset, Split
from tunesmith.records.model import BaseModel
from tunesmith.stages.curate import filters
from tunesmith.stages.curate.card import CardFacts, write_card
from tunesmith.stages.curate.config import (
    SHORT_LEAK_SIMILARITY,
    SHORT_SIMILARITY,
    DatasetConfig,
)
from tunesmith.stages.curate.rows import (
    Dropped,
    Row,
    drop,
    read_rows,
    write_dropped,
    write_split,
)
from tunesmith.stages.curate.split import Sides, split
from tunesmith.text.dedup import Closest, Thresholds, duplicates, most_similar
from tunesmith.text.normalise import normalise


def curate(
    config: DatasetConfig, ctx: Context, *, assets: tuple[DataAsset, ...], base: BaseModel
) -> Dataset:
    """The dataset that `config` asks for, and every row that is not in it, with its reason.

    Labels are counted after de-duplication, so that a label is not common for being copied often.

    Raises:
        DataError: there are no rows, too few labels or rows of a label are left, a configured
            label does not occur, or a test row resembles a training row after all.
    """
    source_rows = list(read_rows(assets, ctx.blobs))
    _require_labels(config, source_rows)
    rows, dropped = _filter(config, ctx, source_rows, base)
    distinct = Counter(row.label for row in rows)
    labels = _choose_labels(config, rows, dropped)
    rows, gone = filters.rare_labels(rows, labels)
    dropped += gone
    rows, confusable = _with_components(config, rows, _reporter(ctx, "groups rows"))
    sides = split(
        rows,
        seed=ctx.seed,
        train_per_label=config.train_per_label,
        test_per_label=config.test_per_label,
    )
    dropped += [drop(row, "over the cap", row.label) for row in sides.surplus]
    closest = _check_leakage(config, sides)
    assert len(source_rows) == len(sides.train) + len(sides.test) + len(dropped)
    facts = CardFacts(
        config=config,
        assets=assets,
        base=base,
        seed=ctx.seed,
        num_in=len(source_rows),
        sides=sides,
        labels=labels,
        distinct=distinct,
        dropped_by_reason=dict(sorted(Counter(row.reason for row in dropped).items())),
        confusable=confusable,
        duplicate=_duplicate_thresholds(config),
        leak=_leak_thresholds(config),
        closest=closest,
    )
    return _record(facts, ctx, dropped)


def _filter(
    config: DatasetConfig, ctx: Context, rows: list[Row], base: BaseModel
) -> tuple[list[Row], list[Dropped]]:
    """The distinct rows that fit, and the others."""
    tokenizer = load_tokenizer(base, ctx.blobs)

    def count_tokens(row: Row) -> int:
        return len(conversation(tokenizer, config.instruction, row.text, row.label).ids)

    dropped: list[Dropped] = []
    rows = [dataclasses.replace(row, text=normalise(row.text)) for row in rows]
    # Before labels are filtered: a text that also stands for a label that is not wanted, or for an
    # expression, does not stand for one label.
    rows, gone = filters.conflicts(rows)
    dropped += gone
    rows, gone = filters.by_label(rows, config.labels)
    dropped += gone
    rows, gone = filters.by_length(
        rows,
        count_tokens,
        min_chars=config.min_chars,
        max_tokens=config.max_tokens,
        progress=_reporter(ctx, "counts tokens"),
    )
    dropped += gone
    rows, gone = filters.exact_duplicates(rows)
    dropped += gone
    rows, gone = filters.near_duplicates(
        rows, _duplicate_thresholds(config), _reporter(ctx, "compares rows")
    )
    dropped += gone
    return rows, dropped


def _duplicate_thresholds(config: DatasetConfig) -> Thresholds:
    return Thresholds(
        words=max(config.similarity, SHORT_SIMILARITY),
        runs=config.similarity,
    )


def _leak_thresholds(config: DatasetConfig) -> Thresholds:
    return Thresholds(
        words=max(config.leak_similarity, SHORT_LEAK_SIMILARITY),
        runs=config.leak_similarity,
    )


def _reporter(ctx: Context, note: str) -> Callable[[int, int], None]:
    return lambda done, total: ctx.progress(done, total, note)


def _require_labels(config: DatasetConfig, rows: Sequence[Row]) -> None:
    if not rows:
        raise DataError(
            f"dataset {config.name!r} is empty: its sources have no rows",
            remedy=f"check the sources {', '.join(config.sources)}",
        )
    present = {row.label for row in rows}
    for label in config.labels:
        if label not in present:
            near = difflib.get_close_matches(label, sorted(present), n=3) or sorted(present)[:3]
            raise DataError(
                f"dataset {config.name!r}: no row has the label {label!r}",
                remedy=f"did you mean {' or '.join(map(repr, near))}?",
            )


def _choose_labels(
    config: DatasetConfig, rows: Sequence[Row], dropped: Sequence[Dropped]
) -> tuple[str, ...]:
    """The labels of the dataset, sorted; each has at least two distinct rows."""
    counts = Counter(row.label for row in rows)
    chosen = config.labels or filters.commonest_labels(rows, config.num_labels)
    reasons = Counter(row.reason for row in dropped).most_common()
    lost = ", ".join(f"{count} {reason}" for reason, count in reasons) or "none"
    if not config.labels and len(chosen) < config.num_labels:
        raise DataError(
            f"dataset {config.name!r}: {len(chosen)} labels are left, num_labels is "
            f"{config.num_labels} (dropped: {lost})",
            remedy="lower num_labels, raise max_tokens, or add sources",
        )
    for label in chosen:
        if counts[label] < 2:
            raise DataError(
                f"dataset {config.name!r}: label {label!r} has {counts[label]} distinct rows left, "
                f"and needs one to tune on and one to test on (dropped: {lost})",
                remedy="leave the label out, raise max_tokens, or add sources",
            )
    return tuple(sorted(chosen))


def _with_components(
    config: DatasetConfig, rows: Sequence[Row], progress: Callable[[int, int], None]
) -> tuple[list[Row], tuple[frozenset[str], ...]]:
    """The rows, each with its component: named by its smallest row_id, so that it is stable.

    And the row ids of each pair of near duplicates with different labels.
    """
    found = duplicates([row.text for row in rows], _leak_thresholds(config), progress=progress)
    names: dict[int, str] = {}
    for row, component in zip(rows, found.components, strict=True):
        names[component] = min(names.get(component, row.row_id), row.row_id)
    near = _duplicate_thresholds(config)
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
        if pair is not None and pair.reaches(_leak_thresholds(config)):
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
        labels=facts.labels,
        train=_side(sides.train, ctx, "train"),
        test=_side(sides.test, ctx, "test"),
        dropped=ctx.blobs.put(write_dropped(dropped, ctx.workdir / "dropped"), PARQUET),
        num_in=facts.num_in,
        num_dropped=len(dropped),
        dropped_by_reason=facts.dropped_by_reason,
        num_components=facts.num_components,
        card=ctx.blobs.put(write_card(facts).encode(), "text/markdown"),
        licences=tuple(sorted({asset.licence for asset in facts.assets})),
    )


def _side(rows: Sequence[Row], ctx: Context, name: str) -> Split:
    return Split(
        rows=ctx.blobs.put(write_split(rows, ctx.workdir / name), PARQUET),
        num_rows=len(rows),
        num_tokens=sum(row.num_tokens for row in rows),
    )
