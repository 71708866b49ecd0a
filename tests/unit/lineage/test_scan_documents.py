"""What stands in a document is found, wherever the document is, and what cannot be read is told. A
person's own document goes as a whole."""

from __future__ import annotations

import gzip
import io
import zlib
from dataclasses import replace
from email.message import EmailMessage

import pyarrow.parquet as pq
import pypdfium2
import pypdfium2.raw as raw
import pytest
from typer.testing import CliRunner

from archives import tarred, zipped
from tunesmith.cli.main import app
from tunesmith.core import erasure, evidence
from tunesmith.core.canonical import canonical_json
from tunesmith.core.errors import DataError
from tunesmith.lineage.decode import contents
from tunesmith.lineage.forget import forget
from tunesmith.lineage.plan import plan
from tunesmith.lineage.scan import needles, says
from tunesmith.lineage.unread import At
from tunesmith.lineage.versions import find, log, path_of

SAID = "Ada Lovelace, née Byron, has refused the office twice."
OTHER = "Charles Babbage, né à Londres, has paid for none of it."
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def pdf(*pages: list[str], info: str = "", notes: str = "", password: bool = False) -> bytes:
    """A PDF with packed pages of lines, in 10 point Helvetica."""
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"", b""]
    objects[2] = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>"
    kids = []
    for lines in pages:
        shown = b"".join(
            b"BT /F1 10 Tf 72 %d Td (%s) Tj ET\n" % (700 - 12 * at, line.encode("cp1252"))
            for at, line in enumerate(lines)
        )
        packed = zlib.compress(shown)
        objects.append(
            b"<</Length %d/Filter/FlateDecode>>stream\n%s\nendstream" % (len(packed), packed)
        )
        kids.append(len(objects) + 1)
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents %d 0 R%s"
            b"/Resources<</Font<</F1 3 0 R>>>>>>" % (len(objects), notes.encode("cp1252"))
        )
    listed = b" ".join(b"%d 0 R" % kid for kid in kids)
    objects[1] = b"<</Type/Pages/Count %d/Kids[%s]>>" % (len(kids), listed)
    objects.append(b"<<%s>>" % info.encode("cp1252"))
    data = b"%PDF-1.4\n"
    places = []
    for number, each in enumerate(objects, start=1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    locked = (
        b"/Encrypt<</Filter/Standard/V 1/R 2/P -4/O<%s>/U<%s>>>/ID[<00><00>]" % ((b"00" * 32,) * 2)
        if password
        else b""
    )
    return data + (
        b"xref\n0 %d\n0000000000 65535 f \n%strailer<</Size %d/Root 1 0 R/Info %d 0 R%s>>\n"
        b"startxref\n%d\n%%%%EOF\n"
        % (len(objects) + 1, table, len(objects) + 1, len(objects), locked, len(data))
    )


def a_page(text):
    return pdf(["A letter.", text])


def over_lines(text):
    return pdf(["A letter.", text[:13], text[13:].lstrip()])


def hyphenated(text):
    """In the middle of a word, at the end of a line."""
    at = text.index("has") - 4
    return pdf(["A letter, in words and lines.", f"{text[:at]}-", text[at:]])


def over_pages(text):
    """With what stands on each page between."""
    at = text.index("has")
    words = [f"Line {number} of an old story, and long." for number in range(20)]
    pages = [[*words, text[:at].strip()], [text[at:], *words], ["So.", *words], ["So.", *words]]
    return pdf(
        *(
            ["Letters of a house", "", "", *page, "", "", str(number)]
            for number, page in enumerate(pages, start=1)
        )
    )


def in_the_title_of_a_pdf(text):
    return pdf(["A letter."], info=f"/Title({text})")


def a_note_of_a_pdf(text):
    note = f"<</Type/Annot/Subtype/Text/Rect[0 0 9 9]/Contents({text})>>"
    return pdf(["A letter."], notes=f"/Annots[{note}]")


def escaped(text):
    return text.replace("é", "&#xE9;").replace("è", "&#232;").replace("à", "&#xe0;")


def docx(text):
    """In runs, one of which ends within a word, written as some programs do, over lines; paragraphs
    before and after it."""
    runs = "".join(
        "<w:r>\n<w:rPr>\n<w:b/>\n</w:rPr>\n"
        f'<w:t xml:space="preserve">{escaped(each)}</w:t>\n</w:r>\n'
        for each in (text[:2], text[2:16], text[16:])
    )
    before = "<w:p>\n<w:r>\n<w:t>Dear all</w:t>\n</w:r>\n</w:p>\n"
    body = f"{before}<w:p>\n{runs}</w:p>\n{before}"
    return zipped(
        {"word/document.xml": f'<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>'}
    )


def two_paragraphs(text):
    """The first of which is in two runs within a word."""
    paragraphs = (
        f"<w:p><w:r><w:t>{text[:2]}</w:t></w:r><w:r><w:t>{text[2:12]}</w:t></w:r></w:p>"
        f"<w:p><w:r><w:t>{text[12:].lstrip()}</w:t></w:r></w:p>"
    )
    return zipped({"word/comments.xml": f"<w:comments>{paragraphs}</w:comments>"})


def pptx(text):
    runs = f"<a:r><a:t>{text[:2]}</a:t></a:r><a:r><a:rPr/><a:t>{text[2:]}</a:t></a:r>"
    return zipped({"ppt/slides/slide1.xml": f"<p:sld><a:p>{runs}</a:p></p:sld>"})


def odt(text):
    said = f'{text[:2]}<text:span text:style-name="T1">{text[2:12]}</text:span>'
    said += f"<text:s/>{text[12:].lstrip()}"
    return zipped(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "content.xml": f"<office:text><text:p>{said}</text:p></office:text>",
        }
    )


