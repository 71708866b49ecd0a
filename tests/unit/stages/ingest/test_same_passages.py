"""One document in text, HTML, EPUB and PDF: whatever a format adds, the passages are the same."""

from __future__ import annotations

import io
import json
import random
import re
import textwrap
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tunesmith.retrieve.store import Document, canonical
from tunesmith.stages.index.select import to_document
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.container import File
from tunesmith.stages.ingest.entry import Entry
from tunesmith.stages.ingest.formats import read_file
from tunesmith.text import layout


@dataclass(frozen=True, kw_only=True)
class Section:
    heading: str
    paragraphs: list[str]
    items: list[str]
    term: str
    definition: str
    note: str


WORDS = [
    *("parcels", "depots", "drivers", "letters", "stamps", "counters", "offices", "managers"),
    *("invoices", "customs", "weights", "deliver", "collect", "register", "refuse", "measure"),
]


def made(seed: int) -> list[Section]:
    chance = random.Random(seed)

    def sentence() -> str:
        said = [chance.choice(WORDS) for _ in range(chance.randint(6, 24))]
        return f"The {' '.join(said)}."

    def paragraph() -> str:
        return " ".join(sentence() for _ in range(chance.randint(1, 6)))

    return [
        Section(
            heading=f"{number}. Handling of {chance.choice(WORDS)} part {'abcdefghijkl'[number]}",
            paragraphs=[paragraph() for _ in range(chance.randint(1, 4))],
            items=[sentence() for _ in range(chance.choice([0, 2, 9]))],
            term=f"Word of {'abcdefghijkl'[number]}",
            definition=sentence(),
            note=sentence(),
        )
        for number in range(1, 10)
    ]


def as_text(document: list[Section]) -> bytes:
    pieces = []
    for number, section in enumerate(document, start=1):
        pieces += [f"{section.heading}\n{'=' * len(section.heading)}"]
        pieces += [textwrap.fill(one, 70) for one in section.paragraphs[:-1]]
        pieces += [textwrap.fill(f"{section.paragraphs[-1]} [{number}]", 70)]
        pieces += [textwrap.fill(one, 66, initial_indent="* ", subsequent_indent="  ")
                   for one in section.items]  # fmt: skip
        pieces += [
            f"{section.term}\n{textwrap.indent(textwrap.fill(section.definition, 60), '   ')}"
        ]
        pieces += [textwrap.fill(f"[{number}] {section.note}", 70)]
    return "\n\n".join(pieces).encode()


def as_html(document: list[Section]) -> str:
    pieces = []
    for number, section in enumerate(document, start=1):
        pieces += [f"<h2>{section.heading}</h2>"]
        pieces += [f"<p>{one}</p>" for one in section.paragraphs[:-1]]
        pieces += [f'<p>{section.paragraphs[-1]} <a role="doc-noteref" href="#n">{number}</a></p>']
        pieces += ["<ul>", *(f"<li><p>{one}</p></li>" for one in section.items), "</ul>"]
        pieces += [f"<dl><dt>{section.term}</dt><dd><p>{section.definition}</p></dd></dl>"]
        pieces += [f'<dl><dt><span class="brackets">{number}</span></dt>'
                   f"<dd><p>{section.note}</p></dd></dl>"]  # fmt: skip
    body = "".join(pieces)
    return f"<html><head><title>Post</title></head><body>{body}</body></html>"


