"""HTML and XHTML: what a reader sees of a page, in sections that begin at headings.

What is on every page of a site is left out: scripts, navigation, the header and the footer of the
page, and all that is not in the main part where the page says which that is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tunesmith.core.errors import MissingExtra
from tunesmith.stages.ingest.documents.canonical import Writer, document, first_section
from tunesmith.stages.ingest.documents.encoding import decoded
from tunesmith.stages.ingest.entry import Entry, Unreadable
from tunesmith.stages.ingest.xml_events import End, Event, Start, Text

_UNSEEN = frozenset(
    [
        "script",
        "style",
        "noscript",
        "template",
        "svg",
        "nav",
        "iframe",
        "object",
        "select",
        "button",
        "textarea",
        "head",
        "dialog",
        "audio",
        "video",
        "canvas",
    ]
)
_UNSEEN_ROLES = frozenset(["navigation", "search", "banner", "contentinfo"])
_UNSEEN_CLASSES = frozenset(["navheader", "navfooter"])
"""How DocBook marks what leads to other pages."""
_ASIDES = frozenset(["admonition", "caution", "important", "note", "tip", "warning"])
"""How DocBook, AsciiDoc and reStructuredText mark what stands beside the text: the heading of one
begins no section."""
_FOOTNOTE, _LABEL = frozenset(["footnote"]), frozenset(["label"])
"""How docutils marks a footnote and its number before it."""
_CONTENTS = frozenset(["toctree-wrapper", "toc"])
"""How Sphinx and DocBook mark a list of contents, which is a section of its own."""
_PARAGRAPHS = frozenset(
    [
        "p",
        "div",
        "section",
        "article",
        "main",
        "aside",
        "blockquote",
        "ul",
        "ol",
        "dl",
        "table",
        "figure",
        "figcaption",
        "pre",
        "form",
        "fieldset",
        "address",
        "details",
        "summary",
        "hr",
        "body",
        "header",
        "footer",
        "center",
        "caption",
    ]
)
_LINES = frozenset(["dt", "dd", "legend", "option", "label"])
_HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?([\w.:-]{1,40})""", re.IGNORECASE)
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*)")
_NEVER_OPEN = frozenset(
    [
        "p",
        "li",
        "dt",
        "dd",
        "tr",
        "td",
        "th",
        "thead",
        "tbody",
        "tfoot",
        "option",
        "optgroup",
        "rt",
        "rp",
        "colgroup",
        "caption",
        "html",
        "head",
        "body",
        "area",
        "base",
        "br",
        "col",
        "embed",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "source",
        "track",
        "wbr",
    ]
)
"""Elements that have no inside, or that the next one of their kind closes."""
_FORMATTING = frozenset(
    [
        "a",
        "b",
        "big",
        "code",
        "em",
        "font",
        "i",
        "nobr",
        "s",
        "small",
        "strike",
        "strong",
        "tt",
        "u",
    ]
)
MAX_DEPTH = 2000
"""Browsers stop at 512. The time that a parser of HTML takes grows with the square of it."""
MAX_REPEATED = 20_000_000
"""Elements that a page may have after unclosed formatting was opened again in each paragraph."""


def read_html(member: str, data: bytes) -> Iterator[Entry]:
    """The one document of a file.

    Raises:
        Unreadable: it is not text in the encoding that it says, or nothing can be seen of it.
        MissingExtra: selectolax is not installed.
    """
    declared = _CHARSET.search(data[:4096])
    text = decoded(data, declared.group(1).decode() if declared else "")
    writer = Writer()
    title = write_html(writer, text)
    parts = writer.parts()
    yield document(member, data, parts, {"title": title or first_section(parts)})


def write_html(writer: Writer, text: str) -> str:
    """Write what is seen of a page; its title is returned.

    Raises:
        Unreadable: it is nested too deep.
        MissingExtra: selectolax is not installed.
    """
    try:
        from selectolax.lexbor import LexborHTMLParser
    except ImportError as error:
        raise MissingExtra("selectolax", "documents") from error
    _refuse_bombs(text)
    tree = LexborHTMLParser(text)
    title = tree.css_first("title")
    mains = tree.css("main, [role=main]")
    start = mains[0] if len(mains) == 1 else tree.body
    if start is not None:
        write_markup(writer, _walk(start))
    return " ".join(title.text().split()) if title is not None else ""


def _refuse_bombs(text: str) -> None:
    """Refuse what would be parsed for hours, or into gigabytes."""
    depth = formatting = num_tags = 0
    for match in _TAG.finditer(text):
        num_tags += 1
        closes, name = match.group(1), match.group(2).lower()
        if name in _NEVER_OPEN:
            continue
        change = -1 if closes else 1
        depth = max(0, depth + change)
        if name in _FORMATTING:
            formatting = max(0, formatting + change)
        if depth > MAX_DEPTH:
            raise Unreadable("hostile", f"it is nested deeper than {MAX_DEPTH}")
    if formatting * num_tags > MAX_REPEATED:
        raise Unreadable("hostile", f"{formatting} elements that format text are never closed")


