"""What is known of a version: its gate's report, who did what; and two versions compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tunesmith.core import catalog, evidence, waiver
from tunesmith.core.canonical import fingerprint
from tunesmith.core.catalog import Run
from tunesmith.core.db import Transaction
from tunesmith.core.errors import BlobMissing, DataError, NotFound
from tunesmith.core.waiver import Waiver
from tunesmith.project import Project
from tunesmith.records.audit import Audit
from tunesmith.records.data import Dataset
from tunesmith.records.evaluation import Comparison, Evaluation, GateResult, RuleResult
from tunesmith.records.model import ModelVersion
from tunesmith.records.suite import SuiteBeside, SuiteResult, outcomes
from tunesmith.registry.standing import Entry, listed, split
from tunesmith.stages.probe.config import suites_of

CONFIDENCE = 0.95
MOST_WORDS = 8
"""Of the training rows: so many an audit tries."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Registration:
    """What the evidence has of what a gate asks, and of the result."""

    before_result: bool
    seq: int
    """Of the first entry that has the gate's settings for this dataset; 0: there is none."""
    at: str
    result_seq: int
    """Of the entry of the evaluation that was judged."""
    result_run: int
    result_at: str
    could: str
    """What it was said then that the rows could show."""

    def __str__(self) -> str:
        if self.before_result:
            return (
                f"registered: what the gate asks is evidence {self.seq} ({self.at}), the "
                f"result is evidence {self.result_seq} ({self.result_at}). It was said then that "
                f"of {self.could}"
            )
        return (
            "NOT registered before the result: what the gate asks was set, or changed, when the "
            f"model had been evaluated (run {self.result_run}, {self.result_at})"
        )


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
    besides: tuple[SuiteBeside, ...] = ()
    """The newest comparison of each suite with the version under an alias."""
    suites: tuple[SuiteResult, ...] = ()
    """What was found of it beyond its task: the newest result of each suite, by name."""
    outcomes: tuple[RuleResult, ...] = ()
    """How those keep to the limits that the project file has for them now."""
    registration: Registration | None = None
    """The same as figures."""
    audit: Audit | None = None
    """The newest audit of its weights, whether a gate asked for it or not."""
    words: tuple[str, ...] = ()
    """The words of the training rows that the audit tried, in order, if it found some to look at
    and the rows are still there."""
    waivers: tuple[Waiver, ...] = ()
    """Results behind it that were kept although the code that made them changed since."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Beside:
    """Two versions, each by its newest evaluation that shares rows with the other's."""

    first: Evaluation
    second: Evaluation
    comparison: Comparison | None
    """The second minus the first; None where there is no row to compare them on."""
    why: str = ""
    """Why there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """A run of a gate, and that of the evaluation that it judged."""

    run: Run
    evaluation: Run

    def registration(self, connection: Transaction) -> Registration:
        """Whether what the gate asks stood in the evidence before the model was asked."""
        return _registered(connection, self.run, self.evaluation)


def judgements(runs: Sequence[Run], entry: Entry) -> list[Judgement]:
    """Every time that a gate judged a version, of all `runs`, oldest first."""
    evaluations = {run.output.sha256: run for run in _evaluations(runs, entry) if run.output}
    return [
        Judgement(run=run, evaluation=evaluations[run.identity["inputs"]["tuned"][0]])
        for run in runs
        if run.kind == "gate@1"
        and run.status == "succeeded"
        and run.identity["inputs"]["tuned"][0] in evaluations
    ]


def report(project: Project, version: str) -> Report:
    """Where a version stands, and how it came there.

    Raises:
        UsageError: `version` is not of the form MODEL@NUMBER.
        NotFound: there is no such version.
    """
    entry = entry_of(project, version)
    with project.runner.database.read() as connection:
        runs = catalog.all_runs(connection)
        judged = judgements(runs, entry)
        of_it = [
            run
            for run in runs
            if run.kind in ("audit@1", "probe@1", "probe-beside@1")
            and run.status == "succeeded"
            and run.identity["inputs"]["model"] == [entry.version.digest]
        ]
        found = judged[-1].registration(connection) if judged else None
        of_gate = [each.run.output.sha256 for each in judged[-1:] if each.run.output]
        waivers = waiver.behind(connection, entry.version.digest, *of_gate)
    audits = [run for run in of_it if run.kind == "audit@1"]
    suites = _suites(project, [run for run in of_it if run.kind == "probe@1"])
    audit: Audit | None = project.load(audits[-1]) if audits else None
    return Report(
        entry=entry,
        made_by=next(run.actor for run in runs if run.id == entry.version.run_id),
        gate=project.load(judged[-1].run) if judged else None,
        gate_run=judged[-1].run.id if judged else 0,
        registered=str(found) if found else "",
        registration=found,
        audit=audit,
        words=_words(project, audits[-1]) if audit and audit.to_look_at else (),
        waivers=tuple(waivers),
        suites=suites,
        besides=tuple(
            project.load(run)
            for run in {run.step: run for run in of_it if run.kind == "probe-beside@1"}.values()
        ),
        outcomes=tuple(rule for each in suites for rule in _outcomes(project, each)),
    )


def newest_gate(project: Project, entry: Entry) -> GateResult | None:
    """The newest report of a version's gate; None when it was never judged."""
    judged = judgements(project.runs(), entry)
    return project.load(judged[-1].run) if judged else None