def epub(text):
    said = text.replace("é", "&eacute;").replace("à", "&agrave;").replace(" has", "<br/><b>h</b>as")
    return zipped({"OEBPS/a.xhtml": f"<html><body><h1>A</h1><p>{said}</p></body></html>"})


def an_attribute_of_html(text):
    return f'<p><img alt="{text.replace("é", "&eacute;")}"></p>'.encode()


def html_in_a_set_of_old(text):
    return f'<meta charset="iso-8859-2"><p>{text.replace("à", "")} Łódź</p>'.encode("iso-8859-2")


def utf_16_without_a_mark(text):
    return f"A letter.\n{text}\n".encode("utf-16-le")


def utf_32(text):
    return text.encode("utf-32")


def with_soft_hyphens(text):
    return (
        text.replace("ref", "re\xadf").replace("ffi", "\ufb03").replace("fo", "f\u200bo").encode()
    )


def a_name_of_a_file(text):
    """As RFC 2231 has it."""
    mail = EmailMessage()
    mail.set_content("Hi.")
    mail.add_attachment(b"x", maintype="image", subtype="png", filename=f"{text}.png")
    return mail.as_bytes()


DOCUMENTS = [
    a_page, over_lines, hyphenated, over_pages, in_the_title_of_a_pdf, a_note_of_a_pdf, docx,
    two_paragraphs, pptx, odt, epub, an_attribute_of_html, html_in_a_set_of_old,
    utf_16_without_a_mark, utf_32, with_soft_hyphens, a_name_of_a_file,
]  # fmt: skip


def attached(data):
    mail = EmailMessage()
    mail.set_content("Hi.")
    mail.add_attachment(data, maintype="application", subtype="octet-stream", filename="a.bin")
    return mail.as_bytes()


def in_a_mailbox(data):
    return b"From x\nFrom: a\n\nHi.\n\nFrom x\n" + attached(data)


def packed_tar(data):
    return gzip.compress(tarred({"a.bin": data}))


def a_member(data):
    return zipped({"a.bin": data})


def unread(data):
    told = []
    for _ in contents(data, At(tell=told.append)):
        pass
    return list(dict.fromkeys(told))


