"""The lines of a PDF's page: their characters, and where and how large these are, as PDFium has it.

Small raised digits are told apart here, since only PDFium knows the size of a character.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tunesmith.stages.ingest.entry import MAX_ROW_BYTES, Unreadable

_SMALL = 0.8
"""A digit of this share of its line's size is raised, or the number of a footnote."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A line of a page; places are in points from the bottom of the page."""

    text: str
    first: float
    """Where its first character stands that is not raised."""
    last: float
    """Where its last one does that is not raised: below, if a word was hyphenated."""
    size: float
    """Of its characters, as the one in the middle has it."""
    left: float = 0.0
    right: float = 0.0
    """Where it begins and ends, in points from the left of the page."""
    raised: tuple[tuple[int, str], ...] = ()
    """Where in the text small digits stand, which may be the number of a footnote, and which."""
    begins_note: bool = False
    """Whether it begins with the number of a footnote that the text refers to."""
    begins_section: bool = False
    """Whether it is the first line of a section's heading."""


def read_lines(page: Any) -> list[Line]:
    """The lines of a page, in PDFium's order; the page is closed.

    Raises:
        Unreadable: it has more characters than a text may have.
    """
    text_page = page.get_textpage()
    try:
        return [_raised(one, text_page) for one in _with_lone_numbers(_read_lines(text_page))]
    finally:
        text_page.close()
        page.close()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Read:
    """A line, and where its characters are in PDFium's list."""

    line: Line
    places: list[int]
    codes: list[int]


def _read_lines(text_page: Any) -> Iterator[_Read]:
    import pypdfium2.raw as pdfium

    total = text_page.count_chars()
    if total > MAX_ROW_BYTES:
        raise Unreadable("too-large", f"a text may have {MAX_ROW_BYTES} characters")
    codes = [pdfium.FPDFText_GetUnicode(text_page, at) for at in range(total)]
    start = 0
    for at in [*(at for at, code in enumerate(codes) if code in (10, 13)), total]:
        visible = [place for place in range(start, at) if not chr(codes[place]).isspace()]
        if visible and (text := _characters(codes[visible[0] : visible[-1] + 1])).strip():
            middle = visible[len(visible) // 2]
            left, first, _, _ = text_page.get_charbox(visible[0], loose=True)
            _, last, right, _ = text_page.get_charbox(visible[-1], loose=True)
            line = Line(
                text=text,
                first=first,
                last=last,
                left=left,
                right=right,
                size=pdfium.FPDFText_GetFontSize(text_page, middle),
            )
            places = list(range(visible[0], visible[-1] + 1))
            yield _Read(line=line, places=places, codes=[codes[place] for place in places])
        start = at + 1


def _with_lone_numbers(read: Iterable[_Read]) -> list[_Read]:
    """The lines, where the number of a footnote that PDFium has as a line of its own stands at the
    end of the line that it is raised from, or at the start of the note."""
    found: list[_Read] = []
    for one in read:
        before = found[-1] if found else None
        if before is not None and _is_raised_from(one, before):
            found[-1] = _as_one(before, [], one, before.line)
        elif before is not None and _is_raised_from(before, one):
            found[-1] = _as_one(before, [32], one, one.line)
        else:
            found.append(one)
    return found


def _is_raised_from(number: _Read, other: _Read) -> bool:
    rise = number.line.first - other.line.first
    is_small = number.line.size < _SMALL * other.line.size
    return is_small and number.line.text.isdecimal() and 0 <= rise < other.line.size


def _as_one(left: _Read, between: list[int], right: _Read, main: Line) -> _Read:
    codes = left.codes + between + right.codes
    places = left.places + left.places[-1:] * len(between) + right.places
    return _Read(
        line=dataclasses.replace(main, text=_characters(codes)), places=places, codes=codes
    )


def _raised(one: _Read, text_page: Any) -> Line:
    """The line with its small digits."""
    import pypdfium2.raw as pdfium

    runs: dict[int, str] = {}
    begin = -1
    for at, code in enumerate(one.codes):
        size = pdfium.FPDFText_GetFontSize(text_page, one.places[at]) if 48 <= code <= 57 else 0
        if 0 < size < _SMALL * one.line.size:
            begin = at if begin < 0 else begin
            runs[begin] = runs.get(begin, "") + chr(code)
        else:
            begin = -1
    places = tuple((len(_characters(one.codes[:at])), number) for at, number in runs.items())
    line = dataclasses.replace(one.line, raised=places)
    if 0 in runs:
        # The line begins where the character after the number stands, not higher.
        following = range(len(runs[0]), len(one.codes))
        after = next((at for at in following if not chr(one.codes[at]).isspace()), 0)
        first = text_page.get_charbox(one.places[after], loose=True)[1]
        line = dataclasses.replace(line, first=first)
    begin = max(runs, default=0)
    if not begin or begin + len(runs[begin]) < len(one.codes):
        return line
    # The line ends where the character before the number stands, not higher.
    before = next(at for at in reversed(range(begin)) if not chr(one.codes[at]).isspace())
    last = text_page.get_charbox(one.places[before], loose=True)[1]
    return dataclasses.replace(line, last=last)


def _characters(codes: list[int]) -> str:
    """Characters from their numbers; two halves of one are one, and a half alone is none."""
    text = "".join(map(chr, codes)).replace("\0", "").replace("\x1d", "")
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
