from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tunesmith.records.money import Money
from tunesmith.records.rivals import Estimate, Spent
from tunesmith.records.search import Reached, Trial, front, level_with, ranked


def tried(
    number: int, losses: list[float], cost: int = 1, half: float = 0.1, recipe: int | None = None
) -> Trial:
    spent = Spent(wall_s=1.0, cost=Money(amount=Decimal(cost), currency="EUR"))
    estimates = [Estimate(mean=loss, low=loss - half, high=loss + half) for loss in losses]
    settings = {"rank": number if recipe is None else recipe}
    return Trial(
        number=number,
        recipe=f"r{number}",
        settings=settings,
        changes=settings,
        leave_out=(),
        reached=tuple(
            Reached(loss=each, metric=each, num_steps=1, spent=spent) for each in estimates
        ),
        whole=spent if losses else None,
        fault="" if losses else "its loss is nan",
    )


def test_the_rank_is_by_rung_and_then_by_loss() -> None:
    trials = [tried(1, [0.1]), tried(2, []), tried(3, [0.9, 0.8]), tried(4, [0.8, 0.7])]

    assert [trial.number for trial in ranked(trials)] == [4, 3, 1, 2]


def test_the_front_compares_on_the_rows_that_both_were_tuned_on() -> None:
    """Trial 1 is not beaten by trial 2's lower loss, which more rows alone made low."""
    assert front([tried(1, [0.5], cost=2), tried(2, [0.6, 0.3], cost=1)]) == (2, 1)
    assert front([tried(1, [0.7], cost=2), tried(2, [0.6, 0.3], cost=1)]) == (2,)
    assert front([tried(1, [0.7], cost=1), tried(2, [0.6, 0.3], cost=2)]) == (1, 2)
    assert front([tried(1, []), tried(2, [0.6], cost=2)]) == (2,)


@given(points=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1))
def test_what_is_not_on_the_front_is_beaten_by_what_is(points: list[tuple[int, int]]) -> None:
    kept = set(front([tried(n, [loss], cost) for n, (loss, cost) in enumerate(points)]))

    assert kept
    for n, (loss, cost) in enumerate(points):
        better = any(
            points[k][0] <= loss and points[k][1] <= cost and points[k] != (loss, cost)
            for k in kept
        )
        assert better == (n not in kept)


def test_the_leader_is_level_with_those_that_its_interval_overlaps() -> None:
    leader = tried(1, [0.9, 0.5])
    others = [
        tried(2, [0.6, 0.6]),  # overlaps on the second rung
        tried(3, [0.9, 0.8]),  # overlaps on the first, where it does not count
        tried(4, [1.05]),  # overlaps on the first, the only one it reached
        tried(5, [1.2]),
        tried(6, []),
        tried(7, [0.9, 0.5], recipe=1),  # the same recipe again
    ]

    assert level_with(leader, [leader, *others]) == (2, 4)
    assert level_with(leader, [leader, others[1], others[3]]) == ()
