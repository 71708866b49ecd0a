"""Cut records out of a file of lines: of each line its end is left, so that the others keep their
numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

_NO_LINE_ENDS = b" \t\r\v\f"


def cut_lines(data: bytes, gone: Mapping[str, bytes]) -> bytes:
    """`data` without the lines that the records `gone` stand on, which are given by pointer.

    Raises:
        ValueError: one does not stand on the lines that its pointer names.
    """
    lines = data.split(b"\n")
    for pointer, record in gone.items():
        first = _line(pointer) - 1
        past = first + 1 + record.count(b"\n")
        if first < 0 or record not in b"\n".join(lines[first:past]):
            raise ValueError(f"{pointer} does not stand there")
        lines[first:past] = [b""] * (past - first)
    return b"\n".join(lines)


def said_in_lines(name: str, data: bytes, pointers: Iterable[str]) -> dict[str, bytes]:
    """What stands at each of the pointers of a file: up to the next one, or to the end."""
    lines = data.split(b"\n")
    starts = sorted({_line(pointer) for pointer in pointers} - {0})
    return {
        f"{name}#{start}": b"\n".join(lines[start - 1 : end - 1]).rstrip().lstrip(_NO_LINE_ENDS)
        for start, end in pairwise([*starts, len(lines) + 1])
    }


def _line(pointer: str) -> int:
    """The line of a pointer; 0 where a file is one row."""
    number = pointer.rpartition("#")[2] if "#" in pointer else ""
    return int(number) if number.isdecimal() else 0
