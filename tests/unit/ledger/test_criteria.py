from __future__ import annotations

from typing import Any

import pytest

from tunesmith.core.meter import Usage
from tunesmith.ledger.config import LedgerConfig
from tunesmith.ledger.criteria import Assessment, assess
from tunesmith.ledger.facts import RunFacts, moment

USAGE = Usage(wall_s=60.0, cpu_s=60.0, peak_bytes=1, joules=900.0, joules_method="estimated")


def gate(run: str, started_at: str, passed: bool) -> RunFacts:
    return RunFacts(
        run=run,
        step="gate:desk",
        stage="gate",
        status="succeeded",
        started_at=started_at,
        usage=USAGE,
        model="desk",
        gate_passed=passed,
    )


def state(letter: str, runs: list[RunFacts], at: str = "", **config: Any) -> Assessment:
    settings = LedgerConfig.model_validate({"per_cpu_hour": "1", **config})
    found = assess(runs, settings, "desk", moment(at) if at else None)
    return next(each for each in found if each.letter == letter)


def test_feasibility_is_shown_by_a_gate_that_passed_once_it_has_ended() -> None:
    runs = [gate("r1", "2026-01-01T10:00:00", passed=True)]
    assert state("a", []).state == "not_shown"
    assert state("a", runs, at="2026-01-01T10:00:59").state == "not_shown"
    found = state("a", runs, at="2026-01-01T10:01:00")
    assert (found.state, found.since) == ("met", "2026-01-01T10:01:00+00:00")
    assert found.evidence == ("run r1 (gate:desk): pass",)


def test_the_last_verdict_of_the_gate_counts() -> None:
    runs = [gate("r1", "2026-01-01", passed=False), gate("r2", "2026-01-02", passed=True)]
    assert state("a", runs[:1]).state == "not_met"
    assert state("a", runs).since == "2026-01-02T00:01:00+00:00"
    again = [*runs, gate("r3", "2026-01-03", passed=True)]
    assert state("a", again).since == "2026-01-02T00:01:00+00:00"
    assert state("a", [*again, gate("r4", "2026-01-04", passed=False)]).state == "not_met"


def test_no_statement_stands_in_for_the_gate_but_it_can_deny() -> None:
    stated = {"statement": "it works", "approver": "C. Engineer", "date": "2026-01-01"}
    assert state("a", [], criteria={"a": stated}).state == "not_shown"
    runs = [gate("r1", "2026-01-01", passed=True)]
    assert len(state("a", runs, criteria={"a": stated}).evidence) == 2
    denied = {"a": {**stated, "met": False}}
    assert state("a", runs, criteria=denied).state == "not_met"


def test_measurement_is_shown_by_the_first_run_that_was_measured_and_priced() -> None:
    runs = [gate("r1", "2026-01-01", passed=False)]
    assert state("f", []).state == "not_shown"
    assert state("f", runs, per_cpu_hour="0").missing == ("rates in [ledger]",)
    found = state("f", runs)
    assert (found.state, found.since) == ("met", "2026-01-01T00:01:00+00:00")
    assert found.evidence == ("1 of 1 runs measured and priced; the energy of 1 is an estimate",)


@pytest.mark.parametrize("letter", list("bcde"))
def test_people_state_the_others(letter: str) -> None:
    stated = {"statement": "yes", "evidence": "memo 7", "approver": "A", "date": "2026-02-01"}
    criteria = {letter: stated}
    assert state(letter, []).state == "not_shown"
    found = state(letter, [], criteria=criteria)
    assert found.state == "met"
    assert found.since == "2026-02-01T00:00:00+00:00"
    assert found.evidence == ("yes (A, 2026-02-01) [memo 7]",)
    assert not found.missing
    assert state(letter, [], at="2026-01-31", criteria=criteria).state == "not_shown"
    denied = {letter: {**stated, "met": False}}
    assert state(letter, [], criteria=denied).state == "not_met"


@pytest.mark.parametrize("lacking", ["approver", "date", "statement"])
def test_a_statement_that_nobody_answers_for_shows_nothing(lacking: str) -> None:
    stated = {"statement": "yes", "approver": "A", "date": "2026-02-01", lacking: ""}
    found = state("b", [], criteria={"b": stated})
    assert found.state == "not_shown"
    assert found.missing == (f"{lacking} in [ledger.criteria.b]",)
