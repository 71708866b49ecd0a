"""XLSX: each sheet a table under its first row. Read here rather than with openpyxl, which expands
XML entities unless another package is there, builds every cell as an object, and would be one more
dependency for what is two hundred lines over zipfile and expat.

What a cell shows is not what it holds: a date is a number with a format. Dates become ISO 8601;
formulas are the value that was last computed; errors such as #N/A stay strings.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from tunesmith.stages.ingest.entry import (
    Entry,
    Quarantined,
    Unreadable,
    problem_of_names,
    quarantined,
)
from tunesmith.stages.ingest.json_text import identify
from tunesmith.stages.ingest.xml_events import End, Start, Text, events
from tunesmith.stages.ingest.zipped import Parts, opened_parts, relations

_BOOK, _STYLES = "xl/workbook.xml", "xl/styles.xml"
_DATES = frozenset([*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)])
"""Numbers of the built-in formats that show a date or a time (ECMA-376, 18.8.30)."""
_NOT_LETTERS_OF_A_DATE = re.compile(r'"[^"]*"|\\.|_.|\*.|\[[^\]]*\]')
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_REFERENCE = re.compile(r"([A-Z]{1,3})[0-9]{1,7}")
_MAX_COLUMNS = 16_384


class Cell(NamedTuple):
    """A cell as it is written."""

    column: int
    """From 1."""
    kind: str
    """What `said` is: of "s" the number of a string."""
    style: str
    said: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Workbook:
    """A workbook, open."""

    parts: Parts
    sheets: Mapping[str, str]
    """Of each sheet that is meant the part, by name."""
    strings: list[str]
    """What cells refer to by number."""
    styles: bytes | None
    dates: frozenset[int]
    """Numbers of the cell styles that show a date or a time."""
    is_1904: bool
    """Whether days count from 1904."""

    @property
    def epoch(self) -> datetime.datetime:
        """The day from which days are counted."""
        return datetime.datetime(1904, 1, 1) if self.is_1904 else datetime.datetime(1899, 12, 30)

    def rows(self, sheet: str) -> Iterator[tuple[int, list[Cell]]]:
        """(number, cells) of the rows of a sheet.

        Raises:
            Unreadable: a part is damaged, or a cell has no place.
        """
        return _rows(self.parts.read(self.sheets[sheet]))


def read_workbook(member: str, data: bytes, sheet: str) -> Iterator[Entry | Quarantined]:
    """The rows of the sheet that is called `sheet`, or of every sheet if it is empty.

    Raises:
        Unreadable: it is no whole workbook, or hostile, or has no such sheet.
    """
    with opened(data, sheet) as book:
        for name in book.sheets:
            try:
                yield from _table(f"{member}#{name}!", _valued(book, name))
            except Unreadable as error:
                yield quarantined(f"{member}#{name}", error.rule, str(error), error.value)


@contextmanager
def opened(data: bytes, sheet: str) -> Iterator[Workbook]:
    """The workbook in `data`, with the sheet that is called `sheet`, or every one if it is empty.

    Raises:
        Unreadable: see `read_workbook`.
    """
    with opened_parts(data, "XLSX workbook") as parts:
        is_1904, sheets = _sheets(parts)
        if sheet:
            sheets = {name: part for name, part in sheets.items() if name == sheet}
        if not sheets:
            raise Unreadable("no-sheet", f"it has no sheet {sheet!r}" if sheet else "no sheet")
        yield Workbook(
            parts=parts,
            sheets=sheets,
            strings=_strings(parts),
            styles=parts.read(_STYLES) if _STYLES in parts else None,
            dates=_date_styles(parts),
            is_1904=is_1904,
        )


def _sheets(parts: Parts) -> tuple[bool, dict[str, str]]:
    """(whether days count from 1904, name of a sheet of cells -> its part)."""
    targets = relations(parts, _BOOK)
    is_1904 = False
    sheets: dict[str, str] = {}
    for event in events(parts.read(_BOOK)):
        if not isinstance(event, Start):
            continue
        if event.name == "workbookPr":
            is_1904 = event.attributes.get("date1904") in ("1", "true")
        if event.name == "sheet":
            kind, part = targets.get(event.attributes.get(":id", ""), ("", ""))
            if kind == "worksheet":
                sheets[event.attributes.get("name", "")] = part
    return is_1904, sheets


def _strings(parts: Parts) -> list[str]:
    """The table of strings that cells refer to by number; how they sound is left out."""
    found: list[str] = []
    if "xl/sharedStrings.xml" not in parts:
        return found
    pieces: list[str] = []
    is_text = is_sound = False
    for event in events(parts.read("xl/sharedStrings.xml")):
        match event:
            case Start("si"):
                pieces = []
            case Start("t"):
                is_text = not is_sound
            case Text(text) if is_text:
                pieces.append(text)
            case End("t"):
                is_text = False
            case Start("rPh") | End("rPh"):
                is_sound = isinstance(event, Start)
            case End("si"):
                found.append(_unescaped("".join(pieces)))
    return found


def _date_styles(parts: Parts) -> frozenset[int]:
    found: set[int] = set()
    dates = set(_DATES)
    if _STYLES not in parts:
        return frozenset()
    number, is_cells = 0, False
    for event in events(parts.read(_STYLES)):
        match event:
            case Start("numFmt", attributes):
                code = _NOT_LETTERS_OF_A_DATE.sub("", attributes.get("formatCode", ""))
                if re.search("[ymdhs]", code, re.IGNORECASE):
                    dates.add(_whole_number(attributes.get("numFmtId", ""), "a format"))
            case Start("cellXfs") | End("cellXfs"):
                is_cells = isinstance(event, Start)
            case Start("xf", attributes) if is_cells:
                if _whole_number(attributes.get("numFmtId", "0"), "a format") in dates:
                    found.add(number)
                number += 1
    return frozenset(found)


def _valued(book: Workbook, sheet: str) -> Iterator[tuple[int, dict[int, Any]]]:
    """(number, column -> value) of the rows of a sheet that have a value."""
    for number, cells in book.rows(sheet):
        values = [(cell.column, _value(cell, book)) for cell in cells]
        if held := {column: value for column, value in values if value is not None}:
            yield number, held


def _rows(data: bytes) -> Iterator[tuple[int, list[Cell]]]:
    """(number, cells) of the rows."""
    number = column = 0
    cells: list[Cell] = []
    attributes: dict[str, str] = {}
    said: list[str] = []
    is_said = False
    for event in events(data):
        match event:
            case Start("row", found):
                number = _whole_number(found.get("r", str(number + 1)), "a row")
                column, cells = 0, []
            case Start("c", attributes):
                column = _column(attributes.get("r"), column + 1)
                said = []
            case Start("v" | "t"):
                is_said = True
            case Text(text) if is_said:
                said.append(text)
            case End("v" | "t"):
                is_said = False
            case End("c"):
                kind, style = attributes.get("t", "n"), attributes.get("s", "")
                cells.append(Cell(column, kind, style, "".join(said)))
            case End("row"):
                yield number, cells


def _table(
    prefix: str, rows: Iterator[tuple[int, dict[int, Any]]]
) -> Iterator[Entry | Quarantined]:
    """The records below the first row, which names the fields; `prefix` and a row are a pointer."""
    number, header = next(rows, (0, {}))
    if not header:
        return
    names = {column: str(value).strip() for column, value in header.items()}
    if problem := problem_of_names(list(names.values())):
        yield quarantined(f"{prefix}{number}", "bad-header", problem, repr(names))
        return
    for number, cells in rows:
        if nameless := sorted(set(cells) - set(names)):
            reason = f"column {nameless[0]} has a value, but the first row has no name for it"
            yield quarantined(f"{prefix}{number}", "bad-row", reason, repr(cells))
            continue
        fields = {name: cells.get(column) for column, name in names.items()}
        try:
            data = identify(fields)
        except Unreadable as error:
            yield quarantined(f"{prefix}{number}", error.rule, str(error), error.value)
            continue
        yield Entry(pointer=f"{prefix}{number}", fields=fields, text=None, data=data)


def string_of(cell: Cell, strings: list[str]) -> str:
    """The string that a cell refers to.

    Raises:
        Unreadable: there is none.
    """
    number = _whole_number(cell.said, "a string")
    if number >= len(strings):
        raise Unreadable("bad-value", f"there is no string {number}", cell.said)
    return strings[number]


def _value(cell: Cell, book: Workbook) -> Any:
    """What a cell holds; None if nothing."""
    _, kind, style, said = cell
    if kind == "s":
        return string_of(cell, book.strings)
    if kind in ("str", "inlineStr"):
        return _unescaped(said)
    if not said.strip():
        return None
    if kind == "b":
        return said.strip() == "1"
    if kind in ("e", "d"):
        return said
    try:
        value = float(said)
    except ValueError:
        raise Unreadable("bad-value", "a cell of numbers holds none", said) from None
    if _whole_number(style or "0", "a style") in book.dates:
        return _date(value, book.epoch)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _date(days: float, epoch: datetime.datetime) -> str | float:
    """Days since the epoch as ISO 8601: a date, a time of a day, or both.

    Before March 1900 a day is missing: the first spreadsheets took 1900 for a leap year.
    """
    if days < 61 and epoch.year == 1899:
        epoch += datetime.timedelta(days=1)
    try:
        moment = epoch + datetime.timedelta(seconds=round(days * 86_400))
    except (OverflowError, ValueError):
        return days
    if 0 <= days < 1:
        return moment.time().isoformat()
    return moment.date().isoformat() if days.is_integer() else moment.isoformat()


def _column(reference: str | None, following: int) -> int:
    """The number of a cell's column, from 1: "C7" is in the third."""
    column = following
    if reference is not None:
        if not (match := _REFERENCE.fullmatch(reference)):
            raise Unreadable("bad-value", "a cell has no place", reference)
        column = 0
        for letter in match.group(1):
            column = 26 * column + ord(letter) - ord("A") + 1
    if column > _MAX_COLUMNS:
        raise Unreadable("bad-value", f"a cell is in column {column}")
    return column


def _whole_number(text: str, what: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text.strip()):
        raise Unreadable("bad-value", f"the number of {what} is none", text)
    return int(text)


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match.group(1), 16)), text)
