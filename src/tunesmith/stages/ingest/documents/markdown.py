"""Markdown: the text as it was written, which is made to be read, in sections by its headings.

A YAML header between two `---` lines is taken as fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tunesmith.stages.ingest.documents.canonical import Part, document, first_section
from tunesmith.stages.ingest.entry import Entry
from tunesmith.stages.ingest.front_matter import plain_text, read

_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(.*?)[ \t]*#*[ \t]*")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})[ \t]*")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


def read_markdown(member: str, data: bytes) -> Iterator[Entry]:
    """The one document of a file.

    Raises:
        Unreadable: it is not UTF-8 text, its header is none, or there is no text.
    """
    text = plain_text(data)
    fields = {}
    if text.startswith("---\n"):
        found = read(data)
        fields, text = found.header, found.text
    parts = list(sections(text))
    fields = {"title": first_section(parts), **fields}
    yield document(member, data, parts, fields)


def sections(text: str) -> Iterator[Part]:
    """A text from heading to heading; a line that looks like one inside a code block is none."""
    name: str | None = None
    lines: list[str] = []
    fence = ""
    for line in text.split("\n"):
        if match := _FENCE.match(line):
            mark = match.group(1)
            if not fence:
                fence = mark
            elif mark.startswith(fence):
                fence = ""
        if not fence and (heading := _HEADING.fullmatch(line)):
            yield Part(page=name, text="\n".join(lines))
            name, lines = heading.group(1).strip() or None, []
        elif (
            not fence
            and lines
            and lines[-1].strip()
            and _UNDERLINE.fullmatch(line)
            and (len(lines) < 2 or not lines[-2].strip())
        ):
            yield Part(page=name, text="\n".join(lines[:-1]))
            name, lines = lines[-1].strip(), lines[-1:]
        lines.append(line)
    yield Part(page=name, text="\n".join(lines))
