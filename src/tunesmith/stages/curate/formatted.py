"""Rows of every format but labels: read in the format, measured, without copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

from tunesmith.core.errors import DataError
from tunesmith.core.step import Context
from tunesmith.records.model import BaseModel
from tunesmith.records.review import ReviewedLabels
from tunesmith.stages.curate import filters
from tunesmith.stages.curate.config import READ_BY, DatasetConfig
from tunesmith.stages.curate.count import counter
from tunesmith.stages.curate.fit import fields_of, fitting_formatted
from tunesmith.stages.curate.privacy import privacy_of
from tunesmith.stages.curate.reviewed import settled
from tunesmith.stages.curate.rows import Chosen, Dropped, Row, reporter
from tunesmith.stages.curate.semantic import Meanings, semantic_duplicates


def choose_formatted(
    config: DatasetConfig,
    ctx: Context,
    source_rows: list[Row],
    base: BaseModel,
    meanings: Meanings | None = None,
    reviewed: ReviewedLabels | None = None,
) -> Chosen:
    """The rows that are in the format, fit and are no copies, as people said that they should be;
    and the others, with their reasons.

    Near and semantic duplicates go only where the row is what they were compared by: of questions
    that are nearly the same the answers may differ.

    Raises:
        DataError: fewer than two rows are left.
    """
    count, counted = counter(config, base, ctx.blobs)
    review = settled(reviewed, ctx.blobs)
    privacy = privacy_of(config, ctx.project)
    rows, dropped = fitting_formatted(
        config, source_rows, count, privacy, review, partial(reporter, ctx)
    )
    rows, gone = filters.exact_copies(rows)
    dropped += gone
    if config.format in READ_BY["similarity"]:
        thresholds = filters.duplicate_thresholds(config)
        rows, gone = filters.near_duplicates(rows, thresholds, reporter(ctx, "compares rows"))
        dropped += gone
        rows, gone = semantic_duplicates(rows, meanings, ctx)
        dropped += gone
    _require_two(config, source_rows, rows, dropped)
    distinct = Counter(row.label for row in rows)
    return Chosen(
        rows=rows,
        dropped=dropped,
        distinct=distinct,
        counted=counted,
        applied=review.applied() if review else None,
    )


def _require_two(
    config: DatasetConfig, source: Sequence[Row], rows: Sequence[Row], dropped: Sequence[Dropped]
) -> None:
    if len(rows) >= 2:
        return
    reasons = Counter(row.reason for row in dropped).most_common()
    lost = ", ".join(f"{number} {reason}" for reason, number in reasons)
    example = ""
    if dropped:
        worst = next(row for row in dropped if row.reason == reasons[0][0])
        example = f"; e.g. {worst.pointer}: {worst.detail}"
    names = ", ".join(sorted(fields_of(source[0]))) or "none"
    raise DataError(
        f"dataset {config.name!r}: of {len(source)} rows {len(rows)} are left, and it takes one to "
        f"tune on and one to test on (dropped: {lost}{example})",
        remedy=f"the fields of a source row are {names}: say in `columns` which is which, check "
        "`format` and max_tokens, or add rows",
    )
