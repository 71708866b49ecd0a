"""What is known of a version: its gate's report, who did what; and two versions compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tunesmith.core import catalog, evidence
from tunesmith.core.canonical import fingerprint
from tunesmith.core.catalog import Run
from tunesmith.core.db import Transaction
from tunesmith.core.errors import DataError, NotFound
from tunesmith.project import Project
from tunesmith.records.evaluation import Comparison, Evaluation, GateResult, RuleResult
from tunesmith.records.model import ModelVersion
from tunesmith.records.suite import SuiteResult, outcomes
from tunesmith.registry.standing import Entry, listed, split

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All that there is to say of where a version stands."""

    entry: Entry
    made_by: str
    gate: GateResult | None
    """The newest report of its gate; None when it was never judged."""
    gate_run: int
    """Id of the run that judged; 0 when there is none."""
    registered: str
    """A sentence: whether what the gate asks was on record before the result was known."""
    suites: tuple[SuiteResult, ...] = ()
    """What was found of it beyond its task: the newest result of each suite, by name."""
    outcomes: tuple[RuleResult, ...] = ()
    """How those keep to the limits that the project file has for them now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Beside:
    """Two versions, each by its newest evaluation that shares rows with the other's."""

    first: Evaluation
    second: Evaluation
    comparison: Comparison | None
    """The second minus the first; None where there is no row to compare them on."""


def report(project: Project, version: str) -> Report:
    """Where a version stands, and how it came there.

    Raises:
        UsageError: `version` is not of the form MODEL@NUMBER.
        NotFound: there is no such version.
    """
    entry = _entry(project, version)
    with project.runner.database.read() as connection:
        made_by = catalog.run(connection, entry.version.run_id).actor
        evaluations = {
            run.output.sha256: run for run in _evaluations(connection, entry) if run.output
        }
        judged = [
            run
            for run in catalog.all_runs(connection)
            if run.kind == "gate@1"
            and run.status == "succeeded"
            and run.identity["inputs"]["tuned"][0] in evaluations
        ]
        registered = _registered(connection, judged[-1], evaluations) if judged else ""
        suites = {
            run.step: run
            for run in catalog.all_runs(connection)
            if run.kind == "probe@1"
            and run.status == "succeeded"
            and run.identity["inputs"]["model"] == [entry.version.digest]
        }
    found: list[SuiteResult] = [project.load(suites[name]) for name in sorted(suites)]
    return Report(
        entry=entry,
        made_by=made_by,
        gate=project.load(judged[-1]) if judged else None,
        gate_run=judged[-1].id if judged else 0,
        registered=registered,
        suites=tuple(found),
        outcomes=tuple(rule for each in found for rule in _outcomes(project, each)),
    )


def compared(project: Project, first: str, second: str) -> Beside:
    """Two versions side by side, on the rows that both were asked and neither was tuned on.

    Raises:
        UsageError: one is not of the form MODEL@NUMBER.
        NotFound: there is no such version, or it was never evaluated.
    """
    from tunesmith.stages.evaluate.compare import Asking, compare_as
    from tunesmith.stages.evaluate.rows import trained_on

    entries = [_entry(project, version) for version in (first, second)]
    with project.runner.database.read() as connection:
        runs = [list(_evaluations(connection, entry)) for entry in entries]
        made = [catalog.run(connection, entry.version.run_id) for entry in entries]
    evaluated: list[list[Evaluation]] = [[project.load(run) for run in each[::-1]] for each in runs]
    for entry, found in zip(entries, evaluated, strict=True):
        if not found:
            raise NotFound(f"{entry.name} was never evaluated", remedy="run: `tunesmith run`")
    models: list[ModelVersion] = [project.load(run) for run in made]
    blobs = project.runner.blobs
    seen = [trained_on(blobs, model) for model in models]
    asking = Asking(
        confidence=CONFIDENCE,
        seed=project.file.project.seed,
        versus=first,
        left_out=frozenset().union(*seen),
        shared=True,
    )
    for before in evaluated[0]:
        for after in evaluated[1]:
            try:
                comparison = compare_as(before, after, blobs, asking)
            except DataError:  # no row in common, or another metric
                continue
            return Beside(first=before, second=after, comparison=comparison)
    return Beside(first=evaluated[0][0], second=evaluated[1][0], comparison=None)


def _limits(body: Mapping[str, Any]) -> list[str]:
    """The digest of the limits of suites that a gate was registered with, as inputs name it."""
    return [fingerprint(body["limits"])] if "limits" in body else []


def _outcomes(project: Project, found: SuiteResult) -> tuple[RuleResult, ...]:
    """None of a suite that the project file does not have any more."""
    name, _, _ = found.model.partition("~")
    suites = project.file.suites_of(name) if name in project.file.model else {}
    return outcomes(found, suites[found.suite].judged_by()) if found.suite in suites else ()


def _entry(project: Project, version: str) -> Entry:
    name, _ = split(version)
    found = {entry.name: entry for entry in listed(project, name)}
    if version not in found:
        raise NotFound(
            f"there is no model version {version}",
            remedy=f"there is: {', '.join(found) or 'none of that name'}",
        )
    return found[version]


def _evaluations(connection: Transaction, entry: Entry) -> Iterator[Run]:
    """The runs that evaluated a version, oldest first."""
    for run in catalog.all_runs(connection):
        of_it = run.kind == "evaluate-tuned@1" and run.status == "succeeded"
        if of_it and run.identity["inputs"]["model"] == [entry.version.digest]:
            yield run


def _registered(connection: Transaction, judged: Run, evaluations: dict[str, Run]) -> str:
    """Whether what a gate asks stood in the evidence before the model was asked."""
    evaluation = evaluations[judged.identity["inputs"]["tuned"][0]]
    dataset = evaluation.identity["inputs"]["dataset"][0]
    asked = fingerprint(judged.identity["config"])
    before = [
        entry
        for entry in evidence.entries(connection, "gate.registered")
        if fingerprint(entry.body["settings"]) == asked
        and entry.body["dataset"] == dataset
        and _limits(entry.body) == judged.identity["inputs"].get("limits", [])
    ]
    known = [
        entry
        for entry in evidence.entries(connection, "run.finished")
        if entry.body["run"] == evaluation.id
    ]
    if before and known and before[0].seq < known[0].seq:
        return (
            f"registered: what the gate asks is evidence {before[0].seq} ({before[0].at}), the "
            f"result is evidence {known[0].seq} ({known[0].at}). It was said then that of "
            f"{before[0].body['could']}"
        )
    return (
        "NOT registered before the result: what the gate asks was set, or changed, when the model "
        f"had been evaluated (run {evaluation.id}, {evaluation.finished_at})"
    )
