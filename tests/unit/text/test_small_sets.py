"""Small sets that are alike, against looking at every pair."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.text import small_sets
from tunesmith.text.dedup import Thresholds, duplicates, shingles, similarity
from tunesmith.text.small_sets import FEW, alike

SETS = st.lists(st.sets(st.integers(0, 12), min_size=1, max_size=11), max_size=12)


@given(SETS, st.floats(0.1, 1.0) | st.sampled_from([0.25, 0.5, 0.7, 0.75, 0.8, 1.0]))
def test_no_pair_is_missed(sets: list[set[int]], threshold: float) -> None:
    texts = np.array([n for n, each in enumerate(sets) for _ in each], dtype=np.int64)
    words = np.array([word for each in sets for word in sorted(each)], dtype=np.uint64)
    found = [tuple(pair) for pair in alike(texts, words, threshold).tolist()]
    assert found == sorted(set(found))
    expected = {
        (i, j)
        for i, j in itertools.combinations(range(len(sets)), 2)
        if min(len(sets[i]), len(sets[j])) <= FEW
        and len(sets[i] & sets[j]) >= threshold * len(sets[i] | sets[j])
    }
    assert expected <= set(found)
    for i, j in found:
        assert i < j
        assert sets[i] & sets[j]


def terms(num: int, seed: int = 0) -> list[str]:
    """Terms of two to twelve words, as in a classification: most share words with many others."""
    draw = random.Random(seed)
    parts = [f"part{n}" for n in range(30)]
    kinds = [f"kind{n}" for n in range(12)]
    rest = ["left", "right", "initial", "encounter", "subsequent", "of", "unspecified"]
    found = [
        " ".join(
            [draw.choice(kinds), draw.choice(parts), *draw.sample(rest, draw.randint(0, 6)),
             *(f"x{draw.randrange(40)}" for _ in range(draw.choice([0, 0, 0, 1, 4])))]
        )
        for _ in range(num)
    ]  # fmt: skip
    for place in range(0, num, 10):  # and some again, in another order
        words = found[place].split()
        found[(place + 7) % num] = " ".join(draw.sample(words, len(words)))
    return found


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.95, 1.0])
def test_duplicates_of_many_short_terms_are_those_of_brute_force(threshold: float) -> None:
    texts = terms(500)
    cut = [shingles(text) for text in texts]
    sizes = {len(each.words) for each in cut}
    assert {2, FEW, FEW + 1} <= sizes  # on either side of what is small
    expected = [
        (i, j, value)
        for i, j in itertools.combinations(range(len(texts)), 2)
        if (value := similarity(cut[i], cut[j])) >= threshold
    ]
    assert len(expected) > 20
    found = duplicates(texts, Thresholds(words=threshold, runs=0.5))
    assert [(p.first, p.second, p.jaccard) for p in found] == expected


def test_what_is_proposed_is_little_more_than_what_is_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """MinHash proposes nearly every two terms that share half of their words."""
    monkeypatch.setattr(small_sets, "_PAIRS_AT_ONCE", 1000)
    texts = [text for text in dict.fromkeys(terms(3000)) if len(set(text.split())) <= FEW]
    words = sorted({word for text in texts for word in text.split()})
    numbers = {word: n for n, word in enumerate(words)}
    sets = [sorted({numbers[word] for word in text.split()}) for text in texts]
    at = np.array([n for n, each in enumerate(sets) for _ in each], dtype=np.int64)
    members = np.array([word for each in sets for word in each], dtype=np.uint64)
    found = alike(at, members, 0.7)
    pairs = duplicates(texts, Thresholds(words=0.7, runs=0.5))
    assert {(p.first, p.second) for p in pairs} <= {tuple(pair) for pair in found.tolist()}
    assert len(pairs) < len(found) < 0.02 * len(texts) ** 2 / 2
