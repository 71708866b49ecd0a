"""Markdown of what other people wrote: one line stays one line, and a cell stays a cell."""

from __future__ import annotations

import re
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


def code(text: object, most: int = 300) -> str:
    """One line as code, of at most `most` characters: nothing in it is a mark of Markdown, HTML, a
    link, somebody's name or a command to whoever shows it. It has no place in a table, whose cells
    are told apart first.

    >>> code("a<b>"), code("two `ticks`"), code("")
    ('`a<b>`', '`` two `ticks` ``', '` `')
    """
    # What cannot be seen, or turns the direction of writing, could make it look like another.
    said = line("".join(each if each.isprintable() else " " for each in str(text)))
    said = said if len(said) <= most else said[: most - 1] + "…"
    fence = "`" * (1 + max(map(len, re.findall("`+", said)), default=0))
    pad = " " if "`" in (said[:1], said[-1:]) else ""
    return f"{fence}{pad}{said or ' '}{pad}{fence}"
