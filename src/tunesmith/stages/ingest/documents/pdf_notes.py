"""Footnotes of a PDF: their numbers in brackets, and themselves apart from the text."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter

from tunesmith.stages.ingest.documents.pdf_lines import Line

_BODY = 0.95
"""A footnote's characters are at most this share of the size that most of the text has."""


def with_notes(pages: list[list[Line]]) -> list[list[Line]]:
    """The pages with the small raised numbers of footnotes in brackets: "areas1" is no word. Only
    where a line of the page, or of the next one, begins with the same number, since others are
    exponents."""
    begun = [{line.raised[0][1] for line in lines if _begins_raised(line)} for lines in pages]
    referred = [
        {number for line in lines for at, number in line.raised if at > 0} for lines in pages
    ]
    found = []
    for index, lines in enumerate(pages):
        here = begun[index].union(*begun[index + 1 : index + 2])
        asked = referred[index].union(*referred[max(0, index - 1) : index])
        found.append([_bracketed(line, here, asked) for line in lines])
    return found


def _begins_raised(line: Line) -> bool:
    return bool(line.raised) and line.raised[0][0] == 0


def _bracketed(line: Line, begun: set[str], referred: set[str]) -> Line:
    """The line with the numbers in brackets that begin a note or refer to one."""
    text = line.text
    for at, number in reversed(line.raised):
        if number in (begun if at else referred):
            text = f"{text[:at]}[{number}]{text[at + len(number) :]}"
    begins_note = _begins_raised(line) and line.raised[0][1] in referred
    return dataclasses.replace(line, text=text, raised=(), begins_note=begins_note)


def without_notes(pages: list[list[Line]]) -> tuple[list[list[Line]], list[list[Line]]]:
    """The pages without footnotes, and these: the lines at the foot that are smaller than the text,
    from the first that begins a note, or from the rest of one that began on the page before."""
    sizes: Counter[float] = Counter()
    for line in itertools.chain.from_iterable(pages):
        sizes[round(line.size, 1)] += len(line.text)
    largest = _BODY * sizes.most_common(1)[0][0] if sizes else 0.0
    kept, notes = [], []
    unfinished = 0.0
    for lines in pages:
        foot = len(lines)
        while foot and lines[foot - 1].size <= largest:
            foot -= 1
        small = lines[foot:]
        begin = next((at for at, line in enumerate(small) if line.begins_note), len(small))
        while unfinished and begin and round(small[begin - 1].size - unfinished, 1) == 0:
            begin -= 1
        kept.append(lines[: foot + begin])
        notes.append(small[begin:])
        unfinished = 0.0
        if notes[-1] and notes[-1][-1].text[-1] not in ".!?:":
            unfinished = notes[-1][-1].size
    return kept, notes
