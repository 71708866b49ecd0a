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
    exponents. Of lines that begin with one, those are notes that are smaller than the text, or all
    if none is."""
    largest = _BODY * usual_size(pages)
    begin = [[line for line in lines if line.raised and line.raised[0][0] == 0] for lines in pages]
    if any(line.size <= largest for lines in begin for line in lines):
        begin = [[line for line in lines if line.size <= largest] for lines in begin]
    begun = [{line.raised[0][1] for line in lines} for lines in begin]
    referred = [
        {
            number
            for line in lines
            for at, digits in line.raised
            if at or not any(line is note for note in notes)
            for number in _numbers(digits, here) or [digits]
        }
        for lines, notes, here in zip(pages, begin, begun, strict=True)
    ]
    found = []
    for index, lines in enumerate(pages):
        here = begun[index].union(*begun[index + 1 : index + 2])
        asked = referred[index].union(*referred[max(0, index - 1) : index])
        notes = {id(line) for line in begin[index]}
        found.append([_bracketed(line, id(line) in notes, here, asked) for line in lines])
    return found


def usual_size(pages: list[list[Line]]) -> float:
    """The size that most of the text has; 0 where there is none."""
    sizes: Counter[float] = Counter()
    for line in itertools.chain.from_iterable(pages):
        sizes[round(line.size, 1)] += len(line.text)
    return sizes.most_common(1)[0][0] if sizes else 0.0


def _bracketed(line: Line, is_note: bool, begun: set[str], referred: set[str]) -> Line:
    """The line with the numbers in brackets that begin a note or refer to one."""
    text = line.text
    begins_note = False
    for at, number in reversed(line.raised):
        begins = at == 0 and is_note
        known = referred if begins else begun
        if numbers := _numbers(number, known):
            bracketed = "".join(f"[{one}]" for one in numbers)
            text = text[:at] + bracketed + text[at + len(number) :]
            begins_note = begins
    return dataclasses.replace(line, text=text, raised=(), begins_note=begins_note)


def _numbers(digits: str, begun: set[str]) -> list[str]:
    """The numbers of the notes that raised digits refer to: one, or two that follow one another."""
    if digits in begun:
        return [digits]
    for at in range(1, len(digits)):
        one, other = digits[:at], digits[at:]
        if one in begun and other in begun and int(other) == int(one) + 1:
            return [one, other]
    return []


def without_notes(pages: list[list[Line]]) -> tuple[list[list[Line]], list[list[Line]]]:
    """The pages without footnotes, and these: the lines at the foot that are smaller than the text,
    from the first that begins a note, or from the rest of one that began on the page before."""
    largest = _BODY * usual_size(pages)
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
