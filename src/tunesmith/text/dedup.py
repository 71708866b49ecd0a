"""Duplicates: exact ones by digest, near ones by the Jaccard similarity of their words.

What is compared depends on the shorter of two texts. With fewer than `SHORT` words in either it is
their sets of words: one changed word in a text of ten would touch half of its runs of five. With
`SHORT` words or more in both it is their runs of five words: long texts of one kind have most of
their words in common. Equal numbers on the two scales do not mean equally alike, so every threshold
is given for each.

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
from dataclasses import dataclass, replace

import rensa

SHORT = 20
"""A text with fewer words than this is compared by its set of words."""
NUM_WORDS = 5
"""Words in a run. Characters would make all texts of one language look alike."""
NUM_PERMUTATIONS = 256
MAX_MISS = 1e-3
"""Highest probability that a pair exactly at the threshold is not proposed."""
SEED = 1
"""Of the permutations. A constant, so that equal texts have equal duplicates everywhere."""
_ROWS_AT_ONCE = 256

# A word; in scripts that are written without spaces, a character.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shingles:
    """What a text is compared by."""

    words: frozenset[str]
    runs: frozenset[str]
    """Its runs of five words; none if it is short."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Thresholds:
    """The Jaccard similarities, each in (0, 1], from which two texts are a pair."""

    words: float
    """Of the sets of words, where at least one of the two is short."""
    runs: float
    """Of the runs of five words, where neither is."""

    def __post_init__(self) -> None:
        for value in (self.words, self.runs):
            if not 0.0 < value <= 1.0:
                raise ValueError(f"a threshold must be in (0, 1], not {value}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two texts by position, `first < second`, and their exact Jaccard similarity."""

    first: int
    second: int
    jaccard: float
    short: bool
    """Whether one of the two is short, so that words were compared and not runs."""

    def reaches(self, thresholds: Thresholds) -> bool:
        """Whether it is as similar as `thresholds` ask for."""
        return self.jaccard >= (thresholds.words if self.short else thresholds.runs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Closest:
    """The most similar pairs between two sets of texts; None where no two share anything."""

    words: Pair | None
    """Of the pairs with a short text."""
    runs: Pair | None
    """Of the others."""


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
    """The distinct words of `text` and, if there are at least `SHORT`, its runs of five."""
    words = _WORD.findall(text.casefold())
    starts = range(len(words) - NUM_WORDS + 1) if len(words) >= SHORT else ()
    return Shingles(
        words=frozenset(words),
        runs=frozenset(" ".join(words[i : i + NUM_WORDS]) for i in starts),
    )


def similarity(first: Shingles, second: Shingles) -> float:
    """Jaccard similarity of the runs of two texts, of their words if one is short, in [0, 1]."""
    if first.runs and second.runs:
        return _jaccard(first.runs, second.runs)
    return _jaccard(first.words, second.words)


def duplicates(
    texts: Sequence[str],
    thresholds: Thresholds,
    *,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Duplicates:
    """Pairs of `texts` that are as similar as `thresholds` say, and their components.

    A pair exactly at its threshold is missed with a probability of at most `MAX_MISS`, a more
    similar one with less; no pair below it is ever reported.
    """
    found = [shingles(text) for text in texts]
    # A short text has fewer than SHORT words, so one with many more cannot be similar to it.
    most = (SHORT - 1) / thresholds.words
    by_words = [each.words if len(each.words) <= most else frozenset() for each in found]
    by_runs = [each.runs for each in found]
    pairs = []
    for short, sets, threshold in (
        (True, by_words, thresholds.words),
        (False, by_runs, thresholds.runs),
    ):
        for first, seconds in _candidates(sets, threshold):
            if first % _ROWS_AT_ONCE == 0:
                progress(first + (0 if short else len(texts)), 2 * len(texts))
            for second in seconds:
                if short and by_runs[first] and by_runs[second]:
                    continue
                value = _jaccard(sets[first], sets[second])
                if value >= threshold:
                    pairs.append(Pair(first=first, second=second, jaccard=value, short=short))
    pairs.sort(key=lambda pair: (pair.first, pair.second))
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


def most_similar(left: Sequence[str], right: Sequence[str]) -> Closest:
    """The most similar pairs of a text of `left` and one of `right`, by looking at all of them.

    `first` is a position in `left`, `second` one in `right`.
    """
    one, other = [shingles(text) for text in left], [shingles(text) for text in right]
    no_words: frozenset[str] = frozenset()
    # Two long texts are not compared by words: one of the two sides is left out.
    short_left = _closest([no_words if x.runs else x.words for x in one], [x.words for x in other])
    short_right = _closest([x.words for x in one], [no_words if x.runs else x.words for x in other])
    by_words = [pair for pair in (short_left, short_right) if pair]
    by_runs = _closest([x.runs for x in one], [x.runs for x in other])
    return Closest(
        words=max(by_words, key=lambda pair: pair.jaccard, default=None),
        runs=by_runs and replace(by_runs, short=False),
    )


def _closest(left: Sequence[frozenset[str]], right: Sequence[frozenset[str]]) -> Pair | None:
    """The most similar pair, the first of several; None if no two sets share a member."""
    postings: dict[str, list[int]] = defaultdict(list)
    for position, found in enumerate(left):
        for member in found:
            postings[member].append(position)
    best: Pair | None = None
    for second, found in enumerate(right):
        shared: Counter[int] = Counter()
        for member in found:
            shared.update(postings.get(member, ()))
        for first, count in sorted(shared.items()):
            value = count / (len(left[first]) + len(found) - count)
            if best is None or value > best.jaccard:
                best = Pair(first=first, second=second, jaccard=value, short=True)
    return best


def _jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    """Shared members over all members, in [0, 1]; 0 where there are none."""
    shared = len(first & second)
    total = len(first) + len(second) - shared
    return shared / total if total else 0.0


def _candidates(
    sets: Sequence[frozenset[str]], threshold: float
) -> Iterator[tuple[int, list[int]]]:
    """(row, later rows that share a band with it and may have a similarity of `threshold`)."""
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
            row, later = rows[position], sorted(rows[m] for m in set(matches) if m > position)
            yield row, [other for other in later if _bound(sets[row], sets[other]) >= threshold]


def _bound(first: frozenset[str], second: frozenset[str]) -> float:
    """What the Jaccard similarity of two sets cannot exceed: the smaller over the larger."""
    return min(len(first), len(second)) / max(len(first), len(second))


def num_bands(threshold: float) -> int:
    """The fewest bands that propose a pair at `threshold` with probability 1 - MAX_MISS.

    A band of r permutations is shared with probability s^r, at least one of b with 1 - (1 - s^r)^b.
    """
    rows = NUM_PERMUTATIONS
    while rows > 1 and (1 - threshold**rows) ** (NUM_PERMUTATIONS // rows) > MAX_MISS:
        rows //= 2
    return NUM_PERMUTATIONS // rows
