"""The six criteria of IAS 38.57: met, not met, or not shown. What is not shown is expensed.

The log of runs can show two of them: (a) by a gate whose thresholds stood in the project file
before it was run, (f) by runs that were measured and priced. The others are statements of people,
and their days are taken as stated: no log tells when a statement was first written. So a statement
that is dated back reads like one made in time, and only the dated document that it rests on can
show that no expense was reinstated (IAS 38.71).
"""

from __future__ import annotations

import bisect
import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tunesmith.ledger.config import CriterionConfig, LedgerConfig, Letter
from tunesmith.ledger.facts import RunFacts, ended, moment

State = Literal["met", "not_met", "not_shown"]

CRITERIA: dict[Letter, str] = {
    "a": "technical feasibility of completing it, so that it can be used or sold",
    "b": "intention to complete it and to use or sell it",
    "c": "ability to use or sell it",
    "d": "how it will generate probable future economic benefits",
    "e": "adequate technical, financial and other resources to complete and to use or sell it",
    "f": "ability to measure reliably the expenditure attributable to it",
}
HUMAN_EVIDENCE: dict[Letter, str] = {
    "b": "minutes of the board or a delegated approval",
    "c": "a sign-off of the rights in the base model and in the data",
    "d": "a business case with an owner",
    "e": "an approved budget and plan",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Assessment:
    """How one criterion stands for one model."""

    letter: Letter
    criterion: str
    state: State
    since: str
    """ISO 8601 moment from which it is met, or not met; empty when it is not shown."""
    evidence: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """A stretch of time in which all six criteria were met."""

    opens_at: str
    closes_at: str
    """Empty while it is open."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """From `at` on, until the next turn, the criteria `unmet` were not met or not shown."""

    at: datetime.datetime
    unmet: tuple[Letter, ...]


def assess(
    runs: Sequence[RunFacts],
    config: LedgerConfig,
    model: str,
    at: datetime.datetime | None = None,
) -> tuple[Assessment, ...]:
    """How the six criteria stand for `model`, knowing only what was known at `at` (None: now).

    A statement counts as known from the day that it names.
    """
    known = sorted(
        (run for run in runs if at is None or ended(run) <= at),
        key=lambda run: (ended(run), run.run),
    )
    return tuple(_assess(letter, known, config, model, at) for letter in CRITERIA)


def timeline(runs: Sequence[RunFacts], config: LedgerConfig, model: str) -> tuple[Turn, ...]:
    """Every moment at which the criteria could come to stand differently, in order."""
    events = {ended(run) for run in runs if run.gate_passed is not None and run.model == model}
    events |= {moment(each.date) for each in config.criteria.values() if each.date}
    if measured := [ended(run) for run in runs if run.usage]:
        events.add(min(measured))
    return tuple(
        Turn(
            at=event,
            unmet=tuple(
                each.letter for each in assess(runs, config, model, event) if each.state != "met"
            ),
        )
        for event in sorted(events)
    )


def unmet_at(turns: Sequence[Turn], at: datetime.datetime) -> tuple[Letter, ...]:
    """The letters of the criteria that were not met, or not shown, at `at`."""
    passed = bisect.bisect_right(turns, at, key=lambda turn: turn.at)
    return turns[passed - 1].unmet if passed else tuple(CRITERIA)


def windows(turns: Sequence[Turn]) -> tuple[Window, ...]:
    """The stretches in which all six criteria were met, in order.

    The first opens at the latest of the moments at which each criterion was shown; what was spent
    before stays expensed (IAS 38.65, .71). One ends when a criterion ceases to be met.
    """
    found: list[Window] = []
    for turn in turns:
        is_open = bool(found) and not found[-1].closes_at
        if not turn.unmet and not is_open:
            found.append(Window(opens_at=turn.at.isoformat(), closes_at=""))
        elif turn.unmet and is_open:
            found[-1] = Window(opens_at=found[-1].opens_at, closes_at=turn.at.isoformat())
    return tuple(found)


def _assess(
    letter: Letter,
    known: Sequence[RunFacts],
    config: LedgerConfig,
    model: str,
    at: datetime.datetime | None,
) -> Assessment:
    stated = config.criteria.get(letter)
    if letter == "a":
        found = _feasibility(known, model)
    elif letter == "f":
        found = _measurement(known, config)
    else:
        found = _statement(letter, stated, at)
    if stated and letter in ("a", "f"):
        # A person can add to what the log shows, or deny it, but not stand in for it.
        human = _statement(letter, stated, at)
        if human.state == "not_met":
            return human
        return _with_evidence(found, human.evidence)
    return found


def _feasibility(known: Sequence[RunFacts], model: str) -> Assessment:
    gates = [run for run in known if run.model == model and run.gate_passed is not None]
    if not gates:
        return _assessment("a", "not_shown", missing=(f"a passed gate on model {model}",))
    said = tuple(
        f"run {run.run} ({run.step}): {'pass' if run.gate_passed else 'not pass'}" for run in gates
    )
    if not gates[-1].gate_passed:
        return _assessment(
            "a",
            "not_met",
            since=ended(gates[-1]).isoformat(),
            evidence=said,
            missing=(f"a pass of the gate on model {model}: its last verdict is not pass",),
        )
    first = len(gates) - 1
    while first > 0 and gates[first - 1].gate_passed:
        first -= 1
    return _assessment("a", "met", since=ended(gates[first]).isoformat(), evidence=said)


def _measurement(known: Sequence[RunFacts], config: LedgerConfig) -> Assessment:
    measured = [run for run in known if run.usage]
    blind = [run for run in known if not run.usage and run.status == "succeeded"]
    missing = tuple(f"the usage of run {run.run} ({run.step}) was not measured" for run in blind)
    if not (config.per_cpu_hour or config.per_kwh):
        return _assessment("f", "not_shown", missing=("rates in [ledger]", *missing))
    if not measured:
        return _assessment("f", "not_shown", missing=("a run that was measured", *missing))
    estimated = sum(1 for run in measured if run.usage and run.usage.joules_method == "estimated")
    said = f"{len(measured)} of {len(known)} runs measured and priced"
    if estimated:
        said += f"; the energy of {estimated} is an estimate"
    return _assessment(
        "f", "met", since=ended(measured[0]).isoformat(), evidence=(said,), missing=missing
    )


def _statement(
    letter: Letter, stated: CriterionConfig | None, at: datetime.datetime | None
) -> Assessment:
    if stated is None:
        wanted = HUMAN_EVIDENCE.get(letter, "a statement")
        return _assessment(
            letter, "not_shown", missing=(f"a statement in [ledger.criteria.{letter}]: {wanted}",)
        )
    lacks = [name for name in ("statement", "approver", "date") if not getattr(stated, name)]
    if lacks:
        return _assessment(
            letter,
            "not_shown",
            missing=tuple(f"{name} in [ledger.criteria.{letter}]" for name in lacks),
        )
    since = moment(stated.date)
    if at is not None and since > at:
        return _assessment(letter, "not_shown", missing=(f"it is stated from {stated.date}",))
    said = f"{stated.statement} ({stated.approver}, {stated.date})"
    if stated.evidence:
        said += f" [{stated.evidence}]"
    return _assessment(
        letter,
        "met" if stated.met else "not_met",
        since=since.isoformat(),
        evidence=(said,),
        missing=() if stated.evidence else (f"a reference to evidence for ({letter})",),
    )


def _assessment(
    letter: Letter,
    state: State,
    *,
    since: str = "",
    evidence: tuple[str, ...] = (),
    missing: tuple[str, ...] = (),
) -> Assessment:
    return Assessment(
        letter=letter,
        criterion=CRITERIA[letter],
        state=state,
        since=since,
        evidence=evidence,
        missing=missing,
    )


def _with_evidence(found: Assessment, more: tuple[str, ...]) -> Assessment:
    return _assessment(
        found.letter,
        found.state,
        since=found.since,
        evidence=found.evidence + more,
        missing=found.missing,
    )