@pytest.mark.parametrize("write", DOCUMENTS)
@pytest.mark.parametrize("pack", [bytes, a_member, packed_tar, attached, in_a_mailbox])
def test_what_a_document_says_is_found(write, pack):
    data = pack(write(SAID))
    assert SAID.encode() not in data
    assert says(data, needles([SAID]))
    assert not says(pack(write(OTHER)), needles([SAID]))
    assert unread(data) == []


def test_what_is_attached_to_a_pdf_is_found():
    pypdfium2 = pytest.importorskip("pypdfium2")
    file = pypdfium2.PdfDocument(pdf(["A letter."]))
    file.new_attachment("b.docx").set_data(docx(SAID))
    sink = io.BytesIO()
    file.save(sink)
    file.close()
    assert says(sink.getvalue(), needles([SAID]))


def encrypted_member():
    data = bytearray(a_member(b"x"))
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    return bytes(data)


def damaged_member():
    data = bytearray(zipped({"a.txt": b"abc " * 99, "b.txt": b"b"}))
    data[33] ^= 255
    return bytes(data)


def deep():
    data = b"Hi."
    for _ in range(7):
        data = a_member(data)
    return data


def a_scanned_page_behind_a_cover():
    """A page that is a picture, in a document that has text elsewhere."""
    document = pypdfium2.PdfDocument(pdf(["A cover."]))
    picture = pypdfium2.PdfImage.new(document)
    picture.set_bitmap(pypdfium2.PdfBitmap.new_native(8, 8, raw.FPDFBitmap_BGR))
    page = document.new_page(200, 200)
    page.insert_obj(picture)
    page.gen_content()
    sink = io.BytesIO()
    document.save(sink)
    document.close()
    return sink.getvalue()


CANNOT = [
    (a_scanned_page_behind_a_cover, "page 2: a picture without text, as a scan is"),
    (encrypted_member, "a.bin: encrypted"),
    (damaged_member, "a.txt: damaged: read up to there, at the most"),
    (deep, f"{'/'.join(['a.bin'] * 5)}: packed more than 5 deep"),
    (lambda: a_member(b"%PDF-1.4\nnothing of one"), "a.bin: a damaged PDF"),
    (lambda: attached(pdf(["Hi."], password=True)), "a.bin: an encrypted PDF"),
    (lambda: a_member(pdf([])), "a.bin: a PDF without text, as a scan is"),
    (lambda: a_member(b"7z\xbc\xaf\x27\x1c"), "a.bin: a 7z archive"),
    (lambda: attached(a_member(b"{\\rtf1 Hi.}")),
     "a.bin/a.bin: an RTF file, of which only plain letters are read"),
    (lambda: b'<meta charset="x-none"><p>Hi.', "in an encoding that is not known"),
    (lambda: b'<meta charset="rot13"><p>Hi.', "in an encoding that is not known"),
    (lambda: b"PAR1 and nothing", "damaged: read up to there, at the most"),
    (lambda: gzip.compress(bytes(range(256)) * 999)[:-9], "damaged: read up to there, at the most"),
]  # fmt: skip


def test_what_only_speaks_of_encodings_and_files_is_read():
    assert (
        unread(b'open(path, encoding=None).read() == "%PDF-1.7"  # Rar!, PK, charset = none') == []
    )


@pytest.mark.parametrize(("write", "said"), CANNOT)
def test_what_cannot_be_read_is_told_with_where_it_is(write, said):
    assert unread(write()) == [said]


JSON = "application/json"
WHO = "Ada Lovelace"
WROTE = ["The engine weaves algebra, as the loom", "weaves flowers and leaves."]
PROJECT = """\
[project]
name = "papers"
[source.papers]
origin = "file:papers/"
format = "document"
subject = "author"
"""
SECOND = """\
[source.minutes]
origin = "file:minutes/"
format = "document"
"""


@pytest.fixture
def papers(make_folder):
    """A project that read two papers of two authors."""
    made = make_folder()
    (made.path / "tunesmith.toml").write_text(PROJECT)
    (made.path / "papers").mkdir()
    for name, author, lines in (
        ("ada", WHO, WROTE),
        ("babbage", "Charles Babbage", ["It is all wheels and axles."]),
    ):
        data = pdf(lines, info=f"/Author({author})")
        (made.path / "papers" / f"{name}.pdf").write_bytes(data)
    made.run()
    return made


