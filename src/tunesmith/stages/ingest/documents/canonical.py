"""The canonical text of a document, and where its pages or sections lie in it.

The text is what `tunesmith.text.normalise` leaves as it is, but for the white space of code, so
that an index stores it unchanged and an offset found here is true there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunesmith.stages.ingest.entry import MAX_ROW_BYTES, Entry, Unreadable
from tunesmith.stages.ingest.json_text import identify
from tunesmith.text.layout import is_laid_out, laid_out

PARAGRAPH = "\n\n"
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A page or a section, as it was read."""

    page: int | str | None
    """The number of a page, the name of a section or slide, or None: it has none."""
    text: str
    joint: str = PARAGRAPH
    """What stands between it and the part before: a line end where a sentence may go on."""
    begins_section: bool = False
    """Whether it begins with a heading, on the page that the part before is on or another one, or
    is a list of contents or what follows one."""
    code: tuple[tuple[int, int], ...] = ()
    """Spans of the text whose white space is said, too."""


def document(pointer: str, data: bytes, parts: Iterable[Part], fields: Mapping[str, Any]) -> Entry:
    """The record of a document: its text, its `fields`, and `pages`, a list of [start, end, page].

    Spans are in order and disjoint; a part without a page has none. `sections` is where sections
    begin, if some begin where no page of the map does.

    Raises:
        Unreadable: there is no text, or more than a row may have.
    """
    pieces: list[str] = []
    pages: list[tuple[int, int, int | str]] = []
    sections: list[int] = []
    named: list[int] = []
    at = 0
    for part in parts:
        text = laid_out(part.text, part.code)
        if not text:
            continue
        joint = part.joint if pieces else ""
        pieces += joint, text
        start = at + len(joint)
        at = start + len(text)
        if isinstance(part.page, str):
            named.append(start)
        if part.begins_section:
            sections.append(start)
            if pages and pages[-1][2] == part.page and pages[-1][1] == start - len(joint):
                start = pages.pop()[0]
        if part.page is not None:
            pages.append((start, at, part.page))
        if at > MAX_ROW_BYTES:
            raise Unreadable("too-large", f"a text may have {MAX_ROW_BYTES} characters")
    text = "".join(pieces)
    if not text:
        raise Unreadable(
            "empty-text", "there is no text in it; a scan needs to be recognised first"
        )
    if not is_laid_out(text):
        raise Unreadable("not-text", "what its parts say has no one form when they are joined")
    said = {name: value for name, value in fields.items() if value not in ("", None)}
    said["pages"] = pages
    if sections:
        said["sections"] = sorted({*sections, *named})
    identify(said)
    return Entry(pointer=pointer, fields=said, text=text, data=data)


@dataclass(kw_only=True, slots=True)
class _Written:
    """What was said so far of a section."""

    name: str | None = None
    begins_section: bool = False
    pieces: list[tuple[str, bool]] = field(default_factory=list)
    """What was said, and whether it is code."""

    def part(self) -> Part:
        code: list[tuple[int, int]] = []
        at = 0
        for text, is_code in self.pieces:
            if is_code:
                code.append((at, at + len(text)))
            at += len(text)
        return Part(
            page=self.name,
            text="".join(text for text, _ in self.pieces),
            begins_section=self.begins_section,
            code=tuple(code),
        )


