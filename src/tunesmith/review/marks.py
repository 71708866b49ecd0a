"""Tags of words as marks on a text, as other programs have them, and back.

Where all tags are IOB2 ("B-DRUG", "I-DRUG", "O") a mark is of what they name ("DRUG") and covers
all of its words; otherwise each word has a mark with its tag. Words without a mark are "O".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from tunesmith.core.errors import DataError, UsageError
from tunesmith.records.rows import Tagged

OUTSIDE = "O"
BEGIN, INSIDE = "B-", "I-"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """Characters of a text, `text[start:end]`, and what they were marked as."""

    start: int
    end: int
    label: str
    text: str = ""
    """What the file says that they are; empty where it does not."""


def words(row: Tagged) -> str:
    """The text that is marked: a character of it for each of the words'. Those beyond U+FFFF, such
    as emoji, are replaced: some programs count one of them, others two."""
    return " ".join(
        "".join(each if each <= "\uffff" else "\ufffd" for each in token) for token in row.tokens
    )


def labels(tags: Collection[str], rows: Iterable[Tagged]) -> tuple[str, ...]:
    """What words of rows may be marked as; `tags` are those of the dataset, of which rows of an
    earlier version may have others."""
    given = list(rows)
    every = {*tags}.union(*(row.tags for row in given)) - {OUTSIDE}
    kinds = {tag[2:] for tag in every}
    is_iob2 = all(_is_tag(tag) for tag in every) and all(_is_iob2(row.tags) for row in given)
    return tuple(sorted(kinds if is_iob2 and not kinds & every else every))


def of_row(row: Tagged, labels: Collection[str]) -> tuple[Mark, ...]:
    """The tags of a row; `labels` are those of `labels`."""
    found: list[Mark] = []
    text = words(row)
    for (start, end), tag in zip(_places(row.tokens), row.tags, strict=True):
        if tag == OUTSIDE:
            continue
        is_whole = tag in labels
        if not is_whole and tag.startswith(INSIDE):
            start = found.pop().start
        label = tag if is_whole else tag[2:]
        found.append(Mark(start=start, end=end, label=label, text=text[start:end]))
    return tuple(found)


def tags_of(
    marks: Iterable[Mark], row: Tagged, tags: Collection[str], where: str
) -> tuple[str, ...]:
    """The tag of each word of a row, any part of which may be marked; `tags` are all there are.

    Raises:
        DataError: a mark is outside the text, or on no word, or two are on one, or the file has
            other words there; or a word without one has no tag.
        UsageError: nothing may be marked so.
    """
    found = [""] * len(row.tokens)
    text, places = words(row), list(_places(row.tokens))
    for mark in sorted(marks, key=lambda each: (each.start, each.end)):
        _require_in(mark, text, where)
        on = [at for at, (start, end) in enumerate(places) if start < mark.end and mark.start < end]
        if not on:
            raise DataError(
                f"{where} marks no word at {mark.start}:{mark.end}", remedy="take the mark away"
            )
        for nth, at in enumerate(on):
            if found[at]:
                raise DataError(
                    f"{where} marks {row.tokens[at]!r} twice", remedy="leave one mark on a word"
                )
            found[at] = _tag(mark.label, tags, where, first=nth == 0)
    if OUTSIDE not in tags and "" in found:
        raise DataError(
            f"{where} has no mark on {row.tokens[found.index('')]!r}",
            remedy="mark each word: the dataset has no tag 'O' for one without",
        )
    return tuple(tag or OUTSIDE for tag in found)


def _require_in(mark: Mark, text: str, where: str) -> None:
    if not 0 <= mark.start < mark.end <= len(text):
        raise DataError(
            f"{where} marks {mark.start}:{mark.end} of a text of {len(text)} characters",
            remedy="count from 0, the end not in it, as in the file that was exported",
        )
    there = text[mark.start : mark.end]
    if mark.text and mark.text.split() != there.split():
        raise DataError(
            f"{where} says {mark.text!r} at {mark.start}:{mark.end}, where {there!r} is",
            remedy="were the texts changed there? mark the rows of `tunesmith review export`",
        )


def _tag(label: str, tags: Collection[str], where: str, *, first: bool) -> str:
    if label in tags:
        return label
    if not {BEGIN + label, INSIDE + label} & {*tags}:
        kinds = sorted({tag[2:] if _is_tag(tag) else tag for tag in tags if tag != OUTSIDE})
        raise UsageError(
            f"{where} marks a word as {label!r}, which no tag of the dataset is",
            remedy=f"there is: {', '.join(kinds)}",
        )
    return (BEGIN if first else INSIDE) + label


def _places(tokens: Sequence[str]) -> Iterable[tuple[int, int]]:
    start = 0
    for token in tokens:
        yield start, start + len(token)
        start += len(token) + 1


def _is_tag(tag: str) -> bool:
    return tag == OUTSIDE or (tag[:2] in (BEGIN, INSIDE) and len(tag) > 2)


def _is_iob2(tags: Sequence[str]) -> bool:
    before = OUTSIDE
    for tag in tags:
        if tag.startswith(INSIDE) and before[2:] != tag[2:]:
            return False
        before = tag
    return True
