"""Which rows of a data asset become documents of the index."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

from tunesmith.core.errors import DataError
from tunesmith.retrieve.store import Document, Page

_OPERATORS = re.compile(r"\s+(?:and|or|with)\s+|[()]", re.IGNORECASE)


def parts(label: str) -> frozenset[str]:
    """The labels that a compound one is made of.

    >>> sorted(parts("gpl-2.0 OR (mit AND bsd-new)"))
    ['bsd-new', 'gpl-2.0', 'mit']
    """
    return frozenset(part.strip() for part in _OPERATORS.split(label) if part.strip())


def select(
    documents: Sequence[Document], labels: Iterable[str], num_documents: int
) -> tuple[list[Document], list[Document]]:
    """(`num_documents` documents to take, those left out), both with the first to take first.

    The order is by how many of `labels` name the document, by its key or its title, then by key; a
    compound label counts for each of its parts.
    """
    counts = Counter(part for label in labels for part in parts(label))

    def rank(document: Document) -> tuple[int, str]:
        return -max(counts[document.key], counts[document.title]), document.key

    ordered = sorted(documents, key=rank)
    return ordered[:num_documents], ordered[num_documents:]


def to_document(row: dict[str, str]) -> Document:
    """The document that a row of a data asset is.

    A file that is one text or one document, which has no label, is called by its path, and by its
    name where it has no title.

    Raises:
        DataError: the row is one of several in a file, and has no label to be called by.
    """
    attributes = json.loads(row["attributes"] or "{}")
    pages = attributes.get("pages")
    is_file = not row["label"] and (not attributes or isinstance(pages, list))
    key = row["pointer"] if is_file else row["label"]
    if not key:
        raise DataError(
            f"{row['pointer']} has no label, so no citation could name it",
            remedy="set `label` of the source to a field that every row has",
        )
    names = [attributes.get(field) for field in ("title", "name", "short_name")]
    known = [name for name in names if isinstance(name, str) and name.strip()]
    own = _in_words(key) if is_file else key
    return Document(
        key=key,
        title=known[0] if known else own,
        names=tuple(dict.fromkeys([own, *known])),
        text=row["text"],
        has_layout=isinstance(pages, list),
        pages=tuple(_pages(pages)),
        sections=tuple(_sections(attributes)),
    )


def _in_words(path: str) -> str:
    """The name of a file as people would say it."""
    return " ".join(re.split(r"[\s_-]+", PurePosixPath(path).stem)).strip() or path


def _pages(found: object) -> Iterator[Page]:
    """The page map of a document's attributes; a field that only has its name is none."""
    if isinstance(found, list):
        for page in found:
            match page:
                case [int(start), int(end), int() | str() as name]:
                    shown = name if isinstance(name, str) else f"page {name}"
                    yield Page(start=start, end=end, name=shown)


def _sections(attributes: dict[str, Any]) -> Iterator[int]:
    """Where the sections of a document begin; slides are sections, numbered pages are none."""
    match attributes:
        case {"pages": list(), "sections": list(starts)}:
            yield from (start for start in starts if isinstance(start, int))
        case {"pages": list(pages)}:
            for page in pages:
                match page:
                    case [int(start), int(), str()]:
                        yield start
