"""Rows that are a text and its label: the distinct ones that fit, of the labels that are kept."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from functools import partial

from tunesmith.core.errors import DataError
from tunesmith.core.step import Context
from tunesmith.records.model import BaseModel
from tunesmith.stages.curate import filters
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.curate.count import counter
from tunesmith.stages.curate.fit import fitting_labelled, read_labelled
from tunesmith.stages.curate.privacy import privacy_of
from tunesmith.stages.curate.rows import Chosen, Dropped, Row, reporter
from tunesmith.stages.curate.semantic import Meanings, semantic_duplicates


def choose_labelled(
    config: DatasetConfig,
    ctx: Context,
    source_rows: list[Row],
    base: BaseModel,
    meanings: Meanings | None = None,
) -> Chosen:
    """The distinct rows of the labels that are kept, and the others, each with its reason.

    Labels are counted after de-duplication, so that a label is not common for being copied often.

    Raises:
        DataError: a row has no label, too few labels or rows of a label are left, or a configured
            label does not occur.
    """
    _require_labels(config, source_rows)
    rows, dropped, counted = _filter(config, ctx, source_rows, base)
    rows, gone = semantic_duplicates(rows, meanings, ctx)
    dropped += gone
    distinct = Counter(row.label for row in rows)
    labels = _choose_labels(config, rows, dropped)
    rows, gone = filters.rare_labels(rows, labels)
    return Chosen(
        rows=rows, dropped=dropped + gone, labels=labels, distinct=distinct, counted=counted
    )


def _filter(
    config: DatasetConfig, ctx: Context, rows: list[Row], base: BaseModel
) -> tuple[list[Row], list[Dropped], str]:
    """The distinct rows that fit, the others, and what their tokens are counted over."""
    count, counted = counter(config, base, ctx.blobs)
    rows = read_labelled(rows, privacy_of(config, ctx.project))
    # Before labels are filtered: a text that also stands for a label that is not wanted, or for an
    # expression, does not stand for one label.
    rows, dropped = filters.conflicts(rows)
    rows, gone = fitting_labelled(config, rows, count, partial(reporter, ctx))
    dropped += gone
    rows, gone = filters.exact_duplicates(rows)
    dropped += gone
    rows, gone = filters.near_duplicates(
        rows, filters.duplicate_thresholds(config), reporter(ctx, "compares rows")
    )
    dropped += gone
    return rows, dropped, counted


def _require_labels(config: DatasetConfig, rows: Sequence[Row]) -> None:
    unnamed = next((row for row in rows if not row.label), None)
    if unnamed is not None:
        raise DataError(
            f"dataset {config.name!r}: {unnamed.pointer} of {unnamed.asset} has no label",
            remedy="name the field that holds it: `label` of the source; or set the `format` of "
            "the dataset to what its rows are",
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
    chosen = config.labels or filters.commonest_labels(counts, config.num_labels)
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
