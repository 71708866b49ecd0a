"""JSONL: a file with one JSON object a line. A line that is none costs that line alone.

JSON: a file with one array of objects, or one object that holds such an array among others fields.
An element that is no object costs that element alone; the file must be JSON as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO, Any

from tunesmith.stages.ingest import json_text
from tunesmith.stages.ingest.batch import Batch, Blocks
from tunesmith.stages.ingest.entry import (
    ERASED,
    MAX_ROW_BYTES,
    Entry,
    Quarantined,
    Unreadable,
    bounded_lines,
    quarantined,
    too_large,
)

_MARK = b"\xef\xbb\xbf"
"""Of UTF-8, as some editors put it at the start of a file."""


def read_json_lines(member: str, stream: IO[bytes]) -> Iterator[Entry | Quarantined | Batch]:
    """The records of a file, and the lines that are none; blank lines are neither."""
    blocks = Blocks(stream)
    lines = bounded_lines(blocks)
    number = 1
    while True:
        while batch := _flat_records(member, number, blocks):
            yield batch
            number += len(batch.data)
        line = next(lines, None)
        if line is None:
            return
        if number == 1:
            line = line.removeprefix(_MARK)
        if line.strip():
            yield _read(f"{member}#{number}", line)
        number += 1


def _flat_records(member: str, number: int, blocks: Blocks) -> Batch | None:
    """The records that come next, up to one that is not flat; the first is on line `number`."""
    block = blocks.look()
    lines = block.split(b"\n")[:-1]
    fields = json_text.flat_objects(lines)
    are_odd_next = len(fields) < len(lines)
    del lines[len(fields) :]
    blocks.take(sum(map(len, lines)) + len(lines), before_odd=are_odd_next)
    if not fields:
        return None
    return Batch(
        pointers=[f"{member}#{at}" for at in range(number, number + len(lines))],
        columns=_columns(fields),
        data=[line.strip() for line in lines],
        records=fields,
    )


def _columns(fields: list[dict[str, Any]]) -> dict[str, Sequence[Any]]:
    """The values by the names of the fields; None where a record has not the field."""
    orders = set(map(tuple, fields))
    if len(orders) == 1:
        return dict(zip(*orders, zip(*map(dict.values, fields), strict=True), strict=True))
    names = sorted(set().union(*orders))
    return {name: [each.get(name) for each in fields] for name in names}


def _read(pointer: str, line: bytes) -> Entry | Quarantined:
    if len(line) > MAX_ROW_BYTES:
        return too_large(pointer, repr(line[:60]))
    try:
        fields = json_text.read(line)
    except UnicodeDecodeError as error:
        near = repr(line[max(0, error.start - 20) : error.start + 20])
        return quarantined(pointer, "not-text", f"not UTF-8 at byte {error.start}", near)
    except Unreadable as error:
        return quarantined(pointer, error.rule, str(error), line.decode())
    except (ValueError, RecursionError) as error:
        return quarantined(pointer, "bad-json", f"not JSON: {error}", line.decode())
    if not isinstance(fields, dict):
        return quarantined(pointer, "not-an-object", "not a JSON object", line.decode())
    return Entry(pointer=pointer, fields=fields, text=None, data=line.strip())


def read_json(member: str, data: bytes) -> Iterator[Entry | Quarantined]:
    """The objects of a file's array; of an object without one, the object itself.

    Raises:
        Unreadable: the file is no JSON, no object and no array, or it is not clear which array.
    """
    try:
        value = json_text.parse(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        near = repr(data[max(0, error.start - 20) : error.start + 20])
        raise Unreadable("not-text", f"not UTF-8 at byte {error.start}", near) from None
    except (ValueError, RecursionError) as error:
        raise Unreadable("bad-json", f"not JSON: {error}", repr(data[:100])) from None
    for number, element in enumerate(elements_of(value), start=1):
        pointer = f"{member}#{number}"
        if element == ERASED:
            continue
        if not isinstance(element, dict):
            yield quarantined(pointer, "not-an-object", "not a JSON object", repr(element)[:200])
            continue
        try:
            content = json_text.identify(element)
        except Unreadable as error:
            yield quarantined(pointer, error.rule, str(error), error.value)
            continue
        yield Entry(pointer=pointer, fields=element, text=None, data=content)


def elements_of(value: Any) -> list[Any]:
    """What the rows are: the array, or the only array of objects of an object, or the object.

    Raises:
        Unreadable: it is neither, or it is not clear which array.
    """
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        raise Unreadable("not-an-object", "neither an array nor an object", repr(value))
    arrays = {name: inner for name, inner in value.items() if has_records(inner)}
    if len(arrays) > 1:
        names = ", ".join(map(repr, arrays))
        raise Unreadable("bad-json", f"which array has the rows is not clear: {names}", names)
    return next(iter(arrays.values()), [value])


def has_records(value: Any) -> bool:
    """Whether a value is an array of records, some of which may have been cut out."""
    return isinstance(value, list) and any(
        isinstance(element, dict) or element == ERASED for element in value
    )
