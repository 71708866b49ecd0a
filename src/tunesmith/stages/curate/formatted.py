"""Rows of every format but labels: read in the format, measured, without copies."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from tunesmith.core.canonical import canonical_json, plain
from tunesmith.core.errors import DataError
from tunesmith.core.step import Context
from tunesmith.records.model import BaseModel
from tunesmith.records.review import ReviewedLabels
from tunesmith.records.rows import Chat, Content
from tunesmith.stages.curate import filters
from tunesmith.stages.curate.config import READ_BY, DatasetConfig
from tunesmith.stages.curate.content import NotInFormat, compared, stratum, to_content
from tunesmith.stages.curate.count import Length, counter
from tunesmith.stages.curate.privacy import Privacy, privacy_of, texts_of, treated
from tunesmith.stages.curate.reviewed import Settled, refuse, settled
from tunesmith.stages.curate.rows import Chosen, Dropped, Row, drop, reporter
from tunesmith.stages.curate.semantic import Meanings, semantic_duplicates

NOT_IN_FORMAT = "not in the format"
MAX_DETAIL_CHARS = 200
_ROWS_BETWEEN_REPORTS = 200

Read = tuple[Row, Content]


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
    read, dropped = _read(config, source_rows, privacy_of(config, ctx.project), review)
    rows, gone = _measured(config, read, count, reporter(ctx, "counts tokens"))
    dropped += gone
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


def _read(
    config: DatasetConfig, rows: Sequence[Row], privacy: Privacy, review: Settled | None
) -> tuple[list[Read], list[Dropped]]:
    """Each row with what it says in the format; and those that say nothing in it, or that people
    left out."""
    read: list[Read] = []
    dropped: list[Dropped] = []
    for row in rows:
        try:
            content = to_content(config.format, config.columns, fields_of(row))
            content, pii = treated(content, privacy)
            judged, verdict = review.of(row, content) if review else (content, "")
            if review and judged is None:
                dropped.append(refuse(row, verdict, review.reviewed))
                continue
            if judged is not None and judged != content:
                content, more = treated(judged, privacy)
                pii += more  # of what was replaced before it was judged nothing is left to find
            row = dataclasses.replace(row, content=canonical_json(content).decode(), pii=pii)
        except (NotInFormat, TypeError) as error:  # TypeError: a number that JSON cannot hold
            dropped.append(drop(row, NOT_IN_FORMAT, _short(str(error))))
            continue
        said = "\n".join(texts_of(plain(content))) if config.languages or config.quality else ""
        if gone := (
            filters.other_language(row, said, config.languages)
            or filters.low_quality(row, said, config.quality)
        ):
            dropped.append(gone)
        else:
            read.append((row, content))
    common = _common_system_messages(content for _, content in read)
    return [
        (dataclasses.replace(row, text=compared(said, common), label=stratum(said)), said)
        for row, said in read
    ], dropped


def fields_of(row: Row) -> dict[str, Any]:
    """The fields of a source row; its own text and label stand for fields that it lacks.

    A row without a text of its own has its fields as text: those are no text to learn.
    """
    fields: dict[str, Any] = json.loads(row.attributes)
    if row.text != row.attributes:
        fields.setdefault("text", row.text)
    if row.label:
        fields.setdefault("label", row.label)
    return fields


def _common_system_messages(contents: Any) -> frozenset[str]:
    """System messages that more than one conversation starts with."""
    counts = Counter(
        content.messages[0].content
        for content in contents
        if isinstance(content, Chat) and content.messages[0].role == "system"
    )
    return frozenset(message for message, count in counts.items() if count > 1)


def _measured(
    config: DatasetConfig,
    read: Sequence[Read],
    count: Callable[[Content], Length],
    progress: Callable[[int, int], None],
) -> tuple[list[Row], list[Dropped]]:
    """The rows that are neither too short nor too long, counted; and the others."""
    kept: list[Row] = []
    dropped: list[Dropped] = []
    min_chars = config.min_chars if config.format in READ_BY["min_chars"] else 0
    max_tokens = config.max_tokens if config.format in READ_BY["max_tokens"] else math.inf
    for done, (row, content) in enumerate(read):
        if done % _ROWS_BETWEEN_REPORTS == 0:
            progress(done, len(read))
        if len(row.text) < min_chars:
            dropped.append(drop(row, "too short", f"{len(row.text)} characters"))
            continue
        try:
            length = count(content)
        except DataError as error:
            dropped.append(drop(row, "the template refuses it", _short(error.message)))
            continue
        if length.longest > max_tokens:
            dropped.append(drop(row, "too long", f"{length.longest} tokens"))
        else:
            kept.append(dataclasses.replace(row, num_tokens=length.total))
    return kept, dropped


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


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_DETAIL_CHARS else f"{line[: MAX_DETAIL_CHARS - 3]}..."