class Writer:
    """Lays out what a marked-up document says: words, lines, paragraphs, lists, rows of tables, and
    sections that begin at headings. Breaks are kept until text follows, so that none stand at an
    end, and the larger one wins."""

    def __init__(self) -> None:
        self._parts = [_Written()]
        self._breaks = 0
        self._marker = ""
        """What stands before the next text: the dot of an item, the border of a cell."""
        self._indent = ""
        """White space of code that stands before the next text of it."""
        self._is_after_code = False
        self._code_lines = 0
        """Lines of code since something was said, which are blank, with the one that begins."""
        self._is_term = False
        """Whether a term was said last, whose definition stands on the next line."""
        self._cells: list[int] = []
        """Of each open table row, its cells so far."""
        self._is_empty_row = False
        """Whether the row has said nothing so far."""
        self._heading: list[str] | None = None

    def text(self, text: str, *, as_it_is: bool = False, is_code: bool = False) -> None:
        """Words; white space is one space, unless they are `as_it_is` or code."""
        if not as_it_is and not is_code:
            text = _SPACES.sub(" ", text)
        if self._heading is not None:
            self._heading.append(text)
        pieces = self._parts[-1].pieces
        if text.isspace() and is_code:
            self._indent += text
        elif text.isspace() and (self._breaks or not as_it_is):
            if not self._breaks:
                pieces.append((" ", False))
        elif text:
            pieces.append(("\n" * self._breaks + self._marker, False))
            pieces.append((self._indent + text, is_code))
            self._breaks, self._marker, self._indent = 0, "", ""
            self._is_term = self._is_empty_row = False
            self._is_after_code, self._code_lines = is_code, 0

    def line(self) -> None:
        """What follows begins a line."""
        self._indent = ""
        if not self._marker:
            self._breaks = max(self._breaks, 1)

    def next_line(self) -> None:
        """One line end more, as somebody typed it."""
        self._indent = ""
        self._breaks = min(self._breaks + 1, 2)

    def paragraph(self) -> None:
        """What follows begins a paragraph; in a cell of a table, and after a term, a line."""
        self._indent = ""
        if not self._marker:
            self._breaks = max(self._breaks, 1 if self._cells or self._is_term else 2)

    def code_line(self) -> None:
        """What follows is a paragraph that is a line of code; between two are no blank lines but
        those that are such paragraphs."""
        self._code_lines += 1
        if self._is_after_code and not self._marker:
            self._breaks = min(self._code_lines, 2)

    def end_term(self) -> None:
        """A term of a list of definitions ends."""
        self.line()
        self._is_term = True

    def item(self, marker: str) -> None:
        """What follows is an item of a list."""
        self.line()
        self._marker = (self._marker if self._cells else "") + marker

    def row(self) -> None:
        """A row of a table begins."""
        self.line()
        self._cells.append(0)
        self._is_empty_row = True

    def cell(self) -> None:
        """A cell of it begins."""
        if self._cells:
            if self._cells[-1]:
                # Where the first cells are empty, the row has yet to begin its line.
                self._breaks *= self._is_empty_row
                self._marker += " | "
            self._cells[-1] += 1

    def end_row(self) -> None:
        """A row of a table ends."""
        if self._cells:
            self._cells.pop()
        self._marker = ""
        self.line()

    def section(self, name: str) -> None:
        """What follows is in a section, page or slide of this name."""
        self._parts.append(_Written(name=name))
        self._breaks, self._marker = 0, ""

    def contents(self) -> None:
        """What follows is a list of contents, or follows one: a section without a heading."""
        if not self._cells and not self._marker:
            self._parts.append(_Written(name=self._parts[-1].name, begins_section=True))
            self._breaks = 0

    def heading(self) -> None:
        """A heading begins, and with it a section, unless it stands in a table."""
        self.paragraph()
        if not self._cells:
            self._heading = []
            self._parts.append(_Written())
            self._breaks, self._marker = 0, ""

    def end_heading(self) -> None:
        """The heading ends; its words name the section."""
        if self._heading is not None:
            name = " ".join("".join(self._heading).split())
            self._parts[-1].name = name or None
            self._heading = None
        self.paragraph()

    def parts(self) -> list[Part]:
        """All that was said, by section."""
        return [written.part() for written in self._parts]


def first_section(parts: Sequence[Part]) -> str:
    """The name of the first section, which is a title where a document says no other."""
    return next((part.page for part in parts if isinstance(part.page, str)), "")
