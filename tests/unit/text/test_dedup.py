"""Near duplicates against looking at every pair, and the laws that keep clusters honest."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.text.dedup import (
    MAX_MISS,
    NUM_PERMUTATIONS,
    Pair,
    components,
    duplicate_of,
    duplicates,
    exact_key,
    jaccard,
    most_similar,
    num_bands,
    shingles,
)

WORDS = [f"w{i}" for i in range(50)]


def corpus(num_families: int = 60, size: int = 6) -> list[str]:
    """Families of texts, each an ever more edited copy of its first."""
    draw = random.Random(7)
    texts = []
    for _ in range(num_families):
        words = draw.choices(WORDS, k=draw.randint(3, 60))
        for _ in range(size):
            texts.append(" ".join(words))
            words = [draw.choice(WORDS) if draw.random() < 0.03 else word for word in words]
    draw.shuffle(texts)
    return texts


def all_pairs(texts: list[str], threshold: float) -> tuple[Pair, ...]:
    sets = [shingles(text) for text in texts]
    return tuple(
        Pair(first=i, second=j, jaccard=jaccard(sets[i], sets[j]))
        for i, j in itertools.combinations(range(len(texts)), 2)
        if jaccard(sets[i], sets[j]) >= threshold
    )


@pytest.mark.parametrize("threshold", [0.3, 0.4, 0.6, 0.8, 1.0])
def test_pairs_are_those_of_brute_force(threshold: float) -> None:
    texts = corpus()
    expected = all_pairs(texts, threshold)
    assert len(expected) > 30
    assert duplicates(texts, threshold).pairs == expected


def test_texts_that_share_boilerplate_are_not_joined() -> None:
    """Closing over shared bands, without verifying, makes one cluster of these."""
    draw = random.Random(3)
    boilerplate = " ".join(WORDS[:24])
    texts = [
        boilerplate + " " + " ".join(f"x{draw.randrange(10**9)}" for _ in range(36))
        for _ in range(200)
    ]
    similar = jaccard(shingles(texts[0]), shingles(texts[1]))
    assert 0.2 < similar < 0.3
    found = duplicates(texts, 0.3)
    assert found.pairs == ()
    assert found.components == tuple(range(200))


def test_the_example_by_hand() -> None:
    one = "this file is licensed under the mit licence"  # 4 shingles
    two = "this file is licensed under the mit"  # 3 of them
    assert len(shingles(one)) == 4
    assert jaccard(shingles(one), shingles(two)) == 3 / 4
    assert shingles("MIT") == {"mit"}
    assert shingles("--- !!!") == frozenset()
    assert duplicates(["---", "!!!", ""], 0.5).pairs == ()


def test_a_process_with_another_hash_seed_finds_the_same() -> None:
    code = (
        "import random; from tunesmith.text.dedup import _candidates, shingles;"
        "draw = random.Random(1);"
        "texts = [' '.join(draw.choices('abcd', k=9)) for _ in range(80)];"
        "print(list(_candidates([shingles(t) for t in texts], 0.4)))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.1, float("nan")])
def test_a_threshold_that_means_nothing_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        duplicates(["a"], threshold)


@given(st.floats(0.2, 1.0))
def test_bands_keep_the_promised_recall(threshold: float) -> None:
    bands = num_bands(threshold)
    rows = NUM_PERMUTATIONS // bands
    assert bands * rows == NUM_PERMUTATIONS
    assert (1 - threshold**rows) ** bands <= MAX_MISS


EDGES = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=40)


@given(EDGES)
def test_components_partition_the_rows_along_edges(edges: list[tuple[int, int]]) -> None:
    found = components(20, edges)
    reached = [{row} for row in range(20)]
    for _ in range(20):
        for one, two in edges:
            reached[one] |= reached[two]
            reached[two] |= reached[one]
    assert found == tuple(min(group) for group in reached)


@given(EDGES)
def test_rows_go_only_for_a_kept_row(edges: list[tuple[int, int]]) -> None:
    unique = sorted({(min(e), max(e)) for e in edges if e[0] != e[1]})
    pairs = [Pair(first=i, second=j, jaccard=1 / (1 + j - i)) for i, j in unique]
    goes = duplicate_of(20, pairs)
    for pair in pairs:
        assert goes[pair.first] is not None or goes[pair.second] is not None
    for row, pair in enumerate(goes):
        if pair is not None:
            assert pair in pairs
            assert pair.second == row
            assert goes[pair.first] is None


TEXTS = st.lists(st.text("ab ", max_size=30), max_size=6)


@given(TEXTS, TEXTS)
def test_most_similar_is_the_maximum_over_all_pairs(left: list[str], right: list[str]) -> None:
    values = [jaccard(shingles(a), shingles(b)) for a in left for b in right]
    found = most_similar(left, right)
    assert (found.jaccard if found else 0.0) == max(values, default=0.0)
    if found:
        assert jaccard(shingles(left[found.first]), shingles(right[found.second])) == found.jaccard


def test_exact_keys_ignore_case_and_wrapping() -> None:
    assert exact_key("The MIT\nlicence") == exact_key("the  mit licence")
    assert exact_key("the mit licence.") != exact_key("the mit licence")
