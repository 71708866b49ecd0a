from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tunesmith.cli.search import search_lines
from tunesmith.records.money import Money
from tunesmith.records.rivals import Estimate, Spent
from tunesmith.records.search import Reached, Rung, Search, Trial

SPENT = Spent(wall_s=90.0, cost=Money(amount=Decimal("0.0123"), currency="EUR"))


def trial(number: int, num_rungs: int, leave_out: tuple[str, ...] = (), **settings: Any) -> Trial:
    loss = Estimate(mean=0.5, low=0.4, high=0.6)
    reached = Reached(loss=loss, metric=loss, num_steps=6, spent=SPENT)
    settings = {"method": "lora", "learning_rate": 0.001, "epochs": 2, "batch_rows": 8} | settings
    return Trial(
        number=number,
        recipe=f"desk~search-{number}",
        settings=settings,
        changes={} if number == 1 else settings,
        leave_out=leave_out,
        reached=(reached,) * num_rungs,
        whole=SPENT if num_rungs else None,
        fault="" if num_rungs else "loss is nan at step 3",
    )


SEARCH = Search(
    model="desk",
    metric="accuracy",
    confidence=0.95,
    num_wanted=4,
    ended="all tried",
    rungs=(
        Rung(share_of_rows=0.05, num_trained_rows=24, num_asked_rows=128),
        Rung(share_of_rows=0.15, num_trained_rows=72, num_asked_rows=120),
    ),
    trials=(
        trial(3, 2, method="head", leave_out=("rank",)),
        trial(1, 1, layers=0, rank=16),
        trial(2, 1, layers=10, rank=4),
        trial(4, 0, layers=10, rank=8),
    ),
    spent=SPENT,
    front=(2,),
    leader=3,
    level=(1, 2),
)


def text(search: Search) -> str:
    return " ".join(" ".join(search_lines(search)).split())


def test_a_search_says_what_was_tried_and_how_to_choose() -> None:
    lines = search_lines(SEARCH)
    rows = {line.split()[0]: line.split() for line in lines if line.startswith("   ")}

    assert "4 recipes were tried on 24 training rows (5.0 %), the best third of them on 72" in text(
        SEARCH
    )
    assert "no test row was used" in text(SEARCH)
    assert rows["3"][:8] == ["3", "head", "-", "-", "0.001", "2", "8", "72"]
    assert rows["1"][:8] == ["1", "lora", "all", "16", "0.001", "2", "8", "24"]
    assert "failed" in rows["4"]
    assert "trial 4: loss is nan at step 3" in lines
    assert [line.split()[:2] for line in lines if line.startswith("*  ")] == [["*", "2"]]
    assert lines[-2:] == [
        "  3: --set model.desk.method=head --set model.desk.learning_rate=0.001 "
        "--set model.desk.epochs=2 --set model.desk.batch_rows=8, "
        "with rank taken out of [model.desk]",
        "  2: --set model.desk.method=lora --set model.desk.learning_rate=0.001 "
        "--set model.desk.epochs=2 --set model.desk.batch_rows=8 --set model.desk.layers=10 "
        "--set model.desk.rank=4",
    ]


@pytest.mark.parametrize(
    ("level", "said"),
    [
        ((), "lower than that of every other recipe, beyond the intervals"),
        ((2,), "not shown to be the best: its interval does not lie below that of trial 2."),
        ((1, 2), "does not lie below that of trials 1, 2."),
    ],
)
def test_the_best_is_named_as_far_as_it_is_shown(level: tuple[int, ...], said: str) -> None:
    assert "Trial 3 has the lowest loss on the most rows, 0.500 (0.400 to 0.600)" in text(SEARCH)
    assert said in text(replace(SEARCH, level=level))


def test_one_trial_is_not_called_the_best() -> None:
    alone = replace(SEARCH, trials=SEARCH.trials[1:2], front=(1,), leader=1, level=())
    assert "it is the only one" in text(alone)
    assert "1: nothing to set: it is the model's recipe" in text(alone)


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        ("all tried", "for more trials goes on from here"),
        ("budget", "than ledger.budget_per_run. Raise that"),
        ("interrupted", "It was interrupted before 4 trials were done"),
    ],
)
def test_it_says_why_it_ended(ended: Any, said: str) -> None:
    assert said in text(replace(SEARCH, ended=ended))