def _words(project: Project, audited: Run) -> tuple[str, ...]:
    """What the record of an audit calls by number, read from the rows themselves."""
    from tunesmith.stages.audit.words import telling, texts_of

    blobs = project.runner.blobs
    (digest,) = audited.identity["inputs"]["dataset"]
    try:
        dataset = project.record(Dataset, digest)
        return tuple(telling(texts_of(blobs, dataset.train.rows))[:MOST_WORDS])
    except BlobMissing:  # erased
        return ()


def compared(project: Project, first: str, second: str, metric: str = "") -> Beside:
    """Two versions side by side, on the rows that both were asked and neither was tuned on; by
    `metric`, or by what gates compare first.

    Raises:
        UsageError: one is not of the form MODEL@NUMBER, or there is no such metric of both.
        NotFound: there is no such version, or it was never evaluated.
    """
    from tunesmith.paired.seen import trained_on
    from tunesmith.stages.evaluate.compare import Asking, compare_as

    entries = [entry_of(project, version) for version in (first, second)]
    with project.runner.database.read() as connection:
        every = catalog.all_runs(connection)
        runs = [list(_evaluations(every, entry)) for entry in entries]
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
        metric=metric,
        versus=first,
        left_out=frozenset().union(*seen),
        shared=True,
    )
    why = ""
    for before in evaluated[0]:
        for after in evaluated[1]:
            try:
                comparison = compare_as(before, after, blobs, asking)
            except DataError as error:  # no row in common, other tokens, or another metric
                why = error.message
                continue
            return Beside(first=before, second=after, comparison=comparison)
    return Beside(first=evaluated[0][0], second=evaluated[1][0], comparison=None, why=why)


def _suites(project: Project, runs: Sequence[Run]) -> tuple[SuiteResult, ...]:
    """The newest result of each suite, by name; `runs` are those of suites, oldest first."""
    # By its name: a version that others are compared with is asked by steps of theirs, too.
    newest = {run.identity["config"]["suite"]: run for run in runs}
    return tuple(project.load(newest[name]) for name in sorted(newest))


def _outcomes(project: Project, found: SuiteResult) -> tuple[RuleResult, ...]:
    """None of a suite that the project file does not have any more."""
    file, name = project.file, found.model
    model = file.model.get(name)
    suites = suites_of(name, model.objective, file.suite) if model else {}
    return outcomes(found, suites[found.suite].judged_by()) if found.suite in suites else ()


def entry_of(project: Project, version: str) -> Entry:
    """The version that "desk@2" names, and what became of it.

    Raises:
        UsageError: `version` is not of the form MODEL@NUMBER.
        NotFound: there is no such version.
    """
    name, _ = split(version)
    found = {entry.name: entry for entry in listed(project, name)}
    if version not in found:
        raise NotFound(
            f"there is no model version {version}",
            remedy=f"there is: {', '.join(found) or 'none of that name'}",
        )
    return found[version]


def _evaluations(runs: Iterable[Run], entry: Entry) -> Iterator[Run]:
    """Those of the runs that evaluated a version, oldest first."""
    for run in runs:
        of_it = run.kind == "evaluate-tuned@1" and run.status == "succeeded"
        if of_it and run.identity["inputs"]["model"] == [entry.version.digest]:
            yield run


def _registered(connection: Transaction, judged: Run, evaluation: Run) -> Registration:
    dataset = evaluation.identity["inputs"]["dataset"][0]
    asked = fingerprint(judged.identity["config"])
    said = [
        entry
        for entry in evidence.entries(connection, "gate.registered")
        if fingerprint(entry.body["settings"]) == asked and entry.body["dataset"] == dataset
    ]
    known = [
        entry
        for entry in evidence.entries(connection, "run.finished")
        if entry.body["run"] == evaluation.id
    ]
    return Registration(
        before_result=bool(said and known and said[0].seq < known[0].seq),
        seq=said[0].seq if said else 0,
        at=said[0].at if said else "",
        result_seq=known[0].seq if known else 0,
        result_run=evaluation.id,
        result_at=known[0].at if known else evaluation.finished_at or "",
        could=said[0].body["could"] if said else "",
    )
