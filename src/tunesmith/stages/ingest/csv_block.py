"""The records of many lines of CSV at once.

The csv module looks at each character. Here a text is cut at its quotes: what lies between the
first and the second, the third and the fourth, ... stands within them, and the rest is cut at its
delimiters and ends of lines. It is right if each pair of quotes is a field as a whole; where one is
not, or a record has another number of fields, the csv module is asked, which knows what that is.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Sequence
from typing import NamedTuple

_END = b"\1"
"""What stands for an end of a line within quotes."""
_ESCAPED = b'"\\' + bytes(range(0x20))
"""What JSON writes in another way."""


class Records(NamedTuple):
    """Records, by columns."""

    columns: Sequence[Sequence[str]]
    data: Sequence[bytes]
    """Each as it stands in the file, without the end of its last line."""
    starts: Sequence[int]
    """How many lines lie before each."""
    num_bytes: int
    """Of all of them."""
    num_lines: int
    is_odd: bool = False
    """Whether something unusual comes next."""
    is_verbatim: bool = False
    """Whether all values stand in JSON as they are."""


def records(block: bytes, delimiter: str, num_fields: int) -> Records:
    """The records that a block of whole lines begins with, up to one that is none, or only ends
    behind it."""
    is_text = True
    try:
        block.decode()
    except UnicodeDecodeError as error:
        block = block[: block.rfind(b"\n", 0, error.start) + 1]
        is_text = False
    found = _cut(block, delimiter, num_fields) or _by_module(block, delimiter, num_fields)
    return found if is_text else found._replace(is_odd=True)


def _cut(block: bytes, delimiter: str, num_fields: int) -> Records | None:
    """All of them; None where there is something unusual, or nothing that is whole."""
    within: list[bytes] = []
    outside = masked = block
    if b'"' in block:
        if _END in block:
            return None
        pieces = block.split(b'"')
        outside, within = _sides(pieces)
        pieces[1::2] = [piece.replace(b"\n", _END) for piece in pieces[1::2]]
        masked = b'"'.join(pieces)
    text = outside.decode().replace("\r\n", "\n")
    lines = text.split("\n")
    del lines[-1]
    are_odd = {line.count(delimiter) for line in lines} != {num_fields - 1}
    if are_odd or "\r" in text or (num_fields == 1 and "" in lines):
        return None
    if (values := _values(text, delimiter, within)) is None:
        return None
    data = masked.split(b"\n", len(lines))[:-1]
    ends = [0, *itertools.accumulate(len(each) + 1 for each in data)]
    lines_before: Sequence[int] = range(len(data) + 1)
    if within:
        lines_before = [0, *itertools.accumulate(each.count(_END) + 1 for each in data)]
        data = [block[at : past - 1] for at, past in itertools.pairwise(ends)]
    return Records(
        columns=[values[at::num_fields] for at in range(num_fields)],
        data=[each.rstrip(b"\r") for each in data] if b"\r" in outside else data,
        starts=lines_before[:-1],
        num_bytes=ends[-1],
        num_lines=lines_before[-1],
        is_verbatim=_is_verbatim(outside, within, delimiter),
    )


def _sides(pieces: list[bytes]) -> tuple[bytes, list[bytes]]:
    """What stands outside of quotes, with one in place of each value within, and these values, up
    to a record that goes on behind the block."""
    outer, within = pieces[::2], pieces[1::2]
    if b"" in outer[1:]:  # two quotes that mean one
        kept, joined, parts = outer[:1], [], []
        for inside, after in zip(within, outer[1:], strict=False):
            parts.append(inside)
            if after:
                kept.append(after)
                joined.append(b'"'.join(parts))
                parts = []
        outer, within = kept, joined
    outside = b'"'.join(outer)
    outside = outside[: outside.rfind(b"\n") + 1]
    return outside, within[: outside.count(b'"')]


def _values(text: str, delimiter: str, within: list[bytes]) -> list[str] | None:
    """All values of all records, of which those in quotes are `within`; None where one of these is
    only a part of its field."""
    values = text.replace("\n", delimiter).split(delimiter)
    del values[-1]
    at = -1
    try:
        for value in within:
            at = values.index('"', at + 1)
            values[at] = value.decode()
    except ValueError:
        return None
    return values


def _is_verbatim(outside: bytes, within: list[bytes], delimiter: str) -> bool:
    quoted = b"".join(within)
    if b"\n" in quoted or b'"' in quoted:
        return False
    plain = outside.translate(None, _ESCAPED.translate(None, b'\r\n"' + delimiter.encode()))
    return len(plain) == len(outside) and len(quoted.translate(None, _ESCAPED)) == len(quoted)


def _by_module(block: bytes, delimiter: str, num_fields: int) -> Records:
    """The same, by the csv module, up to a record that is unusual."""
    lines = io.StringIO(block.decode(), newline="\n")
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    found: list[list[str]] = []
    ends, is_odd = [0], False
    try:
        for values in reader:
            if len(values) != num_fields:
                is_odd = True
                break
            found.append(values)
            ends.append(reader.line_num)
    except csv.Error:  # or it only goes on behind the block
        is_odd = reader.line_num < block.count(b"\n")
    there = block.split(b"\n", ends[-1])[: ends[-1]]
    data = [b"\n".join(there[at:past]) for at, past in itertools.pairwise(ends)]
    return Records(
        columns=list(zip(*found, strict=True)),
        data=[each.rstrip(b"\r\n") for each in data],
        starts=ends[:-1],
        num_bytes=sum(map(len, there)) + len(there),
        num_lines=ends[-1],
        is_odd=is_odd,
    )
