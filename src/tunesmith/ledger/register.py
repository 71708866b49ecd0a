"""The register: every run priced, classified and either capitalised or expensed.

A pure function of the facts, the settings and the moment of the report: deriving it again gives
the same entries, in whatever order the facts come, and neither a later run nor a statement of a
later day changes an earlier entry.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tunesmith.ledger.config import LedgerConfig
from tunesmith.ledger.cost import zero
from tunesmith.ledger.criteria import Assessment, Window, assess, timeline, windows
from tunesmith.ledger.entries import Entry, available_since, enter
from tunesmith.ledger.facts import RunFacts, is_trial, started
from tunesmith.ledger.phases import OPERATION, SERVED_BESIDES, Phase
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
    available_from: str
    """ISO 8601 moment from which it is planned to be available; empty when it is, or none is
    stated."""
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
    runs: Sequence[RunFacts],
    config: LedgerConfig,
    promoted: Mapping[str, str] | None = None,
    at: datetime.datetime | None = None,
) -> Register:
    """The register of `runs` under `config`; `promoted` says when a model was first in production.

    `at` is the moment of the report (None: now): what is stated from a later day is planned.

    Raises:
        ValueError: two facts have the same run id, or a time or measurement is malformed.
    """
    ordered = sorted(runs, key=lambda run: (started(run), run.run))
    if len({run.run for run in ordered}) < len(ordered):
        raise ValueError("two facts have the same run id; each run is entered once")
    models = sorted({run.model for run in ordered if run.model is not None})
    turns = {model: timeline(ordered, config, model) for model in models}
    promoted = promoted or {}
    at = at or datetime.datetime.now(datetime.UTC)
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
            criteria=assess(ordered, config, model, at),
            windows=windows([turn for turn in turns[model] if turn.at <= at]),
            available_since=_iso(available[model], until=at),
            available_from=_iso(available[model], after=at),
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
        missing=(*_missing(holdings, ordered, config), *_as_stated(config), NOT_HERE),
    )


def _missing(
    holdings: Sequence[Holding], runs: Sequence[RunFacts], config: LedgerConfig
) -> list[str]:
    found: list[str] = []
    for holding in holdings:
        found += [
            f"{holding.model} ({each.letter}): {what}"
            for each in holding.criteria
            for what in each.missing
        ]
        if holding.capitalised.amount and not holding.available_since:
            planned = holding.available_from and f" (planned: {holding.available_from[:10]})"
            found.append(
                f"{holding.model}: when it became available for use{planned}; until then it is "
                "tested for impairment every year (IAS 36.10(a))"
            )
    found += [
        f"a run for {model}, which [ledger.models.{model}] is about: see whether the name is right"
        for model in sorted(config.models.keys() - {each.model for each in holdings})
    ]
    if config.available_on and len(holdings) > 1:
        found += [
            f"available_on in [ledger.models.{holding.model}]: the general one is that of the only "
            "model on record on that day"
            for holding in holdings
            if not (holding.available_since or holding.available_from)
        ]
    unmeasured = sum(1 for run in runs if run.usage is None)
    if unmeasured:
        found.append(f"the usage of {unmeasured} runs, which are entered at zero")
    unassigned = sum(1 for run in runs if _is_unassigned(run))
    if unassigned:
        found.append(f"which model {unassigned} runs served, without which they are expensed")
    return found


def _is_unassigned(run: RunFacts) -> bool:
    """Whether `run` is expensed because no record tells what it was for."""
    is_known = run.model is not None or run.shared_by or is_trial(run)
    by_itself = run.stage in SERVED_BESIDES or run.stage in OPERATION or run.stage == "retrain"
    return run.status == "succeeded" and not is_known and not by_itself


def _as_stated(config: LedgerConfig) -> list[str]:
    """What rests on the word of people: the days that their statements name."""
    places = {"": config.criteria}
    places |= {f" of {model}": its.criteria for model, its in sorted(config.models.items())}
    found = []
    for whose, criteria in places.items():
        for letter in sorted(criteria):
            num_days = sum(bool(each.date) for each in criteria[letter])
            if num_days == 1:
                found.append(
                    f"the day of ({letter}){whose} is as stated; "
                    "keep the dated document it rests on"
                )
            elif num_days:
                found.append(
                    f"the {num_days} days of ({letter}){whose} are as stated; keep the dated "
                    "documents they rest on"
                )
    return [*found, NOT_PROVEN] if found else []


def _sum(entries: Iterable[Entry], config: LedgerConfig) -> Money:
    return sum((entry.cost for entry in entries), zero(config.currency))


def _iso(
    moment: datetime.datetime | None,
    *,
    until: datetime.datetime | None = None,
    after: datetime.datetime | None = None,
) -> str:
    """`moment`, if there is one that is not later than `until`, or is later than `after`."""
    if moment is None or (until and moment > until) or (after and moment <= after):
        return ""
    return moment.isoformat()
