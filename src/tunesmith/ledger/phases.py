"""What kind of cost a run is, with the paragraph and the reason.

What decides was known when the run started, so that no later run changes an earlier entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tunesmith.ledger.config import Letter
from tunesmith.ledger.criteria import CRITERIA
from tunesmith.ledger.facts import RunFacts, is_trial
from tunesmith.ledger.rules import RULES

Phase = Literal["research", "development", "inefficiency", "maintenance", "operation"]
Treatment = Literal["capitalise", "expense"]

OPERATION = frozenset({"serve", "replay", "monitor"})
SERVED_BESIDES: dict[str, str] = {
    "fetch": "package",
    "land": "local file",
    "query": "database",
    "call": "API",
    "collect": "bucket",
    "stream": "program",
    "ingest": "data asset",
    "transform": "data asset",
    "licence": "data asset",
    "assess": "data asset",
    "index": "index",
    "embed": "dataset",
    "value": "dataset",
    "replay": "monitor",
    "monitor": "monitor",
}
"""By stage: what a run is for when it is not for one model. Such a run lacks no record."""
SHARED = frozenset(
    {
        "fetch", "land", "query", "call", "collect", "stream", "ingest", "transform", "licence",
        "assess", "embed", "value",
    }
)  # fmt: skip
"""Stages whose runs are for data, which may be shared by several models."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How the model that a run served stood when the run started."""

    unmet: tuple[Letter, ...]
    """Letters of the criteria that were not met or not shown; none: the window was open."""
    available_since: str
    """ISO 8601 moment of its availability for use; empty when it was not yet available."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Classification:
    """The phase of a run, what follows for the books, and why."""

    phase: Phase
    treatment: Treatment
    rule: str
    paragraph: str
    reason: str


def classify(run: RunFacts, standing: Standing) -> Classification:
    """The phase of `run`; whatever is not shown to be development is expensed."""
    if run.status != "succeeded":
        why = f": {run.note}" if run.note else ""
        return _expense("inefficiency", "R08", f"the run {_ENDINGS[run.status]}{why}")
    if run.model is None and run.stage in SERVED_BESIDES:
        phase: Phase = "operation" if run.stage in OPERATION else "research"
        return _expense(phase, "R11" if phase == "operation" else "R04", _besides(run))
    if run.stage in OPERATION:
        return _expense("operation", "R11", f"{run.stage} uses the model or watches it in use")
    if run.stage == "retrain":
        return _expense("maintenance", "R12", "it considers whether to retrain")
    if run.model is None:
        return _expense("research", "R04", _of_no_model(run))
    if standing.available_since:
        return _expense(
            "maintenance",
            "R12",
            f"the model has been available for use since {standing.available_since}",
        )
    if run.stage == "evaluate" and run.subject == "base":
        return _expense("research", "R04", "it evaluates an alternative, the base model as it came")
    if not standing.unmet:
        rule = RULES["R05"]
        return Classification(
            phase="development",
            treatment="capitalise",
            rule=rule.id,
            paragraph=rule.citation,
            reason="all six criteria were met when it started",
        )
    letters = "; ".join(f"({letter}) {CRITERIA[letter]}" for letter in standing.unmet)
    rule_id = "R04" if "a" in standing.unmet else "R06"
    return _expense("research", rule_id, f"not met or not shown when it started: {letters}")


def _besides(run: RunFacts) -> str:
    """What `run` serves: the name in its step, e.g. "index:licences" or "monitor:desk/tags"."""
    name = run.step.partition(":")[2].partition("/")[0]
    serves = f"serves the {SERVED_BESIDES[run.stage]} {name}"
    if run.stage in SHARED:
        return f"{serves}, not one model alone: {_used_by(run)}"
    return f"{serves}, not a model"  # an index or a monitor is none


def _of_no_model(run: RunFacts) -> str:
    if is_trial(run):
        return "it tries a recipe beside the model's own"
    return f"it cannot be told apart: {_used_by(run)}"


def _used_by(run: RunFacts) -> str:
    if run.shared_by:
        return f"what it made was for {' and '.join(run.shared_by)}"
    return "the process that ran it tuned no model on what it made"


_ENDINGS = {"failed": "failed", "interrupted": "was interrupted"}


def _expense(phase: Phase, rule_id: str, reason: str) -> Classification:
    rule = RULES[rule_id]
    return Classification(
        phase=phase,
        treatment="expense",
        rule=rule.id,
        paragraph=rule.citation,
        reason=reason,
    )
