from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.core.canonical import draw
from tunesmith.lm.example import Example
from tunesmith.rivals import DIALS, RATES, to_set
from tunesmith.search.order import explore
from tunesmith.search.space import SPAN, shares_of, space_of
from tunesmith.stages.finetune.batches import share_of
from tunesmith.stages.finetune.config import ModelConfig

NUM_LAYERS = 30
OWN: list[dict[str, Any]] = [
    {},
    {"method": "dora", "rank": 1, "layers": 7, "alpha": 4.0, "epochs": 1},
    {"method": "full", "layers": 10, "learning_rate": 0.5, "batch_rows": 1},
    {"method": "full", "start": "random", "epochs": 3},
    {"method": "head", "share_of_rows": 0.01},
    {"rank": 1024, "stop_after": 9, "objective": "distil", "teacher": "base:b"},
]


def recipe(**changes: Any) -> ModelConfig:
    return ModelConfig(name="desk", base="b", dataset="d", **changes)


def proposals(own: ModelConfig, seed: int, num_trials: int = 9) -> list[dict[str, Any]]:
    """What is proposed where losses are chance."""
    found = []

    def attempt(trial: int, given: Any, rung: int) -> float:
        if rung == 0:
            found.append(dict(given))
        return draw(f"{seed}/{trial}/{rung}")[0] / 256

    explore(space_of(own, NUM_LAYERS), 2, num_trials, seed, attempt)
    return found


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), own=st.sampled_from(OWN))
def test_nothing_is_proposed_that_is_refused_or_not_read(seed: int, own: dict[str, Any]) -> None:
    mine = recipe(**own)
    for proposed in proposals(mine, seed):
        made = mine.changed(**proposed)  # else pydantic.ValidationError
        plain = made.model_dump()
        assert {dial for dial in DIALS if dial in plain} == set(proposed)
        assert {key: plain[key] for key in proposed} == proposed
        assert made.start == mine.start
        assert made.epochs <= mine.epochs
        common = mine.learning_rate if made.method == mine.method else RATES[made.method]
        assert 0.9 / SPAN < made.learning_rate / common < 1.1 * SPAN

        # What `--set` would make of the project file is the recipe.
        changes, leave_out = to_set(mine, made)
        written = mine.model_dump(include=mine.model_fields_set)
        kept = {key: value for key, value in written.items() if key not in leave_out}
        assert ModelConfig.model_validate(kept | changes) == made


@pytest.mark.parametrize("own", OWN)
def test_the_first_proposal_is_the_models_own_recipe(own: dict[str, Any]) -> None:
    mine = recipe(**own)
    assert mine.changed(**proposals(mine, 0, 1)[0]) == mine


def test_every_method_and_every_value_can_be_proposed() -> None:
    space = space_of(recipe(rank=8, epochs=3), NUM_LAYERS)

    assert space.methods == ("lora", "dora", "head", "full")
    assert space.choices == {
        "layers": (10, 20, 0),
        "rank": (2, 4, 8, 16, 32),
        "epochs": (1, 2, 3),
        "batch_rows": (4, 8, 16),
    }
    found = [each for seed in range(9) for each in proposals(recipe(rank=8, epochs=3), seed)]
    assert {each["method"] for each in found} == set(space.methods)
    for dial, choices in space.choices.items():
        assert {each[dial] for each in found if dial in each} == set(choices)


def test_random_weights_stay_random_and_whole() -> None:
    space = space_of(recipe(method="full", start="random"), NUM_LAYERS)

    assert space.methods == ("full",)
    assert space.choices["layers"] == (0,)


@pytest.mark.parametrize(
    ("own", "num_rows", "shares"),
    [
        ({}, 1000, (0.05, 0.15, 0.45)),
        ({"share_of_rows": 0.2}, 1000, (0.05, 0.15)),
        ({"share_of_rows": 0.01}, 1000, (0.01,)),
        ({"batch_rows": 2}, 32, (0.125, 0.375)),
        ({}, 20, (0.5,)),
    ],
)
def test_rungs_take_three_times_the_rows_and_leave_half_to_ask(
    own: dict[str, Any], num_rows: int, shares: tuple[float, ...]
) -> None:
    assert shares_of(recipe(**own), num_rows) == pytest.approx(shares)


@given(seed=st.integers(0, 99), num_rows=st.integers(24, 200))
def test_the_rows_of_a_rung_are_among_those_of_the_next(seed: int, num_rows: int) -> None:
    rows = [Example(row_id=str(number)) for number in range(num_rows)]
    rungs = [
        {row.row_id for row in share_of(rows, share, seed)}
        for share in shares_of(recipe(batch_rows=2), num_rows)
    ]

    assert len(rungs) > 1
    for lower, higher in pairwise(rungs):
        assert lower < higher
        assert len(higher) == pytest.approx(3 * len(lower), abs=2)
