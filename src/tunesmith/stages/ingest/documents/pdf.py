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

from tunesmith.core.errors import MissingExtra
from tunesmith.stages.ingest.documents.canonical import PARAGRAPH, Part, document
from tunesmith.stages.ingest.documents.pdf_edges import (
    OFTEN,
    SAME_PLACE,
    without_edges,
    without_running_heads,
)
from tunesmith.stages.ingest.documents.pdf_lines import Line, read_lines
from tunesmith.stages.ingest.documents.pdf_notes import with_notes, without_notes
from tunesmith.stages.ingest.documents.pdf_sections import Entry as Outlined
from tunesmith.stages.ingest.documents.pdf_sections import outline, with_sections
from tunesmith.stages.ingest.entry import (
    MAX_ROW_BYTES,
    Entry,
    Quarantined,
    Unreadable,
    quarantined,
)

MAX_PAGES = 20_000
_WIDER = 1.25
"""A distance of lines this many times the usual one ends a paragraph."""
_WIDER_LARGE = 1.3
"""The same, times the size of its characters, for the lines of a heading."""
_OTHER_SIZE = 1.05
_ROOM = 1.5
"""Times the room that a word needs, so that it would have stood on the line before."""
_INDENTED, _INDENTED_MOST = 0.8, 4.0
"""How far the first line of a paragraph is indented, in sizes of its characters."""
_ITEM = re.compile(r"[^\w\s]\s|\[?\(?\w{1,4}[.)\]]")
"""How an item of a list begins, whose other lines are indented."""
_ENDS = re.compile(r"[.!?:][\"'”’»)\]]*(?:\[\d{1,3}\])*$")
_BEGINS = re.compile(r"[\W_]*[A-Z]")
_HYPHEN = "\x02"
"""How PDFium marks a hyphen at the end of a line; it joins the two lines."""
_SECTION = "\x1d"
"""Stands before a heading until the words are whole."""
_HYPHENATED = re.compile(rf"((?:[^\W\d_]+-)*[^\W\d_]*){_HYPHEN}[\r\n ]*([^\W\d_]*(?:-[^\W\d_]+)*)")
_BREAKS = tuple("./:_=@~")
"""After these a path, an address or a name may go on in the next line."""
_GOES_ON = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*[./][^\W_]{2}")
"""How the rest of an address begins: with a name of a machine or a path."""
_OUTER = ".,;:!?()[]<>\"'“”‘’"
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_LEADER = re.compile(r"(?:[ ]?\.){4,}[ ]?")
_PAGE_AT_END = re.compile(r"(?:^|\s+)(?:\d{1,6}|[ivxlc]+)\s*$")
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
        entries = outline(file)
    finally:
        file.close()
    pages = with_sections([_of_contents(lines) for lines in with_notes(pages)], entries)
    pages = without_running_heads(pages, entries)
    yield document(member, data, parts(pages, _chapters(entries)), fields)


def parts(pages: list[list[Line]], chapters: Iterable[int] = ()) -> Iterator[Part]:
    """The text of each page: no headers and footers, paragraphs apart, words whole.

    Footnotes follow the last page of their chapter, or of the document where it has no `chapters`:
    the pages, counted from 0, on which one begins. They wait where a sentence goes on overleaf.
    """
    kept, notes = without_notes(without_edges(pages))
    texts, noted = (
        [_laid_out(lines, usual) for lines in some]
        for some in (kept, notes)
        for usual in [_usual_distance(some)]
    )
    # Without the halves of words, else each half would look like a word.
    whole = (_HYPHENATED.sub(" ", text) for text in texts + noted)
    words = Counter(word.casefold() for text in whole for word in _WORD.findall(text))
    words.update(
        [f"{left}-" for left, hyphen, _ in (word.partition("-") for word in words) if hyphen]
    )
    tokens = frozenset(word.strip(_OUTER) for text in texts + noted for word in text.split())
    starts = sorted(chapters)
    done = 0
    for part in _joined_pages(texts, words, tokens):
        num_before = int(part.page or 0) - 1
        if part.joint == PARAGRAPH and any(done < start <= num_before for start in starts):
            yield from _joined_pages(noted[:num_before], words, tokens, skip=done)
            done = num_before
        yield part
    yield from _joined_pages(noted, words, tokens, skip=done)


def _joined_pages(
    texts: list[str], words: Counter[str], tokens: frozenset[str], skip: int = 0
) -> Iterator[Part]:
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
        whole = _unbroken(whole, tokens)
        for at, section in enumerate(whole.split(_SECTION)):
            if section:
                yield Part(page=number, text=section, joint=joint, begins_section=at > 0)
                joint = PARAGRAPH
        goes_on = bool(ahead) or (text[-1] not in ".!?:" and following[:1].islower())
        joint = "\n" if goes_on else PARAGRAPH


