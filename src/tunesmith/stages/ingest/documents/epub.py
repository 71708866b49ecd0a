"""EPUB: the chapters of a book in the order of reading, in sections by their headings."""

from __future__ import annotations

from collections.abc import Iterator

from tunesmith.stages.ingest.documents.canonical import Part, Writer, document
from tunesmith.stages.ingest.documents.html import write_markup
from tunesmith.stages.ingest.entry import Entry, Unreadable
from tunesmith.stages.ingest.xml_events import Start, events
from tunesmith.stages.ingest.zipped import Parts, opened_parts, resolved, stated

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_MARKUP = ("application/xhtml+xml", "text/html")


def read_epub(member: str, data: bytes) -> Iterator[Entry]:
    """The one document of a file; its table of contents is not part of it.

    Raises:
        Unreadable: it is no whole EPUB, hostile, locked, or has no text.
    """
    with opened_parts(data, "EPUB") as parts:
        book = _book(parts)
        locked = _locked(parts)
        found: list[Part] = []
        for chapter in _chapters(parts, book):
            if chapter in locked:
                raise Unreadable("encrypted", f"the chapter {chapter!r} is locked", "")
            writer = Writer()
            write_markup(writer, events(parts.read(chapter)))
            found += writer.parts()
        wanted = {"title": "title", "creator": "author", "date": "created", "language": "language"}
        fields = stated(parts, book, wanted)
    yield document(member, data, found, fields)


def _book(parts: Parts) -> str:
    """The part that lists the others."""
    for event in events(parts.read(_CONTAINER)):
        if isinstance(event, Start) and event.name == "rootfile":
            return resolved("", event.attributes.get("full-path", ""))
    raise Unreadable("not-whole", "its container names no book")


def _chapters(parts: Parts, book: str) -> list[str]:
    manifest: dict[str, tuple[str, str, str]] = {}
    spine: list[str] = []
    for event in events(parts.read(book)):
        if not isinstance(event, Start):
            continue
        said = event.attributes
        if event.name == "item":
            part = resolved(book, said.get("href", ""))
            kind, use = said.get("media-type", ""), said.get("properties", "")
            manifest[said.get("id", "")] = (part, kind, use)
        if event.name == "itemref":
            spine.append(said.get("idref", ""))
    listed = [manifest[key] for key in spine if key in manifest]
    return [part for part, kind, use in listed if kind in _MARKUP and "nav" not in use.split()]


def _locked(parts: Parts) -> frozenset[str]:
    """The parts that only a reader with a key can read; fonts often are, and do no harm."""
    if _ENCRYPTION not in parts:
        return frozenset()
    return frozenset(
        resolved("", event.attributes.get("URI", ""))
        for event in events(parts.read(_ENCRYPTION))
        if isinstance(event, Start) and event.name == "CipherReference"
    )
