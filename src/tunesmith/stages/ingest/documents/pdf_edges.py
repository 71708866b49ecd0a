"""What is only on the pages of a PDF because they are pages: headers, footers, numbers."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from tunesmith.stages.ingest.documents.pdf_lines import Line
from tunesmith.stages.ingest.documents.pdf_notes import usual_size
from tunesmith.stages.ingest.documents.pdf_sections import Entry, letters

_EDGE = 2
"""Lines at the top and at the bottom of a page that may be a header or a footer."""
_OVERLEAF = re.compile(
    r"\W*(?:table \S+ )?continue[sd]\b(?: (?:on|from|to|the|next|previous|page))+\W*", re.IGNORECASE
)
"""What stands below and above a table or a listing that goes on overleaf, and nothing else."""
_NUMBER = re.compile(r"(?<![0-9])[0-9]{1,6}(?![0-9])")
_MAX_NUMBERS = 8
"""Of a line, that may be the page's."""
_PAGE_AT_START = re.compile(r"[0-9]{1,6}(?=\s|$|[^\W\d_]{2})")
_PAGE_AT_THE_END = re.compile(r"(?:(?<=\s)|(?<=[^\W\d_]{2})|^)[0-9]{1,6}$")
_ROMAN = re.compile("[ivxlc]+", re.IGNORECASE)
OFTEN = 3
"""Pages that have a line at the same place, for it to be a header or a footer."""
SAME_PLACE = 3.0
"""Points."""
_LARGER = 1.05
"""A running head is at most this many times as large as the text."""
_OF_TITLES = 0.75
"""Share of a running head's letters that are of titles."""
_KIND = re.compile(r"\b(?:chapter|appendix|part|section)\b", re.IGNORECASE)
_MIN_TITLE = 3
_CUT_TITLE = 8
"""Letters of a title, and of the start of one that is cut short."""


def without_edges(pages: list[list[Line]]) -> list[list[Line]]:
    """The pages without the lines at their top and bottom that are on many of them at one place,
    whatever number of the page is in them, and without page numbers and what stands beside them."""
    seen: Counter[tuple[str, int]] = Counter()
    numbers: Counter[tuple[int, int]] = Counter()
    for index, lines in enumerate(pages):
        edges = [lines[at] for at in _edges(lines)]
        seen.update(
            {
                (form, slot)
                for line in edges
                for form in _forms(line, index)
                for slot in _slots(line)
            }
        )
        numbers.update(
            {
                (value - index, slot)
                for line in edges
                for value in _numbers(line)
                for slot in _slots(line)
            }
        )
    counted = {slot for (_, slot), count in numbers.items() if count >= OFTEN}

    def is_edge(index: int, line: Line) -> bool:
        forms = _forms(line, index)
        if any(seen[form, slot] >= OFTEN for form in forms for slot in _slots(line)):
            return True
        return any(
            numbers[value - index, slot] >= OFTEN
            for value in _numbers(line)
            for slot in _slots(line)
        ) or (_has_roman_number(line) and any(slot in counted for slot in _slots(line)))

    places = [line.first for lines in pages for line in lines]
    middle = (max(places) + min(places)) / 2 if places else 0.0
    kept = []
    for index, lines in enumerate(pages):
        dropped = {at for at in _edges(lines) if is_edge(index, lines[at])}
        dropped |= {at for at in _edges(lines) if _is_outside(lines[at], lines, dropped, middle)}
        kept.append(
            [
                line
                for at, line in enumerate(lines)
                if at not in dropped and not _OVERLEAF.fullmatch(line.text)
            ]
        )
    return kept


def _is_outside(line: Line, lines: list[Line], dropped: set[int], middle: float) -> bool:
    """Whether a line stands above a header or below a footer: it is the other line of that."""
    edges = [lines[at].first for at in dropped]
    return any(middle < edge < line.first or line.first < edge < middle for edge in edges)


def _edges(lines: list[Line]) -> list[int]:
    """Which lines of a page are at its top or its bottom."""
    total = len(lines)
    return [at for at in range(total) if at < _EDGE or at >= total - _EDGE]


def _slots(line: Line) -> tuple[int, int]:
    """The places that a line is at, of which lines at nearly the same height share one."""
    slot = int(line.first // SAME_PLACE)
    return slot, slot + 1


def _forms(line: Line, index: int) -> set[str]:
    """What a line has in common with that of other pages: its words, and these with one number as
    its distance from the page's. Headings that differ in their numbers have none in common."""
    text = " ".join(line.text.casefold().split())
    return {text} | {
        f"{text[: found.start()]}#{int(found.group()) - index}#{text[found.end() :]}"
        for found in itertools.islice(_NUMBER.finditer(text), _MAX_NUMBERS)
    }


def _numbers(line: Line) -> set[int]:
    """The page number that a line may begin or end with, perhaps without a space beside it."""
    found = (_PAGE_AT_START.match(line.text), _PAGE_AT_THE_END.search(line.text))
    return {int(match.group()) for match in found if match}


def _has_roman_number(line: Line) -> bool:
    words = line.text.split()
    return bool(_ROMAN.fullmatch(words[0]) or _ROMAN.fullmatch(words[-1]))


def without_running_heads(pages: list[list[Line]], entries: Sequence[Entry]) -> list[list[Line]]:
    """The pages without their first or last line where it says the titles of chapters or sections
    that began before, as it does at the same place on other pages."""
    largest = _LARGER * usual_size(pages)
    titles = {_name(entry.title): entry.page for entry in reversed(entries)}
    found: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for number, lines in enumerate(pages):
        known = [title for title, page in titles.items() if page <= number]
        for at in {0, len(lines) - 1} if lines else ():
            line = lines[at]
            is_of_text = line.begins_section or line.size > largest
            if not is_of_text and _is_of_titles(_name(line.text), known):
                for slot in _slots(line):
                    found[slot].append((number, at))
    dropped = {place for places in found.values() if len(places) >= OFTEN for place in places}
    return [
        [line for at, line in enumerate(lines) if (number, at) not in dropped]
        for number, lines in enumerate(pages)
    ]


def _name(title: str) -> str:
    """The letters of a title, without what kind of a section it is of."""
    return letters(_KIND.sub("", title))


def _is_of_titles(said: str, titles: list[str]) -> bool:
    """Whether most letters are of whole titles, but the last one may be cut short."""
    left = said
    for title in sorted(titles, key=len, reverse=True):
        if len(title) >= _MIN_TITLE:
            left = left.replace(title, "", 1)
    cut = 0
    for title in titles:
        at = left.find(title[:_CUT_TITLE])
        if len(title) > _CUT_TITLE and at >= 0 and title.startswith(left[at:]):
            cut = max(cut, len(left) - at)
    return bool(said) and len(said) - len(left) + cut >= _OF_TITLES * len(said)
