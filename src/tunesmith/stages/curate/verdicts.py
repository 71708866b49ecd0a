"""What people may say of a row that has no labels, and what the row is then."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping
from types import MappingProxyType

from tunesmith.core.blobs import Blobs
from tunesmith.core.canonical import draw, fingerprint, parse
from tunesmith.core.ref import Blob, from_plain
from tunesmith.records.review import UNUSABLE, ReviewedLabels
from tunesmith.records.rows import (
    Chat,
    Checked,
    Completion,
    Content,
    Feedback,
    Preference,
    Tagged,
    Text,
)
from tunesmith.stages.curate.content import NotInFormat, problem

ACCEPTED, REJECTED, CORRECTED = "accepted", "rejected", "corrected"
FIRST, SECOND = "first", "second"
LIKED = "liked"
_AS_IT_IS = (ACCEPTED, REJECTED, CORRECTED)
VERDICTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "chat": _AS_IT_IS,
        "completion": _AS_IT_IS,
        "text": _AS_IT_IS,
        "checked": _AS_IT_IS,
        "tags": _AS_IT_IS,
        "preference": (FIRST, SECOND, "tie", "neither"),
        "feedback": (LIKED, "not liked", REJECTED),
        "pairs": ("together", "apart"),
    }
)
"""By format: what may be said of a row."""
LEFT_OUT = frozenset({REJECTED, "tie", "neither", "apart"})
"""Verdicts for which a row is not in the dataset."""


def leaves_out(format: str, label: str) -> bool:
    """Whether a row of which that was said is not in the dataset."""
    return label == UNUSABLE if format == "labels" else label in LEFT_OUT


def still_there(reviewed: ReviewedLabels, purged: Collection[str]) -> ReviewedLabels:
    """What was accepted, without corrections whose blobs were erased: what those rows should be is
    not known any more, and what they are is not right, so they are left out."""
    gone = {row for row, blob in reviewed.corrections.items() if blob.sha256 in purged}
    left = {row: blob for row, blob in reviewed.corrections.items() if row not in gone}
    labels = {**reviewed.labels, **dict.fromkeys(gone, REJECTED)}
    return dataclasses.replace(reviewed, labels=labels, corrections=left)


def content_digest(content: Content) -> str:
    """What tells that a row still says what was judged: 32 hexadecimal digits."""
    return fingerprint(content)[:32]


def in_order(row: Preference) -> tuple[str, str]:
    """Both answers, the one that is called "first" before the other. Which one that is follows from
    the texts alone and says nothing of which of them the source prefers."""
    first, second = sorted(
        (row.chosen, row.rejected), key=lambda answer: draw(f"{row.prompt}\0{answer}")
    )
    return first, second


def correctable(content: Content) -> str:
    """The part of a row that a correction is a new text of.

    Raises:
        NotInFormat: rows of its format are not corrected.
    """
    match content:
        case Chat():
            return content.messages[-1].content
        case Completion():
            return content.completion
        case Text():
            return content.text
        case Checked():
            return content.answer
        case Tagged():
            return json.dumps(content.tags, ensure_ascii=False)
    raise NotInFormat("rows of this format are not corrected")


def corrected(content: Content, text: str) -> Content:
    """The row with `text` in that part; of tags it is a JSON list, one for each word.

    Raises:
        NotInFormat: it would be no row of the format, or rows of it are not corrected.
    """
    match content:
        case Chat():
            *before, last = content.messages
            turns = (*before, dataclasses.replace(last, content=text))
            changed: Content = dataclasses.replace(content, messages=turns)
        case Completion():
            changed = dataclasses.replace(content, completion=text)
        case Text():
            changed = dataclasses.replace(content, text=text)
        case Checked():
            changed = dataclasses.replace(content, answer=text)
        case Tagged():
            changed = dataclasses.replace(content, tags=_tags(text))
        case _:
            raise NotInFormat("rows of this format are not corrected")
    if wrong := problem(changed):
        raise NotInFormat(wrong)
    return changed


def _tags(text: str) -> tuple[str, ...]:
    try:
        tags = json.loads(text)
    except (ValueError, RecursionError):
        tags = None
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise NotInFormat('tags are a JSON list of texts, such as ["O", "B-DRUG"]')
    return tuple(tags)


def as_judged(content: Content, verdict: str) -> Content | None:
    """The row as people said that it is, but for corrections; None where it is left out."""
    if verdict in LEFT_OUT:
        return None
    match content:
        case Preference():
            first, second = in_order(content)
            if verdict == SECOND:
                first, second = second, first
            return dataclasses.replace(content, chosen=first, rejected=second)
        case Feedback():
            return dataclasses.replace(content, label=verdict == LIKED)
    return content


def read_correction(blobs: Blobs, blob: Blob, like: type[Content]) -> Content:
    """A row as somebody corrected it.

    Raises:
        StoreError: it is not there, or not whole.
    """
    return from_plain(like, parse(blobs.get(blob))["content"])
