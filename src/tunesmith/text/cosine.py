"""Vectors that are alike: every pair by cosine, by exact search, some blocks in memory at a time.

Products are taken in float32; whatever might reach a threshold, or be the largest, is taken again
in float64. So neither the size of a block nor the number of threads decides about a pair.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

Vectors = np.ndarray[Any, np.dtype[np.float32]]
"""(number of texts, dimensions), each of length 1."""
Progress = Callable[[int, int], None]

ROWS, COLUMNS = 512, 4096
"""Of a block of products."""
_PAIRS_AT_ONCE = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Twins:
    """Two vectors by position, `first < second`, and their cosine."""

    first: int
    second: int
    cosine: float


def unheard(_done: int, _total: int) -> None:
    """Nobody watches."""


def pairs(vectors: Vectors, at_least: float, progress: Progress = unheard) -> Iterator[Twins]:
    """Every two of `vectors` whose cosine is at least `at_least`, in no particular order."""
    least = at_least - _slack(vectors)
    for block in _blocks(len(vectors), ROWS):
        progress(block.start, len(vectors))
        for others in _blocks(block.stop, COLUMNS):
            found = np.nonzero(vectors[block] @ vectors[others].T >= least)
            later, earlier = found[0] + block.start, found[1] + others.start
            is_pair = earlier < later
            later, earlier = later[is_pair], earlier[is_pair]
            cosines = _cosines(vectors, later, vectors, earlier)
            for place in np.flatnonzero(cosines >= at_least).tolist():
                yield Twins(
                    first=int(earlier[place]),
                    second=int(later[place]),
                    cosine=float(cosines[place]),
                )


def repeats(
    vectors: Vectors, at_least: float, progress: Progress = unheard
) -> tuple[Twins | None, ...]:
    """For each row, the pair with an earlier kept row for which it is to go, or None to keep it.

    The rule is that of `text.dedup.duplicate_of`, over all pairs of at least `at_least`: greedy in
    order, and of several kept rows the most similar is named, of equally similar ones the first.
    Only kept rows are compared with, so that many copies of one thing cost little.
    """
    goes: list[Twins | None] = []
    kept: list[int] = []
    chosen = np.empty_like(vectors)
    for block in _blocks(len(vectors), ROWS):
        progress(block.start, len(vectors))
        rows = vectors[block]
        nearest_kept, cosines = nearest(rows, chosen[: len(kept)])
        within: dict[int, list[Twins]] = defaultdict(list)
        for pair in pairs(rows, at_least):
            within[pair.second].append(pair)
        before = len(kept)
        for place in range(len(rows)):
            row = block.start + place
            found = [
                Twins(first=block.start + pair.first, second=row, cosine=pair.cosine)
                for pair in within[place]
                if goes[block.start + pair.first] is None
            ]
            if before and cosines[place] >= at_least:
                first = kept[int(nearest_kept[place])]
                found.append(Twins(first=first, second=row, cosine=float(cosines[place])))
            pair_or_none = max(found, key=lambda pair: (pair.cosine, -pair.first), default=None)
            goes.append(pair_or_none)
            if pair_or_none is None:
                chosen[len(kept)] = vectors[row]
                kept.append(row)
    return tuple(goes)


def nearest(left: Vectors, right: Vectors) -> tuple[Any, Any]:
    """For each of `left` the position of the most similar of `right`, the first of several, and
    their cosine (float64); -1 and minus infinity where `right` is empty."""
    places = np.full(len(left), -1, dtype=np.int64)
    best = np.full(len(left), -np.inf)
    slack = 2 * _slack(left)
    for block in _blocks(len(left), ROWS):
        for others in _blocks(len(right), COLUMNS):
            found = left[block] @ right[others].T
            floor = np.maximum(found.max(axis=1), best[block]) - slack
            rows, columns = np.nonzero(found >= floor[:, None])
            rows, columns = rows + block.start, columns + others.start
            cosines = _cosines(left, rows, right, columns)
            order = np.lexsort((columns, -cosines, rows))
            rows, at = np.unique(rows[order], return_index=True)
            columns, cosines = columns[order][at], cosines[order][at]
            is_better = cosines > best[rows]
            places[rows[is_better]] = columns[is_better]
            best[rows[is_better]] = cosines[is_better]
    return places, best


def _blocks(num: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, num)) for start in range(0, num, size))


def _slack(vectors: Vectors) -> float:
    """How far a product in float32 may be from the cosine, at most: dimensions times half a unit
    in the last place for the sum, and as much again for what the lengths are off 1 (Higham,
    "Accuracy and Stability of Numerical Algorithms", section 3.1)."""
    return (vectors.shape[1] + 4) * 2.0**-23


def _cosines(left: Vectors, rows: Any, right: Vectors, columns: Any) -> Any:
    """The cosine of each left[rows[i]] and right[columns[i]], in float64."""
    found = np.empty(len(rows))
    for part in _blocks(len(rows), _PAIRS_AT_ONCE):
        one, other = left[rows[part]].astype(np.float64), right[columns[part]].astype(np.float64)
        lengths = np.sqrt((one * one).sum(axis=1) * (other * other).sum(axis=1))
        found[part] = (one * other).sum(axis=1) / lengths
    return found
