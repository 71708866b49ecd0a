"""XML as a stream of events, without anything that XML can do to its reader.

No entity is ever expanded (a declared one is refused, so that a few lines cannot become gigabytes
and no file or address is read), nesting is bounded, and nothing recurses. The parser is expat, in
the standard library.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from html.entities import name2codepoint
from typing import IO, NamedTuple, NoReturn
from xml.parsers import expat

from tunesmith.stages.ingest.entry import Unreadable

MAX_DEPTH = 500
_CHUNK = 1 << 16


class Start(NamedTuple):
    """An element begins."""

    name: str
    """Without its namespace."""
    attributes: dict[str, str]
    """By name; the name of one with a namespace is a colon and its own: `r:id` is ":id"."""


class End(NamedTuple):
    """An element ends."""

    name: str


class Text(NamedTuple):
    """Characters between tags."""

    text: str


Event = Start | End | Text


def events(source: bytes | IO[bytes]) -> Iterator[Event]:
    """The elements and the text of a document, in order; comments and instructions are neither.

    Raises:
        Unreadable: it is not well-formed, declares an entity, or is nested too deep.
    """
    reader = _Reader()
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    while chunk := stream.read(_CHUNK):
        yield from reader.feed(chunk, is_last=False)
    yield from reader.feed(b"", is_last=True)


class _Reader:
    def __init__(self) -> None:
        self._found: list[Event] = []
        self._depth = 0
        parser = expat.ParserCreate(namespace_separator="}")
        parser.buffer_text = True
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = lambda text: self._found.append(Text(text))
        parser.EntityDeclHandler = lambda *_: _refuse("it declares an entity")
        parser.ExternalEntityRefHandler = lambda *_: _refuse("it refers to another file")
        parser.SkippedEntityHandler = self._skipped
        self._parser = parser

    def feed(self, data: bytes, *, is_last: bool) -> list[Event]:
        try:
            self._parser.Parse(data, is_last)
        except (expat.ExpatError, LookupError, ValueError) as error:
            if isinstance(error, Unreadable):
                raise
            raise Unreadable("bad-xml", f"not well-formed XML: {error}") from None
        found, self._found = self._found, []
        return found

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            _refuse(f"it is nested deeper than {MAX_DEPTH}")
        plain = {
            ":" + key.rpartition("}")[2] if "}" in key else key: value
            for key, value in attributes.items()
        }
        self._found.append(Start(name.rpartition("}")[2], plain))

    def _end(self, name: str) -> None:
        self._depth -= 1
        self._found.append(End(name.rpartition("}")[2]))

    def _skipped(self, name: str, is_parameter: bool) -> None:
        """XHTML's names of characters, which its DTD would declare, are known without it."""
        if not is_parameter:
            if name not in name2codepoint:
                _refuse(f"it uses the entity {name!r}, which it does not declare")
            self._found.append(Text(chr(name2codepoint[name])))


def _refuse(what: str) -> NoReturn:
    raise Unreadable("hostile", f"XML is refused: {what}")
