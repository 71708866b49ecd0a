"""What goes into files of other programs and comes out of them, whatever their format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from tunesmith.core.errors import DataError
from tunesmith.records.rows import Chat, Content, Tagged
from tunesmith.review.marks import Mark, words
from tunesmith.review.parts import parts

CORRECTION, MARKS = "correction", "marks"
"""What the questions are called in which a row is corrected: by a text, by marks on its words."""
TOOLS, TURNS, WORDS = "tools", "messages", "words"
FIELDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "labels": ("text",),
        "text": ("text",),
        "chat": (TOOLS, TURNS),
        "completion": ("prompt", "completion"),
        "feedback": ("prompt", "completion"),
        "checked": ("prompt", "answer"),
        "preference": ("prompt", "first", "second"),
        "tags": (WORDS, "tags"),
        "pairs": ("anchor", "positive", "negative"),
    }
)
"""By format: the names of what is shown of a row, in order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What people are asked of each row of a review."""

    question: str
    """What the question is called: "label" or "verdict"."""
    answers: tuple[str, ...]
    """One of these is to be chosen."""
    fields: tuple[str, ...]
    """Those of `FIELDS`."""
    corrects: bool
    """Whether a text may be given in place of what the row says."""
    marks: tuple[str, ...]
    """What a word may be marked as; none of rows whose words have no tags."""
    guidelines: str
    """Their text."""
    per_row: int
    """How many people are to answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """A judgement that is on record."""

    reviewer: str
    label: str
    seconds: float | None
    text: str
    """The correction, where it is a text."""
    marks: tuple[Mark, ...] | None
    """The correction, where it is of tags."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A row as it is shown to people."""

    review: str
    row: str
    guidelines: str
    """SHA-256 of the guidelines that it is to be judged by."""
    shown: Mapping[str, Any]
    """See `shown`."""
    text: str
    """What a correction is to stand in place of; empty where there is none."""
    marks: tuple[Mark, ...]
    """The tags of its words."""
    judgements: tuple[Given, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """One judgement as a file has it."""

    where: str
    """e.g. "task 3"."""
    review: str
    """Empty in files that were made before it was said."""
    row: str
    guidelines: str
    who: tuple[str, ...]
    """What the file calls whoever judged: number, address, name."""
    label: str
    """Empty where nothing was chosen."""
    seconds: float | None
    texts: tuple[str, ...] = ()
    """What was written as a correction; may be what stands in the row, that a program filled in."""
    marks: tuple[Mark, ...] = ()


def shown(format: str, content: Content) -> dict[str, Any]:
    """Each of `FIELDS`: a text; `TURNS` are a list of objects with a `role` and its `content`."""
    found: dict[str, Any] = {name: [] for name in FIELDS[format]}
    for place, part in enumerate(parts(content)):
        if isinstance(content, Chat) and not (content.tools and place == 0):
            found[TURNS].append({"role": part.name, "content": part.text})
        else:
            found[part.name].append(part.text)
    if isinstance(content, Tagged):
        found[WORDS] = [words(content)]
    return {name: each if name == TURNS else "\n\n".join(each) for name, each in found.items()}


def field(of: Any, name: str, kind: type, where: str, *, default: Any = None) -> Any:
    """A field of an object that was read; `default` where it is missing or null, if there is one.

    Raises:
        DataError: `of` is no object, or the field is missing or of another kind.
    """
    value = of.get(name) if isinstance(of, Mapping) else None
    if value is None and default is not None and isinstance(of, Mapping):
        return default
    if not isinstance(of, Mapping) or not isinstance(value, kind):
        what = "no object" if not isinstance(of, Mapping) else f"without {kind.__name__} {name!r}"
        raise DataError(
            f"{where} is {what}",
            remedy="is it the format that was named? write a file with `tunesmith review export` "
            "and compare",
        )
    return value


def only(labels: list[Any], where: str) -> str:
    """The one label that was chosen; empty where none was.

    Raises:
        DataError: several were, or it is no text.
    """
    if len(labels) > 1 or not all(isinstance(label, str) for label in labels):
        raise DataError(
            f"{where} has {labels!r} where one label is expected",
            remedy='let people choose one: choice="single" in Label Studio, a LabelQuestion in '
            "Argilla",
        )
    return labels[0] if labels else ""


def texts(values: list[Any], where: str) -> tuple[str, ...]:
    """Texts that were written.

    Raises:
        DataError: one is none.
    """
    if not all(isinstance(value, str) for value in values):
        raise DataError(
            f"{where} has {values!r} where a text is expected",
            remedy=f"ask for {CORRECTION!r} in a TextArea in Label Studio, a TextQuestion in "
            "Argilla",
        )
    return tuple(values)


def mark(value: Any, label: str, where: str) -> Mark:
    """A mark that both programs write alike.

    Raises:
        DataError: it has no whole numbers of characters.
    """
    start, end = field(value, "start", int, where), field(value, "end", int, where)
    return Mark(
        start=start, end=end, label=label, text=field(value, "text", str, where, default="")
    )


def require_asked(found: set[str], asked: Asked, where: str) -> None:
    """Raise DataError where questions were answered, and none of those that are asked."""
    known = (asked.question, CORRECTION, MARKS)
    if found and not found.intersection(known):
        raise DataError(
            f"{where} answers {', '.join(map(repr, sorted(found)))}, and {asked.question!r} is "
            "asked",
            remedy="is it another project's file? set the other program up with what `tunesmith "
            "review export --interface FILE` writes",
        )
