"""Settings of indexing: the `[index.NAME]` sections of the project file."""

from __future__ import annotations

from pydantic import Field

from tunesmith.core.section import Section


class IndexConfig(Section):
    """Documents that questions are answered from, with citations."""

    name: str = ""
    """Name of the index: what follows `index.` in the section's heading."""
    source: str
    """Name of the source whose rows are the documents; a row's label is what citations call it, or,
    where every file is one text, the file's path. Its name is then the document's title."""
    num_documents: int = Field(default=1000, ge=1)
    """Documents to take at most."""
    commonest_in: str = ""
    """Name of a source whose labels say which documents matter: the commonest are taken. Without
    it, the first by label are."""
