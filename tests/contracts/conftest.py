"""A small honest file of every format of a source, made by hand, and hostile ones."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

SUFFIX = {
    "front-matter": ".RULE", "text": ".txt", "jsonl": ".jsonl", "csv": ".csv", "tsv": ".tsv",
    "json": ".json", "yaml": ".yml", "parquet": ".parquet", "xlsx": ".xlsx", "html": ".html",
    "markdown": ".md",
    "pdf": ".pdf", "docx": ".docx", "pptx": ".pptx", "odt": ".odt", "epub": ".epub",
    "eml": ".eml", "mbox": ".mbox", "document": ".html", "sql": ".db", "api": ".api",
    "stream": ".stream",
}  # fmt: skip
WORDS = "Müller writes."
REL = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
RELS = "http://schemas.openxmlformats.org/package/2006/relationships"
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/main"
SLIDES = "http://schemas.openxmlformats.org/presentationml/2006/main"


def zipped(**parts: str | bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return sink.getvalue()


def related(*targets: tuple[str, str]) -> str:
    rows = "".join(
        f'<Relationship Id="r{number}" Type="{REL}/{kind}" Target="{target}"/>'
        for number, (kind, target) in enumerate(targets, start=1)
    )
    return f'<Relationships xmlns="{RELS}">{rows}</Relationships>'


def pdf(*pages: list[tuple[float, str]]) -> bytes:
    """A PDF whose pages have lines at the given heights, in 10 point Helvetica."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b""]
    objects.append(
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
    )
    kids = []
    for lines in pages:
        shown = b"".join(
            b"BT /F1 10 Tf 72 %.1f Td (%s) Tj ET\n" % (height, text.encode("cp1252"))
            for height, text in lines
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(shown), shown))
        kids.append(len(objects) + 1)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R"
            b" /Resources << /Font << /F1 3 0 R >> >> >>" % len(objects)
        )
    listed = b" ".join(b"%d 0 R" % kid for kid in kids)
    objects[1] = b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(kids), listed)
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, data in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, data)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        start,
    )
    return bytes(out)


def xlsx(sheet: str, strings: str = "", styles: str = "") -> bytes:
    book = (
        f'<workbook xmlns="{MAIN}" xmlns:r="{REL}"><sheets>'
        '<sheet name="Staff" sheetId="1" r:id="r1"/></sheets></workbook>'
    )
    return zipped(
        **{
            "[Content_Types].xml": "<Types/>",
            "_rels/.rels": related(("officeDocument", "xl/workbook.xml")),
            "xl/workbook.xml": book,
            "xl/_rels/workbook.xml.rels": related(("worksheet", "worksheets/sheet1.xml")),
            "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{MAIN}">{sheet}</worksheet>',
            "xl/sharedStrings.xml": strings or f'<sst xmlns="{MAIN}"/>',
            "xl/styles.xml": styles or f'<styleSheet xmlns="{MAIN}"/>',
        }
    )


def cells(*rows: list[str]) -> str:
    def one(row: list[str]) -> str:
        return "".join(f'<c t="inlineStr"><is><t>{value}</t></is></c>' for value in row)

    return f"<sheetData>{''.join(f'<row>{one(row)}</row>' for row in rows)}</sheetData>"


def docx(body: str, **others: str) -> bytes:
    return zipped(
        **{
            "_rels/.rels": related(("officeDocument", "word/document.xml")),
            "word/document.xml": body
            if body.startswith("<?")
            else f'<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>',
            **others,
        }
    )


def pptx(*slides: str) -> bytes:
    listed = "".join(f'<p:sldId id="{255 + n}" r:id="r{n}"/>' for n in range(1, len(slides) + 1))
    return zipped(
        **{
            "_rels/.rels": related(("officeDocument", "ppt/presentation.xml")),
            "ppt/presentation.xml": f'<p:presentation xmlns:p="{SLIDES}" xmlns:r="{REL}">'
            f"<p:sldIdLst>{listed}</p:sldIdLst></p:presentation>",
            "ppt/_rels/presentation.xml.rels": related(
                *[("slide", f"slides/slide{n}.xml") for n in range(1, len(slides) + 1)]
            ),
            **{
                f"ppt/slides/slide{n}.xml": slide
                if slide.startswith("<?")
                else f'<p:sld xmlns:p="{SLIDES}" xmlns:a="{DRAWING}"><a:p><a:r><a:t>{slide}'
                "</a:t></a:r></a:p></p:sld>"
                for n, slide in enumerate(slides, start=1)
            },
        }
    )


def odt(body: str) -> bytes:
    office = "urn:oasis:names:tc:opendocument:xmlns:office:1.0"
    text = "urn:oasis:names:tc:opendocument:xmlns:text:1.0"
    content = (
        body
        if body.startswith("<?")
        else f'<o:document-content xmlns:o="{office}" xmlns:text="{text}"><o:body><o:text>{body}'
        "</o:text></o:body></o:document-content>"
    )
    return zipped(
        **{
            "mimetype": "application/vnd.oasis.opendocument.text",
            "content.xml": content,
            "meta.xml": "<m><title>Kept</title></m>",
        }
    )


