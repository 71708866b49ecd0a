"""The main path: what is run, in which order, and what comes of it.

source -> data asset -> dataset -> model version -> evaluation -> gate -> release
               |                                                            |
               +-> index -> cited answer          traces <- endpoint <------+
                                                     |
           retraining <- proposal <- signal <- traffic
and every run -> ledger
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from tunesmith.core import catalog, lifecycle
from tunesmith.core.canonical import fingerprint
from tunesmith.core.catalog import Run, Version
from tunesmith.core.errors import GateFailed, StoreError
from tunesmith.core.event import Event
from tunesmith.core.settle import Task, settle
from tunesmith.core.step import Step
from tunesmith.core.waiver import Waiver
from tunesmith.documents.frozen import freeze
from tunesmith.graph import WatchPath, build, export_of, named, watch_traffic
from tunesmith.judging import (
    all_of,
    beside_the_released,
    beside_what_stands,
    compare_suites,
    planned_graph,
    refusal,
    register_gate,
    register_suites,
    require_metrics,
)
from tunesmith.ledger.register import Register, register
from tunesmith.ledger.runs import facts, served_models
from tunesmith.model_graph import ModelPath
from tunesmith.project import Project
from tunesmith.records.data import DataAsset, Dataset
from tunesmith.records.evaluation import Evaluation, GateResult
from tunesmith.records.export import Export
from tunesmith.records.index import Index
from tunesmith.records.model import ModelVersion
from tunesmith.records.release import PRODUCTION, Release
from tunesmith.records.signal import Proposal, Signal
from tunesmith.records.suite import SuiteResult, not_kept, outcomes
from tunesmith.registry.choice import Chosen, require_whole
from tunesmith.registry.gate_report import seal_judged
from tunesmith.registry.signing import (
    require_signed_if_asked,
    sign_release,
    signing_key,
)
from tunesmith.stages.export.config import ExportConfig
from tunesmith.stages.probe.config import suites_of

if TYPE_CHECKING:
    from tunesmith.stages.curate.doubts import DoubtfulRow
    from tunesmith.stages.finetune.first_batch import FirstBatch


def run(project: Project, parts: Collection[str] = ()) -> Result:
    """Take a project from its sources to released models, indexes, signals and proposals; or no
    more than `parts` of it, such as "model:desk", with all that they are made from.

    Raises:
        RunFailed: steps failed. All that does not need them is made, and kept.
        GateFailed: a model did not pass. All that was made before its release is kept.
    """
    tasks = _tasks(project)
    settled = settle(project.runner, {part: tasks[part] for part in parts or tasks})

    def of(what: str) -> dict[str, Any]:
        made = {part.partition(":"): record for part, record in settled.made.items()}
        return {name: record for (of_what, _, name), record in made.items() if of_what == what}

    settled.require_all(also=not_passed(of("model")))
    require_passed(of("model"))
    return Result(
        assets=of("source") | of("transform"),
        datasets=of("dataset"),
        models=of("model"),
        indexes=of("index"),
        watched=of("monitor"),
    )


def _tasks(project: Project) -> dict[str, Task]:
    """What makes each section, by its kind and name."""
    file, known, graph = project.file, newest(project), build(project.file)
    tasks: dict[str, Task] = {}
    for name, step in graph.assets.items():
        kind = "transform" if name in file.transform else "source"
        make = partial(make_asset, project, step, known.get(name))
        tasks[f"{kind}:{name}"] = Task(steps=[step], make=make)
    for name, step in graph.datasets.items():
        tasks[f"dataset:{name}"] = Task(steps=[step], make=partial(freeze, project, step))
    for name, model in graph.models.items():
        tasks[f"model:{name}"] = Task(steps=model.steps(), make=partial(make_model, project, model))
    for name, step in graph.indexes.items():
        tasks[f"index:{name}"] = Task(steps=[step], make=partial(project.run, step))
    for name, path in graph.watches.items():
        tasks[f"monitor:{name}"] = Task(steps=path.steps(), make=partial(watch, project, path))
    return tasks


def make_asset(project: Project, step: Step, before: Version | None) -> DataAsset:
    """Read a source in, or make a data asset from others; if that makes a version newer than
    `before`, say which of its fields came, went or have another type."""
    made: DataAsset = project.run(step)
    if (
        before is not None
        and fingerprint(made) != before.digest
        and newest(project)[made.name].number > before.number  # no older state that came back
    ):
        say_changed_fields(project, step, before, made)
    return made


def say_changed_fields(project: Project, step: Step, before: Version, made: DataAsset) -> None:
    """Say which fields came, went or have another type, if the older version can be read."""
    from tunesmith.stages.assess.fields import (  # a database, which is for new versions alone
        changes_said,
        field_changes,
        fields_of,
    )

    with project.runner.database.read() as connection:
        run = catalog.run(connection, before.run_id)
    try:
        had, has = (
            fields_of(project.runner.blobs.path(asset.rows), asset.num_rows)
            for asset in (project.load(run), made)
        )
    except StoreError:  # it was erased, or is damaged
        return
    if note := changes_said(field_changes(had, has)):
        project.runner.on_event(Event(step=step.name, what="warned", note=note))


def newest(project: Project) -> dict[str, Version]:
    """The newest version of each data asset, by its name."""
    return {each.name: each for each in project.versions() if each.kind == "data"}


def accept_unchanged(project: Project, names: Iterable[str], why: str) -> list[Waiver]:
    """Keep the results of the steps of those names although their code changed since.

    Raises:
        UsageError: there is no such step, no reason, or something else changed, too.
    """
    # In the order in which they run: what one is given is known once those before it are kept.
    runner = project.runner
    wanted = named(planned_graph(project), names)
    kept = [runner.planner.accept(step, why, runner.actor) for step in wanted]
    return [waiver for waiver in kept if waiver is not None]


def make_model(project: Project, path: ModelPath, *, judges: bool = True) -> Made:
    """Cut the dataset, evaluate the base, tune, evaluate again; if it `judges`, release on a pass.

    What the gate asks is on record before the model is asked, also if it is judged another day.
    """
    key = signing_key(project) if judges and path.gate else None  # said before hours of tuning
    if judges:
        require_metrics(path)
    if path.suites:  # as is that a file of theirs cannot be read
        from tunesmith.stages.probe.check import require_readable

        require_readable(path.suites.values(), project.folder)
    dataset = freeze(project, path.dataset)
    preview(project, path)
    register_gate(project, path, dataset)
    register_suites(project, path, dataset)
    base, model = project.runner.run_all(path.base_evaluation, path.model)
    made = Made(
        dataset=dataset,
        base=base,
        model=model,
        tuned=project.run(path.tuned_evaluation),
        suites={name: look_beyond(project, step) for name, step in path.suites.items()},
    )
    if judges and path.audit is not None:
        project.run(path.audit)  # documents say what it found, and a gate may ask for them
    path = beside_what_stands(project, path, fingerprint(made.model))
    compare_suites(project, path)
    if path.gate is None or path.release is None or not judges:
        return made
    verdict: GateResult = project.run(path.gate)
    seal_judged(project, made.model.name, path.gate.name, key)  # before anything moves by it
    if not verdict.admits:
        return replace(made, gate=verdict)
    release = project.run(path.release)
    if key is not None:
        sign_release(project, release, key)
    return replace(made, gate=verdict, release=release)


def preview(project: Project, path: ModelPath) -> None:
    """Say what tuning on the dataset that was just cut would roughly take, unless it is done."""
    (planned,) = project.runner.plan([path.model])
    if planned.hit is None:
        project.preview(path.model)


def look_beyond(project: Project, suite: Step) -> SuiteResult:
    """What a suite finds; say where that is beyond its limits, which here stops nothing. What the
    model cannot be asked at all is a UsageError."""
    found: SuiteResult = project.run(suite)
    found.require_asked()
    model = project.file.model[found.model]
    suites = suites_of(found.model, model.objective, project.file.suite)
    for said in not_kept(outcomes(found, suites[found.suite].judged_by())):
        project.runner.on_event(Event(step=suite.name, what="warned", note=said))
    return found


def watch(project: Project, path: WatchPath) -> Watched:
    """Compare each stream of traffic with what the model was tuned on; propose what to do."""
    signals = project.runner.run_all(*path.signals)
    return Watched(signals=tuple(signals), proposal=project.run(path.proposal))


def retrain(project: Project, proposal: Proposal) -> Made:
    """Run the changed plan of a proposal: its model's path with the added sources.

    Raises:
        GateFailed: the new model did not pass; the alias stays where it was.
    """
    made = make_model(project, changed_path(project, proposal))
    require_passed({proposal.model: made})
    return made


# What a run of the path made.


@dataclass(frozen=True, kw_only=True)
class Made:
    """The records of one model's path."""

    dataset: Dataset
    base: Evaluation
    model: ModelVersion
    tuned: Evaluation
    suites: Mapping[str, SuiteResult] = field(default_factory=dict)
    gate: GateResult | None = None
    release: Release | None = None


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What a monitor found, and what is proposed."""

    signals: tuple[Signal, ...]
    proposal: Proposal


@dataclass(frozen=True, kw_only=True)
class Result:
    """Records by the names of their sections."""

    assets: Mapping[str, DataAsset]
    datasets: Mapping[str, Dataset]
    models: Mapping[str, Made]
    indexes: Mapping[str, Index]
    watched: Mapping[str, Watched]


def require_passed(models: Mapping[str, Made]) -> None:
    """Raise GateFailed, with each rule that was not met, unless every gate said pass."""
    if errors := list(not_passed(models).values()):
        raise all_of(errors)


def not_passed(models: Mapping[str, Made]) -> dict[str, GateFailed]:
    """What the gates say that let nothing pass, by their steps' names."""
    return {
        f"gate:{name}": refusal(name, made.gate)
        for name, made in models.items()
        if made.gate is not None and not made.gate.admits
    }


