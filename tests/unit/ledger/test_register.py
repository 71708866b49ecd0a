from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.core.canonical import canonical_json
from tunesmith.core.meter import Usage
from tunesmith.ledger.config import LedgerConfig
from tunesmith.ledger.facts import RunFacts
from tunesmith.ledger.register import NOT_PROVEN, register

STATED = {
    letter: {
        "statement": f"({letter}) is met",
        "evidence": "a file",
        "approver": "A. Board",
        "date": "2025-11-01",
    }
    for letter in "bcde"
}
CONFIG = LedgerConfig.model_validate(
    {"currency": "EUR", "per_cpu_hour": "1", "criteria": STATED, "available_on": "2026-06-01"}
)


def facts(run: str, started_at: str, hours: float, **other: Any) -> RunFacts:
    """A run that costs one euro for each of `hours`; it takes no time unless `wall_s` says so."""
    usage = Usage(
        wall_s=other.pop("wall_s", 0.0),
        cpu_s=hours * 3600,
        peak_bytes=1,
        joules=0.0,
        joules_method="measured",
    )
    stage = other.pop("stage", "finetune")
    return RunFacts(
        **{
            "run": run,
            "step": f"{stage}:desk",
            "stage": stage,
            "status": "succeeded",
            "started_at": started_at,
            "usage": usage,
            "model": "desk",
            **other,
        }
    )


def gate(run: str, started_at: str, passed: bool = True) -> RunFacts:
    return facts(run, started_at, 0.0, stage="gate", gate_passed=passed)


def test_the_example_of_ias_38_65() -> None:
    """Of 1,000 spent in the year, 900 was spent before the criteria were met on 1 December."""
    runs = [
        facts("r1", "2025-03-10", 400),
        facts("r2", "2025-11-30T23:59:59", 500),
        gate("r3", "2025-12-01"),
        facts("r4", "2025-12-01T00:00:01", 30),
        facts("r5", "2025-12-31", 70),
    ]
    found = register(runs, CONFIG)
    assert found.capitalised.amount == Decimal(100)
    assert found.expensed.amount == Decimal(900)
    assert found.total.amount == Decimal(1000)
    (holding,) = found.holdings
    assert [window.opens_at for window in holding.windows] == ["2025-12-01T00:00:00+00:00"]
    assert found.entries[0].paragraph == "IAS 38.53-.54"


def test_of_1200_with_800_before_the_criteria_400_is_the_asset() -> None:
    """The expense of the year before, 1,000, is never reinstated (IAS 38.71)."""
    runs = [
        facts("r1", "2024-05-01", 1000),
        facts("r2", "2025-02-01", 800),
        gate("r3", "2025-12-01"),
        facts("r4", "2025-12-08", 400),
    ]
    found = register(runs, CONFIG)
    assert found.capitalised.amount == Decimal(400)
    assert found.expensed.amount == Decimal(1800)


def test_a_statement_can_be_what_opens_the_window() -> None:
    late = {**STATED, "e": {**STATED["e"], "date": "2025-12-20"}}
    config = CONFIG.model_copy(
        update={"criteria": LedgerConfig.model_validate({"criteria": late}).criteria}
    )
    runs = [gate("r1", "2025-12-01"), facts("r2", "2025-12-10", 5), facts("r3", "2025-12-20", 7)]
    found = register(runs, config)
    assert found.capitalised.amount == Decimal(7)
    before = found.entries[1]
    assert (before.treatment, before.rule) == ("expense", "R06")
    assert "(e) adequate" in before.reason
    assert "(a)" not in before.reason


def test_availability_closes_the_window() -> None:
    runs = [
        gate("r1", "2025-12-01"),
        facts("r2", "2025-12-02", 3),
        facts("r3", "2025-12-03", 1, stage="release", alias="production", wall_s=60.0),
        facts("r4", "2025-12-04", 9),
    ]
    by_release = register(runs, CONFIG.model_copy(update={"available_on": ""}))
    assert by_release.capitalised.amount == Decimal(4)
    assert by_release.entries[-1].phase == "maintenance"
    as_stated = register(runs, CONFIG.model_copy(update={"available_on": "2025-12-03"}))
    assert as_stated.capitalised.amount == Decimal(3)


@pytest.mark.parametrize("available_on", ["", "2025-12-05"])
def test_a_candidate_leaves_the_window_open_until_the_model_is_available(available_on: str) -> None:
    runs = [
        gate("r1", "2025-12-01"),
        facts("r2", "2025-12-02", 1, stage="release", alias="candidate"),
        facts("r3", "2025-12-03", 2),
        facts("r4", "2025-12-05", 0, stage="release", alias="production"),
        facts("r5", "2025-12-06", 4),
    ]
    found = register(runs, CONFIG.model_copy(update={"available_on": available_on}))
    phases = {entry.run: entry.phase for entry in found.entries}
    assert (phases["r3"], phases["r5"]) == ("development", "maintenance")
    assert found.capitalised.amount == Decimal(3)
    assert found.holdings[0].available_since == "2025-12-05T00:00:00+00:00"


def test_the_days_of_statements_are_as_stated_and_the_register_says_so() -> None:
    lines = register([], CONFIG).missing
    for letter in "bcde":
        said = f"the day of ({letter}) is as stated; keep the dated document it rests on"
        assert lines.count(said) == 1
    assert NOT_PROVEN in lines
    assert not any("as stated" in line for line in register([], LedgerConfig()).missing)


