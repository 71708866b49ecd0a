"""Cut records out of a file of lines: of each line its end is left, so that the others keep their
numbers."""

from __future__ import annotations

from collections.abc import Mapping


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


def said_in_lines(name: str, data: bytes) -> dict[str, bytes]:
    """What stands on each line, by pointer."""
    lines = enumerate(data.split(b"\n"), start=1)
    return {f"{name}#{number}": line.strip() for number, line in lines}


def _line(pointer: str) -> int:
    """The line of a pointer; 0 where a file is one row."""
    number = pointer.rpartition("#")[2] if "#" in pointer else ""
    return int(number) if number.isdecimal() else 0
