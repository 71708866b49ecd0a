"""Which sentences answer a question best, and how much of the question the best one speaks of.

Passages are found by BM25 (Robertson & Zaragoza 2009), in which a word counts more in a document's
names; their sentences are ranked by the share of the question that they cover, by BM25, by their
passage, and by whether the question names their document.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tunesmith.retrieve.lexical import terms, words
from tunesmith.retrieve.store import Place, Store

NUM_PASSAGES = 30
"""Passages whose sentences are looked at."""
NAMES_WEIGHT = 4.0
"""How many times a word counts in a document's names, against once in its text."""
SENTENCE_WORDS = 8
"""A stretch of fewer words is likely to be a heading, and ranks lower in proportion."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """A sentence that may answer the question."""

    place: Place
    coverage: float
    """Share, in [0, 1], of the question that the sentence, under its document's names, speaks of.
    Comparable over questions: every term weighs its inverse document frequency over sentences, and
    one that the index does not know weighs most."""
    rank: float
    """What the order goes by; comparable within one question alone."""


class Ranker:
    """Ranks the sentences of one index."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._names = {
            key: [frozenset(words(name)) for name in names] for key, names in store.names().items()
        }
        counts = Counter(
            word for names in self._names.values() for word in frozenset().union(*names)
        )
        self._name_weights = {
            word: math.log(1 + len(self._names) / count) for word, count in counts.items()
        }

    def rank(self, question: str) -> list[Evidence]:
        """Sentences with any term of `question`, best first; ties in the order of the index."""
        asked = terms(question)
        if all(term[0].isdigit() for term in asked):
            return []  # numbers alone say nothing: every clause has one
        passages = dict(self._store.search_passages(asked, NUM_PASSAGES, names_weight=NAMES_WEIGHT))
        scores = self._store.search_sentences(asked, list(passages))
        if not scores:
            return []
        sentences_with = {term: self._store.sentences_with(term) for term in asked}
        weights = self._weights(sentences_with)
        best_passage, best_sentence = max(passages.values()), max(scores.values())
        named = {key: self._share_named(key, set(words(question))) for key in self._names}
        found = []
        for place in self._store.sentences(scores):
            covered = self._covered(place, sentences_with)
            coverage = sum(weights[term] for term in covered) / sum(weights.values())
            rank = coverage + 0.5 * (
                scores[place.id] / best_sentence
                + passages[place.passage] / best_passage
                + named[place.document]
            )
            rank *= min(1.0, place.num_words / SENTENCE_WORDS)
            found.append(Evidence(place=place, coverage=coverage, rank=rank))
        return sorted(found, key=lambda one: (-one.rank, one.place.id))

    def _weights(self, sentences_with: Mapping[str, frozenset[int]]) -> dict[str, float]:
        """Inverse document frequency of every term, over sentences (always positive)."""
        total = self._store.num_sentences
        return {
            term: math.log(1 + (total - len(found) + 0.5) / (len(found) + 0.5))
            for term, found in sentences_with.items()
        }

    def _covered(self, place: Place, sentences_with: Mapping[str, frozenset[int]]) -> list[str]:
        names = frozenset[str]().union(*self._names[place.document])
        return [t for t, found in sentences_with.items() if place.id in found or t in names]

    def _share_named(self, key: str, asked: Iterable[str]) -> float:
        """How far, in [0, 1], a question of the words `asked` names the document `key`."""
        return max(
            self._weight(name.intersection(asked)) / (self._weight(name) or 1.0)
            for name in self._names[key]
        )

    def _weight(self, name: Iterable[str]) -> float:
        return sum(self._name_weights[word] for word in name)


def best(evidence: Sequence[Evidence]) -> float:
    """The score of a question: the coverage of its best sentence, 0 if there is none."""
    return evidence[0].coverage if evidence else 0.0
