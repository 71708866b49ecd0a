"""Markdown: the text as it was written, which is made to be read, in sections by its headings.

A YAML header between two `---` lines is taken as fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from tunesmith.stages.ingest.documents.canonical import Part, document, first_section
from tunesmith.stages.ingest.entry import Entry
from tunesmith.stages.ingest.front_matter import plain_text, read

_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(.*?)[ \t]*#*[ \t]*")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})[ \t]*")
_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})")
_ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]")
_INDENT = re.compile(r" {4}| {0,3}\t")


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
    lines: list[tuple[str, bool]] = []
    for line, is_code in _told(text.split("\n")):
        if not is_code and (heading := _HEADING.fullmatch(line)):
            yield _part(name, lines)
            name, lines = heading.group(1).strip() or None, []
        elif (
            not is_code
            and lines
            and lines[-1][0].strip()
            and _UNDERLINE.fullmatch(line)
            and (len(lines) < 2 or not lines[-2][0].strip())
        ):
            yield _part(name, lines[:-1])
            name, lines = lines[-1][0].strip(), lines[-1:]
        lines.append((line, is_code))
    yield _part(name, lines)


def _told(lines: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Each line, and whether it is of a block of code: fenced, or indented below a blank line where
    no list is."""
    fence = ""
    is_list = is_code = False
    was_blank = True
    for line in lines:
        if match := _FENCE.match(line):
            indent, mark = match.groups()
            if not fence and (is_list or not _INDENT.match(indent)):
                fence = mark
            elif fence and mark.startswith(fence):
                fence = ""
                yield line, True
                continue
        if fence:
            yield line, True
            continue
        if line.strip():
            is_code = bool(_INDENT.match(line)) and not is_list and (was_blank or is_code)
            if not is_code and _ITEM.match(line):
                is_list = True
            elif was_blank and not line[0].isspace():
                is_list = False
        was_blank = not line.strip()
        yield line, is_code


def _part(name: str | None, lines: Sequence[tuple[str, bool]]) -> Part:
    code = []
    at = 0
    for line, is_code in lines:
        if is_code and line:
            code.append((at, at + len(line)))
        at += len(line) + 1
    return Part(page=name, text="\n".join(line for line, _ in lines), code=tuple(code))