def changed_path(project: Project, proposal: Proposal) -> ModelPath:
    """The model's path with the proposal's sources added, judged beside the released model.

    The labels stay those that the model knows: a new one is another model, not a retrained one.
    """
    file = project.file
    name = file.model[proposal.model].dataset
    dataset = file.dataset[name]
    wider: dict[str, Any] = {"sources": (*dataset.sources, *proposal.add_sources)}
    if dataset.format == "labels":
        wider["labels"] = project.run(build(file).datasets[name]).labels
    changed = file.model_copy(
        update={
            "dataset": file.dataset | {name: dataset.model_copy(update=wider)},
            "gate": {
                key: beside_the_released(gate) if gate.model == proposal.model else gate
                for key, gate in file.gate.items()
            },
        }
    )
    return build(changed).models[proposal.model]


# Beside the path: what was served, what is doubtful, and what every run cost.


def doubtful(project: Project, name: str) -> list[DoubtfulRow]:
    """The rows of a dataset, as it is set now, whose labels are doubtful; the worst first.

    Raises:
        NotFound: it has not been cut.
        UsageError: its rows have no labels.
    """
    from tunesmith.stages.curate.doubts import (
        doubtful_rows,
    )  # reads tables; the path itself does not

    dataset = project.runner.current(build(project.file).datasets[name])
    return doubtful_rows(dataset, project.runner.blobs)


