from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.records.money import Money
from tunesmith.records.rivals import Estimate, Piloted, Spent, clear_best, front


def tried(name: str, loss: float, cost: int, half: float = 0.1) -> Piloted:
    spent = Spent(wall_s=1.0, cost=Money(amount=Decimal(cost), currency="EUR"))
    estimate = Estimate(mean=loss, low=loss - half, high=loss + half)
    return Piloted(
        recipe=name,
        changes={},
        leave_out=(),
        num_trainable=1,
        num_steps=1,
        loss=estimate,
        metric=estimate,
        spent=spent,
        whole=spent,
    )


def test_the_front_is_what_nothing_beats() -> None:
    recipes = [tried("a", 1, 9), tried("b", 2, 2), tried("c", 3, 3), tried("d", 2, 2)]

    assert front(recipes) == ("b", "d", "a")


@given(points=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1))
def test_what_is_not_on_the_front_is_beaten_by_what_is(points: list[tuple[int, int]]) -> None:
    recipes = [tried(str(n), loss, cost) for n, (loss, cost) in enumerate(points)]
    kept = {int(name) for name in front(recipes)}

    assert kept
    for n, (loss, cost) in enumerate(points):
        better = any(
            points[k][0] <= loss and points[k][1] <= cost and points[k] != (loss, cost)
            for k in kept
        )
        assert better == (n not in kept)


@pytest.mark.parametrize(("half", "best"), [(0.1, "a"), (0.6, "")])
def test_no_winner_is_named_where_intervals_overlap(half: float, best: str) -> None:
    assert clear_best([tried("b", 2, 1, half), tried("a", 1, 2, half)]) == best