def epub(*chapters: str, **others: str) -> bytes:
    items = "".join(
        f'<item id="c{n}" href="c%20{n}.xhtml" media-type="application/xhtml+xml"/>'
        f'<itemref idref="c{n}"/>'
        for n in range(len(chapters))
    )
    return zipped(
        **{
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<c><rootfile full-path="OEBPS/book.opf"/></c>',
            "OEBPS/book.opf": f"<package><title>Book</title>{items}</package>",
            **{f"OEBPS/c {n}.xhtml": chapter for n, chapter in enumerate(chapters)},
            **others,
        }
    )


def parquet(**columns: list[object]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


HTML = f'<!doctype html><meta charset="utf-8"><title>T</title><h1>One</h1><p>{WORDS}</p>'
MAIL = (
    "From: =?utf-8?q?M=C3=BCller?= <m@example.org>\r\nSubject: Hello\r\nDate: Fri, 2 Jan 2026 "
    "10:00:00 +0100\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGood morning.\r\n"
)
SAMPLES: dict[str, bytes] = {
    "front-matter": f"---\nkey: a\n---\n\n{WORDS}\n".encode(),
    "text": f"{WORDS}\n".encode(),
    "jsonl": b'{"a": 1}\n' + f'{{"a": "{WORDS}"}}\n'.encode() * 3,
    "csv": f"name,said\n1,{WORDS}\n2,{WORDS}\n".encode(),
    "tsv": f"name\tsaid\n1\t{WORDS}\n2\t{WORDS}\n".encode(),
    "json": f'[{{"a": 1}}, {{"a": "{WORDS}"}}]'.encode(),
    "yaml": f"- a: 1\n- a: {WORDS}\n- - Hello\n  - {WORDS}\n".encode(),
    "parquet": parquet(a=[1, 2], b=[WORDS, None]),
    "xlsx": xlsx(cells(["name", "said"], ["1", WORDS])),
    "html": HTML.encode(),
    "markdown": f"# One\n\n{WORDS}\n".encode(),
    "pdf": pdf([(700, "Title"), (680, WORDS)], [(700, "The second page.")]),
    "docx": docx(f"<w:p><w:r><w:t>{WORDS}</w:t></w:r></w:p>"),
    "pptx": pptx("First", WORDS),
    "odt": odt(f"<text:h>One</text:h><text:p>{WORDS}</text:p>"),
    "epub": epub(f"<html><body><h1>One</h1><p>{WORDS}</p></body></html>"),
    "eml": MAIL.encode(),
    "mbox": f"From x\n{MAIL}\nFrom y\n{MAIL}".encode(),
    "document": HTML.encode(),
    "api": f'{{"id":"first"}}\n{{"a":"{WORDS}","id":"second"}}\n'.encode(),
    "stream": (
        '{"key":"id=first","record":{"id":"first"}}\n'
        f'{{"key":"id=second","record":{{"a":"{WORDS}","id":"second"}}}}\n'
    ).encode(),
    "sql": f'{{"id":"first"}}\n{{"a":"{WORDS}","id":"second"}}\n'.encode(),
}

LOCK = '<e><CipherReference URI="OEBPS/c%200.xhtml"/></e>'
BAD: dict[str, dict[bytes, set[str]]] = {
    "front-matter": {
        b"No header.\n": {"no-front-matter"},
        b"---\nkey: [a\n---\nText.\n": {"bad-front-matter"},
        b"---\nkind: a\n---\nText.\n": {"no-label"},
        b"---\nkey: a\n---\n\n": {"empty-text"},
    },
    "text": {b"caf\xe9": {"not-text"}, b"\n\n": {"empty-text"}},
    "jsonl": {b'{broken\n[1]\n{"a": NaN}\n': {"bad-json", "not-an-object"}},
    "csv": {b"a,b\n1\n": {"bad-csv"}, b"a,a\n1,2\n": {"bad-header"}},
    "tsv": {b"a\tb\n1\n": {"bad-csv"}, b"a\t\n1\t2\n": {"bad-header"}},
    "json": {
        b'[1, "a"]': {"not-an-object"},
        b'{"a": [{"b": 1}], "c": [{"d": 1}]}': {"bad-json"},
    },
    "yaml": {
        b"- a: [1\n": {"bad-yaml"},
        b"a: b\n": {"bad-yaml"},
        b"- a\n": {"not-an-object"},
        b"- &a b\n- *a\n": {"bad-front-matter"},
    },
    "parquet": {b"PAR1 and nothing": {"bad-parquet"}, parquet(**{"": [1]}): {"bad-header"}},
    "xlsx": {
        xlsx(cells(["name", "name"], ["1", "2"])): {"bad-header"},
        xlsx(cells(["name"], ["1", "2"])): {"bad-row"},
        xlsx("<sheetData><row><c><v>one</v></c></row></sheetData>"): {"bad-value"},
        zipped(**{"xl/workbook.xml": f'<workbook xmlns="{MAIN}"/>'}): {"no-sheet"},
    },
    "html": {b"<p>caf\xe9": {"not-text"}, b"<p> </p>": {"empty-text"}},
    "markdown": {b"---\nkey: a\n": {"no-front-matter"}, b"\n": {"empty-text"}},
    "pdf": {b"%PDF-1.7": {"not-whole"}, pdf([]): {"empty-text"}},
    "docx": {zipped(a="b"): {"not-whole"}, docx("<w:p>"): {"bad-xml"}},
    "pptx": {zipped(a="b"): {"not-whole"}, pptx("<b>"): {"bad-xml"}},
    "odt": {zipped(a="b"): {"not-whole"}, odt("<text:p>"): {"bad-xml"}},
    "epub": {
        zipped(**{"META-INF/container.xml": "<c/>"}): {"not-whole"},
        epub("<p>Locked.</p>", **{"META-INF/encryption.xml": LOCK}): {"encrypted"},
    },
    "eml": {b"Good morning.\n": {"bad-message"}},
    "mbox": {MAIL.encode(): {"bad-mbox"}, b"From x\nGood morning.\n": {"bad-message"}},
    "document": {b"<p>caf\xe9": {"not-text"}},
    "sql": {b"{broken\n[1]\n": {"bad-json", "not-an-object"}},
    "api": {b"{broken\n[1]\n": {"bad-json", "not-an-object"}},
    "stream": {
        b'{broken\n{"key": "id=1"}\n': {"bad-json"},
        b'{"key": "id=1", "record": {"id": 1}, "reason": "id: no string"}\n': {"schema"},
    },
}
"""Of each format files that are bad in a way of its own, and the rules that they break; there is no
row in them."""


def hostile_xml(secret: Path) -> list[str]:
    """XML that grows without end, XML that reads a file, and XML that is nested without end."""
    grows = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "ha" * 10}">' for n in range(10))
    reads = f'<!ENTITY e9 SYSTEM "{secret.as_uri()}">'
    part = f'<!ENTITY % p SYSTEM "{secret.as_uri()}"> %p;'
    return [f'<?xml version="1.0"?><!DOCTYPE r [{d}]><r>&e9;</r>' for d in (grows, reads, part)] + [
        '<?xml version="1.0"?>' + "<r>" * 100_000 + "</r>" * 100_000
    ]


