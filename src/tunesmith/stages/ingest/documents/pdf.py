"""PDF: the text of its pages, without what is only there because there are pages.

A PDF holds places of characters, not sentences. Lines and their order are PDFium's; here, from the
places of lines, come paragraphs; lines that are on many pages at the same place, and page numbers,
are left out; and words that were hyphenated at the end of a line are whole again. Footnotes stand
at the end of their chapter, as in HTML and EPUB: at the foot of a page they would cut in two the
sentence that goes on overleaf. The map is made of what is kept, so that its offsets are those of
the text.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from tunesmith.core.errors import MissingExtra
from tunesmith.stages.ingest.documents.canonical import PARAGRAPH, Part, document
from tunesmith.stages.ingest.documents.pdf_lines import Line, read_lines
from tunesmith.stages.ingest.documents.pdf_notes import with_notes, without_notes
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
_HYPHEN = "\x02"
"""How PDFium marks a hyphen at the end of a line; it joins the two lines."""
_HYPHENATED = re.compile(rf"((?:[^\W\d_]+-)*[^\W\d_]*){_HYPHEN}[\r\n ]*([^\W\d_]*(?:-[^\W\d_]+)*)")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_LEADER = re.compile(r"(?:[ ]?\.){4,}[ ]?")
_PAGE_AT_END = re.compile(r"(?:^|\s+)(?:\d{1,6}|[ivxlc]+)\s*$")
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
_DATE = re.compile(r"D:(\d{4})(\d\d)(\d\d)")


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
                pages.append(read_lines(file[number]))
            except pypdfium2.PdfiumError as error:
                pages.append([])
                yield quarantined(f"{member}#page {number + 1}", "not-whole", str(error), "")
            num_chars += sum(len(line.text) for line in pages[-1])
            if num_chars > MAX_ROW_BYTES:
                raise Unreadable("too-large", f"a text may have {MAX_ROW_BYTES} characters")
        fields = {**_facts(file.get_metadata_dict()), "num_pages": num_pages}
        begins = _chapters(file)
    finally:
        file.close()
    pages = [_of_contents(lines) for lines in with_notes(pages)]
    yield document(member, data, parts(pages, begins), fields)


def parts(pages: list[list[Line]], chapters: Iterable[int] = ()) -> Iterator[Part]:
    """The text of each page: no headers and footers, paragraphs apart, words whole.

    Footnotes follow the last page of their chapter, or of the document where it has no `chapters`:
    the pages, counted from 0, on which one begins. They wait where a sentence goes on overleaf.
    """
    kept, notes = without_notes(without_edges(pages))
    usual = _usual_distance(kept)
    texts, noted = ([_laid_out(lines, usual) for lines in some] for some in (kept, notes))
    # Without the halves of words, else each half would look like a word.
    whole = (_HYPHENATED.sub(" ", text) for text in texts + noted)
    words = Counter(word.casefold() for text in whole for word in _WORD.findall(text))
    starts = sorted(chapters)
    done = num_pages = 0
    for part in _joined_pages(texts, words):
        before, num_pages = num_pages, int(part.page or 0)
        if part.joint == PARAGRAPH and any(done < start <= num_pages - 1 for start in starts):
            yield from _joined_pages(noted[:before], words, skip=done)
            done = before
        yield part
    yield from _joined_pages(noted, words, skip=done)


def _joined_pages(texts: list[str], words: Counter[str], skip: int = 0) -> Iterator[Part]:
    """The pages after the first `skip`: words whole, and how each is joined to the one before."""
    joint, ahead = PARAGRAPH, ""
    for number, text in enumerate(texts[skip:], start=skip + 1):
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


def _chapters(file: Any) -> list[int]:
    """The pages, from 0, on which a chapter begins: the highest level of the outline that has two
    entries or more, since the one entry above them is the title."""
    pages: dict[int, list[int]] = {}
    for entry in file.get_toc():
        place = entry.get_dest()
        page = place.get_index() if place is not None else None
        pages.setdefault(entry.level, []).extend([] if page is None else [page])
    return next((found for _, found in sorted(pages.items()) if len(found) > 1), [])


def _of_contents(lines: list[Line]) -> list[Line]:
    """The lines of a page of contents without what leads to page numbers, and without these."""
    if sum(bool(_LEADER.search(line.text)) for line in lines) < _OFTEN:
        return lines
    plain = (
        dataclasses.replace(line, text=_PAGE_AT_END.sub("", _LEADER.sub(" ", line.text)).strip())
        for line in lines
    )
    return [line for line in plain if line.text]


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
    counted = {slot for (_, slot), count in numbers.items() if count >= _OFTEN}

    def is_edge(index: int, line: Line) -> bool:
        forms = _forms(line, index)
        if any(seen[form, slot] >= _OFTEN for form in forms for slot in _slots(line)):
            return True
        return any(
            numbers[value - index, slot] >= _OFTEN
            for value in _numbers(line)
            for slot in _slots(line)
        ) or (_has_roman_number(line) and any(slot in counted for slot in _slots(line)))

    kept = []
    for index, lines in enumerate(pages):
        dropped = {at for at in _edges(lines) if is_edge(index, lines[at])}
        kept.append(
            [
                line
                for at, line in enumerate(lines)
                if at not in dropped and not _OVERLEAF.fullmatch(line.text)
            ]
        )
    return kept


def _edges(lines: list[Line]) -> list[int]:
    """Which lines of a page are at its top or its bottom."""
    total = len(lines)
    return [at for at in range(total) if at < _EDGE or at >= total - _EDGE]


def _slots(line: Line) -> tuple[int, int]:
    """The places that a line is at, of which lines at nearly the same height share one."""
    slot = int(line.first // _SAME_PLACE)
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
    """Lines with blank ones where a paragraph ends: a wider distance, a column, another size,
    or the next footnote."""
    pieces: list[str] = []
    before: Line | None = None
    for line in lines:
        if before is not None:
            distance = before.last - line.first
            sizes = sorted((before.size, line.size))
            is_new = not -_SAME_PLACE < distance <= _WIDER * max(usual, line.size)
            is_new |= sizes[1] > _OTHER_SIZE * sizes[0] or line.begins_note
            pieces.append(PARAGRAPH if is_new else "\n")
        pieces.append(line.text)
        before = line
    return "".join(pieces)


def _joined(match: re.Match[str], words: Counter[str]) -> str:
    """The word on both sides of a line's end: with its hyphen if the document writes it so
    elsewhere, if it looks like a name, or if only its halves are words; else without."""
    left, right = match.groups()
    hyphenated, joined = f"{left}-{right}", f"{left}{right}"
    if not left or not right or words[hyphenated.casefold()]:
        return hyphenated
    if words[joined.casefold()]:
        return joined
    halves = (left.rpartition("-")[2], right.partition("-")[0])
    are_words = all(len(half) > 2 and words[half.casefold()] > 1 for half in halves)
    is_name = right[0].isupper() or left[1:] != left[1:].lower()
    return hyphenated if are_words or is_name else joined


def _facts(metadata: dict[str, str]) -> dict[str, str]:
    """What the file says of itself."""
    made = _DATE.match(metadata.get("CreationDate", ""))
    return {
        "title": " ".join(metadata.get("Title", "").split()),
        "author": " ".join(metadata.get("Author", "").split()),
        "created": "-".join(made.groups()) if made else "",
    }
