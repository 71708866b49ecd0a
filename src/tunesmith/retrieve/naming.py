"""Which documents a question names, and what it asks about them.

A name says where to look; it is no evidence. So the words of a question are taken apart: those of
a mention of a document ("the GPL 2"), which select documents, and the others, its topic, which the
evidence has to speak of.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Sequence

from tunesmith.retrieve.lexical import terms, words
from tunesmith.retrieve.store import Store

MIN_DISTINCTIVE = 0.5
"""A lone first word of names mentions them if this share of the documents with it, in names or in
text, are so named: "apache" does, "public" (domain) does not. Two words of a name always do."""
MIN_GENERIC = 0.5
"""A word in the names of this share of the documents says what they all are, e.g. "license"."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A question, taken apart."""

    documents: frozenset[str]
    """Keys of the documents that it names; empty if it names none."""
    topic: tuple[str, ...]
    """Its distinct terms (`lexical.terms`) outside of the names, in order."""


class Names:
    """The names of the documents of one index."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._names = {
            key: [_name_words(name) for name in names] for key, names in store.names().items()
        }
        self._words = {
            key: frozenset(word for name in names for word in name)
            for key, names in self._names.items()
        }

        counts = Counter(word for found in self._words.values() for word in found)
        self._generic = frozenset(
            word for word, count in counts.items() if count >= MIN_GENERIC * len(self._words)
        )
        self._weights = {
            word: math.log(1 + len(self._words) / count) for word, count in counts.items()
        }

    def take_apart(self, question: str) -> Asked:
        """The documents that `question` mentions, and its topic."""
        asked = _name_words(question)
        documents: set[str] = set()
        topic: list[str] = []
        start = 0
        while start < len(asked):
            candidates = self._mentioned(asked[start:])
            if not candidates:
                topic.append(asked[start])
                start += 1
                continue
            own = self._generic.union(*(self._words[key] for key in candidates))
            mention = []
            while topic and topic[-1] in own:  # "the 3-clause BSD"
                mention.append(topic.pop())
            while start < len(asked) and asked[start] in own:  # "the BSD license"
                mention.append(asked[start])
                start += 1
            documents |= self._meant(candidates, frozenset(mention))
        return Asked(documents=frozenset(documents), topic=tuple(terms(" ".join(topic))))

    def shares_named(self, question: str, keys: Iterable[str]) -> dict[str, float]:
        """How far, in [0, 1], `question` names each of the documents `keys`.

        It is the share of the best named name; a rare word of names weighs more than a common one.
        """
        asked = frozenset(_name_words(question))
        return {
            key: max(
                self._weight(asked.intersection(name)) / (self._weight(frozenset(name)) or 1.0)
                for name in self._names[key]
            )
            for key in keys
        }

    def _weight(self, name: frozenset[str]) -> float:
        return sum(self._weights[word] for word in sorted(name))

    def _mentioned(self, asked: Sequence[str]) -> list[str]:
        """Documents that `asked` begins with a name of, or with the beginning of one."""
        found = []
        for key, names in self._names.items():
            shared = max(_num_shared(name, asked) for name in names)
            if shared > 1 or (shared and self._is_distinctive(asked[0])):
                found.append(key)
        return found

    def _is_distinctive(self, word: str) -> bool:
        named = {key for key, names in self._names.items() if [word] in [n[:1] for n in names]}
        return len(named) >= MIN_DISTINCTIVE * len(named | self._store.documents_with(word))

    def _meant(self, candidates: Iterable[str], mention: frozenset[str]) -> set[str]:
        """Those of `candidates` that `mention` fits best; of these, those named in full, if any."""
        fits = {key: len(self._words[key] & mention) for key in candidates}
        best = {key for key, fit in fits.items() if fit == max(fits.values())}
        in_full = {key for key in best if any(mention.issuperset(n) for n in self._names[key])}
        return in_full or best


def _num_shared(name: Sequence[str], asked: Sequence[str]) -> int:
    """With how many of its words, from the first, `name` stands at the beginning of `asked`."""
    shared = 0
    for one, other in zip(name, asked, strict=False):
        if one != other:
            break
        shared += 1
    return shared


def _name_words(text: str) -> list[str]:
    """The words of `text`, without "version" before a number, which names have or have not."""
    found = words(text)
    following = [*found, ""][1:]
    return [
        word
        for word, after in zip(found, following, strict=True)
        if not (word == "version" and after[:1].isdigit())
    ]