def watch_served(project: Project, name: str, service: str) -> Signal:
    """Compare what a service was asked of the monitor's model, and answered, with what that model
    was tuned on.

    Raises:
        UsageError: the service does not serve that model.
        NotFound: it has answered nothing yet.
    """
    from tunesmith.stages.monitor.traffic import gather  # writes tables

    asked = project.traces(service, project.file.monitor[name].model)
    traffic = gather(service, asked, "served", project.runner.blobs)
    signal: Signal = project.run(watch_traffic(project.file, name, service, traffic))
    return signal


def first_batch(project: Project, name: str) -> FirstBatch:
    """The first batch that a model would be tuned on, token by token; nothing is trained."""
    from tunesmith.stages.finetune.first_batch import look

    path = build(project.file).models[name]
    dataset, base = freeze(project, path.dataset), project.run(path.base)
    recipe, seed = project.file.model[name], project.file.project.seed
    return look(recipe, project.runner.blobs, base, dataset, seed)


def export(project: Project, chosen: Chosen, config: ExportConfig) -> Export:
    """A model version in another form, kept only if it answers as the tuned model does.

    Raises:
        GateFailed: it does not.
        Conflict, NotFound: it cannot be shown, as some of it, or of its rows, is gone.
        SignatureError: it is not what was signed, where a public key is set.
    """
    require_signed_if_asked(project, chosen.model, chosen.name)
    step = export_of(project.file, chosen.model, chosen.dataset, config)
    (planned,) = project.runner.plan([step])
    require_whole(project, chosen, is_made=planned.hit is not None)
    made: Export = project.run(step)  # of what is on record: to export is not to tune
    return made


def books(project: Project) -> Register:
    """The register of every run of this project, derived afresh from the evidence."""
    runs = project.runs()
    done = {run.id: _read(project, run) for run in runs if run.status == "succeeded"}
    passed = {id: made.verdict == "pass" for id, made in done.items() if type(made) is GateResult}
    aliases = {id: made.move.alias for id, made in done.items() if type(made) is Release}
    served = served_models(runs)
    promoted: dict[str, str] = {}
    with project.runner.database.read() as connection:
        for name in sorted({name for names in served.values() for name in names}):
            for change in lifecycle.changes(connection, name):
                if change.what == "approved" and change.body["alias"] == PRODUCTION:
                    promoted.setdefault(name, change.at)
    return register(facts(runs, served, passed, aliases), project.file.ledger, promoted)


def _read(project: Project, run: Run) -> Any:
    """What a run made. What cannot be read is not shown: accounting makes no run fail."""
    try:
        return project.load(run)
    except (StoreError, ValueError):
        return None
