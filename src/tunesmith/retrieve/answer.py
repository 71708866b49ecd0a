"""A question -> verbatim sentences with their places, or "the documents do not answer it"."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from tunesmith.core.canonical import sha256
from tunesmith.records.index import Answer, Citation, Index
from tunesmith.retrieve.lexical import words
from tunesmith.retrieve.rank import Evidence, Ranker, best
from tunesmith.retrieve.store import Place, Store
from tunesmith.retrieve.verify import verify

NEAR_BEST = 0.85
"""A further sentence is cited if its rank is at least this share of the best one's."""


def ask(index: Index, store: Store | Path, question: str, *, limit: int = 3) -> Answer:
    """Answer `question` from the file of `index` with one to `limit` verbatim sentences.

    Not answered when the best sentence speaks of less of the question than `index.threshold`.
    Every citation is verified against its document before this returns.

    Raises:
        StoreError: the file is not this index, or a citation does not verify.
    """
    with _opened(store) as opened:
        evidence = Ranker(opened).rank(question)
        score = best(evidence)
        citations: tuple[Citation, ...] = ()
        if score >= index.threshold:
            citations = tuple(_choose(opened, evidence, index.threshold, limit))
        for citation in citations:
            verify(opened, citation)
    return Answer(
        question=question,
        answered=bool(citations),
        score=round(score, 4),
        threshold=index.threshold,
        citations=citations,
        index=index.name,
    )


@contextlib.contextmanager
def _opened(store: Store | Path) -> Iterator[Store]:
    if isinstance(store, Store):
        yield store
    else:
        with Store(store) as opened:
            yield opened


def _choose(
    store: Store, evidence: Sequence[Evidence], threshold: float, limit: int
) -> Iterator[Citation]:
    """The best sentence, and others about as good that say it in other words."""
    said: set[str] = set()
    for one in evidence:
        if len(said) == limit or one.rank < NEAR_BEST * evidence[0].rank:
            return
        citation = _cite(store, one.place)
        folded = " ".join(words(citation.quote))
        if one.coverage >= threshold and folded not in said:
            said.add(folded)
            yield citation


def _cite(store: Store, place: Place) -> Citation:
    document = store.document(place.document)
    quote = document.text[place.start : place.end]
    return Citation(
        document=document.key,
        title=document.title,
        start=place.start,
        end=place.end,
        quote=quote,
        sha256=sha256(quote.encode()),
        page=", ".join(store.pages(document.key, place.start, place.end)),
    )
