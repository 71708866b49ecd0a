"""A text file with a YAML header: `---`, the header, `---`, then the text.

The header is read from the parser's events rather than by a loader. So every scalar stays the
string that was written (YAML would turn the label `no` into False and `1.10` into 1.1), no object
is ever constructed, and a header that is nested or aliased to exhaust the machine is refused: the
C loader's recursion would end the process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from tunesmith.stages.ingest.entry import Entry, Unreadable

MAX_HEADER_CHARS = 64 << 10
MAX_DEPTH = 20

_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_FENCE = re.compile(r"^---[ \t]*$", re.MULTILINE)


class BadFrontMatter(Unreadable):
    """A file that is no text, or whose header is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """The header and the text of one file."""

    header: dict[str, Any]
    """Field name to a string, a list or a mapping of those."""
    text: str


def read(data: bytes) -> Document:
    """The document in the bytes of a file.

    Raises:
        BadFrontMatter: the bytes are not UTF-8 text, or the header is missing or unreadable.
    """
    whole = plain_text(data)
    fences = _FENCE.finditer(whole)
    first = next(fences, None)
    second = next(fences, None)
    if first is None or second is None or whole[: first.start()].strip():
        raise BadFrontMatter("no-front-matter", "no header between `---` lines", whole[:80])
    source = whole[first.end() : second.start()]
    return Document(header=_header(source), text=whole[second.end() :].lstrip("\n"))


def plain_text(data: bytes) -> str:
    """The text in the bytes of a file.

    Raises:
        BadFrontMatter: they are not UTF-8 text.
    """
    try:
        whole = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        near = repr(data[max(0, error.start - 20) : error.start + 20])
        raise BadFrontMatter("not-text", f"not UTF-8 at byte {error.start}", near) from None
    if "\0" in whole:
        raise BadFrontMatter("not-text", "has a NUL character", repr(whole[:40]))
    return whole


def read_front_matter(member: str, data: bytes) -> Iterator[Entry]:
    """The one record of a file with a header.

    Raises:
        BadFrontMatter: as `read` does.
    """
    document = read(data)
    yield Entry(pointer=member, fields=document.header, text=document.text, data=data)


def read_text(member: str, data: bytes) -> Iterator[Entry]:
    """The one record of a plain file.

    Raises:
        BadFrontMatter: it is not UTF-8 text.
    """
    yield Entry(pointer=member, fields={}, text=plain_text(data), data=data)


def value_of(source: str) -> Any:
    """What one YAML document says, every scalar as a string; None for an empty one.

    Raises:
        yaml.YAMLError: it is none.
        BadFrontMatter: it has an alias, a name twice, or too many levels.
    """
    return _value(yaml.parse(source, Loader=_LOADER), source)


def _header(source: str) -> dict[str, Any]:
    if len(source) > MAX_HEADER_CHARS:
        raise _bad(f"the header has {len(source)} characters", source)
    try:
        value = value_of(source)
    except yaml.YAMLError as error:
        raise _bad(" ".join(str(error).split()), source) from None
    if not isinstance(value, dict):
        raise _bad("the header is not a mapping", source)
    return value


def _value(events: Iterator[Any], source: str) -> Any:
    """The value that the events of one YAML document describe; None for an empty document."""
    root: list[Any] = []
    # Open collections, each with the key that waits for its value (None: a key is next).
    stack: list[tuple[list[Any] | dict[str, Any], str | None]] = [(root, None)]
    for event in events:
        match event:
            case yaml.AliasEvent():
                raise _bad("it uses an alias", source)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                item: Any = stack.pop()[0]
            case yaml.ScalarEvent():
                item = event.value
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                if len(stack) > MAX_DEPTH:
                    raise _bad(f"it is nested deeper than {MAX_DEPTH}", source)
                stack.append(({} if isinstance(event, yaml.MappingStartEvent) else [], None))
                continue
            case _:
                continue
        _add(stack, item, source)
    return root[0] if root else None


def _add(stack: list[tuple[Any, str | None]], item: Any, source: str) -> None:
    """Put `item` where it belongs: at the end of the innermost list, or as key or value."""
    into, key = stack[-1]
    if isinstance(into, list):
        into.append(item)
    elif key is not None:
        into[key] = item
        stack[-1] = (into, None)
    elif not isinstance(item, str):
        raise _bad("a field's name is not a string", source)
    elif item in into:
        raise _bad(f"the field {item!r} is there twice", source)
    else:
        stack[-1] = (into, item)


def _bad(reason: str, source: str) -> BadFrontMatter:
    return BadFrontMatter("bad-front-matter", reason, source.strip()[:80])
