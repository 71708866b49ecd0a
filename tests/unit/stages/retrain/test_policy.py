from __future__ import annotations

from typing import Literal

import pytest

from tunesmith.records.signal import Check, Signal, Verdict
from tunesmith.stages.retrain.policy import WEAK, decide

Layer = Literal["inputs", "outputs", "risk"]


def check(verdict: Verdict, layer: Layer = "inputs", num_needed: int = 0) -> Check:
    return Check(
        name="vocabulary" if layer == "inputs" else layer,
        layer=layer,
        statistic="AUC",
        verdict=verdict,
        effect=0.9,
        low=0.8,
        tolerance=0.55,
        detectable=0.7,
        p_value=0.001,
        num_reference=480,
        num_traffic=96,
        num_needed=num_needed,
        details=(),
    )


def signal(traffic: str, verdict: Verdict, *checks: Check) -> Signal:
    return Signal(
        monitor="desk", traffic=traffic, verdict=verdict, checks=checks, false_alarm_rate=0.01
    )


SAME = signal("heldout", "unchanged", check("unchanged"))
INPUTS = signal("tags", "changed", check("changed"), check("need_more", num_needed=9))
FEW = signal("new", "need_more", check("unchanged"), check("need_more", num_needed=40))


def test_nothing_monitored_is_no_reason() -> None:
    assert not decide([], ["tags"]).retrain


def test_nothing_changed_is_no_reason() -> None:
    found = decide([SAME], ["tags"])
    assert not found.retrain
    assert found.add_sources == ()
    assert found.reason == "nothing changed in heldout"


def test_too_few_rows_wait_and_say_how_many() -> None:
    found = decide([SAME, FEW], ["tags"])
    assert not found.retrain
    assert found.reason == "wait: too few rows to tell; 40 more rows of new are needed"


def test_changed_inputs_are_weak_but_labelled_sources_make_it_worth_trying() -> None:
    found = decide([SAME, INPUTS, FEW], ["tags"])
    assert found.retrain
    assert found.add_sources == ("tags",)
    assert WEAK in found.reason
    assert "vocabulary of tags changed (AUC 0.90, at least 0.80; accepted 0.55)" in found.reason


def test_changed_inputs_without_labelled_sources_ask_for_labels() -> None:
    found = decide([INPUTS], [])
    assert not found.retrain
    assert WEAK in found.reason
    assert "label a sample" in found.reason


@pytest.mark.parametrize("layer", ["outputs", "risk"])
def test_changed_outputs_or_risk_are_strong_evidence(layer: Layer) -> None:
    strong = signal("served", "changed", check("changed"), check("changed", layer))
    found = decide([SAME, strong], ("tags",))
    assert found.retrain
    assert found.add_sources == ("tags",)
    assert WEAK not in found.reason
    assert f"{layer} of served changed" in found.reason
    assert "better than the base and than the released one" in found.reason


@pytest.mark.parametrize("layer", ["inputs", "outputs", "risk"])
def test_the_same_rows_are_never_tuned_on_again(layer: Layer) -> None:
    found = decide([signal("served", "changed", check("changed", layer))], ())
    assert not found.retrain
    assert found.add_sources == ()
    assert f"{'vocabulary' if layer == 'inputs' else layer} of served changed" in found.reason
    assert "label a sample of this traffic" in found.reason