def as_epub(document: list[Section]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr(
            "META-INF/container.xml", '<container><rootfile full-path="b.opf"/></container>'
        )
        archive.writestr(
            "b.opf",
            '<package><manifest><item id="c" href="c.xhtml" media-type="application/xhtml+xml"/>'
            '</manifest><spine><itemref idref="c"/></spine></package>',
        )
        archive.writestr("c.xhtml", as_html(document))
    return sink.getvalue()


LEFT, TOP, BOTTOM, LEADING = 72, 700, 160, 12


@dataclass(frozen=True, kw_only=True)
class Laid:
    """A line of a page, and the number of the note that it refers to at its end."""

    text: str
    size: int = 10
    left: int = LEFT
    gap: int = 0
    note: int = 0


def wrapped(text: str, width: int, left: int = LEFT, note: int = 0) -> list[Laid]:
    lines = textwrap.wrap(text, width)
    return [
        Laid(text=line, left=left, gap=8 * (at == 0), note=note * (at == len(lines) - 1))
        for at, line in enumerate(lines)
    ]


def laid(section: Section, number: int) -> list[Laid]:
    lines = [Laid(text=section.heading, size=14)]
    for paragraph in section.paragraphs[:-1]:
        lines += wrapped(paragraph, 80)
    lines += wrapped(section.paragraphs[-1], 80, note=number)
    for item in section.items:
        first, *others = textwrap.wrap(item, 70)
        lines += [Laid(text=f"- {first}", gap=8)]
        lines += [Laid(text=line, left=LEFT + 12) for line in others]
    lines += [Laid(text=section.term, gap=8)]
    return lines + [
        Laid(text=line, left=LEFT + 20) for line in textwrap.wrap(section.definition, 70)
    ]


def shown(size: float, left: float, bottom: float, text: str) -> str:
    return f"BT /F {size} Tf {left} {bottom} Td ({text}) Tj ET"


def pages(document: list[Section]) -> tuple[list[list[str]], list[tuple[str, int, int]]]:
    """What each page shows, with a running head and its number; (title, page, top) of sections."""
    found: list[list[str]] = []
    outline = []
    for number, section in enumerate(document, start=1):
        at = 0
        outline.append((section.heading.split(". ")[1], len(found), TOP + 20))
        for line in laid(section, number):
            if at < BOTTOM:
                head, foot = section.heading.upper(), str(len(found) + 1)
                found.append([shown(10, LEFT, 780, head), shown(10, 300, 40, foot)])
                at = TOP
            at -= line.gap
            found[-1].append(shown(line.size, line.left, at, line.text))
            if line.note:
                found[-1].append(shown(6, LEFT + 6 * len(line.text), at + 4, str(number)))
                found[-1].append(shown(5, LEFT, 124, str(number)))
                found[-1] += [
                    shown(8, LEFT + 10 * (row == 0), 120 - 9 * row, said)
                    for row, said in enumerate(textwrap.wrap(section.note, 100))
                ]
            at -= LEADING
    return found, outline


def as_pdf(document: list[Section]) -> bytes:
    """A file with an outline, and without a table of objects: PDFium looks for them itself."""
    shows, outline = pages(document)
    first, entry = 10, 10 + 2 * len(shows)
    last = entry + len(outline) - 1
    kids = " ".join(f"{first + 2 * at} 0 R" for at in range(len(shows)))
    objects = {
        1: "<< /Type /Catalog /Pages 2 0 R /Outlines 3 0 R >>",
        2: f"<< /Type /Pages /Count {len(shows)} /Kids [{kids}] >>",
        3: f"<< /Type /Outlines /First {entry} 0 R /Last {last} 0 R /Count {len(outline)} >>",
        4: "<< /Type /Font /Subtype /Type1 /BaseFont /Courier >>",
    }
    for at, show in enumerate(shows):
        # The note of a page is drawn after its lines, as programs do.
        stream = "\n".join(sorted(show, key=lambda one: "/F 8 " in one or "/F 5 " in one))
        objects[first + 2 * at] = (
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F 4 0 R "
            f">> >> /Contents {first + 2 * at + 1} 0 R >>"
        )
        objects[first + 2 * at + 1] = f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream"
    for at, (title, page, top) in enumerate(outline, start=entry):
        following = f"/Next {at + 1} 0 R" if at < last else ""
        place = f"[{first + 2 * page} 0 R /XYZ 0 {top} 0]"
        objects[at] = f"<< /Title ({title}) /Parent 3 0 R /Dest {place} {following} >>"
    body = "".join(f"{number} 0 obj\n{said}\nendobj\n" for number, said in objects.items())
    return f"%PDF-1.4\n{body}trailer << /Root 1 0 R >>\n%%EOF\n".encode()


def read(format: str, data: bytes) -> Document:
    """As an index is given it."""
    source = SourceConfig(origin="file:x", format=format)
    (entry,) = read_file(source, File(name=f"a.{format}", stream=io.BytesIO(data)))
    assert isinstance(entry, Entry), entry
    row = {"pointer": "a", "label": "", "text": entry.text or "",
           "attributes": json.dumps(entry.fields)}  # fmt: skip
    return canonical(to_document(row))


def passages(document: Document) -> Counter[str]:
    """The words of each passage; marks, numbers and line ends are each format's own."""
    found = layout.passages(document.text, sections=document.sections)
    assert all(document.text[span.start : span.end] == span.text for span in found)
    return Counter(" ".join(re.findall("[a-z]+", span.text.lower())) for span in found)


@pytest.mark.parametrize("seed", range(8))
def test_the_same_document_has_the_same_passages_in_every_format(seed: int) -> None:
    document = made(seed)
    expected = passages(read("text", as_text(document)))
    assert len(expected) > 2 * len(document)
    for format, data in (
        ("markdown", as_text(document)),
        ("html", as_html(document).encode()),
        ("epub", as_epub(document)),
        ("pdf", as_pdf(document)),
    ):
        found = passages(read(format, data))
        assert found == expected, format


def test_a_section_that_one_format_lacks_moves_no_passage_of_the_others() -> None:
    document = made(1)
    whole = passages(read("text", as_text(document)))
    without = passages(read("html", as_html(document[:3] + document[4:]).encode()))
    heading = re.findall("[a-z]+", document[3].heading.lower())
    assert not any(said.startswith(" ".join(heading)) for said in without)
    assert sum((without & whole).values()) == sum(without.values())


CHAPTER = Path(__file__).parents[3] / "golden" / "one_document"


def test_a_chapter_of_a_manual_has_the_same_passages_in_every_format() -> None:
    texts = {
        format: read(format, (CHAPTER / f"diversions.{suffix}").read_bytes())
        for format, suffix in (("text", "txt"), ("html", "html"), ("epub", "epub"), ("pdf", "pdf"))
    }
    expected = passages(texts["text"])
    assert len(expected) == 6
    assert passages(texts["html"]) == passages(texts["epub"]) == expected
    # "CHAPTER" is on too few of these pages to be seen as a header.
    pages = Counter(
        re.sub(r"\b(?:chapter|nineteen)\b", "", said).strip()
        for said in passages(texts["pdf"]).elements()
    )
    assert (expected & pages) == expected  # and what is on the pages before and after
    code = (
        'if [ upgrade != "$1 ] || dpkg --compare-versions "$2" lt 1.0-2; then\n'
        "    dpkg-divert --package smailwrapper --add --rename \\\n"
        "        --divert /usr/sbin/smail.real /usr/sbin/smail\nfi\n\nwhere 1.0-2 is"
    )
    assert all(code in texts[format].text for format in ("html", "epub"))
