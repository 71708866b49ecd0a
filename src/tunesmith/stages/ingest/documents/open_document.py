"""ODT: the words of a file of LibreOffice Writer, in sections by its headings.

Deleted text that is kept for tracking, comments and what only the program reads are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tunesmith.stages.ingest.documents.canonical import Writer, document, first_section
from tunesmith.stages.ingest.entry import Entry
from tunesmith.stages.ingest.xml_events import End, Start, Text, events
from tunesmith.stages.ingest.zipped import opened_parts, stated

_CODE = "Preformatted_20_Text"
"""LibreOffice's style of lines of code."""
_UNSEEN = frozenset(
    [
        "tracked-changes",
        "annotation",
        "annotation-end",
        "forms",
        "sequence-decls",
        "note-citation",
        "automatic-styles",
        "font-face-decls",
        "scripts",
        "desc",
        "title",
        "script",
    ]
)


def read_odt(member: str, data: bytes) -> Iterator[Entry]:
    """The one document of a file.

    Raises:
        Unreadable: it is no whole ODT, hostile, encrypted, or has no text.
    """
    with opened_parts(data, "ODT") as parts:
        writer = Writer()
        _write(writer, parts.read("content.xml"))
        wanted = {"title": "title", "initial-creator": "author", "creation-date": "created"}
        fields = stated(parts, "meta.xml", wanted)
    found = writer.parts()
    yield document(member, data, found, {"title": first_section(found), **fields})


def _write(writer: Writer, data: bytes) -> None:
    unseen = within = 0
    code: set[str] = {_CODE}
    is_code = False
    for event in events(data):
        match event:
            case Start("style", {":name": name, ":parent-style-name": parent}) if parent in code:
                code.add(name)
                unseen += 1
            case Start(name, _) if unseen or name in _UNSEEN:
                unseen += 1
            case End() if unseen:
                unseen -= 1
            case Text(text) if within and not unseen:
                writer.text(text, is_code=is_code)
            case Start("h"):
                writer.heading()
                within += 1
            case End("h"):
                writer.end_heading()
                within -= 1
            case Start("p", attributes):
                writer.paragraph()
                within += 1
                if attributes.get(":style-name") in code:
                    is_code = True
                    writer.code_line()
            case End("p"):
                writer.paragraph()
                within -= 1
                is_code = False
            case Start("list-item"):
                writer.item("- ")
            case Start("s", attributes):
                count = attributes.get(":c", "1")
                num_spaces = int(count) if re.fullmatch("[0-9]{1,3}", count) else 1
                writer.text(" " * num_spaces, is_code=is_code)
            case Start("tab"):
                writer.text("\t" if is_code else " ", is_code=is_code)
            case Start("line-break"):
                writer.next_line()
            case Start("note-body"):
                writer.text(" [", as_it_is=True)
            case End("note-body"):
                writer.line()
                writer.text("]", as_it_is=True)
            case Start("table-row"):
                writer.row()
            case Start("table-cell" | "covered-table-cell"):
                writer.cell()
            case End("table-row"):
                writer.end_row()
