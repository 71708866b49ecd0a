"""What the ledger is told about a run. It is filled from the evidence log and from nothing else."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tunesmith.core.meter import Usage

OF_ONE_MODEL = frozenset(
    {"finetune", "evaluate", "probe", "slice", "audit", "gate", "release", "export"}
)
"""Stages whose steps have the name of the model that they are for."""
TRIAL = "~"
"""In the name of a step it parts the model from a recipe that was tried beside its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFacts:
    """One execution of a step, as the evidence log has it."""

    run: str
    """Identity of the run."""
    step: str
    """Where the step stands in the project, e.g. "finetune:desk"."""
    stage: str
    """What ran: fetch, land, query, call, collect, stream, ingest, licence, assess, base, curate,
    finetune, evaluate, probe, audit, gate, release, index, embed, value, replay, monitor, retrain
    or serve."""
    status: Literal["succeeded", "failed", "interrupted"]
    started_at: str
    """ISO 8601, by the clock of the store; without an offset it is UTC."""
    usage: Usage | None
    """What was measured; None when the run ended before it could be."""
    model: str | None
    """The model that the run served; None when it served no one model."""
    shared_by: tuple[str, ...] = ()
    """The models that it served where they are several."""
    gate_passed: bool | None = None
    """Of a gate: whether the verdict was "pass"; None for every other stage."""
    subject: Literal["base", "tuned"] | None = None
    """Of an evaluation: which weights were evaluated."""
    alias: str = ""
    """Of a release: the alias that it was released under, e.g. "production"."""
    note: str = ""
    """Why it failed, or another remark, for people."""


def moment(text: str) -> datetime.datetime:
    """The point in time that an ISO 8601 day or time names; a day stands for its first moment.

    Raises:
        ValueError: `text` is not ISO 8601.
    """
    parsed = datetime.datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=datetime.UTC)


def started(run: RunFacts) -> datetime.datetime:
    """When `run` started."""
    return moment(run.started_at)


def ended(run: RunFacts) -> datetime.datetime:
    """When `run` ended: what it found was not known earlier."""
    return started(run) + datetime.timedelta(seconds=run.usage.wall_s if run.usage else 0.0)


def is_trial(run: RunFacts) -> bool:
    """Whether `run` is for a recipe that was tried beside a model's own."""
    return run.stage in OF_ONE_MODEL and TRIAL in run.step


def first_own_run(runs: Iterable[RunFacts]) -> dict[str, datetime.datetime]:
    """When each model was first on record: its first run that was for it by name started."""
    first: dict[str, datetime.datetime] = {}
    for run in runs:
        if run.model is not None and run.stage in OF_ONE_MODEL:
            first[run.model] = min(started(run), first.get(run.model, started(run)))
    return first