ENTITIES: dict[str, Callable[[str], bytes]] = {
    "xlsx": lambda xml: xlsx("<sheetData/>", strings=xml),
    "docx": docx,
    "pptx": pptx,
    "odt": odt,
    "epub": epub,
}


def lying(data: bytes, name: str, size: int) -> bytes:
    """A zip whose directory says that a member unpacks to another size than it does."""
    at = data.index(b"PK\1\2")
    while data[at + 46 : at + 46 + len(name)] != name.encode():
        at = data.index(b"PK\1\2", at + 4)
    return data[: at + 24] + struct.pack("<I", size) + data[at + 28 :]


def zeros_in_a_pdf(num_bytes: int) -> bytes:
    """A PDF whose only page unpacks to as many spaces, and says nothing."""
    packed = zlib.compress(b" " * num_bytes, 9)
    plain = pdf([])
    old = b"<< /Length 0 >>\nstream\n\nendstream"
    assert old in plain
    return plain.replace(
        old, b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(packed), packed)
    )


ZEROS = "x" * (4 << 20)
BOMBS: dict[str, Callable[[], bytes]] = {
    "xlsx": lambda: xlsx(cells([ZEROS])),
    "docx": lambda: docx(f"<w:p><w:r><w:t>{ZEROS}</w:t></w:r></w:p>"),
    "pptx": lambda: pptx(ZEROS),
    "odt": lambda: odt(f"<text:p>{ZEROS}</text:p>"),
    "epub": lambda: epub(f"<p>{ZEROS}</p>"),
    "parquet": lambda: parquet(a=pa.nulls(20_000_000, pa.int8())),
}


class Files:
    """What the tests need of all this; a test folder is no package to import from."""

    samples, bad, suffix, words = SAMPLES, BAD, SUFFIX, WORDS
    entities, bombs = ENTITIES, BOMBS
    zipped, pdf, xlsx, cells, docx, pptx, odt, epub, parquet, related = (
        staticmethod(zipped), staticmethod(pdf), staticmethod(xlsx), staticmethod(cells),
        staticmethod(docx), staticmethod(pptx), staticmethod(odt), staticmethod(epub),
        staticmethod(parquet), staticmethod(related),
    )  # fmt: skip
    hostile_xml, lying, zeros_in_a_pdf = (
        staticmethod(hostile_xml), staticmethod(lying), staticmethod(zeros_in_a_pdf),
    )  # fmt: skip


@pytest.fixture(scope="session")
def files() -> type[Files]:
    return Files