def minutes(folder, name, data):
    """A second source, of the file `name`."""
    (folder.path / "minutes").mkdir()
    (folder.path / "minutes" / name).write_bytes(data)
    (folder.path / "minutes" / "a.md").write_text("The meeting was opened at nine.\n")
    with (folder.path / "tunesmith.toml").open("a") as file:
        file.write(SECOND)
    folder.run()


def texts_of(project, name="papers"):
    return pq.read_table(path_of(project, find(project, name), "rows"))["text"].to_pylist()


def test_a_document_goes_as_a_whole(papers):
    with papers.opened() as project:
        _, planned = plan(project, [WHO])
        assert planned.files == ("papers/ada.pdf",)
        assert planned.obstacles == ()
        made = forget(project, [WHO])
        assert (made.found, made.unread, made.files) == ((), (), ("papers/ada.pdf",))
        assert texts_of(project) == ["It is all wheels and axles."]
        newest = log(project, "papers")[-1]
        assert (newest.num_in, newest.num_rows, newest.num_erased) == (2, 1, 1)
    papers.run()
    with papers.opened() as project:
        assert len(texts_of(project)) == 1, "it does not come back"


def test_a_row_that_is_named_by_its_id_leads_to_its_file(papers):
    """Its text is too short to be searched for: its file is known by its place."""
    (papers.path / "papers" / "note.pdf").write_bytes(pdf(["Yes."]))
    papers.run()
    with papers.opened() as project:
        rows = pq.read_table(path_of(project, find(project, "papers"), "rows")).to_pylist()
        (row_id,) = [row["row_id"] for row in rows if row["text"] == "Yes."]
        assert plan(project, [row_id])[1].files == ("papers/note.pdf",)


def test_a_pdf_of_another_that_tells_of_them_is_found(papers):
    """A byte search finds nothing in it: its text is packed."""
    data = pdf(["The office was refused", "by Ada Lovelace, twice."])
    assert b"Lovelace" not in data
    minutes(papers, "b.pdf", data)
    with papers.opened() as project, pytest.raises(DataError, match="still in the store") as caught:
        forget(project, [WHO])
    assert "of land:minutes" in caught.value.message


def test_what_could_not_be_read_is_in_the_certificate(papers):
    minutes(papers, "b.pdf", b"%PDF-1.4\nthe rest is lost")
    words = ["data", "forget", WHO, "-p", str(papers.path)]
    assert "data forget 'Ada Lovelace'\n" in CliRunner().invoke(app, [*words, "--plan"]).stdout
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    said = " ".join(done.stdout.split())
    assert "nothing was found in what could be read, and 1 could not be read" in said
    assert "b.pdf: a damaged PDF" in said
    with papers.opened() as project:
        (unread,) = forget(project, [WHO]).unread
    assert unread.endswith("b.pdf: a damaged PDF")
    assert "of land:minutes" in unread


def test_an_erasure_of_when_less_was_read_is_searched_for_again(papers):
    with papers.opened() as project:
        made = forget(project, [WHO])
        old = canonical_json(replace(made, unread=None))
        with project.runner.database.write() as connection:
            (begun,) = [entry.seq for entry in evidence.entries(connection, erasure.BEGUN)]
            body = {"begun": begun, "certificate": project.runner.blobs.put(old, JSON), "blobs": []}
            evidence.append(connection, erasure.DONE, project.runner.actor, body)
        again = forget(project, [WHO])
        assert (again.unread, again.num_needles) == ((), 1)
    minutes(papers, "b.pdf", pdf([f"{WHO} has refused it."]))
    with papers.opened() as project:
        assert forget(project, [WHO]) == again, "what was searched whole is as it was"
        with project.runner.database.write() as connection:
            evidence.append(connection, erasure.DONE, project.runner.actor, body)
        with pytest.raises(DataError, match="of land:minutes"):
            forget(project, [WHO])
