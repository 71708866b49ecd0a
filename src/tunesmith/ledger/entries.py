"""One entry a run: what it cost, capitalised or expensed, by which paragraph and why."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.ledger.config import AssetConfig, LedgerConfig
from tunesmith.ledger.cost import price, zero
from tunesmith.ledger.criteria import Turn, others_on_record, unmet_at
from tunesmith.ledger.facts import RunFacts, ended, first_own_run, moment, started
from tunesmith.ledger.phases import Phase, Standing, Treatment, classify
from tunesmith.records.money import Money
from tunesmith.records.release import PRODUCTION


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One run in the register."""

    run: str
    step: str
    stage: str
    model: str | None
    started_at: str
    cost: Money
    """Zero when nothing was measured."""
    measured: bool
    phase: Phase
    treatment: Treatment
    rule: str
    paragraph: str
    reason: str


def enter(
    run: RunFacts,
    turns: Sequence[Turn],
    available: datetime.datetime | None,
    config: LedgerConfig,
) -> Entry:
    """The entry of `run`; `turns` and `available` are those of the model that it served."""
    start = started(run)
    standing = Standing(
        unmet=unmet_at(turns, start),
        available_since=available.isoformat() if available and available <= start else "",
    )
    found = classify(run, standing)
    return Entry(
        run=run.run,
        step=run.step,
        stage=run.stage,
        model=run.model,
        started_at=run.started_at,
        cost=price(run.usage, config.rates) if run.usage else zero(config.currency),
        measured=run.usage is not None,
        phase=found.phase,
        treatment=found.treatment,
        rule=found.rule,
        paragraph=found.paragraph,
        reason=found.reason,
    )


def available_since(
    runs: Sequence[RunFacts], config: LedgerConfig, model: str, promoted_at: str = ""
) -> datetime.datetime | None:
    """When `model` became, or is to become, available for use (IAS 38.97); None if nothing tells.

    The first of the days that are stated and of when it was first released as production, or
    promoted to it (`promoted_at`, ISO 8601; empty: never): no day that is stated afterwards takes
    back that it was in use. A candidate is not in use yet: to release one ends no development.
    """
    found = [
        ended(run)
        for run in runs
        if run.model == model
        and run.stage == "release"
        and run.status == "succeeded"
        and run.alias == PRODUCTION
    ]
    if promoted_at:
        found.append(moment(promoted_at))
    if own := config.models.get(model, AssetConfig()).available_on:
        found.append(moment(own))
    if config.available_on:
        day = moment(config.available_on)
        first = first_own_run(runs).get(model, day)
        if not others_on_record(runs, model, max(day, first)):
            found.append(day)
    return min(found, default=None)
