"""The last look before a citation leaves: is the quote what the document says there?"""

from __future__ import annotations

from tunesmith.core.canonical import sha256
from tunesmith.core.errors import NotFound, StoreError
from tunesmith.records.index import Citation
from tunesmith.retrieve.store import Store


def verify(store: Store, citation: Citation) -> None:
    """Read the cited document again and compare; nothing unverified is ever returned to a user.

    Raises:
        StoreError: the document is not there, is not what was indexed, or says something else.
    """
    try:
        document = store.document(citation.document)
    except NotFound as error:
        raise _unverified(citation, "the index has no such document") from error
    if not 0 <= citation.start < citation.end <= len(document.text):
        raise _unverified(citation, "the span is outside of the document")
    if document.text[citation.start : citation.end] != citation.quote:
        raise _unverified(citation, "the document says something else there")
    if sha256(citation.quote.encode()) != citation.sha256:
        raise _unverified(citation, "the quote does not have its digest")
    if document.title != citation.title:
        raise _unverified(citation, "the document has another title")
    if ", ".join(store.pages(citation.document, citation.start, citation.end)) != citation.page:
        raise _unverified(citation, "it is on another page")


def _unverified(citation: Citation, reason: str) -> StoreError:
    return StoreError(
        f"citation {citation.link} cannot be verified: {reason}",
        remedy="build the index again; nothing was answered",
    )
