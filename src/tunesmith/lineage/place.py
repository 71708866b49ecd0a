"""Where words stand in the text of a row: from which character to which, and on which page."""

from __future__ import annotations

from collections.abc import Mapping

from tunesmith.records.lineage import Place
from tunesmith.stages.index.select import to_document


def place_of(words: str, row: Mapping[str, str]) -> Place | None:
    """The first place of `words` in the text of a data asset's row; None where it has none."""
    text = row["text"]
    start = text.find(words)
    if start < 0 or not words:
        return None
    end = start + len(words)
    document = to_document({**row, "label": row["label"] or row["pointer"]})
    # Spans are of the text of a document, which is all of the row's.
    pages = [page.name for page in document.pages if page.start < end and page.end > start]
    begun = max((at for at in document.sections if at <= start), default=None)
    heading = "" if begun is None else text[begun:].partition("\n")[0].strip("# \t")
    return Place(
        start=start,
        end=end,
        num_places=text.count(words),
        pages=tuple(pages),
        section=heading,
    )