def _walk(root: Any) -> Iterator[Event]:
    """The events of a tree, without recursion: a page may be nested as deep as somebody likes."""
    node, depth = root, 0
    while True:
        if node.is_text_node:
            yield Text(node.text_content or "")
        elif node.is_element_node:
            attributes = {name: value or "" for name, value in node.attributes.items()}
            yield Start(node.tag or "", attributes)
            if (child := node.child) is not None:
                node, depth = child, depth + 1
                continue
            yield End(node.tag or "")
        while depth and node.next is None:
            node, depth = node.parent, depth - 1
            yield End(node.tag or "")
        if not depth:
            return
        node = node.next


@dataclass(frozen=True, kw_only=True, slots=True)
class _Element:
    """An open element."""

    name: str
    within: frozenset[str]
    """What it is in, or is itself: "unseen", "code", "number" (of a footnote), "note", "label" (of
    a note), "aside", "contents"."""


def write_markup(writer: Writer, events: Iterator[Event]) -> None:
    """Write the elements of HTML as they are read by people."""
    lists: list[int | None] = []
    stack = [_Element(name="", within=frozenset())]
    for event in events:
        within = stack[-1].within
        match event:
            case Start(name, attributes):
                element = _element(name, attributes, stack[-1])
                stack.append(element)
                if "contents" in element.within - within:
                    writer.contents()
                if "unseen" not in element.within:
                    _start(writer, _shown(element), attributes, lists)
            case End():
                element = stack.pop()
                if "unseen" not in element.within:
                    _end(writer, _shown(element), lists)
                if "contents" in element.within - stack[-1].within:
                    writer.contents()
            case Text() if "unseen" in within:
                pass
            case Text(text) if "number" in within and text.strip() in ("[", "]"):
                pass
            case Text(text) if "number" in within and text.strip().isdigit():
                # Without brackets it would look like a part of the sentence.
                if "label" in within:
                    writer.item(f"[{text.strip()}] ")  # the note itself follows
                else:
                    writer.text(f"[{text.strip()}]")
            case Text(text):
                writer.text(text, is_code="code" in within)


def _element(name: str, attributes: Mapping[str, str], parent: _Element) -> _Element:
    own = {
        "unseen": _is_unseen(name, attributes, parent.name),
        "code": name == "pre",
        "number": _is_note(name, attributes),
        "note": _has_class(attributes, _FOOTNOTE),
        "label": name == "dt",
        "aside": _has_class(attributes, _ASIDES),
        "contents": _has_class(attributes, _CONTENTS),
    }
    if "note" in parent.within and _has_class(attributes, _LABEL):
        own |= {"number": True, "label": True}
    within = parent.within.union(kind for kind, is_one in own.items() if is_one)
    return _Element(name=name, within=within)


def _shown(element: _Element) -> str:
    """As what it is written: the heading of an aside begins no section."""
    return "p" if "aside" in element.within and element.name in _HEADINGS else element.name


def _is_unseen(name: str, attributes: Mapping[str, str], parent: str) -> bool:
    return (
        name in _UNSEEN
        or (name in ("header", "footer") and parent == "body")
        or attributes.get("role") in _UNSEEN_ROLES
        or "hidden" in attributes
        or attributes.get("aria-hidden") == "true"
        or _has_class(attributes, _UNSEEN_CLASSES)
        or (name == "a" and "headerlink" in attributes.get("class", "").split())
    )


def _has_class(attributes: Mapping[str, str], wanted: frozenset[str]) -> bool:
    return not wanted.isdisjoint(attributes.get("class", "").split())


def _is_note(name: str, attributes: Mapping[str, str]) -> bool:
    """Whether it is the number of a footnote, in the text or before the note; `brackets` are those
    that a style sheet draws around it."""
    classes = attributes.get("class", "").split()
    return (
        attributes.get("role") == "doc-noteref"
        or "noteref" in attributes.get(":type", "").split()
        or (name in ("a", "span") and ("footnote-reference" in classes or "brackets" in classes))
    )


def _start(
    writer: Writer, name: str, attributes: Mapping[str, str], lists: list[int | None]
) -> None:
    if name in _HEADINGS:
        writer.heading()
    elif name == "br":
        writer.next_line()
    elif name == "li":
        marker = "- "
        if lists and (number := lists[-1]) is not None:
            marker, lists[-1] = f"{number}. ", number + 1
        writer.item(marker)
    elif name == "tr":
        writer.row()
    elif name in ("td", "th"):
        writer.cell()
    elif name in _LINES:
        writer.line()
    elif name in _PARAGRAPHS and not (lists and name in ("ul", "ol")):
        writer.paragraph()
    if name in ("ul", "ol"):
        begin = attributes.get("start", "1")
        first = int(begin) if re.fullmatch("[0-9]{1,9}", begin) else 1
        lists.append(first if name == "ol" else None)


def _end(writer: Writer, name: str, lists: list[int | None]) -> None:
    if name in ("ul", "ol") and lists:
        lists.pop()
    if name in _HEADINGS:
        writer.end_heading()
    elif name == "tr":
        writer.end_row()
    elif name == "dt":
        writer.end_term()
    elif name in _LINES or name == "li":
        writer.line()
    elif name in _PARAGRAPHS and not (lists and name in ("ul", "ol")):
        writer.paragraph()
