"""What is said of a run that was made again: a verdict, its figure, and what was changed since."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tunesmith.core import catalog
from tunesmith.core.code_version import code_version, environment
from tunesmith.core.kinds import KINDS
from tunesmith.core.owner import owner
from tunesmith.core.ref import Blob
from tunesmith.registry import reproduce as module
from tunesmith.registry.reproduce import _changed, _compared
from tunesmith.registry.signing import model_of


def steps(*losses: float, row: str = "a") -> list[dict[str, Any]]:
    return [{"loss": loss, "num_tokens": 5, "row_ids": [row]} for loss in losses]


@pytest.mark.parametrize(
    ("now", "verdict", "first", "says"),
    [
        (steps(2.0, 1.5), "bitwise", 0, "2 of 3 steps are the same to the bit"),
        (steps(2.0, 1.5 + 1e-6), "within tolerance", 2, "up to 6.7e-07 of the loss"),
        (steps(2.0 + 1e-3, 1.5), "failed", 1, "from step 1 on"),
        (steps(2.0, 1.5, row="b"), "failed", 0, "other rows"),
        (steps(2.0), "failed", 0, "other rows"),
    ],
)
def test_a_slice_is_compared_step_by_step(
    desk: Any, now: list[dict[str, Any]], verdict: str, first: int, says: str
) -> None:
    model = dataclasses.replace(model_of(desk.project, desk.release()), num_steps=3)
    found = _compared("desk@1", model, model, steps(2.0, 1.5), now)
    assert (found["verdict"], found["first_different"]) == (verdict, first)
    assert says in found["said"]
    assert found["whole"] is False


def test_of_a_whole_run_the_weights_are_compared(desk: Any) -> None:
    model = dataclasses.replace(model_of(desk.project, desk.release()), num_steps=2)
    then = steps(2.0, 1.5)
    assert _compared("desk@1", model, model, then, then)["said"].endswith("so are the weights")
    other = dataclasses.replace(model, adapter=Blob(sha256="0" * 64, num_bytes=1))
    assert _compared("desk@1", model, other, then, then)["verdict"] == "within tolerance"


def test_what_is_another_than_it_was_is_named(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    of = KINDS["finetune@1"]
    identity = {"code": code_version(of), "environment": environment(of)}
    desk.release()
    with desk.project.runner.database.read() as connection:
        run = next(run for run in catalog.all_runs(connection) if run.kind == "finetune@1")
    made = dataclasses.replace(run, identity=identity, owner=owner())
    assert _changed(made) == []
    monkeypatch.setattr(module, "environment", lambda of: {**environment(of), "torch": "9.9"})
    monkeypatch.setattr(module, "code_version", lambda _of: "another")
    said = _changed(dataclasses.replace(made, owner="elsewhere:1:2"))
    assert said[0] == "the step's code changed"
    assert said[1].startswith("environment.torch: ")
    assert said[1].endswith(" -> 9.9")
    assert said[2].startswith("machine: elsewhere -> ")
