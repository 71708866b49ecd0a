"""DOCX and PPTX: the words of a file of Word or PowerPoint, in sections or slides.

Of tracked changes the text is what it would be if all were accepted. Headers and footers of pages,
comments and field codes are left out; footnotes stand at the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tunesmith.stages.ingest.documents.canonical import Writer, document, first_section
from tunesmith.stages.ingest.entry import Entry, Unreadable
from tunesmith.stages.ingest.xml_events import End, Start, Text, events
from tunesmith.stages.ingest.zipped import Parts, core_properties, opened_parts, relations

_UNSEEN = frozenset(
    ["del", "moveFrom", "instrText", "delText", "Fallback", "rPr", "pPrChange", "rPrChange"]
)
"""Elements whose text is not part of the document; `Fallback` says again what is said."""
_HEADING = re.compile(r"heading ?[1-9]|title", re.IGNORECASE)
_CODE = re.compile(
    r"html preformatted|preformatted text|source code|code|plain text|macro text", re.IGNORECASE
)
"""Styles of paragraphs that Word, LibreOffice and Pandoc give the lines of code."""


def read_docx(member: str, data: bytes) -> Iterator[Entry]:
    """The one document of a file.

    Raises:
        Unreadable: it is no whole DOCX, hostile, or has no text.
    """
    with opened_parts(data, "DOCX") as parts:
        body = _main_part(parts, "document", "word/document.xml")
        writer = Writer()
        headings, code = _styles(parts)
        _write(writer, parts.read(body), headings, code)
        for kind, part in sorted(relations(parts, body).values()):
            if kind in ("footnotes", "endnotes") and part in parts:
                writer.paragraph()
                _write(writer, parts.read(part), frozenset(), code)
        fields = core_properties(parts)
    found = writer.parts()
    yield document(member, data, found, {"title": first_section(found), **fields})


def read_pptx(member: str, data: bytes) -> Iterator[Entry]:
    """The one document of a file: its slides in order, each with its notes.

    Raises:
        Unreadable: it is no whole PPTX, hostile, or has no text.
    """
    with opened_parts(data, "PPTX") as parts:
        show = _main_part(parts, "presentation", "ppt/presentation.xml")
        targets = relations(parts, show)
        order = [
            event.attributes.get(":id", "")
            for event in events(parts.read(show))
            if isinstance(event, Start) and event.name == "sldId"
        ]
        slides = [targets[key][1] for key in order if targets.get(key, ("",))[0] == "slide"]
        writer = Writer()
        for number, slide in enumerate(slides, start=1):
            writer.section(f"slide {number}")
            _write(writer, parts.read(slide))
            for kind, part in relations(parts, slide).values():
                if kind == "notesSlide" and part in parts:
                    writer.paragraph()
                    _write(writer, parts.read(part))
        fields = {**core_properties(parts), "num_slides": len(slides)}
    yield document(member, data, writer.parts(), fields)


def _main_part(parts: Parts, kind: str, usual: str) -> str:
    """The part that the file is about, as its own relations say; else where it usually is."""
    if kind == "document" or kind == "presentation":
        for found, part in relations(parts, "").values():
            if found == "officeDocument" and part in parts:
                return part
    if usual not in parts:
        raise Unreadable("not-whole", f"it has no part {usual!r}")
    return usual


def _styles(parts: Parts) -> tuple[frozenset[str], frozenset[str]]:
    """Ids of the styles of paragraphs that are headings, by name or by outline level, and of those
    that are code, by name."""
    headings: set[str] = set()
    code: set[str] = set()
    if "word/styles.xml" not in parts:
        return frozenset(), frozenset()
    style = ""
    for event in events(parts.read("word/styles.xml")):
        match event:
            case Start("style", attributes):
                style = attributes.get(":styleId", "")
            case Start("name", attributes):
                if _HEADING.fullmatch(attributes.get(":val", "")):
                    headings.add(style)
                if _CODE.fullmatch(attributes.get(":val", "")):
                    code.add(style)
            case Start("outlineLvl", attributes):
                if attributes.get(":val", "9") < "9":
                    headings.add(style)
            case End("style"):
                style = ""
    return frozenset(headings - {""}), frozenset(code - {""})


def _write(
    writer: Writer,
    data: bytes,
    headings: frozenset[str] = frozenset(),
    code: frozenset[str] = frozenset(),
) -> None:
    """Write the paragraphs and tables of a part."""
    unseen = 0
    is_text = is_code = False
    open_headings: list[bool] = []
    for event in events(data):
        match event:
            case Start(name, _) if unseen or name in _UNSEEN:
                unseen += 1
            case End() if unseen:
                unseen -= 1
            case Start("t"):
                is_text = True
            case End("t"):
                is_text = False
            case Text(text) if is_text and not unseen:
                writer.text(text, as_it_is=True, is_code=is_code)
            case Start("p"):
                writer.paragraph()
                open_headings.append(False)
            case Start("pStyle", attributes):
                if attributes.get(":val") in headings and open_headings and not open_headings[-1]:
                    writer.heading()
                    open_headings[-1] = True
                if attributes.get(":val") in code:
                    is_code = True
                    writer.code_line()
            case Start("numPr" | "buAutoNum" | "buChar"):
                writer.item("- ")
            case End("p"):
                if open_headings and open_headings.pop():
                    writer.end_heading()
                writer.paragraph()
                is_code = False
            case Start("tab"):
                writer.text("\t" if is_code else " ", is_code=is_code)
            case Start("br" | "cr"):
                writer.next_line()
            case Start("noBreakHyphen"):
                writer.text("-")
            case Start("tr"):
                writer.row()
            case Start("tc"):
                writer.cell()
            case End("tr"):
                writer.end_row()
