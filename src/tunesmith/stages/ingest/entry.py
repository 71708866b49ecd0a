"""One record of a source as it was read, before anything is asked of it; or why it was not read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

MAX_ROW_BYTES = 16 << 20
MAX_VALUE_CHARS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A record of a file."""

    pointer: str
    """The file, and after a `#` the line that the record starts on where a file has several."""
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


def bounded_lines(stream: IO[bytes]) -> Iterator[bytes]:
    """The lines of `stream`; of one with more than `MAX_ROW_BYTES`, one byte more than that."""
    while line := stream.readline(MAX_ROW_BYTES + 1):
        yield line
        while len(line) > MAX_ROW_BYTES and not line.endswith(b"\n"):
            line = stream.readline(MAX_ROW_BYTES + 1)
