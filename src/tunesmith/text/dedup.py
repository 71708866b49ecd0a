"""Duplicates: exact ones by digest, near ones by the Jaccard similarity of word 5-grams.

MinHash with banding proposes pairs (Broder 1997; Leskovec, Rajaraman and Ullman, "Mining of
Massive Datasets", chapter 3); each proposed pair is verified by its exact Jaccard similarity, and
only verified pairs become edges. Taking every shared band for an edge and closing over them is how
unrelated texts end up in one cluster.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import rensa

Shingles = frozenset[str]

NUM_WORDS = 5
"""Words in a shingle. Characters would make all texts of one language look alike."""
NUM_PERMUTATIONS = 256
MAX_MISS = 1e-3
"""Highest probability that a pair exactly at the threshold is not proposed."""
SEED = 1
"""Of the permutations. A constant, so that equal texts have equal duplicates everywhere."""
_ROWS_AT_ONCE = 256

# A word; in scripts that are written without spaces, a character.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two texts by position, `first < second`, and their exact Jaccard similarity."""

    first: int
    second: int
    jaccard: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Duplicates:
    """The verified pairs among some texts, and what they join."""

    pairs: tuple[Pair, ...]
    """In order of (first, second)."""
    components: tuple[int, ...]
    """For each text, the smallest position in its component."""


def exact_key(text: str) -> str:
    """A digest that texts share which differ in case and white space alone, once normalised."""
    return hashlib.sha256(" ".join(text.casefold().split()).encode()).hexdigest()


def shingles(text: str) -> Shingles:
    """The distinct runs of five words in `text`; a shorter text is one run of all its words."""
    words = _WORD.findall(text.casefold())
    size = min(NUM_WORDS, len(words))
    if not size:
        return frozenset()
    return frozenset(" ".join(words[i : i + size]) for i in range(len(words) - size + 1))


def jaccard(first: Shingles, second: Shingles) -> float:
    """Shared shingles over all shingles, in [0, 1]; 0 where there are none."""
    shared = len(first & second)
    total = len(first) + len(second) - shared
    return shared / total if total else 0.0


def duplicates(
    texts: Sequence[str],
    threshold: float,
    *,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Duplicates:
    """Pairs of `texts` whose Jaccard similarity is at least `threshold`, and their components.

    A pair exactly at the threshold is missed with a probability of at most `MAX_MISS`, a more
    similar one with less; no pair below it is ever reported.

    Raises:
        ValueError: `threshold` is not in (0, 1].
    """
    if not 0.0 < threshold <= 1.0:
        raise ValueError(f"threshold must be in (0, 1], not {threshold}")
    sets = [shingles(text) for text in texts]
    pairs = []
    for first, seconds in _candidates(sets, threshold):
        if first % _ROWS_AT_ONCE == 0:
            progress(first, len(texts))
        one = sets[first]
        for second in seconds:
            other = sets[second]
            # Cheap first: the smaller over the larger set bounds the similarity.
            if min(len(one), len(other)) < threshold * max(len(one), len(other)):
                continue
            value = jaccard(one, other)
            if value >= threshold:
                pairs.append(Pair(first=first, second=second, jaccard=value))
    edges = ((pair.first, pair.second) for pair in pairs)
    return Duplicates(pairs=tuple(pairs), components=components(len(texts), edges))


def components(num_rows: int, edges: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """For each of `num_rows` rows, the smallest row that `edges` join it to, itself included."""
    parents = list(range(num_rows))

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    for first, second in edges:
        one, other = sorted((root(first), root(second)))
        parents[other] = one
    return tuple(root(row) for row in range(num_rows))


def duplicate_of(num_rows: int, pairs: Iterable[Pair]) -> tuple[Pair | None, ...]:
    """For each row, the pair with an earlier kept row for which it is to go, or None to keep it.

    Greedy in the order of the rows: a row goes if it is paired with a kept one; of several, the
    most similar is named. So no two kept rows are a pair, and each that goes is one with a kept
    row, never merely the end of a chain.
    """
    earlier: dict[int, list[Pair]] = defaultdict(list)
    for pair in pairs:
        earlier[pair.second].append(pair)
    goes: list[Pair | None] = []
    for row in range(num_rows):
        kept = [pair for pair in earlier[row] if goes[pair.first] is None]
        goes.append(max(kept, key=lambda pair: (pair.jaccard, -pair.first), default=None))
    return tuple(goes)


def most_similar(left: Sequence[str], right: Sequence[str]) -> Pair | None:
    """The most similar pair of a text of `left` and one of `right`, by looking at all of them.

    `first` is a position in `left`, `second` one in `right`. None if no two share a shingle.
    """
    sizes = []
    postings: dict[str, list[int]] = defaultdict(list)
    for position, text in enumerate(left):
        found = shingles(text)
        sizes.append(len(found))
        for shingle in found:
            postings[shingle].append(position)
    best: Pair | None = None
    for second, text in enumerate(right):
        found = shingles(text)
        shared: Counter[int] = Counter()
        for shingle in found:
            shared.update(postings.get(shingle, ()))
        for first, count in sorted(shared.items()):
            value = count / (sizes[first] + len(found) - count)
            if best is None or value > best.jaccard:
                best = Pair(first=first, second=second, jaccard=value)
    return best


def _candidates(sets: Sequence[Shingles], threshold: float) -> Iterator[tuple[int, list[int]]]:
    """(row, later rows that share a band with it), in order."""
    rows = [row for row, found in enumerate(sets) if found]
    # A sketch does not depend on the order of the set, which differs from process to process.
    sketches = rensa.RMinHash.from_token_sets(
        [list(sets[row]) for row in rows], NUM_PERMUTATIONS, SEED
    )
    index = rensa.RMinHashLSH(threshold, NUM_PERMUTATIONS, num_bands(threshold))
    index.insert_many(sketches)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        found = index.query_all(sketches[start : start + _ROWS_AT_ONCE])
        for position, matches in enumerate(found, start=start):
            yield rows[position], sorted(rows[m] for m in set(matches) if m > position)


def num_bands(threshold: float) -> int:
    """The fewest bands that propose a pair at `threshold` with probability 1 - MAX_MISS.

    A band of r permutations is shared with probability s^r, at least one of b with 1 - (1 - s^r)^b.
    """
    rows = NUM_PERMUTATIONS
    while rows > 1 and (1 - threshold**rows) ** (NUM_PERMUTATIONS // rows) > MAX_MISS:
        rows //= 2
    return NUM_PERMUTATIONS // rows
