"""Each filter: what stays, what goes and why, and that every row does one of both."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tunesmith.stages.curate import filters
from tunesmith.stages.curate.rows import Row
from tunesmith.text.dedup import Thresholds


def rows(*pairs: tuple[str, str]) -> list[Row]:
    return [
        Row(row_id=f"{i:032x}", asset="a", pointer=f"p{i}", text=text, label=label)
        for i, (text, label) in enumerate(pairs)
    ]


def summary(filtered: filters.Filtered) -> tuple[list[str], list[tuple[str, str, str]]]:
    kept, dropped = filtered
    return [row.pointer for row in kept], [(d.pointer, d.reason, d.detail) for d in dropped]


def test_expressions_go_unless_they_are_listed() -> None:
    given_rows = rows(
        ("t", "mit"),
        ("t", "mit OR gpl"),
        ("t", "gpl WITH x"),
        ("t", "terms and more"),
        ("t", "ORB"),
    )
    kept, dropped = summary(filters.by_label(given_rows, ()))
    assert kept == ["p0", "p3", "p4"]
    assert dropped == [
        ("p1", "compound label", "mit OR gpl"),
        ("p2", "compound label", "gpl WITH x"),
    ]
    kept, dropped = summary(filters.by_label(given_rows, ("mit OR gpl",)))
    assert kept == ["p1"]
    assert {reason for _, reason, _ in dropped} == {"label not listed"}


def test_bounds_of_length_are_inclusive() -> None:
    counted: list[str] = []

    def count(row: Row) -> int:
        counted.append(row.pointer)
        return len(row.text.split())

    given_rows = rows(("abcd", "x"), ("abcde", "x"), ("a b c", "x"), ("a b c d", "x"))
    filtered = filters.by_length(
        given_rows, count, min_chars=5, max_tokens=3, progress=lambda _d, _t: None
    )
    assert summary(filtered) == (
        ["p1", "p2"],
        [("p0", "too short", "4 characters"), ("p3", "too long", "4 tokens")],
    )
    assert [row.num_tokens for row in filtered[0]] == [1, 3]
    assert counted == ["p1", "p2", "p3"]


def test_equal_texts_with_two_labels_all_go() -> None:
    given_rows = rows(
        ("The same\ntext", "mit"),
        ("other", "mit"),
        ("the same text", "gpl"),
        ("Other", "mit"),
        ("dual", "mit"),
        ("Dual", "mit OR gpl"),
    )
    assert summary(filters.conflicts(given_rows)) == (
        ["p1", "p3"],
        [
            ("p0", "conflicting labels", "gpl, mit"),
            ("p2", "conflicting labels", "gpl, mit"),
            ("p4", "conflicting labels", "mit, mit OR gpl"),
            ("p5", "conflicting labels", "mit, mit OR gpl"),
        ],
    )
    assert summary(filters.exact_duplicates(filters.conflicts(given_rows)[0])) == (
        ["p1"],
        [("p3", "exact duplicate", f"{1:032x}")],
    )


AT = Thresholds(words=0.8, runs=0.7)


def test_a_chain_keeps_its_two_ends() -> None:
    words = [f"w{i}" for i in range(28)]
    given_rows = rows(*((" ".join(words[i : i + 24]), "a") for i in (0, 2, 4)))
    # Neighbours share 18 of 22 shingles, the ends 16 of 24.
    assert summary(filters.near_duplicates(given_rows, AT, lambda _d, _t: None)) == (
        ["p0", "p2"],
        [("p1", "near duplicate", f"{0:032x}")],
    )


def test_near_duplicates_with_different_labels_stay() -> None:
    given_rows = rows(
        ("licensed under the gpl version two", "gpl-2.0"),
        ("licensed under the gpl version two or later", "gpl-2.0-plus"),
        ("is licensed under the gpl version two", "gpl-2.0"),
        ("licensed under the gpl version two plus", "gpl-2.0-plus"),
    )
    # All four are alike, with at least 6 of 8 words; p0 and p3, 6 of 7.
    assert summary(filters.near_duplicates(given_rows, AT, lambda _d, _t: None)) == (
        ["p0", "p1", "p3"],
        [("p2", "near duplicate", f"{0:032x}")],
    )


def test_ties_between_labels_are_broken_by_name() -> None:
    given_rows = rows(("1", "c"), ("2", "b"), ("3", "a"), ("4", "c"))
    counts = Counter(row.label for row in given_rows)
    assert filters.commonest_labels(counts, 2) == ("c", "a")
    assert filters.commonest_labels(counts, 9) == ("c", "a", "b")
    assert summary(filters.rare_labels(given_rows, {"c"})) == (
        ["p0", "p3"],
        [
            ("p1", "label not among the commonest", "b"),
            ("p2", "label not among the commonest", "a"),
        ],
    )


PAIRS = st.lists(
    st.tuples(st.text("aB c\n", max_size=12), st.sampled_from(["x", "y", "x OR y"])), max_size=12
)


@given(PAIRS)
def test_every_row_stays_or_goes(pairs: list[tuple[str, str]]) -> None:
    given_rows = rows(*pairs)
    for kept, dropped in (
        filters.by_label(given_rows, ()),
        filters.exact_duplicates(given_rows),
        filters.conflicts(given_rows),
        filters.near_duplicates(given_rows, AT, lambda _d, _t: None),
        filters.rare_labels(given_rows, {"x"}),
    ):
        ids = [row.row_id for row in kept] + [row.row_id for row in dropped]
        assert sorted(ids) == [row.row_id for row in given_rows]


def test_languages_that_are_not_listed_go_with_what_they_are() -> None:
    given_rows = rows(
        ("All human beings are born free and equal in dignity and rights.", "x"),
        ("Alle Menschen sind frei und gleich an Würde und Rechten geboren.", "x"),
        ("MIT", "x"),
    )

    def kept(*languages: str) -> list[str]:
        stay, go = summary(filters.by_language(given_rows, languages, lambda _d, _t: None))
        assert len(stay) + len(go) == 3
        assert {reason for _, reason, _ in go} <= {"language not listed"}
        return [*stay, *(detail.split(" ")[0] for _, _, detail in go)]

    assert kept() == ["p0", "p1", "p2"]
    assert kept("en") == ["p0", "de", "und"]
    assert kept("de", "en") == ["p0", "p1", "und"]
    assert kept("de", "und") == ["p1", "p2", "en"]
