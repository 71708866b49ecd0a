"""Which small sets of words are alike, by exact search.

Two sets of a handful of words that share half of them share most bands of MinHash: among very many
very short texts nearly all that it proposes is not alike. For small sets it is cheaper to look at
the rarest words: two sets of Jaccard similarity t or more have in common one of the first
n - ceil(t n) + 1 of the n words of each, by any order of all words, so by that of rarity (prefix
filtering: Chaudhuri, Ganti and Kaushik 2006; with the bound by positions of Xiao, Wang, Lin and Yu
2008, "Efficient Similarity Joins for Near Duplicate Detection"). None is missed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

FEW = 8
"""A set of at most so many words is small. Of larger ones the rarest words are too many."""
_PAIRS_AT_ONCE = 1 << 21
_ROUNDING = 1e-9
"""Less than any share of small sets differs from another, more than rounding."""


def largest_partner(threshold: float) -> int:
    """Words of the largest set that a small one can be as similar to as `threshold`."""
    return int(FEW / threshold + _ROUNDING)


def alike(texts: Any, words: Any, threshold: float) -> Any:
    """Pairs of texts of which the smaller has at most `FEW` words, and which may have a Jaccard
    similarity of `threshold`: all that have it, and some others.

    `texts` (ascending) and `words` are the text and the word of each member of each set, int64 and
    uint64. The result is (number of pairs, 2), int64: positions, the first below the second.
    """
    if not len(texts):
        return np.zeros((0, 2), dtype=np.int64)
    num = int(texts[-1]) + 1
    found = np.zeros(0, dtype=np.int64)
    pending: list[Any] = []
    for one, other in _sharing(*_prefixes(texts, words, threshold), threshold):
        pending.append(np.minimum(one, other) * num + np.maximum(one, other))
        if sum(map(len, pending)) > _PAIRS_AT_ONCE:
            found, pending = np.unique(np.concatenate([found, *pending])), []
    found = np.unique(np.concatenate([found, *pending]))
    return np.stack(np.divmod(found, num), axis=1)


def _prefixes(texts: Any, words: Any, threshold: float) -> tuple[Any, Any, Any, Any]:
    """Of each word that is among the first of its set: its rank, the text, the size of the set, and
    its place in it; in the order of rank, then size."""
    _, which, counts = np.unique(words, return_inverse=True, return_counts=True)
    rank_of = np.empty(len(counts), dtype=np.int64)
    rank_of[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    ranks = rank_of[which]
    order = np.lexsort((ranks, texts))
    texts, ranks = texts[order], ranks[order]
    sizes = np.bincount(texts)[texts]
    starts = np.flatnonzero(np.concatenate([[True], texts[1:] != texts[:-1]]))
    places = np.arange(len(texts)) - np.repeat(starts, sizes[starts])
    is_first = places <= sizes - np.ceil(threshold * sizes - _ROUNDING)
    texts, ranks, sizes, places = (each[is_first] for each in (texts, ranks, sizes, places))
    order = np.lexsort((texts, sizes, ranks))
    return ranks[order], texts[order], sizes[order], places[order]


def _sharing(
    ranks: Any, texts: Any, sizes: Any, places: Any, threshold: float
) -> Iterator[tuple[Any, Any]]:
    """Texts that share a word, next to each other in the order, two apart, and so on."""
    at = np.flatnonzero(sizes <= FEW)  # of two the first is the smaller
    apart = 1
    while len(at):
        at = at[at + apart < len(ranks)]
        after = at + apart
        # What follows is larger still.
        goes_on = (ranks[at] == ranks[after]) & (sizes[at] >= threshold * sizes[after] - _ROUNDING)
        at, after = at[goes_on], after[goes_on]
        shared = np.minimum(sizes[at] - places[at], sizes[after] - places[after])  # at most
        needed = threshold / (1 + threshold) * (sizes[at] + sizes[after]) - _ROUNDING
        can_be = shared >= needed
        yield texts[at[can_be]], texts[after[can_be]]
        apart += 1
