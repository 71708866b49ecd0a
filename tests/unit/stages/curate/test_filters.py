"""Each filter: what stays, what goes and why, and that every row does one of both."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tunesmith.stages.curate import filters
from tunesmith.stages.curate.rows import Row


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
        ("The same\ntext", "mit"), ("other", "mit"), ("the same text", "gpl"), ("Other", "mit")
    )
    assert summary(filters.exact_duplicates(given_rows)) == (
        ["p1"],
        [
            ("p0", "conflicting labels", "gpl, mit"),
            ("p2", "conflicting labels", "gpl, mit"),
            ("p3", "exact duplicate", f"{1:032x}"),
        ],
    )


def test_a_chain_keeps_its_two_ends() -> None:
    words = [f"w{i}" for i in range(24)]
    given_rows = rows(
        (" ".join(words[0:20]), "a"), (" ".join(words[2:22]), "b"), (" ".join(words[4:24]), "a")
    )
    # Neighbours share 14 of 18 shingles, the ends 12 of 20.
    assert summary(filters.near_duplicates(given_rows, 0.7, lambda _d, _t: None)) == (
        ["p0", "p2"],
        [("p1", "near duplicate", f"{0:032x}")],
    )


def test_ties_between_labels_are_broken_by_name() -> None:
    given_rows = rows(("1", "c"), ("2", "b"), ("3", "a"), ("4", "c"))
    assert filters.commonest_labels(given_rows, 2) == ("c", "a")
    assert filters.commonest_labels(given_rows, 9) == ("c", "a", "b")
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
        filters.near_duplicates(given_rows, 0.5, lambda _d, _t: None),
        filters.rare_labels(given_rows, {"x"}),
    ):
        ids = [row.row_id for row in kept] + [row.row_id for row in dropped]
        assert sorted(ids) == [row.row_id for row in given_rows]
