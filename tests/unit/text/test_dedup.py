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
    Pair,
    Thresholds,
    components,
    duplicate_of,
    duplicates,
    exact_key,
    most_similar,
    resembling,
    shingles,
    similarity,
)
from tunesmith.text.sketch import (
    MAX_MISS,
    NUM_PERMUTATIONS,
    SHORT,
    hashed_words,
    num_bands,
    words_of,
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


def by_hand(one: str, other: str) -> tuple[float, bool]:
    """The rule, written down a second time: the shorter text's words choose the shingles."""
    first, second = one.split(), other.split()
    short = min(len(first), len(second)) < 20
    size = 1 if short else 5
    a, b = (
        {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}
        for words in (first, second)
    )
    return (len(a & b) / len(a | b) if a | b else 0.0), short


def all_pairs(texts: list[str], thresholds: Thresholds) -> tuple[Pair, ...]:
    found = []
    for i, j in itertools.combinations(range(len(texts)), 2):
        value, short = by_hand(texts[i], texts[j])
        if value >= (thresholds.words if short else thresholds.runs):
            found.append(Pair(first=i, second=j, jaccard=value, short=short))
    return tuple(found)


@pytest.mark.parametrize(
    ("words", "runs"), [(0.5, 0.3), (0.7, 0.4), (0.8, 0.6), (0.9, 0.8), (1.0, 1.0)]
)
def test_pairs_are_those_of_brute_force(words: float, runs: float) -> None:
    texts = corpus()
    thresholds = Thresholds(words=words, runs=runs)
    expected = all_pairs(texts, thresholds)
    for short in (True, False):
        assert sum(pair.short is short for pair in expected) > 20
    assert duplicates(texts, thresholds) == expected
    assert all(pair.reaches(thresholds) for pair in expected)


def test_no_pair_is_missed_on_either_side_of_the_limit_of_short() -> None:
    """Texts that differ by few words around the limit, and repeat some, so that sets are small."""
    draw = random.Random(2)
    texts = []
    for _ in range(40):
        start = draw.choices(WORDS, k=SHORT + 8)
        texts += [" ".join(start[: draw.randint(SHORT - 8, SHORT + 8)]) for _ in range(6)]
    thresholds = Thresholds(words=0.7, runs=0.4)
    expected = all_pairs(texts, thresholds)
    lengths = [len(text.split()) for text in texts]
    crossing = [p for p in expected if (lengths[p.first] < SHORT) != (lengths[p.second] < SHORT)]
    assert len(crossing) > 50
    assert duplicates(texts, thresholds) == expected


def test_one_changed_word_does_not_hide_a_short_text() -> None:
    one = "licensed under the terms of the apache licence version two"
    other = one.replace("two", "2")
    found = duplicates([one, other, one + " only", "mit"], Thresholds(words=0.7, runs=0.4))
    assert [(p.first, p.second, p.jaccard) for p in found] == [
        (0, 1, 8 / 10),
        (0, 2, 9 / 10),
        (1, 2, 8 / 11),
    ]


def test_a_text_of_four_words_and_one_of_five_are_compared() -> None:
    assert similarity(shingles("under the mit licence"), shingles("the mit licence")) == 3 / 4
    assert similarity(shingles("a b c d e"), shingles("a b c d")) == 4 / 5


def test_texts_that_share_boilerplate_are_not_joined() -> None:
    """Closing over shared bands, without verifying, makes one cluster of these."""
    draw = random.Random(3)
    boilerplate = " ".join(WORDS[:24])
    texts = [
        boilerplate + " " + " ".join(f"x{draw.randrange(10**9)}" for _ in range(36))
        for _ in range(200)
    ]
    similar = similarity(shingles(texts[0]), shingles(texts[1]))
    assert 0.2 < similar < 0.3
    assert duplicates(texts, Thresholds(words=0.3, runs=0.3)) == ()


def test_the_example_by_hand() -> None:
    words = [f"w{i}" for i in range(21)]
    one, two = shingles(" ".join(words)), shingles(" ".join(words[:20]))
    assert (len(one.runs), len(two.runs)) == (17, 16)
    assert similarity(one, two) == 16 / 17
    short = shingles(" ".join(words[:19]))
    assert not short.runs
    assert similarity(one, short) == 19 / 21
    assert shingles("MIT mit").words == {"mit"}
    assert not shingles("--- !!!").words
    assert duplicates(["---", "!!!", ""], Thresholds(words=0.5, runs=0.5)) == ()


def test_a_process_with_another_hash_seed_finds_the_same() -> None:
    code = (
        "import random; from tunesmith.text.sketch import candidates;"
        "draw = random.Random(1);"
        "texts = [' '.join(draw.choices('abcd', k=k)) for k in (9, 30) for _ in range(80)];"
        "found = candidates(texts, words=0.4, runs=0.4, progress=lambda done, total: None);"
        "print([pairs.tolist() for pairs in found])"
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
    (output,) = outputs
    assert output.count(b"[") > 50


@given(st.lists(st.text(max_size=30) | st.text("aB_ \n日本語.éİß", max_size=30), max_size=6))
def test_words_are_told_apart_by_their_hashes_as_by_their_characters(texts: list[str]) -> None:
    hashes, sizes = hashed_words(texts)
    words = [word for text in texts for word in words_of(text)]
    assert sizes.tolist() == [len(words_of(text)) for text in texts]
    assert len(hashes) == len(words)
    assert len(set(zip(hashes.tolist(), words, strict=True))) == len(set(words))
    assert len(set(hashes.tolist())) == len(set(words))


def test_rows_that_resemble_others() -> None:
    long = [f"x{i}" for i in range(40)]
    left = ["a b c d", "---", " ".join(long), "nothing of the kind"]
    right = ["other words", "A B C d", "---", " ".join([*long[:38], "y", "z"]), " ".join(long)]
    thresholds = Thresholds(words=0.8, runs=0.6)
    found = resembling(left, right, thresholds)
    assert [pair and (pair.first, pair.second, pair.jaccard) for pair in found] == [
        (0, 1, 1.0), (1, 2, 1.0), (2, 4, 1.0), None,
    ]  # fmt: skip
    assert resembling([], right, thresholds) == ()
    assert resembling(left, [], thresholds) == (None,) * 4
    texts = corpus(20)
    expected = [
        max((by_hand(one, other)[0] for other in texts[60:] if reaches(one, other)), default=0.0)
        for one in texts[:60]
    ]
    found = resembling(texts[:60], texts[60:], thresholds)
    assert [pair.jaccard if pair else 0.0 for pair in found] == expected
    assert sum(value > 0 for value in expected) > 10


def reaches(one: str, other: str) -> bool:
    value, short = by_hand(one, other)
    return value >= (0.8 if short else 0.6)


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.1, float("nan")])
def test_a_threshold_that_means_nothing_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        Thresholds(words=threshold, runs=0.5)
    with pytest.raises(ValueError, match="threshold"):
        Thresholds(words=0.5, runs=threshold)


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
    pairs = [Pair(first=i, second=j, jaccard=1 / (1 + j - i), short=False) for i, j in unique]
    goes = duplicate_of(20, pairs)
    for pair in pairs:
        assert goes[pair.first] is not None or goes[pair.second] is not None
    for row, pair in enumerate(goes):
        if pair is not None:
            assert pair in pairs
            assert pair.second == row
            assert goes[pair.first] is None


TEXTS = st.lists(st.lists(st.sampled_from("abcd"), max_size=26).map(" ".join), max_size=6)


@given(TEXTS, TEXTS)
def test_most_similar_is_the_maximum_over_all_pairs(left: list[str], right: list[str]) -> None:
    closest = most_similar(left, right)
    for short, found in ((True, closest.words), (False, closest.runs)):
        values = [by_hand(a, b) for a in left for b in right]
        highest = max((value for value, which in values if which is short), default=0.0)
        assert (found.jaccard if found else 0.0) == highest
        if found:
            assert by_hand(left[found.first], right[found.second]) == (found.jaccard, found.short)


def test_exact_keys_ignore_case_and_wrapping() -> None:
    assert exact_key("The MIT\nlicence") == exact_key("the  mit licence")
    assert exact_key("the mit licence.") != exact_key("the mit licence")
