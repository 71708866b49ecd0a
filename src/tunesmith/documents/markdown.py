"""Markdown of what other people wrote: one line stays one line, and a cell stays a cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def line(text: object) -> str:
    """One line: purposes and the like are other people's text."""
    return " ".join(str(text).split())


def cell(value: object) -> str:
    """... and no separator of columns."""
    return line(value).replace("|", "\\|")


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> list[str]:
    """A table, as lines."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(map(cell, row)) + " |" for row in lines]
