"""Cut records out of the list that a file of JSON or YAML holds.

In JSON the word that stands for a cut record takes its place, and every other byte stays. YAML is
written anew, each scalar a quoted string, without its comments, which may tell of the person.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

from tunesmith.stages.ingest.entry import ERASED
from tunesmith.stages.ingest.json_lines import elements_of, has_records
from tunesmith.stages.ingest.yaml_records import list_of

_BLANKS = re.compile(r"[ \t\n\r]*")
_ESCAPED = re.compile(r'[^ -~]|["\\]')
_scan = json.JSONDecoder().raw_decode


def cut_json(name: str, data: bytes, gone: Collection[str]) -> bytes:
    """`data` without the elements at the pointers `gone`."""
    text = data.decode("utf-8-sig")
    start = data[: len(data) - len(text.encode())]  # the mark of UTF-8, if there is one
    pieces, at = [], 0
    spans = _spans(text)
    if spans is None:  # the whole file is one record
        return json.dumps([ERASED]).encode()
    for number, (first, past) in enumerate(spans, start=1):
        if f"{name}#{number}" in gone:
            pieces += [text[at:first], json.dumps(ERASED)]
            at = past
    return start + "".join([*pieces, text[at:]]).encode()


def said_in_json(name: str, data: bytes) -> dict[str, bytes]:
    """What the elements of a file say, by pointer."""
    return _said(name, elements_of(json.loads(data.decode("utf-8-sig"))))


def cut_yaml(name: str, data: bytes, records: str, gone: Collection[str]) -> bytes:
    """`data` without the elements at the pointers `gone` of its list `records`."""
    value, elements = list_of(data, records)
    for number in range(1, len(elements) + 1):
        if f"{name}#{number}" in gone:
            elements[number - 1] = ERASED
    return _flow(value).encode() + b"\n"


def said_in_yaml(name: str, data: bytes, records: str) -> dict[str, bytes]:
    """What the elements of a file say, by pointer."""
    return _said(name, list_of(data, records)[1])


def _said(name: str, elements: list[Any]) -> dict[str, bytes]:
    return {
        f"{name}#{number}": json.dumps(each, ensure_ascii=False).encode("utf-8", "backslashreplace")
        for number, each in enumerate(elements, start=1)
    }


def _spans(text: str) -> list[tuple[int, int]] | None:
    """Where the elements stand that are records; None where the whole of the text is one."""
    at = _past_blanks(text, 0)
    if text[at] == "[":
        return list(_inside(text, at))
    for start, _ in _inside(text, at):
        if has_records(_scan(text, start)[0]):
            return list(_inside(text, start))
    return None


def _inside(text: str, at: int) -> Iterator[tuple[int, int]]:
    """Where the values stand of the array, or object, that begins at `at` of a text of JSON."""
    is_object = text[at] == "{"
    at = _past_blanks(text, at + 1)
    while text[at] not in "]}":
        if is_object:
            at = _past_blanks(text, _scan(text, at)[1])
            at = _past_blanks(text, at + 1)
        start, at = at, _scan(text, at)[1]
        yield start, at
        at = _past_blanks(text, at)
        if text[at] == ",":
            at = _past_blanks(text, at + 1)


def _past_blanks(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    assert match is not None
    return match.end()


def _flow(value: Any) -> str:
    """A value of lists, mappings and strings as YAML on one line."""
    if isinstance(value, dict):
        # Long names are none without the question mark.
        inside = (f"? {_flow(name)} : {_flow(each)}" for name, each in value.items())
        return "{%s}" % ", ".join(inside)  # noqa: UP031
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    return '"%s"' % _ESCAPED.sub(lambda match: _escape(match[0]), value)  # noqa: UP031


def _escape(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return f"\\U{ord(character):08x}"
