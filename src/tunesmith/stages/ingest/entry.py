"""One record of a source as it was read, before anything is asked of it; or why it was not read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, NamedTuple, Protocol

MAX_ROW_BYTES = 16 << 20
MAX_FILE_BYTES = 256 << 20
"""Of a file that has to be read as a whole, such as a PDF; most of one is often pictures."""
MAX_VALUE_CHARS = 200
ERASED = "tunesmith:erased"
"""Stands in a file where a record was cut out, of somebody who is to be forgotten. It is passed
over, and counted where records are numbered, so that what follows keeps its place."""


class Unreadable(ValueError):
    """A file, or a part of one, that cannot be read; `rule` names what it breaks, `value` shows
    where."""

    def __init__(self, rule: str, reason: str, value: str = "") -> None:
        super().__init__(reason)
        self.rule = rule
        self.value = value


class Entry(NamedTuple):
    """A record of a file."""

    pointer: str
    """The file, and after a `#` the line, or number, of the record where a file has several."""
    fields: Mapping[str, Any]
    """JSON types."""
    text: str | None
    """What stands beside the fields; None where a record is its fields."""
    data: bytes
    """As it stands in the file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quarantined:
    """One source row that cannot be used; the fields are its columns."""

    pointer: str
    rule: str
    reason: str
    value: str


def quarantined(pointer: str, rule: str, reason: str, value: str) -> Quarantined:
    """A row that cannot be used, with no more of what is wrong with it than fits a line.

    Half of a character pair, which no UTF-8 can hold, is shown escaped.
    """
    shown = value[:MAX_VALUE_CHARS].encode("utf-8", "backslashreplace").decode()
    said = reason.encode("utf-8", "backslashreplace").decode()
    return Quarantined(pointer=pointer, rule=rule, reason=said, value=shown[:MAX_VALUE_CHARS])


def too_large(pointer: str, what: str) -> Quarantined:
    """A row with more bytes than a row may have."""
    return quarantined(pointer, "too-large", f"a row may have {MAX_ROW_BYTES} bytes", what)


def whole(stream: IO[bytes], limit: int = MAX_FILE_BYTES) -> bytes:
    """The bytes of a file.

    Raises:
        Unreadable: they are more than `limit`.
    """
    data = stream.read(limit + 1)
    if len(data) > limit:
        raise Unreadable("too-large", f"a file that is read as a whole may have {limit} bytes")
    return data


def is_text(text: str) -> bool:
    """Whether it is all characters; half of a character pair, or a byte that was none, is not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def problem_of_names(names: Sequence[str]) -> str:
    """Why these cannot be the names of a table's fields; empty if they can."""
    if not all(names):
        return "the first line is to name the fields, and one has no name"
    twice = [name for name in names if names.count(name) > 1]
    return f"the first line names {twice[0]!r} twice" if twice else ""


class Lines(Protocol):
    """What lines are read from: a stream, or `Blocks`."""

    def readline(self, limit: int, /) -> bytes:
        """The next line; of one that is longer, no more than `limit` bytes."""
        ...


def bounded_lines(stream: Lines) -> Iterator[bytes]:
    """The lines of `stream`; of one with more than `MAX_ROW_BYTES`, one byte more than that."""
    while line := stream.readline(MAX_ROW_BYTES + 1):
        yield line
        while len(line) > MAX_ROW_BYTES and not line.endswith(b"\n"):
            line = stream.readline(MAX_ROW_BYTES + 1)
