"""The six criteria of IAS 38.57: met, not met, or not shown. What is not shown is expensed.

The log of runs can show two of them: (a) by a gate whose thresholds stood in the project file
before it was run, (f) by runs that were measured and priced. The others are statements of people,
and their days are taken as stated: no log tells when a statement was first written. So a statement
that is dated back reads like one made in time, and only the dated document that it rests on can
show that no expense was reinstated (IAS 38.71). One of a later day changes nothing before it.

Each asset is asked (IAS 38.57). A general statement does not say which model it is about: it is
about the one that there is, and from the moment that a second one has a run it shows nothing more.
"""

from __future__ import annotations

import bisect
import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tunesmith.ledger.config import AssetConfig, CriterionConfig, LedgerConfig, Letter
from tunesmith.ledger.facts import RunFacts, ended, first_own_run, moment

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
    stated = Stated(config=config, model=model, at=at, others=others_on_record(runs, model, at))
    return tuple(_assess(letter, known, stated) for letter in CRITERIA)


def timeline(runs: Sequence[RunFacts], config: LedgerConfig, model: str) -> tuple[Turn, ...]:
    """Every moment at which the criteria could come to stand differently, in order."""
    events = {ended(run) for run in runs if run.gate_passed is not None and run.model == model}
    events |= {
        moment(each.date)
        for criteria in (config.criteria, config.models.get(model, AssetConfig()).criteria)
        for statements in criteria.values()
        for each in statements
        if each.date
    }
    first = first_own_run(runs)
    events |= {at for other, at in first.items() if other != model}
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


def others_on_record(
    runs: Sequence[RunFacts], model: str, at: datetime.datetime | None
) -> tuple[str, ...]:
    """The other models that had a run of their own by `at` (None: ever), by name."""
    return tuple(
        other
        for other, first in sorted(first_own_run(runs).items())
        if other != model and (at is None or first <= at)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Stated:
    """What people have stated about `model` by `at` (None: ever)."""

    config: LedgerConfig
    model: str
    at: datetime.datetime | None
    others: tuple[str, ...]

    def own(self, letter: Letter) -> tuple[CriterionConfig, ...]:
        """Statements about this model alone, by day."""
        return self.config.models.get(self.model, AssetConfig()).criteria.get(letter, ())

    def general(self, letter: Letter) -> tuple[CriterionConfig, ...]:
        """Those that are about it because it is the only one, by day."""
        return () if self.others else self.config.criteria.get(letter, ())

    def dated(self, statements: Sequence[CriterionConfig]) -> list[CriterionConfig]:
        """Those of a day not after `at`."""
        return [
            each
            for each in statements
            if each.date and (self.at is None or moment(each.date) <= self.at)
        ]


def _assess(letter: Letter, known: Sequence[RunFacts], stated: Stated) -> Assessment:
    human = _statement(letter, stated)
    if letter not in ("a", "f"):
        return human
    if human.state == "not_met":  # a person can deny what the log shows...
        return human
    found = (
        _feasibility(known, stated.model) if letter == "a" else _measurement(known, stated.config)
    )
    return _with_evidence(found, human.evidence)  # ... or add to it, but not stand in for it


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


def _statement(letter: Letter, stated: Stated) -> Assessment:
    own, general = stated.own(letter), stated.general(letter)
    of_own = f"[ledger.models.{stated.model}.criteria.{letter}]"
    place, those = of_own, stated.dated(own)
    if not those and (general or not own):
        those = stated.dated(general)
        place = of_own if stated.others else f"[ledger.criteria.{letter}]"
    if not those:
        missing = _without(letter, stated, (*own, *general), place)
        return _assessment(letter, "not_shown", missing=missing)
    newest = those[-1]
    if lacks := _lacks(newest, place):
        return _assessment(letter, "not_shown", missing=lacks)
    complete = [each for each in those if not _lacks(each, place)]
    missing = () if newest.evidence else (f"a reference to evidence for ({letter})",)
    if letter in HUMAN_EVIDENCE and not complete[0].met:
        missing += (
            f"what {place} stated before {complete[0].date}, when it is withdrawn: "
            "keep the earlier statement in the list",
        )
    first = len(complete) - 1
    while first > 0 and complete[first - 1].met == newest.met:
        first -= 1
    return _assessment(
        letter,
        "met" if newest.met else "not_met",
        since=moment(complete[first].date).isoformat(),
        evidence=tuple(_said(each) for each in complete),
        missing=missing,
    )


def _without(
    letter: Letter, stated: Stated, not_yet: Sequence[CriterionConfig], place: str
) -> tuple[str, ...]:
    """What is missing where no statement of a day not after the moment is there."""
    if later := sorted(each.date for each in not_yet if each.date):
        return (f"it is stated from {later[0]}",)
    if not_yet:
        return _lacks(not_yet[0], place)
    if stated.others and stated.config.criteria.get(letter):
        several = ", ".join(sorted((stated.model, *stated.others)))
        return (f"a statement in {place}: the general one does not say which of {several}",)
    return (f"a statement in {place}: {HUMAN_EVIDENCE.get(letter, 'a statement')}",)


def _lacks(statement: CriterionConfig, place: str) -> tuple[str, ...]:
    return tuple(
        f"{name} in {place}"
        for name in ("statement", "approver", "date")
        if not getattr(statement, name)
    )


def _said(statement: CriterionConfig) -> str:
    said = f"{statement.statement} ({statement.approver}, {statement.date})"
    if not statement.met:
        said = f"not met: {said}"
    return f"{said} [{statement.evidence}]" if statement.evidence else said


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
