"""The split: no component on two sides, caps respected, both sides of every label filled."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.core.errors import DataError
from tunesmith.stages.curate.rows import Row
from tunesmith.stages.curate.split import Sides, caps_of_all, caps_per_label, split


def rows(*components: str) -> list[Row]:
    """One row for every letter: a component is a string of labels."""
    return [
        Row(
            row_id=f"{c:03}{i:03}",
            asset="a",
            pointer="",
            text="",
            label=label,
            component=f"{c:03}000",
        )
        for c, labels in enumerate(components)
        for i, label in enumerate(labels)
    ]


def counts(side: tuple[Row, ...]) -> Counter[str]:
    return Counter(row.label for row in side)


def cut(given_rows: list[Row], *, seed: int = 1, train: int = 4, test: int = 2) -> Sides:
    totals = Counter(row.label for row in given_rows)
    return split(given_rows, seed=seed, caps=caps_per_label(totals, train, test))


def test_caps_are_reached_where_there_are_rows_enough() -> None:
    sides = cut(rows(*"abababababababababab"))
    assert counts(sides.train) == {"a": 4, "b": 4}
    assert counts(sides.test) == {"a": 2, "b": 2}
    assert len(sides.surplus) == 8


def test_few_rows_are_shared_out_in_the_ratio_of_the_caps() -> None:
    sides = cut(rows(*"aaaaaa", *"bbb", *"cc"), train=40, test=20)
    assert counts(sides.train) == {"a": 4, "b": 2, "c": 1}
    assert counts(sides.test) == {"a": 2, "b": 1, "c": 1}
    assert sides.surplus == ()


def test_a_large_component_stays_on_the_train_side() -> None:
    sides = cut(rows("a" * 50, *"aaaa", *"bbbbbb"), train=40, test=4)
    assert {row.component for row in sides.test if row.label == "a"} <= {
        f"{c:03}000" for c in range(1, 5)
    }
    assert counts(sides.test) == {"a": 4, "b": 1}


@pytest.mark.parametrize("seed", range(40))
def test_a_component_that_fits_one_of_its_labels_only_is_not_tested_on(seed: int) -> None:
    sides = cut(rows("a" * 50 + "b", *"aaaa", *"bbbbbb"), seed=seed, train=40, test=4)
    assert "000000" not in {row.component for row in sides.test}


def test_a_large_component_is_tested_on_if_nothing_smaller_is_there() -> None:
    sides = cut(rows("aaaaaa", "aaaaaaaa", *"bbb"), train=4, test=2)
    assert counts(sides.test)["a"] == 2
    assert {row.component for row in sides.test if row.label == "a"} == {"000000"}
    assert counts(sides.train)["a"] == 4


@pytest.mark.parametrize("components", [["aaaa", "b", "b"], ["a", "b", "b"], ["ab", "ab", "c"]])
def test_a_label_that_cannot_be_on_both_sides_is_named(components: list[str]) -> None:
    with pytest.raises(DataError, match=r"label '[ac]' cannot be on both sides"):
        cut(rows(*components))


def test_rows_that_are_added_change_no_other_draw() -> None:
    many = rows(*"ab" * 40)
    fewer = many[:60]
    before = {row.row_id for row in cut(fewer).test}
    after = {row.row_id for row in cut(many).test}
    ids = {row.row_id for row in fewer}
    assert after & ids <= before


COMPONENTS = st.lists(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=30)


@given(COMPONENTS, st.integers(0, 5), st.integers(1, 6), st.integers(1, 4))
def test_laws(components: list[str], seed: int, train: int, test: int) -> None:
    given_rows = rows(*components)
    try:
        sides = cut(given_rows, seed=seed, train=train, test=test)
    except DataError:
        return
    everything = [*sides.train, *sides.test, *sides.surplus]
    assert sorted(row.row_id for row in everything) == [row.row_id for row in given_rows]
    assert not {row.component for row in sides.train} & {row.component for row in sides.test}
    labels = {row.label for row in given_rows}
    assert set(counts(sides.train)) == set(counts(sides.test)) == labels
    assert max(counts(sides.train).values()) <= train
    assert max(counts(sides.test).values()) <= test
    assert cut(list(reversed(given_rows)), seed=seed, train=train, test=test) == sides


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(2, 50), min_size=1),
    st.integers(0, 60),
    st.integers(0, 60),
    st.floats(0.01, 0.99),
)
def test_rows_that_are_counted_together_are_shared_out_in_proportion(
    totals: dict[str, int], train_rows: int, test_rows: int, test_share: float
) -> None:
    """As many as asked for in all, and of each label within one row of its part."""
    caps = caps_of_all(totals, train_rows=train_rows, test_rows=test_rows, test_share=test_share)
    whole = sum(totals.values())
    test = min(test_rows, whole // 2) if test_rows else round(test_share * whole)
    for parts, asked in ((caps.train, min(train_rows or whole, whole)), (caps.test, test)):
        for label, part in parts.items():
            assert part == 1 or abs(part - asked * totals[label] / whole) < 1
        if min(parts.values()) > 1:
            assert sum(parts.values()) == asked
