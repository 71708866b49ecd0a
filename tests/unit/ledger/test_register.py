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
from tunesmith.ledger.facts import RunFacts, moment
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


# Nothing that is written later changes what was entered.

WITHDRAWN = {
    "statement": "There is no market any more.",
    "approver": "A. Board",
    "date": "2025-12-10",
    "met": False,
}


def with_criteria(config: LedgerConfig, **criteria: Any) -> LedgerConfig:
    parsed = LedgerConfig.model_validate({"criteria": criteria}).criteria
    return config.model_copy(update={"criteria": {**config.criteria, **parsed}})


def test_a_withdrawal_ends_the_window_and_leaves_what_was_capitalised() -> None:
    """3 in the window, 5 from the withdrawal on, 7 once it is stated again: 10 of 15 an asset."""
    runs = [
        gate("r1", "2025-12-01"),
        facts("r2", "2025-12-02", 3),
        facts("r3", "2025-12-10", 5),
        facts("r4", "2025-12-20", 7),
    ]
    assert register(runs[:2], CONFIG).capitalised.amount == Decimal(3)
    withdrawn = with_criteria(CONFIG, d=[STATED["d"], WITHDRAWN])
    found = register(runs[:3], withdrawn)
    assert (found.capitalised.amount, found.expensed.amount) == (Decimal(3), Decimal(5))
    (d,) = (each for each in found.holdings[0].criteria if each.letter == "d")
    assert (d.state, d.since) == ("not_met", "2025-12-10T00:00:00+00:00")
    assert d.evidence[1] == "not met: There is no market any more. (A. Board, 2025-12-10)"
    again = {**STATED["d"], "statement": "A customer signed.", "date": "2025-12-20"}
    found = register(runs, with_criteria(CONFIG, d=[STATED["d"], WITHDRAWN, again]))
    assert (found.capitalised.amount, found.expensed.amount) == (Decimal(10), Decimal(5))
    assert [(w.opens_at[:10], w.closes_at[:10]) for w in found.holdings[0].windows] == [
        ("2025-12-01", "2025-12-10"),
        ("2025-12-20", ""),
    ]


def test_a_withdrawal_without_what_it_withdraws_is_said_to_lack_it() -> None:
    lines = register([gate("r1", "2025-12-01")], with_criteria(CONFIG, d=WITHDRAWN)).missing
    assert (
        "desk (d): what [ledger.criteria.d] stated before 2025-12-10, when it is withdrawn: "
        "keep the earlier statement in the list"
    ) in lines


def of_two(day: str = "2025-12-05") -> list[RunFacts]:
    """Until `day` desk is alone; from then on there is toy, whose gate passes, too."""
    toy = {"model": "toy", "wall_s": 0.0}
    return [
        gate("r1", "2025-12-01"),
        facts("r2", "2025-12-02", 3),
        facts("r3", day, 0, stage="gate", gate_passed=True, **toy),
        facts("r4", "2025-12-06", 5),
        facts("r5", "2025-12-06", 7, **toy),
    ]


def test_a_general_statement_is_about_the_only_model_there_is() -> None:
    found = register(of_two(), CONFIG)
    assert {h.model: h.capitalised.amount for h in found.holdings} == {"desk": 3, "toy": 0}
    assert (
        "toy (b): a statement in [ledger.models.toy.criteria.b]: the general one does not say "
        "which of desk, toy"
    ) in found.missing
    assert found.entries[1].treatment == "capitalise"  # from when it was alone


def test_a_statement_about_one_model_opens_no_window_of_another() -> None:
    own = LedgerConfig.model_validate({"models": {"toy": {"criteria": STATED}}}).models
    config = CONFIG.model_copy(update={"models": own})
    found = register(of_two(), config)
    assert {h.model: h.capitalised.amount for h in found.holdings} == {"desk": 3, "toy": 7}
    alone = config.model_copy(update={"criteria": {}})
    found = register(of_two(), alone)
    assert {h.model: h.capitalised.amount for h in found.holdings} == {"desk": 0, "toy": 7}
    assert "the day of (b) of toy is as stated; keep the dated document it rests on" in (
        found.missing
    )