def _chapters(entries: list[Outlined]) -> list[int]:
    """The pages, from 0, on which a chapter begins: the highest level of the outline that has two
    entries or more, since the one entry above them is the title."""
    pages: dict[int, list[int]] = {}
    for entry in entries:
        pages.setdefault(entry.level, []).append(entry.page)
    return next((found for _, found in sorted(pages.items()) if len(found) > 1), [])


def _of_contents(lines: list[Line]) -> list[Line]:
    """The lines of a page of contents as items, as HTML has them, without what leads to page
    numbers, and without these."""
    if sum(bool(_LEADER.search(line.text)) for line in lines) < OFTEN:
        return lines
    found = []
    begins = True
    for line, following in itertools.zip_longest(lines, lines[1:]):
        text = _PAGE_AT_END.sub("", _LEADER.sub(" ", line.text)).strip()
        if text:
            found.append(dataclasses.replace(line, text=f"- {text}" if begins else text))
        # What leads to no page goes on in the next line, as long entries do, but the heading.
        is_other = following is not None and line.size > _OTHER_SIZE * following.size
        begins = is_other or len(text) < len(line.text.strip())
    return found


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
    edge = max((line.right for line in lines), default=0.0)
    for line in lines:
        if before is not None:
            distance = before.last - line.first
            sizes = sorted((before.size, line.size))
            is_new = not -SAME_PLACE < distance <= max(_WIDER * usual, _WIDER_LARGE * line.size)
            is_new |= sizes[1] > _OTHER_SIZE * sizes[0] or line.begins_note
            is_new |= distance > 0 and _ends_paragraph(before, line, edge)
            pieces.append(PARAGRAPH if is_new else "\n")
        if line.begins_section:
            pieces[-1:] = [_SECTION]
        pieces.append(line.text)
        before = line
    return "".join(pieces)


def _ends_paragraph(line: Line, following: Line, edge: float) -> bool:
    """Whether a paragraph ends with `line`: with a sentence, although the first word of the
    following line would have stood beside it, or this line is indented."""
    word = following.text.split()[0]
    if not _ENDS.search(line.text) or not _BEGINS.match(word):
        return False
    indent = following.left - line.left
    if _INDENTED * line.size < indent < _INDENTED_MOST * line.size:
        return not _ITEM.match(line.text)
    width = (following.right - following.left) / max(1, len(following.text))
    return edge - line.right > _ROOM * width * (len(word) + 1)


def _joined(match: re.Match[str], words: Counter[str]) -> str:
    """The word on both sides of a line's end: with its hyphen if the document writes it so
    elsewhere, if it looks like a name, if only its halves are words, or if other words begin with
    the same half and a hyphen ("non-"); else without."""
    left, right = match.groups()
    hyphenated, joined = f"{left}-{right}", f"{left}{right}"
    if not left or not right or words[hyphenated.casefold()]:
        return hyphenated
    if words[joined.casefold()]:
        return joined
    halves = (left.rpartition("-")[2], right.partition("-")[0])
    known = [words[half.casefold()] > 1 for half in halves]
    known[0] |= words[f"{left}-".casefold()] > 1
    are_words = all(known) and min(map(len, halves)) > 2
    is_name = right[0].isupper() or left[1:] != left[1:].lower()
    return hyphenated if are_words or is_name else joined


def _unbroken(text: str, tokens: frozenset[str]) -> str:
    """The text with paths, addresses and names whole that stood on both sides of a line's end: if
    it is an address or if the document has it whole elsewhere; nothing marks that it was broken."""
    lines: list[str] = []
    for line in text.split("\n"):
        if lines and line and lines[-1].endswith(_BREAKS):
            left, right = lines[-1].rsplit(None, 1)[-1], line.split(None, 1)[0]
            is_address = left.endswith(("http:", "https:")) and right.startswith("//")
            is_address |= "://" in left and bool(_GOES_ON.match(right))
            is_whole = any(map(str.isalnum, left)) and any(map(str.isalnum, right))
            is_whole &= f"{left}{right}".strip(_OUTER) in tokens
            if is_address or is_whole:
                lines[-1] += line
                continue
        lines.append(line)
    return "\n".join(lines)


def _facts(metadata: dict[str, str]) -> dict[str, str]:
    """What the file says of itself."""
    made = _DATE.match(metadata.get("CreationDate", ""))
    return {
        "title": " ".join(metadata.get("Title", "").split()),
        "author": " ".join(metadata.get("Author", "").split()),
        "created": "-".join(made.groups()) if made else "",
    }
