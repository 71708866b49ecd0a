from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tunesmith.cli.render import WIDTH
from tunesmith.cli.rivals import pilot_lines, transfer_lines
from tunesmith.records.evaluation import Comparison
from tunesmith.records.money import Money
from tunesmith.records.rivals import (
    Estimate,
    Pilot,
    Piloted,
    Spent,
    Transferred,
    TransferReport,
)

SPENT = Spent(wall_s=90.0, cost=Money(amount=Decimal("0.0123"), currency="EUR"))


def versus(low: float, high: float) -> Comparison:
    return Comparison(
        metric="accuracy",
        base=0.8,
        tuned=0.8 + (low + high) / 2,
        difference=(low + high) / 2,
        low=low,
        high=high,
        confidence=0.95,
        num_rows=96,
        num_resamples=10_000,
        detectable=0.1,
    )


def row(variant: str, against: Comparison | None, num_steps: int = 120) -> Transferred:
    return Transferred(
        variant=variant,
        num_trainable=1000,
        num_steps=num_steps,
        num_trained_tokens=5000,
        spent=SPENT,
        metrics={"accuracy": 0.8, "macro-F1": 0.79},
        versus_own=against,
    )


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-0.8, -0.6, "Transfer saved what the same 120 steps cannot teach random weights"),
        (-0.1, 0.1, "do not show that transfer saved anything"),
        (0.1, 0.2, "Transfer saved nothing"),
    ],
)
def test_what_transfer_saved_is_said_as_far_as_it_is_shown(
    low: float, high: float, said: str
) -> None:
    report = TransferReport(
        model="desk",
        num_rows=96,
        variants=(
            row("untuned base", versus(-0.6, -0.4), 0),
            row("own recipe", None),
            row("random weights, all trained", versus(low, high)),
        ),
    )
    lines = transfer_lines(report)

    assert said in " ".join(line.strip() for line in lines)
    assert "-50.0 points (-60.0 to -40.0)" in lines[3]
    assert "1 min 30 s, 0.01 EUR" in lines[4]


def recipe(name: str, changes: dict[str, Any], leave_out: tuple[str, ...] = ()) -> Piloted:
    estimate = Estimate(mean=0.5, low=0.4, high=0.6)
    return Piloted(
        recipe=name,
        changes=changes,
        leave_out=leave_out,
        num_trainable=1000,
        num_steps=6,
        loss=estimate,
        metric=estimate,
        spent=SPENT,
        whole=SPENT,
    )


@pytest.mark.parametrize(("best", "said"), [("", "intervals overlap"), ("own", "lower loss than")])
def test_a_pilot_says_how_to_choose(best: str, said: str) -> None:
    pilot = Pilot(
        model="desk",
        share_of_rows=0.05,
        num_trained_rows=24,
        num_asked_rows=128,
        metric="accuracy",
        confidence=0.95,
        recipes=(
            recipe("own", {}),
            recipe("head", {"method": "head", "learning_rate": 0.001}, ("rank",)),
        ),
        front=("head",),
        best=best,
    )
    lines = pilot_lines(pilot)

    assert said in " ".join(lines)
    assert lines[-1] == (
        "  head: --set model.desk.method=head --set model.desk.learning_rate=0.001, "
        "with rank taken out of [model.desk]"
    )
    assert [line[:8].split() for line in lines if line.startswith("*  ")] == [["*", "head"]]
    assert all(len(line) <= WIDTH + 40 for line in lines)
