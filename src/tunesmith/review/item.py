"""What goes into files of other programs and comes out of them, whatever their format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunesmith.core.errors import DataError
from tunesmith.records.review import Judgement


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A row as it is shown to people."""

    row: str
    text: str
    guidelines: str
    """SHA-256 of the guidelines that it is to be judged by."""
    judgements: tuple[Judgement, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """One judgement as a file has it."""

    where: str
    """e.g. "task 3"."""
    row: str
    guidelines: str
    who: tuple[str, ...]
    """What the file calls whoever judged: number, address, name."""
    label: str
    """Empty where nothing was chosen."""
    seconds: float | None


def field(of: Any, name: str, kind: type, where: str, *, default: Any = None) -> Any:
    """A field of an object that was read; `default` where it is missing or null, if there is one.

    Raises:
        DataError: `of` is no object, or the field is missing or of another kind.
    """
    value = of.get(name) if isinstance(of, Mapping) else None
    if value is None and default is not None and isinstance(of, Mapping):
        return default
    if not isinstance(value, kind):
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
