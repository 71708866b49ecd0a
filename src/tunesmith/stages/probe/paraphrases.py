"""Other words for test rows, written by somebody who knows what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunesmith.core.errors import DataError
from tunesmith.stages.probe.given import json_lines

KEYS = ("id", "text", "paraphrase")


@dataclass(frozen=True, kw_only=True, slots=True)
class Paraphrases:
    """By what the lines of a file name the row: by its id, or by what it asks."""

    by_id: Mapping[str, str]
    by_text: Mapping[str, str]

    @property
    def num(self) -> int:
        """How many there are."""
        return len(self.by_id) + len(self.by_text)

    def of(self, row_id: str, text: str) -> str | None:
        """What else could be said for `text`, which the row asks; its id comes first."""
        return self.by_id.get(row_id) or self.by_text.get(squeezed(text))


def read_paraphrases(text: str, file: str) -> Paraphrases:
    """What a file says: an object a line, with `id` or `text`, and `paraphrase`.

    Raises:
        DataError: a line names no row, or two; a row has two paraphrases, or its own words.
    """
    by_id: dict[str, str] = {}
    by_text: dict[str, str] = {}
    for line in json_lines(text, file, KEYS, "paraphrase"):
        other = line["paraphrase"]
        names = [key for key in ("id", "text") if key in line]
        name = line[names[0]] if len(names) == 1 else None
        if not isinstance(name, str) or not name.strip():
            raise DataError(
                f"{file}: the paraphrase {other[:60]!r} must name one row",
                remedy='by "id", the row\'s, or by "text", what it asks; not by both',
            )
        known = by_id if names == ["id"] else by_text
        key = name if names == ["id"] else squeezed(name)
        if key in known:
            raise DataError(
                f"{file}: {name[:60]!r} has two paraphrases",
                remedy="keep one: several of one row would count as several rows",
            )
        if names == ["text"] and squeezed(other) == key:
            raise DataError(
                f"{file}: the paraphrase {other[:60]!r} is the text itself", remedy="leave it out"
            )
        known[key] = other
    return Paraphrases(by_id=by_id, by_text=by_text)


def squeezed(text: str) -> str:
    """A text without regard to its white space."""
    return " ".join(text.split())


def require_found(found: Sequence[object], num: int, file: str, dataset: str) -> None:
    """Raise DataError unless one of the `num` paraphrases is of a test row."""
    if not found:
        raise DataError(
            f"{file}: none of its {num} paraphrases is of a test row of {dataset!r} that fits",
            remedy="name rows by their ids (`tunesmith data checkout` writes them, split test), or "
            "by the whole text that they ask",
        )
