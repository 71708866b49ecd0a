"""The register: every run priced, classified and either capitalised or expensed.

A pure function of the facts and the settings: deriving it again gives the same entries, in
whatever order the facts come, and a later run changes no earlier entry.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tunesmith.ledger.config import LedgerConfig
from tunesmith.ledger.cost import zero
from tunesmith.ledger.criteria import Assessment, Window, assess, timeline, windows
from tunesmith.ledger.entries import Entry, available_since, enter
from tunesmith.ledger.facts import RunFacts, started
from tunesmith.ledger.phases import SERVED_BESIDES, Phase
from tunesmith.ledger.rules import RULES_VERSION
from tunesmith.records.money import Money


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
    """How one model stands in the register."""

    model: str
    criteria: tuple[Assessment, ...]
    windows: tuple[Window, ...]
    """When costs could be capitalised; none when the six criteria were never all met."""
    available_since: str
    """ISO 8601 moment of availability for use; empty when it is not yet available."""
    capitalised: Money


@dataclass(frozen=True, kw_only=True, slots=True)
class Register:
    """All runs as the books see them: capitalised + expensed == total, exactly."""

    rules_version: str
    entries: tuple[Entry, ...]
    """By start."""
    holdings: tuple[Holding, ...]
    """By model name."""
    capitalised: Money
    expensed: Money
    total: Money
    by_phase: Mapping[Phase, Money]
    missing: tuple[str, ...]
    """Evidence whose absence keeps costs from being capitalised, or that an auditor will want."""


PHASES: tuple[Phase, ...] = (
    "research",
    "development",
    "inefficiency",
    "maintenance",
    "operation",
)
NOT_HERE = "staff time, invoices and staff training: this register knows what machines used"

NOT_PROVEN = (
    "proof that no expense was reinstated (IAS 38.71): the days of statements are as stated, and "
    "when they were first written is not known here"
)


def register(
    runs: Sequence[RunFacts], config: LedgerConfig, promoted: Mapping[str, str] | None = None
) -> Register:
    """The register of `runs` under `config`; `promoted` says when a model was first in production.

    Raises:
        ValueError: two facts have the same run id, or a time or measurement is malformed.
    """
    ordered = sorted(runs, key=lambda run: (started(run), run.run))
    if len({run.run for run in ordered}) < len(ordered):
        raise ValueError("two facts have the same run id; each run is entered once")
    models = sorted({run.model for run in ordered if run.model is not None})
    turns = {model: timeline(ordered, config, model) for model in models}
    promoted = promoted or {}
    available = {
        model: available_since(ordered, config, model, promoted.get(model, "")) for model in models
    }
    entries = tuple(
        enter(run, turns[run.model], available[run.model], config)
        if run.model is not None
        else enter(run, (), None, config)
        for run in ordered
    )
    holdings = tuple(
        Holding(
            model=model,
            criteria=assess(ordered, config, model),
            windows=windows(turns[model]),
            available_since=_iso(available[model]),
            capitalised=_sum(
                (e for e in entries if e.model == model and e.treatment == "capitalise"), config
            ),
        )
        for model in models
    )
    capitalised = _sum((e for e in entries if e.treatment == "capitalise"), config)
    expensed = _sum((e for e in entries if e.treatment == "expense"), config)
    return Register(
        rules_version=RULES_VERSION,
        entries=entries,
        holdings=holdings,
        capitalised=capitalised,
        expensed=expensed,
        total=_sum(entries, config),
        by_phase={
            phase: _sum((e for e in entries if e.phase == phase), config) for phase in PHASES
        },
        missing=_missing(holdings, entries, config),
    )


def _missing(
    holdings: Sequence[Holding], entries: Sequence[Entry], config: LedgerConfig
) -> tuple[str, ...]:
    found: list[str] = []
    for holding in holdings:
        found += [
            f"{holding.model} ({each.letter}): {what}"
            for each in holding.criteria
            for what in each.missing
        ]
        if holding.capitalised.amount and not holding.available_since:
            found.append(
                f"{holding.model}: when it became available for use; until then it is tested for "
                "impairment every year (IAS 36.10(a))"
            )
    unmeasured = sum(1 for entry in entries if not entry.measured)
    if unmeasured:
        found.append(f"the usage of {unmeasured} runs, which are entered at zero")
    unassigned = sum(
        1 for e in entries if e.model is None and e.rule == "R04" and e.stage not in SERVED_BESIDES
    )
    if unassigned:
        found.append(f"which model {unassigned} runs served, without which they are expensed")
    return (*found, *_as_stated(config), NOT_HERE)


def _as_stated(config: LedgerConfig) -> list[str]:
    """What rests on the word of people: the days that their statements name."""
    dated = [letter for letter in sorted(config.criteria) if config.criteria[letter].date]
    found = [
        f"the day of ({letter}) is as stated; keep the dated document it rests on"
        for letter in dated
    ]
    return [*found, NOT_PROVEN] if found else []


def _sum(entries: Iterable[Entry], config: LedgerConfig) -> Money:
    return sum((entry.cost for entry in entries), zero(config.currency))


def _iso(at: datetime.datetime | None) -> str:
    return at.isoformat() if at else ""
