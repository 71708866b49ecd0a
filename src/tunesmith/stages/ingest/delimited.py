"""CSV and TSV: a line with the names of the fields, then a record a line, or on several within
quotes."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import IO

from tunesmith.stages.ingest.batch import Batch, Blocks
from tunesmith.stages.ingest.csv_block import records
from tunesmith.stages.ingest.entry import (
    MAX_ROW_BYTES,
    Entry,
    Quarantined,
    bounded_lines,
    is_text,
    problem_of_names,
    quarantined,
    too_large,
)

_LINE_ENDS = "lines are to end in LF or CRLF"


class _Lines:
    """The lines of a file as the csv module wants them; those of a bad record can be given back.

    What is not UTF-8 is passed on as lone surrogates, so that it costs its own record alone.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._blocks = Blocks(stream)
        self._lines = bounded_lines(self._blocks)
        self._again: list[bytes] = []
        self.taken: list[bytes] = []
        """The lines of the record that is being read."""
        self.number = 0
        """Lines that lie before it."""

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else next(self._lines)
        self.taken.append(line)
        return line.decode("utf-8", "surrogateescape")

    def accept(self) -> bytes:
        """The bytes of the record that was read; the next one starts."""
        data = b"".join(self.taken)
        self.number += len(self.taken)
        self.taken.clear()
        return data

    def reject(self) -> bytes:
        """The first line of what could not be read; the next record starts on the line after."""
        first, *others = self.taken or [b""]
        self._again += reversed(others)
        self.number += 1
        self.taken.clear()
        return first

    def look(self) -> bytes:
        """Whole lines that come next, if records begin and end with them; it may be none."""
        return b"" if self._again else self._blocks.look()

    def look_further(self, seen: bytes) -> bytes:
        """The same, and more."""
        return self._blocks.look_further(seen)

    def skip(self, num_bytes: int, num_lines: int, *, before_odd: bool) -> None:
        """Go on behind what was looked at; whether something unusual is next."""
        self.number += num_lines
        self._blocks.take(num_bytes, before_odd=before_odd)


def read_csv(
    member: str, stream: IO[bytes], delimiter: str
) -> Iterator[Entry | Quarantined | Batch]:
    """The records of a file, and what is none; blank lines are neither.

    A quote that is never closed costs the line that it is on. Without a first line of names that
    are all there and all different nothing is read.
    """
    csv.field_size_limit(MAX_ROW_BYTES)
    lines = _Lines(stream)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    names: list[str] | None = None
    while True:
        while names and (batch := _plain_records(member, lines, names, delimiter)):
            yield batch
        pointer = f"{member}#{lines.number + 1}"
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield quarantined(pointer, "bad-csv", _said(error), repr(lines.reject()[:100]))
            if names is None:
                return
            continue
        data = lines.accept()
        if names is None:
            names = [name.strip() for name in values]
            names[:1] = [name.removeprefix("\ufeff") for name in names[:1]]
            if problem := _problem_of_header(names):
                yield quarantined(pointer, "bad-header", problem, repr(data[:100]))
                return
        elif values:
            yield _record(pointer, names, values, data)


def _said(error: csv.Error) -> str:
    """What the csv module says; of line ends it speaks to those who opened the file."""
    if str(error).startswith("new-line character"):
        return f"a carriage return (CR) stands in it without a line feed; {_LINE_ENDS}"
    return str(error)


def _problem_of_header(names: list[str]) -> str:
    if not is_text("".join(names)):
        return "not UTF-8"
    return problem_of_names(names)


def _record(pointer: str, names: list[str], values: list[str], data: bytes) -> Entry | Quarantined:
    if len(data) > MAX_ROW_BYTES:
        return too_large(pointer, repr(data[:60]))
    if not data.isascii() and not is_text("".join(values)):
        return quarantined(pointer, "not-text", "not UTF-8", repr(data[:100]))
    if len(values) != len(names):
        reason = f"has {len(values)} fields, the first line names {len(names)}"
        return quarantined(pointer, "bad-csv", reason, repr(data[:100]))
    fields = dict(zip(names, values, strict=True))
    return Entry(pointer=pointer, fields=fields, text=None, data=data.rstrip(b"\r\n"))


def _plain_records(member: str, lines: _Lines, names: list[str], delimiter: str) -> Batch | None:
    """The records that come next, up to one that is none, or does not end in what is at hand."""
    block = lines.look()
    found = records(block, delimiter, len(names))
    while block and not found.data and not found.is_odd:
        more = lines.look_further(block)
        if len(more) == len(block):
            break
        block = more
        found = records(block, delimiter, len(names))
    number = lines.number + 1
    lines.skip(found.num_bytes, found.num_lines, before_odd=found.is_odd)
    if not found.data:
        return None
    return Batch(
        pointers=[f"{member}#{number + start}" for start in found.starts],
        columns=dict(zip(names, found.columns, strict=True)),
        data=found.data,
        is_verbatim=found.is_verbatim,
    )
