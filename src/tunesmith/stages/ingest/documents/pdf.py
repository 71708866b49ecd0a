"""PDF: the text of its pages, without what is only there because there are pages.

A PDF holds places of characters, not sentences. Lines and their order are PDFium's; here, from the
places of lines, come paragraphs; lines that are on many pages at the same place, and page numbers,
are left out; and words that were hyphenated at the end of a line are whole again. The map is made
of what is kept, so that its offsets are those of the text.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tunesmith.core.errors import MissingExtra
from tunesmith.stages.ingest.documents.canonical import PARAGRAPH, Part, document
from tunesmith.stages.ingest.entry import (
    MAX_ROW_BYTES,
    Entry,
    Quarantined,
    Unreadable,
    quarantined,
)

MAX_PAGES = 20_000
_EDGE = 2
"""Lines at the top and at the bottom of a page that may be a header or a footer."""
_OFTEN = 3
"""Pages that have a line at the same place, for it to be a header or a footer."""
_SAME_PLACE = 3.0
"""Points."""
_WIDER = 1.25
"""A distance of lines this many times the usual one ends a paragraph."""
_OTHER_SIZE = 1.05
_SMALL = 0.8
"""A digit of this share of its line's size is raised, or the number of a footnote."""
_HYPHEN = "\x02"
"""How PDFium marks a hyphen at the end of a line; it joins the two lines."""
_HYPHENATED = re.compile(rf"((?:[^\W\d_]+-)*[^\W\d_]*){_HYPHEN}[\r\n ]*([^\W\d_]*)")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_LEADER = re.compile(r"(?:[ ]?\.){4,}[ ]?")
_PAGE_AT_END = re.compile(r"(?:^|\s+)(?:\d{1,6}|[ivxlc]+)\s*$")
_ROMAN = re.compile("[ivxlc]+", re.IGNORECASE)
_DATE = re.compile(r"D:(\d{4})(\d\d)(\d\d)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A line of a page; places are in points from the bottom of the page."""

    text: str
    first: float
    """Where its first character stands."""
    last: float
    """Where its last one does: below, if a word was hyphenated."""
    size: float
    """Of its characters, as the one in the middle has it."""


def read_pdf(member: str, data: bytes) -> Iterator[Entry | Quarantined]:
    """The one document of a file, and the pages of it that cannot be read.

    Raises:
        Unreadable: it is no whole PDF, is locked by a password, or has no text.
        MissingExtra: pypdfium2 is not installed.
    """
    try:
        import pypdfium2
    except ImportError as error:
        raise MissingExtra("pypdfium2", "documents") from error
    try:
        file = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        rule = "encrypted" if "assword" in str(error) else "not-whole"
        raise Unreadable(rule, f"PDFium: {error}", repr(data[:20])) from None
    try:
        num_pages = len(file)
        if num_pages > MAX_PAGES:
            raise Unreadable("too-large", f"a document may have {MAX_PAGES} pages")
        pages: list[list[Line]] = []
        num_chars = 0
        for number in range(num_pages):
            try:
                pages.append(_lines(file[number]))
            except pypdfium2.PdfiumError as error:
                pages.append([])
                yield quarantined(f"{member}#page {number + 1}", "not-whole", str(error), "")
            num_chars += sum(len(line.text) for line in pages[-1])
            if num_chars > MAX_ROW_BYTES:
                raise Unreadable("too-large", f"a text may have {MAX_ROW_BYTES} characters")
        fields = {**_facts(file.get_metadata_dict()), "num_pages": num_pages}
    finally:
        file.close()
    yield document(member, data, parts(pages), fields)


def parts(pages: list[list[Line]]) -> Iterator[Part]:
    """The text of each page: no headers and footers, paragraphs apart, words whole."""
    kept = without_edges(pages)
    usual = _usual_distance(kept)
    texts = [_laid_out(lines, usual) for lines in kept]
    words = Counter(word.casefold() for text in texts for word in _WORD.findall(text))
    joint, ahead = PARAGRAPH, ""
    for number, text in enumerate(texts, start=1):
        if ahead and text:
            # The end of a word that began on the page before stands there, whole.
            text, ahead = text[len(ahead) :].lstrip(" "), ""
        if not text:
            continue
        following = next((later for later in texts[number:] if later), "")
        if text.endswith(_HYPHEN) and (rest := re.match(r"[^\W\d_]+[^\w\s]*", following)):
            ahead = rest.group()
        whole = _HYPHENATED.sub(lambda match: _joined(match, words), text + ahead)
        yield Part(page=number, text=whole, joint=joint)
        goes_on = bool(ahead) or (text[-1] not in ".!?:" and following[:1].islower())
        joint = "\n" if goes_on else PARAGRAPH


def _lines(page: Any) -> list[Line]:
    """The lines of a page, in PDFium's order."""
    text_page = page.get_textpage()
    try:
        return _of_contents(_with_notes(list(_read_lines(text_page)), text_page))
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
            line = Line(
                text=text,
                first=text_page.get_charbox(visible[0], loose=True)[1],
                last=text_page.get_charbox(visible[-1], loose=True)[1],
                size=pdfium.FPDFText_GetFontSize(text_page, middle),
            )
            places = list(range(visible[0], visible[-1] + 1))
            yield _Read(line=line, places=places, codes=[codes[place] for place in places])
        start = at + 1


def _with_notes(read: list[_Read], text_page: Any) -> list[Line]:
    """The lines with the small raised numbers of footnotes in brackets: "areas1" is no word. Only
    where a line of the page begins with the same number, since others are exponents."""
    import pypdfium2.raw as pdfium

    found: list[dict[int, str]] = []
    for one in read:
        runs: dict[int, str] = {}
        begin = -1
        for at, code in enumerate(one.codes):
            size = pdfium.FPDFText_GetFontSize(text_page, one.places[at]) if 48 <= code <= 57 else 0
            if 0 < size < _SMALL * one.line.size:
                begin = at if begin < 0 else begin
                runs[begin] = runs.get(begin, "") + chr(code)
            else:
                begin = -1
        found.append(runs)
    begun = {runs[0] for runs in found if 0 in runs}
    lines = []
    for one, runs in zip(read, found, strict=True):
        codes = list(one.codes)
        for begin, number in sorted(runs.items(), reverse=True):
            if number in begun:
                codes[begin : begin + len(number)] = map(ord, f"[{number}]")
        text = _characters(codes)
        lines.append(dataclasses.replace(one.line, text=text) if runs else one.line)
    return lines


def _of_contents(lines: list[Line]) -> list[Line]:
    """The lines of a page of contents without what leads to page numbers, and without these."""
    if sum(bool(_LEADER.search(line.text)) for line in lines) < _OFTEN:
        return lines
    plain = (
        dataclasses.replace(line, text=_PAGE_AT_END.sub("", _LEADER.sub(" ", line.text)).strip())
        for line in lines
    )
    return [line for line in plain if line.text]


def _characters(codes: list[int]) -> str:
    """Characters from their numbers; two halves of one are one, and a half alone is none."""
    text = "".join(map(chr, codes)).replace("\0", "")
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")


def without_edges(pages: list[list[Line]]) -> list[list[Line]]:
    """The pages without the lines at their top and bottom that are on many of them at one place,
    whatever their numbers, and without page numbers and what stands beside them."""
    seen: Counter[tuple[str, int]] = Counter()
    numbers: Counter[tuple[int, int]] = Counter()
    for index, lines in enumerate(pages):
        edges = [lines[at] for at in _edges(lines)]
        seen.update({(_folded(line), slot) for line in edges for slot in _slots(line)})
        numbers.update(
            {
                (value - index, slot)
                for line in edges
                for value in _numbers(line)
                for slot in _slots(line)
            }
        )
    counted = {slot for (_, slot), count in numbers.items() if count >= _OFTEN}

    def is_edge(index: int, line: Line) -> bool:
        if any(seen[_folded(line), slot] >= _OFTEN for slot in _slots(line)):
            return True
        return any(
            numbers[value - index, slot] >= _OFTEN
            for value in _numbers(line)
            for slot in _slots(line)
        ) or (_has_roman_number(line) and any(slot in counted for slot in _slots(line)))

    kept = []
    for index, lines in enumerate(pages):
        dropped = {at for at in _edges(lines) if is_edge(index, lines[at])}
        kept.append([line for at, line in enumerate(lines) if at not in dropped])
    return kept


def _edges(lines: list[Line]) -> list[int]:
    """Which lines of a page are at its top or its bottom."""
    total = len(lines)
    return [at for at in range(total) if at < _EDGE or at >= total - _EDGE]


def _slots(line: Line) -> tuple[int, int]:
    """The places that a line is at, of which lines at nearly the same height share one."""
    slot = int(line.first // _SAME_PLACE)
    return slot, slot + 1


def _folded(line: Line) -> str:
    return " ".join(re.sub(r"\d+", "0", line.text).casefold().split())


def _numbers(line: Line) -> set[int]:
    """The page number that a line may begin or end with."""
    words = line.text.split()
    return {int(word) for word in (words[0], words[-1]) if re.fullmatch("[0-9]{1,6}", word)}


def _has_roman_number(line: Line) -> bool:
    words = line.text.split()
    return bool(_ROMAN.fullmatch(words[0]) or _ROMAN.fullmatch(words[-1]))


def _usual_distance(pages: list[list[Line]]) -> float:
    """The distance of two lines that most have; 0 where there are no two."""
    distances = Counter(
        round(2 * (before.last - after.first)) / 2
        for lines in pages
        for before, after in itertools.pairwise(lines)
        if before.last > after.first
    )
    return distances.most_common(1)[0][0] if distances else 0.0


def _laid_out(lines: list[Line], usual: float) -> str:
    """Lines with blank ones where a paragraph ends: a wider distance, a column, another size."""
    pieces: list[str] = []
    before: Line | None = None
    for line in lines:
        if before is not None:
            distance = before.last - line.first
            sizes = sorted((before.size, line.size))
            is_new = not -_SAME_PLACE < distance <= _WIDER * max(usual, line.size)
            is_new |= sizes[1] > _OTHER_SIZE * sizes[0]
            pieces.append(PARAGRAPH if is_new else "\n")
        pieces.append(line.text)
        before = line
    return "".join(pieces)


def _joined(match: re.Match[str], words: Counter[str]) -> str:
    """The word on both sides of a line's end: with its hyphen if the document writes it so
    elsewhere, or if it looks like a name; else without."""
    left, right = match.groups()
    hyphenated, joined = f"{left}-{right}", f"{left}{right}"
    if not left or not right or words[hyphenated.casefold()]:
        return hyphenated
    if words[joined.casefold()]:
        return joined
    return hyphenated if right[0].isupper() or left[1:].isupper() else joined


def _facts(metadata: dict[str, str]) -> dict[str, str]:
    """What the file says of itself."""
    made = _DATE.match(metadata.get("CreationDate", ""))
    return {
        "title": " ".join(metadata.get("Title", "").split()),
        "author": " ".join(metadata.get("Author", "").split()),
        "created": "-".join(made.groups()) if made else "",
    }
