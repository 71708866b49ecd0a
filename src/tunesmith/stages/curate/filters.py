"""Reject rows, each with its reason. Every filter returns the rows that stay and those that go."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence

from tunesmith.stages.curate.config import (
    SHORT_LEAK_SIMILARITY,
    SHORT_SIMILARITY,
    DatasetConfig,
)
from tunesmith.stages.curate.rows import Dropped, Row, drop
from tunesmith.text.cosine import Progress
from tunesmith.text.dedup import Thresholds, duplicate_of, duplicates, exact_key
from tunesmith.text.language import language
from tunesmith.text.quality import Rule, broken

Filtered = tuple[list[Row], list[Dropped]]

_COMPOUND = re.compile(r"\b(?:AND|OR|WITH)\b")
_ROWS_BETWEEN_REPORTS = 200


def duplicate_thresholds(config: DatasetConfig) -> Thresholds:
    """From where rows are near duplicates."""
    return Thresholds(words=max(config.similarity, SHORT_SIMILARITY), runs=config.similarity)


def leak_thresholds(config: DatasetConfig) -> Thresholds:
    """From where rows are put on one side."""
    return Thresholds(
        words=max(config.leak_similarity, SHORT_LEAK_SIMILARITY), runs=config.leak_similarity
    )


def conflicts(rows: Sequence[Row]) -> Filtered:
    """Drop equal texts that have several labels, every one of them.

    Equal up to case and white space: a notice that is wrapped differently is the same notice.
    """
    labels: dict[str, set[str]] = defaultdict(set)
    keys = [exact_key(row.text) for row in rows]
    for row, key in zip(rows, keys, strict=True):
        labels[key].add(row.label)
    kept, dropped = [], []
    for row, key in zip(rows, keys, strict=True):
        if len(labels[key]) > 1:
            dropped.append(drop(row, "conflicting labels", ", ".join(sorted(labels[key]))))
        else:
            kept.append(row)
    return kept, dropped


def by_label(rows: Sequence[Row], labels: Collection[str]) -> Filtered:
    """Keep the listed labels; without a list, those that are one key and no expression."""
    kept, dropped = [], []
    for row in rows:
        if reason := unwanted(row.label, labels):
            dropped.append(drop(row, reason, row.label))
        else:
            kept.append(row)
    return kept, dropped


def unwanted(label: str, labels: Collection[str]) -> str:
    """Why rows of a label are dropped; empty where they are not. `labels` are those listed."""
    if labels:
        return "" if label in labels else "label not listed"
    return "compound label" if _COMPOUND.search(label) else ""


def other_language(row: Row, said: str, languages: Collection[str]) -> Dropped | None:
    """`row`, dropped, if what it says is in none of `languages`; else, or without any, None."""
    if not languages:
        return None
    code, confidence = language(said)
    if code in languages:
        return None
    return drop(row, "language not listed", f"{code} ({confidence:.2f})")


def low_quality(row: Row, said: str, rules: Collection[Rule]) -> Dropped | None:
    """`row`, dropped, if what it says breaks one of `rules`; else None."""
    gone = [rule for rule in broken(said) if rule in rules] if rules else []
    return drop(row, "low quality", ", ".join(gone)) if gone else None


def by_quality(rows: Sequence[Row], rules: Collection[Rule]) -> Filtered:
    """Keep the rows whose text breaks none of `rules`."""
    gone = [low_quality(row, row.text, rules) for row in rows]
    kept = [row for row, dropped in zip(rows, gone, strict=True) if dropped is None]
    return kept, [dropped for dropped in gone if dropped is not None]


def by_language(rows: Sequence[Row], languages: Collection[str], progress: Progress) -> Filtered:
    """Keep the rows whose text is in one of `languages`; every row without any."""
    kept, dropped = [], []
    for done, row in enumerate(rows):
        if done % _ROWS_BETWEEN_REPORTS == 0:
            progress(done, len(rows))
        if gone := other_language(row, row.text, languages):
            dropped.append(gone)
        else:
            kept.append(row)
    return kept, dropped


def by_length(
    rows: Sequence[Row],
    count_tokens: Callable[[Row], int],
    *,
    min_chars: int,
    max_tokens: int,
    progress: Progress,
) -> Filtered:
    """Keep rows of at least `min_chars` characters and at most `max_tokens` tokens, counted."""
    kept, dropped = [], []
    for done, row in enumerate(rows):
        if done % _ROWS_BETWEEN_REPORTS == 0:
            progress(done, len(rows))
        if len(row.text) < min_chars:
            dropped.append(drop(row, "too short", f"{len(row.text)} characters"))
        elif (num_tokens := count_tokens(row)) > max_tokens:
            dropped.append(drop(row, "too long", f"{num_tokens} tokens"))
        else:
            kept.append(dataclasses.replace(row, num_tokens=num_tokens))
    return kept, dropped


def exact_copies(rows: Sequence[Row]) -> Filtered:
    """Keep the first of rows that say the same, to the letter."""
    return _firsts(rows, [row.content for row in rows])


def exact_duplicates(rows: Sequence[Row]) -> Filtered:
    """Keep the first of equal texts, equal as in `conflicts`."""
    return _firsts(rows, [exact_key(row.text) for row in rows])


def _firsts(rows: Sequence[Row], keys: Sequence[str]) -> Filtered:
    firsts: dict[str, Row] = {}
    kept, dropped = [], []
    for row, key in zip(rows, keys, strict=True):
        first = firsts.setdefault(key, row)
        if first is row:
            kept.append(row)
        else:
            dropped.append(drop(row, "exact duplicate", first.row_id))
    return kept, dropped


def near_duplicates(rows: Sequence[Row], thresholds: Thresholds, progress: Progress) -> Filtered:
    """Keep rows of which no two of one label are as similar as `thresholds`, greedily in order.

    A row that goes is that similar to one of its label that stays. Similar rows with different
    labels all stay: they are the hard cases, and without them accuracy looks better than it is.
    """
    found = duplicates([row.text for row in rows], thresholds, progress=progress)
    same = (pair for pair in found if rows[pair.first].label == rows[pair.second].label)
    kept, dropped = [], []
    for row, pair in zip(rows, duplicate_of(len(rows), same), strict=True):
        if pair is None:
            kept.append(row)
        else:
            dropped.append(drop(row, "near duplicate", rows[pair.first].row_id))
    return kept, dropped


def commonest_labels(counts: Mapping[str, int], num_labels: int) -> tuple[str, ...]:
    """The `num_labels` commonest labels, fewer if there are fewer; ties by name."""
    return tuple(sorted(counts, key=lambda label: (-counts[label], label))[:num_labels])


def rare_labels(rows: Sequence[Row], labels: Collection[str]) -> Filtered:
    """Keep the rows of the commonest `labels`."""
    kept = [row for row in rows if row.label in labels]
    dropped = [
        drop(row, "label not among the commonest", row.label)
        for row in rows
        if row.label not in labels
    ]
    return kept, dropped
