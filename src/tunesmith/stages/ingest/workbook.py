"""XLSX: each sheet a table under its first row. Read here rather than with openpyxl, which expands
XML entities unless another package is there, builds every cell as an object, and would be one more
dependency for what is two hundred lines over zipfile and expat.

What a cell shows is not what it holds: a date is a number with a format. Dates become ISO 8601;
formulas are the value that was last computed; errors such as #N/A stay strings.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

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

_BOOK = "xl/workbook.xml"
_DATES = frozenset([*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)])
"""Numbers of the built-in formats that show a date or a time (ECMA-376, 18.8.30)."""
_NOT_LETTERS_OF_A_DATE = re.compile(r'"[^"]*"|\\.|_.|\*.|\[[^\]]*\]')
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_REFERENCE = re.compile(r"([A-Z]{1,3})[0-9]{1,7}")
_MAX_COLUMNS = 16_384


@dataclass(frozen=True, kw_only=True, slots=True)
class _Book:
    strings: list[str]
    dates: frozenset[int]
    """Numbers of the cell styles that show a date or a time."""
    epoch: datetime.datetime


def read_workbook(member: str, data: bytes, sheet: str) -> Iterator[Entry | Quarantined]:
    """The rows of the sheet that is called `sheet`, or of every sheet if it is empty.

    Raises:
        Unreadable: it is no whole workbook, or hostile, or has no such sheet.
    """
    with opened_parts(data, "XLSX workbook") as parts:
        is_1904, sheets = _sheets(parts)
        if sheet:
            sheets = {name: part for name, part in sheets.items() if name == sheet}
        if not sheets:
            raise Unreadable("no-sheet", f"it has no sheet {sheet!r}" if sheet else "no sheet")
        book = _Book(
            strings=_strings(parts),
            dates=_date_styles(parts),
            epoch=datetime.datetime(1904, 1, 1) if is_1904 else datetime.datetime(1899, 12, 30),
        )
        for name, part in sheets.items():
            try:
                yield from _table(f"{member}#{name}!", _rows(parts.read(part), book))
            except Unreadable as error:
                yield quarantined(f"{member}#{name}", error.rule, str(error), error.value)


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
    if "xl/styles.xml" not in parts:
        return frozenset()
    number, is_cells = 0, False
    for event in events(parts.read("xl/styles.xml")):
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


def _rows(data: bytes, book: _Book) -> Iterator[tuple[int, dict[int, Any]]]:
    """(number, column -> value) of the rows that have a value."""
    number = column = 0
    cells: dict[int, Any] = {}
    attributes: dict[str, str] = {}
    said: list[str] = []
    is_said = False
    for event in events(data):
        match event:
            case Start("row", found):
                number = _whole_number(found.get("r", str(number + 1)), "a row")
                column, cells = 0, {}
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
                if (value := _value(attributes, "".join(said), book)) is not None:
                    cells[column] = value
            case End("row"):
                if cells:
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


def _value(attributes: dict[str, str], said: str, book: _Book) -> Any:
    """What a cell holds; None if nothing."""
    kind = attributes.get("t", "n")
    if kind == "s":
        number = _whole_number(said, "a string")
        if number >= len(book.strings):
            raise Unreadable("bad-value", f"there is no string {number}", said)
        return book.strings[number]
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
    style = _whole_number(attributes.get("s", "0"), "a style")
    if style in book.dates:
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
