from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.optimiser import learning_rate


def rates(num_steps: int, **settings: object) -> list[float]:
    config = ModelConfig(base="b", dataset="d", learning_rate=0.5, **settings)  # type: ignore[arg-type]
    return [learning_rate(config, step, num_steps) for step in range(1, num_steps + 1)]


@given(
    num_steps=st.integers(1, 200),
    warmup=st.floats(0, 0.99),
    schedule=st.sampled_from(["linear", "cosine", "constant"]),
)
def test_the_rate_rises_then_falls_and_every_step_counts(
    num_steps: int, warmup: float, schedule: str
) -> None:
    found = rates(num_steps, warmup=warmup, schedule=schedule)
    top = found.index(max(found))

    assert all(0 < rate <= 0.5 for rate in found)
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)


def test_no_warm_up_means_none() -> None:
    assert rates(4, warmup=0.0) == pytest.approx([0.5, 0.375, 0.25, 0.125])
    assert rates(3, warmup=0.0, schedule="constant") == [0.5, 0.5, 0.5]


def test_half_way_down_a_cosine() -> None:
    assert rates(4, warmup=0.0, schedule="cosine")[2] == pytest.approx(0.25)
