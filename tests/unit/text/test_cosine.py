"""Exact search among vectors, against float64 and sums without rounding; and the keep rule."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tunesmith.text import cosine
from tunesmith.text.cosine import nearest, pairs, repeats
from tunesmith.text.dedup import Pair, duplicate_of


@pytest.fixture(autouse=True, scope="module")
def _small_blocks() -> Any:
    """So that a few vectors are several blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cosine, "ROWS", 5)
        patch.setattr(cosine, "COLUMNS", 7)
        patch.setattr(cosine, "_PAIRS_AT_ONCE", 3)
        yield


def unit(rows: Any) -> Any:
    """Vectors of length 1, as a model gives them."""
    rows = np.asarray(rows, dtype=np.float64)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def exact(one: Any, other: Any) -> float:
    """The cosine of two vectors of float32, summed without rounding."""
    a, b = one.astype(np.float64).tolist(), other.astype(np.float64).tolist()
    dot, left, right = (
        math.fsum(x * y for x, y in zip(p, q, strict=True)) for p, q in ((a, b), (a, a), (b, b))
    )
    return dot / math.sqrt(left * right)


def all_pairs(vectors: Any) -> dict[tuple[int, int], float]:
    return {
        (i, j): exact(vectors[i], vectors[j])
        for i, j in itertools.combinations(range(len(vectors)), 2)
    }


# Few values, so that vectors are equal, opposite or at one angle as often as not.
DRAWN = arrays.arrays(
    np.float64, st.tuples(st.integers(0, 24), st.just(3)), elements=st.sampled_from([-1, 0, 1, 2])
)


@given(DRAWN, st.floats(0.2, 0.99))
def test_pairs_and_the_keep_rule_are_those_of_brute_force(drawn: Any, at_least: float) -> None:
    vectors = unit(drawn[np.linalg.norm(drawn, axis=1) > 0])
    values = all_pairs(vectors)
    assume(all(abs(value - at_least) > 1e-9 for value in values.values()))
    expected = {place: value for place, value in values.items() if value >= at_least}
    found = list(pairs(vectors, at_least))
    assert len(found) == len(expected)
    assert {(p.first, p.second): p.cosine for p in found} == pytest.approx(expected, abs=1e-12)

    # The same rule as near duplicates follow, on cosines as they were found: ties are ties.
    edges = [Pair(first=p.first, second=p.second, jaccard=p.cosine, short=False) for p in found]
    rule = duplicate_of(len(vectors), edges)
    goes = repeats(vectors, at_least)
    assert [twins and (twins.first, twins.second, twins.cosine) for twins in goes] == [
        pair and (pair.first, pair.second, pair.jaccard) for pair in rule
    ]
    kept = {row for row, twins in enumerate(goes) if twins is None}
    assert not any(first in kept and second in kept for first, second in expected)
    for twins in goes:
        assert twins is None or (twins.first in kept and twins.cosine >= at_least)


def test_a_chain_keeps_its_two_ends() -> None:
    """No row goes for one that goes itself."""
    angles = np.deg2rad([0, 20, 40])
    chain = unit(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    first, second, third = repeats(chain, math.cos(math.radians(25)))
    assert (first, third) == (None, None)
    assert second is not None
    assert second.first == 0


@given(DRAWN, DRAWN)
def test_the_nearest_is_the_first_of_the_largest(left: Any, right: Any) -> None:
    left, right = (unit(each[np.linalg.norm(each, axis=1) > 0]) for each in (left, right))
    places, cosines = nearest(left, right)
    for row, (place, value) in enumerate(zip(places.tolist(), cosines.tolist(), strict=True)):
        values = [exact(left[row], other) for other in right]
        if not values:
            assert (place, value) == (-1, -math.inf)
            continue
        assert value == pytest.approx(max(values), abs=1e-12)
        same = [at for at, other in enumerate(right) if np.array_equal(other, right[place])]
        assert place == same[0]


def test_a_threshold_between_two_cosines_that_are_one_in_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is decided in float32 goes wrong here: some cosines on either side of the threshold are
    nearer to it than a unit in the last place."""
    for name, value in (("ROWS", 100), ("COLUMNS", 70), ("_PAIRS_AT_ONCE", 999)):
        monkeypatch.setattr(cosine, name, value)
    vectors = unit(np.random.default_rng(3).normal(size=(400, 24)) + 3)
    found = vectors.astype(np.float64)
    lengths = np.linalg.norm(found, axis=1)
    cosines = (found @ found.T) / np.outer(lengths, lengths)
    rows, columns = np.triu_indices(len(found), 1)
    values = np.sort(cosines[rows, columns])
    gaps = np.diff(values)
    close = np.flatnonzero((gaps > 1e-10) & (gaps < 2e-9) & (values[:-1] > 0.85))
    assert len(close) >= 10
    wrong_in_float32 = 0
    for place in close[:10].tolist():
        at_least = float((values[place] + values[place + 1]) / 2)
        is_pair = cosines[rows, columns] >= at_least
        expected = set(zip(rows[is_pair].tolist(), columns[is_pair].tolist(), strict=True))
        assert {(p.first, p.second) for p in pairs(vectors, at_least)} == expected
        in_float32 = (vectors @ vectors.T)[rows, columns] >= np.float32(at_least)
        wrong_in_float32 += int((in_float32 != is_pair).any())
    assert wrong_in_float32 > 0


def test_memory_is_that_of_some_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """All products of 6,000 vectors are 144 MB; none of these is alike."""
    monkeypatch.setattr(cosine, "ROWS", 512)
    monkeypatch.setattr(cosine, "COLUMNS", 1024)
    angles = np.linspace(0, math.pi / 2, 6000)
    vectors = unit(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    tracemalloc.start()
    try:
        assert list(pairs(vectors, 0.9999999999)) == []
        assert repeats(vectors, 0.9999999999) == (None,) * 6000
        _, cosines = nearest(vectors[:3000], vectors[3000:])
        assert cosines.max() < 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40e6
