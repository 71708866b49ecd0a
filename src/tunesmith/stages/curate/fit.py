"""Which rows fit for what they are themselves, whatever the others are.

A plan's preview asks it of a sample, so a filter that looks at one row at a time belongs here.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tunesmith.core.blobs import Blobs
from tunesmith.core.canonical import canonical_json, plain
from tunesmith.core.errors import DataError
from tunesmith.records.review import ReviewedLabels
from tunesmith.records.rows import Chat, Content, Labelled
from tunesmith.stages.curate import filters
from tunesmith.stages.curate.config import READ_BY, DatasetConfig
from tunesmith.stages.curate.content import NotInFormat, compared, stratum, to_content
from tunesmith.stages.curate.count import Length
from tunesmith.stages.curate.dates import by_date
from tunesmith.stages.curate.filters import Filtered
from tunesmith.stages.curate.privacy import Privacy, texts_of, treated
from tunesmith.stages.curate.reviewed import Settled, refuse, settled, with_reviewed_labels
from tunesmith.stages.curate.rows import Dropped, Row, drop
from tunesmith.text.cosine import Progress
from tunesmith.text.normalise import normalise

NOT_IN_FORMAT = "not in the format"
MAX_DETAIL_CHARS = 200
_ROWS_BETWEEN_REPORTS = 200

Read = tuple[Row, Content]
Count = Callable[[Content], Length]
Report = Callable[[str], Progress]
"""Note -> what tells how far a pass over the rows is."""


def fitting(
    config: DatasetConfig,
    rows: Sequence[Row],
    count: Count,
    privacy: Privacy,
    reviewed: ReviewedLabels | None,
    blobs: Blobs,
) -> Filtered:
    """The rows that nothing but other rows could keep out of the dataset, counted; and those that
    curation drops whatever the others are, each with the reason that it gives.

    Raises:
        DataError: the review is of rows of another format.
    """

    def untold(_note: str) -> Progress:
        return lambda _done, _total: None

    dropped: list[Dropped] = []
    kept = list(rows)
    if reviewed is not None:
        kept, dropped, _ = with_reviewed_labels(config, rows, reviewed)
    if config.format == "labels":
        kept, gone = fitting_labelled(config, read_labelled(kept, privacy), count, untold)
    else:
        review = settled(reviewed, blobs)
        kept, gone = fitting_formatted(config, kept, count, privacy, review, untold)
    dropped += gone
    kept, gone = by_date(config, kept)
    return kept, dropped + gone


def read_labelled(rows: Iterable[Row], privacy: Privacy) -> list[Row]:
    """Rows as texts with their labels."""
    return [_labelled(row, privacy) for row in rows]


def _labelled(row: Row, privacy: Privacy) -> Row:
    said, pii = treated(Labelled(text=normalise(row.text), label=row.label), privacy)
    assert isinstance(said, Labelled)
    content = canonical_json(said).decode()
    return dataclasses.replace(row, text=said.text, content=content, pii=pii)


def fitting_labelled(
    config: DatasetConfig, rows: Sequence[Row], count: Count, report: Report
) -> Filtered:
    """Of rows that were read as texts with labels those that fit, counted; and the others."""

    def count_tokens(row: Row) -> int:
        return count(Labelled(text=row.text, label=row.label)).total

    kept, dropped = filters.by_label(rows, config.labels)
    kept, gone = filters.by_language(kept, config.languages, report("tells languages"))
    dropped += gone
    kept, gone = filters.by_quality(kept, config.quality)
    dropped += gone
    kept, gone = filters.by_length(
        kept,
        count_tokens,
        min_chars=config.min_chars,
        max_tokens=config.max_tokens,
        progress=report("counts tokens"),
    )
    return kept, dropped + gone


def fitting_formatted(
    config: DatasetConfig,
    rows: Sequence[Row],
    count: Count,
    privacy: Privacy,
    review: Settled | None,
    report: Report,
) -> Filtered:
    """The rows that are in a format other than labels and fit, read and counted; and the others."""
    read, dropped = _read(config, rows, privacy, review)
    kept, gone = _measured(config, read, count, report("counts tokens"))
    return kept, dropped + gone


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


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_DETAIL_CHARS else f"{line[: MAX_DETAIL_CHARS - 3]}..."
