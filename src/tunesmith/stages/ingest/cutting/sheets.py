"""Cut rows out of a workbook: it is written anew with what is read of it, and nothing else.

Values of cells also stand in the table of strings, in charts, in pivot tables and their caches, in
comments and in names; none of these is written. Rows keep their numbers, cells their formats.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Collection, Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

from tunesmith.stages.ingest.archive import EPOCH
from tunesmith.stages.ingest.workbook import Cell, Workbook, opened, string_of

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
_RELS = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_SHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_TO_ESCAPE = re.compile(
    "_(?=x[0-9A-Fa-f]{4}_)|[\\x00-\\x08\\x0b-\\x1f\\ud800-\\udfff\\ufffe\\uffff]"
)
_RETURN = {"\r": "&#13;"}


def cut_workbook(name: str, data: bytes, sheet: str, gone: Collection[str]) -> bytes:
    """`data` without the rows at the pointers `gone`, of the sheet called `sheet`, or of all.

    Raises:
        Unreadable: a cell of it cannot be read.
    """
    sink = io.BytesIO()
    with opened(data, sheet) as book, zipfile.ZipFile(sink, "w") as archive:
        parts = _frame(book)
        for number, title in enumerate(book.sheets, start=1):
            rows = "".join(
                f'<row r="{row}">{"".join(_cell(row, cell, book.strings) for cell in cells)}</row>'
                for row, cells in book.rows(title)
                if f"{name}#{title}!{row}" not in gone
            )
            part = f'<worksheet xmlns="{_MAIN}"><sheetData>{rows}</sheetData></worksheet>'
            parts[f"xl/worksheets/sheet{number}.xml"] = part.encode()
        for part_name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(part_name, EPOCH), content)
    return sink.getvalue()


def said_in_workbook(name: str, data: bytes, sheet: str) -> dict[str, bytes]:
    """What the cells of each row hold, by pointer."""
    return dict(_said(name, data, sheet))


def _said(name: str, data: bytes, sheet: str) -> Iterator[tuple[str, bytes]]:
    with opened(data, sheet) as book:
        for title in book.sheets:
            for row, cells in book.rows(title):
                said = (string_of(c, book.strings) if c.kind == "s" else c.said for c in cells)
                yield f"{name}#{title}!{row}", "\0".join(said).encode()


def _frame(book: Workbook) -> dict[str, bytes]:
    """All parts of a workbook but its sheets."""
    numbers = range(1, len(book.sheets) + 1)
    sheets = "".join(
        f'<sheet name={quoteattr(title)} sheetId="{n}" r:id="r{n}"/>'
        for n, title in zip(numbers, book.sheets, strict=True)
    )
    days = ' date1904="1"' if book.is_1904 else ""
    kinds = [("workbook", "sheet.main"), *((f"worksheets/sheet{n}", "worksheet") for n in numbers)]
    targets = [("worksheet", f"worksheets/sheet{n}.xml") for n in numbers]
    if book.styles is not None:
        kinds, targets = [*kinds, ("styles", "styles")], [*targets, ("styles", "styles.xml")]
    types = "".join(
        f'<Override PartName="/xl/{part}.xml" ContentType="{_SHEET}.{kind}+xml"/>'
        for part, kind in kinds
    )
    default = '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.'
    default += 'relationships+xml"/>'
    made = {
        "[Content_Types].xml": f'<Types xmlns="{_TYPES}">{default}{types}</Types>',
        "_rels/.rels": _related([("officeDocument", "xl/workbook.xml")]),
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><workbookPr{days}/>'
        f"<sheets>{sheets}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": _related(targets),
    }
    styles = {} if book.styles is None else {"xl/styles.xml": book.styles}
    return {**{part: text.encode() for part, text in made.items()}, **styles}


def _related(targets: Sequence[tuple[str, str]]) -> str:
    rows = "".join(
        f'<Relationship Id="r{number}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for number, (kind, target) in enumerate(targets, start=1)
    )
    return f'<Relationships xmlns="{_RELS}">{rows}</Relationships>'


def _cell(row: int, cell: Cell, strings: list[str]) -> str:
    """A cell as it is written; what stood in the table of strings stands in the cell itself."""
    at = f'r="{_letters(cell.column)}{row}"'
    at += f" s={quoteattr(cell.style)}" if cell.style else ""
    said = _escaped(string_of(cell, strings)) if cell.kind == "s" else cell.said
    text = escape(said, _RETURN)
    if cell.kind in ("s", "inlineStr"):
        return f'<c {at} t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'
    return f"<c {at} t={quoteattr(cell.kind)}><v>{text}</v></c>"


def _escaped(text: str) -> str:
    """A string as a cell has it, in which some characters are written by their numbers."""
    return _TO_ESCAPE.sub(lambda match: f"_x{ord(match[0]):04X}_", text)


def _letters(column: int) -> str:
    letters = ""
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters
