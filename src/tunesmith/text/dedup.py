"""Duplicates: exact ones by digest, near ones by the Jaccard similarity of their words.

What is compared depends on the shorter of two texts. With fewer than `SHORT` words in either it is
their sets of words: one changed word in a text of ten would touch half of its runs of five. With
`SHORT` words or more in both it is their runs of five words: long texts of one kind have most of
their words in common. Equal numbers on the two scales do not mean equally alike, so every threshold
is given for each.

MinHash with banding proposes pairs (Broder 1997; Leskovec, Rajaraman and Ullman, "Mining of
Massive Datasets", chapter 3; in `text.sketch`); each proposed pair is verified by its exact Jaccard
similarity, and only verified pairs become edges. Taking every shared band for an edge and closing
over them is how unrelated texts end up in one cluster.
"""

from __future__ import annotations

import functools
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from tunesmith.text.sketch import NUM_WORDS, SHORT, candidates, words_of


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


def exact_key(text: str) -> str:
    """A digest that texts share which differ in case and white space alone, once normalised."""
    return hashlib.sha256(" ".join(text.casefold().split()).encode()).hexdigest()


def shingles(text: str) -> Shingles:
    """The distinct words of `text` and, if there are at least `SHORT`, its runs of five."""
    words = words_of(text)
    runs: Iterable[tuple[str, ...]] = ()
    if len(words) >= SHORT:
        runs = zip(*(words[start:] for start in range(NUM_WORDS)), strict=False)
    return Shingles(words=frozenset(words), runs=frozenset(map(" ".join, runs)))


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
) -> tuple[Pair, ...]:
    """Pairs of `texts` that are as similar as `thresholds` say, in order of (first, second).

    A pair exactly at its threshold is missed with a probability of at most `MAX_MISS`, a more
    similar one with less; no pair below it is ever reported.
    """
    by_words, by_runs = candidates(
        texts, words=thresholds.words, runs=thresholds.runs, progress=progress
    )
    # Made for the candidates alone, and once for each.
    found = functools.cache(lambda row: shingles(texts[row]))
    pairs = []
    for first, second in by_runs.tolist():
        value = _jaccard_from(found(first).runs, found(second).runs, thresholds.runs)
        if value:
            pairs.append(Pair(first=first, second=second, jaccard=value, short=False))
    for first, second in by_words.tolist():
        one, other = found(first), found(second)
        if one.runs and other.runs:
            continue
        if value := _jaccard_from(one.words, other.words, thresholds.words):
            pairs.append(Pair(first=first, second=second, jaccard=value, short=True))
    return tuple(sorted(pairs, key=lambda pair: (pair.first, pair.second)))


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


def resembling(
    left: Sequence[str], right: Sequence[str], thresholds: Thresholds
) -> tuple[Pair | None, ...]:
    """For each text of `left` the most similar pair with one of `right`, or None if none is as
    similar as `thresholds` say; of equally similar ones the first.

    Equal texts are found whatever is in them; others are missed as seldom as by `duplicates`.
    """
    best: list[Pair | None] = [None] * len(left)
    if not (left and right):
        return tuple(best)
    known: dict[str, int] = {}
    for second, text in enumerate(right):
        known.setdefault(exact_key(text), second)
    for first, text in enumerate(left):
        if (at := known.get(exact_key(text))) is not None:
            short = not shingles(text).runs
            best[first] = Pair(first=first, second=at, jaccard=1.0, short=short)
    for pair in duplicates([*left, *right], thresholds):
        if pair.first < len(left) <= pair.second:
            found = best[pair.first]
            if found is None or pair.jaccard > found.jaccard:
                best[pair.first] = replace(pair, second=pair.second - len(left))
    return tuple(best)


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


def _jaccard_from(first: frozenset[str], second: frozenset[str], threshold: float) -> float:
    """The Jaccard similarity, or 0 if it is below `threshold`."""
    # It cannot exceed the smaller size over the larger.
    if min(len(first), len(second)) < threshold * max(len(first), len(second)):
        return 0.0
    value = _jaccard(first, second)
    return value if value >= threshold else 0.0