def test_a_gate_that_later_fails_ends_the_window() -> None:
    runs = [
        gate("r1", "2025-12-01"),
        facts("r2", "2025-12-02", 1),
        gate("r3", "2025-12-03", passed=False),
        facts("r4", "2025-12-04", 2),
        gate("r5", "2025-12-05"),
        facts("r6", "2025-12-06", 4),
    ]
    found = register(runs, CONFIG)
    assert found.capitalised.amount == Decimal(5)
    assert [(w.opens_at[:10], w.closes_at[:10]) for w in found.holdings[0].windows] == [
        ("2025-12-01", "2025-12-03"),
        ("2025-12-05", ""),
    ]


def test_the_gate_of_one_model_shows_nothing_of_another() -> None:
    other = dataclasses.replace(gate("r1", "2025-12-01"), model="other")
    found = register([other, facts("r2", "2025-12-02", 3)], CONFIG)
    assert not found.capitalised.amount


def test_what_is_not_shown_is_listed_and_nothing_is_capitalised() -> None:
    config = LedgerConfig.model_validate({"per_cpu_hour": "1"})
    found = register([gate("r1", "2025-12-01"), facts("r2", "2025-12-02", 3)], config)
    assert not found.capitalised.amount
    assert found.expensed.amount == Decimal(3)
    for letter in "bcde":
        assert any(line.startswith(f"desk ({letter})") for line in found.missing)
    assert not any(line.startswith("desk (a)") for line in found.missing)


def test_runs_without_a_model_or_a_measurement_are_said_to_lack_them() -> None:
    runs = [
        gate("r1", "2025-12-01"),
        facts("r2", "2025-12-02", 3, model=None, stage="curate"),
        facts("r4", "2025-12-04", 0, model=None, stage="ingest"),
        facts("r5", "2025-12-04", 0, model=None, stage="index"),
        facts("r6", "2025-12-04", 0, model=None, stage="monitor"),
        facts("r3", "2025-12-03", 3, usage=None),
    ]
    found = register(runs, CONFIG)
    assert not found.capitalised.amount
    assert found.total.amount == Decimal(3)
    assert "which model 1 runs served, without which they are expensed" in found.missing
    assert "the usage of 1 runs, which are entered at zero" in found.missing


def test_one_run_is_entered_once() -> None:
    with pytest.raises(ValueError, match="same run id"):
        register([gate("r1", "2025-12-01"), gate("r1", "2025-12-02")], CONFIG)


def test_an_empty_register_has_stable_bytes() -> None:
    found = register([], CONFIG)
    assert found.total.amount == 0
    canonical_json(found)


def test_the_words_of_the_ledger() -> None:
    """Staff training is expensed by another paragraph than model training: say which."""
    runs = [gate("r1", "2025-12-01"), facts("r2", "2025-11-01", 1)]
    text = canonical_json(register(runs, CONFIG)).decode()
    for word in ("model training", "staff training"):
        text = text.replace(word, "")
    assert "training" not in text


STAGES = "fetch ingest base curate finetune evaluate release index replay monitor retrain serve"


@st.composite
def histories(draw: st.DrawFn) -> list[RunFacts]:
    """Runs, an hour apart, of two models and none, of every stage and ending."""
    runs = []
    for number in range(draw(st.integers(0, 25))):
        is_gate = draw(st.booleans())
        stage = "gate" if is_gate else draw(st.sampled_from(STAGES.split()))
        run = facts(
            f"r{number:03}",
            f"2025-12-{number // 20 + 1:02}T{number % 20:02}:00:00+00:00",
            draw(st.integers(0, 10**7)) / 10_000,
            stage=stage,
            model=draw(st.sampled_from(["desk", "other", None])),
            status=draw(st.sampled_from(["succeeded", "succeeded", "failed", "interrupted"])),
            gate_passed=draw(st.booleans()) if is_gate else None,
        )
        if draw(st.integers(0, 9)) == 0:
            run = dataclasses.replace(run, usage=None)
        runs.append(run)
    return runs


RATES = LedgerConfig.model_validate(
    {"per_cpu_hour": "0.0237", "per_kwh": "0.31", "criteria": STATED}
)


@settings(deadline=None, max_examples=60)
@given(histories(), st.randoms(use_true_random=False))
def test_nothing_is_lost_and_order_does_not_matter(runs: list[RunFacts], random: Any) -> None:
    found = register(runs, RATES)
    assert (found.capitalised + found.expensed) == found.total
    assert sum((m.amount for m in found.by_phase.values()), Decimal(0)) == found.total.amount
    assert sum((h.capitalised.amount for h in found.holdings), Decimal(0)) == (
        found.capitalised.amount
    )
    shuffled = list(runs)
    random.shuffle(shuffled)
    assert canonical_json(register(shuffled, RATES)) == canonical_json(found)


@settings(deadline=None, max_examples=60)
@given(histories(), st.integers(0, 25))
def test_a_later_run_changes_no_earlier_entry(runs: list[RunFacts], cut: int) -> None:
    earlier = register(runs[:cut], RATES).entries
    assert register(runs, RATES).entries[: len(earlier)] == earlier


@settings(deadline=None, max_examples=60)
@given(histories())
def test_only_development_is_capitalised(runs: list[RunFacts]) -> None:
    for entry in register(runs, RATES).entries:
        assert (entry.treatment == "capitalise") == (entry.phase == "development")
        assert entry.reason
        assert entry.paragraph
