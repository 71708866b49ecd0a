"""Where the sections of a PDF begin: at the places of its outline, which bookmarks lead to, or,
where it has none, at lines of larger type."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tunesmith.stages.ingest.documents.pdf_lines import Line
from tunesmith.stages.ingest.documents.pdf_notes import usual_size

_LARGER = 1.15
"""A heading's characters are at least this many times the size that most of the text has."""
_BELOW = 8
"""Lines below the place that an entry leads to, in which its title may begin."""
_START = 4
"""Letters of a title's first line, where it has several."""
_AT_TOP = 3
"""Lines above a title that belong to it, such as "Chapter" and "1"."""
_LETTERS = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """An entry of the outline."""

    title: str
    level: int
    page: int
    """From 0."""
    top: float | None
    """Points from the bottom of the page; None: the entry leads to the page as a whole."""


def outline(file: Any) -> list[Entry]:
    """The entries of a file's outline that lead to one of its pages."""
    found = []
    for mark in file.get_toc():
        place = mark.get_dest()
        page = place.get_index() if place is not None else None
        if page is not None:
            title = mark.get_title()
            found.append(Entry(title=title, level=mark.level, page=page, top=_top(place)))
    return found


def _top(place: Any) -> float | None:
    import pypdfium2.raw as pdfium

    kind, values = place.get_view()
    at = {pdfium.PDFDEST_VIEW_XYZ: 1, pdfium.PDFDEST_VIEW_FITH: 0, pdfium.PDFDEST_VIEW_FITBH: 0}
    return values[at[kind]] if kind in at and len(values) > at[kind] else None


def with_sections(pages: list[list[Line]], entries: Iterable[Entry]) -> list[list[Line]]:
    """The pages, on which the first line of each section says so."""
    larger = _LARGER * usual_size(pages)
    begun: Mapping[int, set[int]] = {number: set() for number in range(len(pages))}
    has_outline = False
    for entry in entries:
        if entry.page < len(pages):
            begun[entry.page].update(_place(entry, pages[entry.page], larger))
            has_outline = True
    if not has_outline:
        for number, lines in enumerate(pages):
            begun[number].update(_of_larger_type(lines, larger))
    return [
        [
            dataclasses.replace(line, begins_section=True) if at in begun[number] else line
            for at, line in enumerate(lines)
        ]
        for number, lines in enumerate(pages)
    ]


def _place(entry: Entry, lines: list[Line], larger: float) -> Iterator[int]:
    """Which line of its page the section of an entry begins with, if its title is there."""
    title = letters(entry.title)
    below = [at for at, line in enumerate(lines) if entry.top is None or line.first < entry.top]
    near = below if entry.top is None else below[:_BELOW]
    for at in below if title else ():
        said = letters(lines[at].text)
        is_start = said.startswith(title) or (len(said) >= _START and title.startswith(said))
        if said == title or (is_start and at in near):
            first = at
            while first > below[0] and at - first < _AT_TOP and lines[first - 1].size >= larger:
                first -= 1
            yield first
            return
    # LaTeX's entries of an index and of a bibliography lead to what stands below their titles.
    above = [at for at in range(len(lines)) if at not in below and lines[at].size >= larger]
    yield from [at for at in above if title and letters(lines[at].text) == title][-1:]


def letters(text: str) -> str:
    """Letters in lower case: numbers are left out of outlines."""
    return "".join(_LETTERS.findall(text)).casefold()


def _of_larger_type(lines: list[Line], larger: float) -> Iterator[int]:
    for at, line in enumerate(lines):
        is_larger = line.size >= larger and bool(_LETTERS.search(line.text))
        if is_larger and (not at or lines[at - 1].size < larger):
            yield at