def test_a_day_of_availability_is_that_of_one_model() -> None:
    own = LedgerConfig.model_validate({"models": {"toy": {"criteria": STATED}}}).models
    runs = [*of_two(), facts("r6", "2025-12-08", 2, model="toy")]
    # The general day is desk's, which was alone on it; toy came later.
    general = CONFIG.model_copy(update={"available_on": "2025-12-04", "models": own})
    found = register(runs, general)
    assert {h.model: h.available_since[:10] for h in found.holdings} == {
        "desk": "2025-12-04",
        "toy": "",
    }
    assert [e.phase for e in found.entries if e.model == "toy"][-1] == "development"
    # Of a day on which there were both it says of neither.
    found = register(runs, general.model_copy(update={"available_on": "2025-12-07"}))
    assert {h.available_since for h in found.holdings} == {""}
    assert any(line.startswith("available_on in [ledger.models.toy]") for line in found.missing)
    toy = own["toy"].model_copy(update={"available_on": "2025-12-07"})
    found = register(runs, CONFIG.model_copy(update={"available_on": "", "models": {"toy": toy}}))
    assert {h.model: h.capitalised.amount for h in found.holdings} == {"desk": 3, "toy": 7}


def test_a_day_in_the_future_is_planned_and_the_model_is_still_to_be_tested() -> None:
    runs = [gate("r1", "2025-12-01"), facts("r2", "2025-12-02", 3)]
    before, after = moment("2026-05-31"), moment("2026-06-01")
    found = register(runs, CONFIG, at=before)
    (holding,) = found.holdings
    assert holding.available_since == ""
    assert holding.available_from == "2026-06-01T00:00:00+00:00"
    assert (
        "desk: when it became available for use (planned: 2026-06-01); until then it is tested "
        "for impairment every year (IAS 36.10(a))"
    ) in found.missing
    then = register(runs, CONFIG, at=after)
    assert then.holdings[0].available_since == "2026-06-01T00:00:00+00:00"
    assert then.holdings[0].available_from == ""
    assert not any("36.10(a)" in line for line in then.missing)
    assert then.entries == found.entries


def test_what_is_stated_from_a_later_day_is_not_met_yet() -> None:
    later = with_criteria(CONFIG, e={**STATED["e"], "date": "2026-02-01"})
    (holding,) = register([gate("r1", "2025-12-01")], later, at=moment("2026-01-01")).holdings
    assert holding.criteria[4].missing == ("it is stated from 2026-02-01",)
    assert holding.windows == ()


def test_a_section_of_a_model_without_runs_may_be_a_wrong_name() -> None:
    own = LedgerConfig.model_validate({"models": {"dsk": {"criteria": STATED}}}).models
    found = register([gate("r1", "2025-12-01")], CONFIG.model_copy(update={"models": own}))
    assert any(
        line.startswith("a run for dsk, which [ledger.models.dsk]") for line in found.missing
    )


LATER = "2026-01-01"  # after every run of `histories`
statements = st.builds(
    lambda day, met, name: {
        "statement": "It is so.",
        "approver": name,
        "date": f"2026-{day // 28 + 1:02}-{day % 28 + 1:02}",
        "met": met,
    },
    st.integers(0, 300),
    st.booleans(),
    st.sampled_from(["A. Board", ""]),
)
lists = st.lists(statements, max_size=3, unique_by=lambda each: str(each["date"]))
criteria = st.dictionaries(st.sampled_from("abcdef"), lists)
days = st.sampled_from(["", LATER, "2027-07-01"])


@settings(deadline=None, max_examples=100)
@given(
    histories(),
    criteria,
    st.dictionaries(
        st.sampled_from(["desk", "other", "new"]),
        st.fixed_dictionaries({"criteria": criteria, "available_on": days}),
    ),
    days,
    st.booleans(),
)
def test_no_statement_of_a_later_day_changes_an_entry(
    runs: list[RunFacts],
    general: dict[str, Any],
    models: dict[str, Any],
    available_on: str,
    has_own: bool,
) -> None:
    stated: dict[str, Any] = {letter: [STATED[letter]] for letter in STATED}
    before: dict[str, Any] = {"per_cpu_hour": "0.0237", "criteria": stated}
    if has_own:
        before["models"] = {"desk": {"criteria": stated}, "other": {"criteria": stated}}
    entries = register(runs, LedgerConfig.model_validate(before)).entries
    edited = {**before, "available_on": available_on}
    edited["criteria"] = _added(stated, general)
    edited["models"] = {
        **before.get("models", {}),
        **{
            name: {**its, "criteria": _added(stated if has_own else {}, its["criteria"])}
            for name, its in models.items()
        },
    }
    assert register(runs, LedgerConfig.model_validate(edited)).entries == entries


def _added(earlier: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    return {
        letter: [*earlier.get(letter, []), *later.get(letter, [])]
        for letter in earlier.keys() | later.keys()
    }
