"""Which rows of a data asset become documents of the index."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from tunesmith.core.errors import DataError
from tunesmith.retrieve.store import Document

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

    A file that is one text, which has neither a label nor fields, is called by its path; its title
    is the file's name.

    Raises:
        DataError: the row is one of several in a file, and has no label to be called by.
    """
    key, attributes = row["label"], json.loads(row["attributes"] or "{}")
    if not key and not attributes:
        key = row["pointer"]
        title = " ".join(re.split(r"[\s_-]+", PurePosixPath(key).stem)).strip() or key
        return Document(key=key, title=title, names=(title,), text=row["text"])
    if not key:
        raise DataError(
            f"{row['pointer']} has no label, so no citation could name it",
            remedy="set `label` of the source to a field that every row has",
        )
    names = [attributes.get(field) for field in ("title", "name", "short_name")]
    known = [name for name in names if isinstance(name, str) and name.strip()]
    return Document(
        key=key,
        title=known[0] if known else key,
        names=tuple(dict.fromkeys([key, *known])),
        text=row["text"],
    )
