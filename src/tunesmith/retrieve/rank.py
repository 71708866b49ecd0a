"""Which sentences answer a question best, and how much of the question the best one speaks of.

A question that names documents is answered from these alone. Passages are found by BM25 (Robertson
& Zaragoza 2009), in which a word counts more in a document's names; their sentences are ranked by
the share of the question's topic that they cover, by BM25, by their passage, and by how far the
question names their document. A name selects and ranks; only what a sentence says is evidence.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from tunesmith.retrieve.naming import Names
from tunesmith.retrieve.store import Place, Store

NUM_PASSAGES = 30
"""Passages whose sentences are looked at."""
NAMES_WEIGHT = 4.0
"""How many times a word counts in a document's names, against once in its text."""
UNKNOWN_WEIGHT = 2.0
"""How many times a term that the index has nowhere weighs, against its inverse document frequency:
what nobody wrote about is most likely what the question is about."""
SENTENCE_WORDS = 8
"""A stretch of fewer words is likely to be a heading, and ranks lower in proportion."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """A sentence that may answer the question."""

    place: Place
    coverage: float
    """Share, in [0, 1], of the question's topic (its terms outside of names) that the sentence
    speaks of. Comparable over questions: every term weighs its inverse document frequency over
    sentences, and one that the index does not know weighs most."""
    rank: float
    """What the order goes by; comparable within one question alone."""


class Ranker:
    """Ranks the sentences of one index."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._naming = Names(store)

    def rank(self, question: str) -> list[Evidence]:
        """Sentences with any term of the topic of `question`, best first.

        They are of the documents that the question names, if it names any. Ties are in the order
        of the index.
        """
        asked = self._naming.take_apart(question)
        if all(term[0].isdigit() for term in asked.topic):
            return []  # a name alone asks nothing, and numbers say nothing: every clause has one
        passages = dict(
            self._store.search_passages(
                asked.topic, NUM_PASSAGES, names_weight=NAMES_WEIGHT, within=sorted(asked.documents)
            )
        )
        scores = self._store.search_sentences(asked.topic, list(passages))
        if not scores:
            return []
        sentences_with = {term: self._store.sentences_with(term) for term in asked.topic}
        weights = self._weights(sentences_with)
        best_passage, best_sentence = max(passages.values()), max(scores.values())
        places = self._store.sentences(scores)
        shares = self._naming.shares_named(question, {place.document for place in places})
        found = []
        for place in places:
            covered = (term for term, having in sentences_with.items() if place.id in having)
            coverage = sum(weights[term] for term in covered) / sum(weights.values())
            rank = coverage + 0.5 * (
                scores[place.id] / best_sentence
                + passages[place.passage] / best_passage
                + shares[place.document]
            )
            rank *= min(1.0, place.num_words / SENTENCE_WORDS)
            found.append(Evidence(place=place, coverage=coverage, rank=rank))
        return sorted(found, key=lambda one: (-one.rank, one.place.id))

    def _weights(self, sentences_with: Mapping[str, frozenset[int]]) -> dict[str, float]:
        """Inverse document frequency of every term, over sentences (always positive)."""
        total = self._store.num_sentences
        return {
            term: math.log(1 + (total - len(found) + 0.5) / (len(found) + 0.5))
            * (1.0 if found else UNKNOWN_WEIGHT)
            for term, found in sentences_with.items()
        }


def best(evidence: Sequence[Evidence]) -> float:
    """The score of a question: the coverage of its best sentence, 0 if there is none."""
    return evidence[0].coverage if evidence else 0.0
