"""What documents say that keep their text in a form of their own: PDF, and the zips of Office,
OpenDocument and EPUB, as a whole.

A PDF is read here by PDFium alone, page by page. What the readers of formats make of a document is
looked at besides: they put words, pages and cells together as a row has them.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import IO, Any

from tunesmith.core.errors import MissingExtra
from tunesmith.lineage.unread import DAMAGED, At
from tunesmith.stages.ingest.documents.epub import read_epub
from tunesmith.stages.ingest.documents.office import read_docx, read_pptx
from tunesmith.stages.ingest.documents.open_document import read_odt
from tunesmith.stages.ingest.documents.pdf import MAX_PAGES, read_pdf
from tunesmith.stages.ingest.entry import MAX_ROW_BYTES, Entry, Quarantined, Unreadable

_Reader = Callable[[str, bytes], Iterable[Entry | Quarantined]]
_ZIPPED: Mapping[str, _Reader] = {
    "word/document.xml": read_docx,
    "ppt/presentation.xml": read_pptx,
    "META-INF/container.xml": read_epub,
    "content.xml": read_odt,
}
"""By a member that such a zip has."""
_BROKEN_WORD = re.compile("[\x02\ufffe\xad]\\s*")
"""How PDFium marks a hyphen at the end of a line."""
_OF_NOTES = (b"Contents", b"V", b"DV", b"T", b"TU", b"Subj", b"RC")
"""What a note or a field of a form may say."""


def whole_document(source: IO[bytes], names: Collection[str]) -> Iterator[bytes]:
    """What the reader of its format makes of a zip with members of these names, if it is one of a
    document's; of what it cannot read, nothing: its members are looked at one by one."""
    for name, read in _ZIPPED.items():
        if name in names:
            source.seek(0)
            yield from _as_read(read, source.read())


def pdf(data: bytes, at: At, contents: Callable[[bytes, At], Iterator[bytes]]) -> Iterator[bytes]:
    """The texts of a PDF, with its notes, forms, outline and metadata; and the `contents` of what
    is attached to it."""
    try:
        import pypdfium2
    except ImportError:
        need = MissingExtra("pypdfium2", "documents")
        at.unread(f"a PDF, and {need.message} ({need.remedy})")
        return
    try:
        file = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        at.unread("an encrypted PDF" if "assword" in str(error) else "a damaged PDF")
        return
    try:
        if len(file) > MAX_PAGES:
            at.unread(f"a PDF of more than {MAX_PAGES} pages")
            return
        pages = list(_pages(file, at))
        if not any(said for said, _ in pages):
            at.unread("a PDF without text, as a scan is")
        else:
            for number, (said, has_picture) in enumerate(pages, start=1):
                if has_picture and not said:
                    at.part(f"page {number}").unread("a picture without text, as a scan is")
        text = "\n".join(said for said, _ in pages)
        for between in ("", "-"):
            yield _as_bytes(_BROKEN_WORD.sub(between, text))
        yield _as_bytes("\n".join([*file.get_metadata_dict().values(), *_notes(file, at)]))
        for number in range(file.count_attachments()):
            try:
                attached = file.get_attachment(number)
                name, inside = attached.get_name(), bytes(attached.get_data())
            except pypdfium2.PdfiumError:
                at.within(f"attachment {number + 1}").unread(DAMAGED)
                continue
            yield name.encode("utf-8", "replace")
            yield from contents(inside, at.within(name))
    finally:
        file.close()
    yield from _as_read(read_pdf, data)


def _pages(file: Any, at: At) -> Iterator[tuple[str, bool]]:
    """What each page says, and whether there is a picture on it."""
    import pypdfium2
    import pypdfium2.raw as pdfium

    num_chars = 0
    for number in range(len(file)):
        here = at.part(f"page {number + 1}")
        try:
            page = file[number]
            text = page.get_textpage()
        except pypdfium2.PdfiumError:
            here.unread(DAMAGED)
            yield "", False
            continue
        num_chars += text.count_chars()
        if num_chars > MAX_ROW_BYTES:
            here.unread("more characters than are read of a PDF")
            return
        codes = (pdfium.FPDFText_GetUnicode(text, each) for each in range(text.count_chars()))
        said = "".join(map(chr, codes)).replace("\0", "")
        has_picture = any(page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE]))
        text.close()
        page.close()
        said = said.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").strip()
        yield said, has_picture


def _notes(file: Any, at: At) -> Iterator[str]:
    """What stands in the outline, in notes and in the fields of forms."""
    import pypdfium2
    import pypdfium2.raw as pdfium

    yield from (each.get_title() for each in file.get_toc())
    for number in range(len(file)):
        try:
            page = file[number]
        except pypdfium2.PdfiumError:  # said already
            continue
        for note in range(pdfium.FPDFPage_GetAnnotCount(page)):
            found = pdfium.FPDFPage_GetAnnot(page, note)
            if not found:
                at.part(f"page {number + 1}, note {note + 1}").unread(DAMAGED)
                continue
            yield from filter(None, (_said(found, key) for key in _OF_NOTES))
            pdfium.FPDFPage_CloseAnnot(found)
        page.close()


def _said(note: Any, key: bytes) -> str:
    import pypdfium2.raw as pdfium

    size = pdfium.FPDFAnnot_GetStringValue(note, key, None, 0)
    buffer = ctypes.create_string_buffer(size + 2)
    pdfium.FPDFAnnot_GetStringValue(note, key, ctypes.cast(buffer, ctypes.POINTER(
        pdfium.FPDF_WCHAR)), size)  # fmt: skip
    return buffer.raw[: max(0, size - 2)].decode("utf-16-le", "replace")


def _as_read(read: _Reader, data: bytes) -> Iterator[bytes]:
    try:
        for found in read("", data):
            if isinstance(found, Entry):
                yield _as_bytes(found.text or "")
    except (Unreadable, MissingExtra):
        return


def _as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
