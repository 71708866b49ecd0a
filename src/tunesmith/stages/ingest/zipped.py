"""Files that are a zip of parts, such as those of office programs: opened in memory, never on disk,
and refused as a whole if anything in them is hostile."""

from __future__ import annotations

import contextlib
import io
import posixpath
import zipfile
from collections.abc import Iterator
from urllib.parse import unquote

from tunesmith.stages.ingest.archive import hostile_listing, whole_or_unreadable
from tunesmith.stages.ingest.entry import MAX_FILE_BYTES, Unreadable, whole
from tunesmith.stages.ingest.xml_events import End, Start, Text, events


class Parts:
    """The parts of an open file, by name."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._names = frozenset(archive.namelist())

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names))

    def read(self, name: str) -> bytes:
        """The bytes of a part.

        Raises:
            Unreadable: there is no such part, or it is damaged or too large.
        """
        if name not in self._names:
            raise Unreadable("not-whole", f"it has no part {name!r}")
        with whole_or_unreadable("part"), self._archive.open(name) as stream:
            return whole(stream, MAX_FILE_BYTES)


@contextlib.contextmanager
def opened_parts(data: bytes, kind: str) -> Iterator[Parts]:
    """The parts of the zip in `data`; `kind` is what it should be, for people.

    Raises:
        Unreadable: it is no whole zip, or hostile.
    """
    with contextlib.ExitStack() as stack:
        with whole_or_unreadable(kind):
            archive = stack.enter_context(zipfile.ZipFile(io.BytesIO(data)))
            reason = hostile_listing(archive.infolist(), len(data))
        if reason:
            raise Unreadable("hostile", f"it is refused: {reason}")
        yield Parts(archive)


def resolved(base: str, target: str) -> str:
    """The name of the part that `target`, written in the part `base`, means.

    It is only ever looked up among the parts, so that one that leads elsewhere finds nothing.

    >>> resolved("OEBPS/text/one.xhtml", "../two%20b.xhtml#there")
    'OEBPS/two b.xhtml'
    """
    path = unquote(target.partition("#")[0])
    joined = posixpath.join("/" + posixpath.dirname(base), path)
    return posixpath.normpath(joined).lstrip("/")


def relations(parts: Parts, part: str) -> dict[str, tuple[str, str]]:
    """id -> (last word of the type, name of the part) of what an Office part refers to; links to
    the world outside are none."""
    folder, name = posixpath.split(part)
    listing = posixpath.join(folder, "_rels", f"{name}.rels")
    if listing not in parts:
        return {}
    return {
        found.attributes.get("Id", ""): (
            found.attributes.get("Type", "").rpartition("/")[2],
            resolved(part, found.attributes.get("Target", "")),
        )
        for found in events(parts.read(listing))
        if isinstance(found, Start)
        and found.name == "Relationship"
        and found.attributes.get("TargetMode") != "External"
    }


def core_properties(parts: Parts) -> dict[str, str]:
    """Title, author and dates that an Office file says of itself, if it does."""
    wanted = {"title": "title", "creator": "author", "created": "created", "modified": "modified"}
    return stated(parts, "docProps/core.xml", wanted)


def stated(parts: Parts, part: str, wanted: dict[str, str]) -> dict[str, str]:
    """What the elements `wanted` (name -> field) of a part say; the first of each name."""
    found: dict[str, str] = {}
    if part not in parts:
        return found
    name = ""
    for event in events(parts.read(part)):
        match event:
            case Start():
                name = event.name
            case Text(text) if name in wanted:
                if said := " ".join(text.split()):
                    found.setdefault(wanted[name], said)
            case End():
                name = ""
    return found
