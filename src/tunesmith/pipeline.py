"""The main path, and the only file that knows the order of the stages.

source -> data asset -> dataset -> model version -> evaluation -> gate -> release
               |                                                            |
               +-> index -> cited answer          traces <- endpoint <------+
                                                     |
           retraining <- proposal <- signal <- traffic
and every run -> ledger
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tunesmith.core import catalog
from tunesmith.core.catalog import Run
from tunesmith.core.errors import GateFailed, StoreError, UsageError
from tunesmith.core.meter import Usage
from tunesmith.core.step import Step
from tunesmith.graph import (
    OWN,
    Graph,
    ModelPath,
    WatchPath,
    build,
    export_of,
    ordered,
    pilots,
    recipe_of,
    to_set,
    transfers,
    watch_traffic,
    whole_tokens,
)
from tunesmith.ledger.cost import price, zero
from tunesmith.ledger.register import Register, register
from tunesmith.ledger.runs import facts
from tunesmith.project import Project
from tunesmith.records.data import DataAsset, Dataset
from tunesmith.records.evaluation import Evaluation, GateResult
from tunesmith.records.export import Export
from tunesmith.records.index import Index
from tunesmith.records.model import ModelVersion
from tunesmith.records.release import Release
from tunesmith.records.rivals import (
    Pilot,
    Piloted,
    Spent,
    Transferred,
    TransferReport,
    clear_best,
    front,
)
from tunesmith.records.signal import Proposal, Signal
from tunesmith.stages.export.config import ExportConfig
from tunesmith.stages.finetune.control import Request, request
from tunesmith.stages.monitor.traffic import gather

CONFIDENCE = 0.95
"""Of the intervals that rivals are shown with."""

if TYPE_CHECKING:
    from tunesmith.stages.finetune.preflight import FirstBatch


def run(project: Project) -> Result:
    """Take a project from its sources to released models, indexes, signals and proposals.

    Raises:
        GateFailed: a model did not pass. All that was made before its release is kept.
    """
    graph = build(project.file)
    assets = {name: project.run(step) for name, step in graph.assets.items()}
    models = {name: make_model(project, path) for name, path in graph.models.items()}
    indexes = {name: project.run(step) for name, step in graph.indexes.items()}
    watched = {name: watch(project, path) for name, path in graph.watches.items()}
    require_passed(models)
    return Result(assets=assets, models=models, indexes=indexes, watched=watched)


def make_model(project: Project, path: ModelPath) -> Made:
    """Cut the dataset, evaluate the base, tune, evaluate again, judge; release on a pass."""
    dataset = project.run(path.dataset)
    preview(project, path)
    made = Made(
        dataset=dataset,
        base=project.run(path.base_evaluation),
        model=project.run(path.model),
        tuned=project.run(path.tuned_evaluation),
    )
    if path.gate is None or path.release is None:
        return made
    verdict = project.run(path.gate)
    if verdict.verdict != "pass":
        return replace(made, gate=verdict)
    return replace(made, gate=verdict, release=project.run(path.release))


def preview(project: Project, path: ModelPath) -> None:
    """Say what tuning on the dataset that was just cut would roughly take, unless it is done."""
    (planned,) = project.runner.plan([path.model])
    if planned.hit is None:
        project.preview(path.model)


def watch(project: Project, path: WatchPath) -> Watched:
    """Compare each stream of traffic with what the model was tuned on; propose what to do."""
    signals = tuple(project.run(step) for step in path.signals)
    return Watched(signals=signals, proposal=project.run(path.proposal))


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
    models: Mapping[str, Made]
    indexes: Mapping[str, Index]
    watched: Mapping[str, Watched]


def require_passed(models: Mapping[str, Made]) -> None:
    """Raise GateFailed, with each rule that was not met, unless every gate said pass."""
    for name, made in models.items():
        if made.gate is None or made.gate.verdict == "pass":
            continue
        raise GateFailed(
            f"gate {made.gate.gate} says {made.gate.verdict} for {name}: {made.gate.failed()}",
            remedy="the model version is kept but not released; see the worst rows with "
            "`tunesmith model mistakes`, add data or change the recipe, and run again",
        )


def changed_path(project: Project, proposal: Proposal) -> ModelPath:
    """The model's path with the proposal's sources added to its dataset.

    The labels stay those that the model knows: a new one is another model, not a retrained one.
    """
    file = project.file
    name = file.model[proposal.model].dataset
    dataset = file.dataset[name]
    known = project.run(build(file).datasets[name])
    wider = dataset.model_copy(
        update={"sources": (*dataset.sources, *proposal.add_sources), "labels": known.labels}
    )
    changed = file.model_copy(update={"dataset": file.dataset | {name: wider}})
    return build(changed).models[proposal.model]


# Rivals of a model's recipe: every one is a run like any other.


def transfer_report(project: Project, name: str) -> TransferReport:
    """A model beside its base untuned, its trunk frozen, and its architecture from random weights.

    Raises:
        UsageError: the model itself starts from random weights.
    """
    from tunesmith.stages.evaluate.compare import compare

    path = build(project.file).models[name]
    if recipe_of(path).start == "random":
        raise UsageError(
            f"model {name} starts from random weights, so nothing is transferred",
            remedy=f"add --set model.{name}.start=pretrained",
        )
    rates, blobs, seed = project.file.ledger.rates, project.runner.blobs, project.file.project.seed
    rivals = transfers(path)
    own = make_model(project, rivals[OWN])
    rows = [
        Transferred(
            variant="untuned base",
            num_trainable=0,
            num_steps=0,
            num_trained_tokens=0,
            spent=Spent(wall_s=0.0, cost=zero(rates.currency)),
            accuracy=own.base.accuracy,
            macro_f1=own.base.macro_f1,
            versus_own=compare(own.tuned, own.base, blobs, confidence=CONFIDENCE, seed=seed),
        )
    ]
    for variant, rival in rivals.items():
        made = own if variant == OWN else make_model(project, rival)
        used, _ = used_by(project, rival.model)
        against = compare(own.tuned, made.tuned, blobs, confidence=CONFIDENCE, seed=seed)
        rows.append(
            Transferred(
                variant=variant,
                num_trainable=made.model.num_trainable,
                num_steps=made.model.num_steps,
                num_trained_tokens=made.model.num_trained_tokens,
                spent=Spent(wall_s=used.wall_s, cost=price(used, rates)),
                accuracy=made.tuned.accuracy,
                macro_f1=made.tuned.macro_f1,
                versus_own=against if made is not own else None,
            )
        )
    return TransferReport(model=name, num_rows=own.tuned.num_rows, variants=tuple(rows))


def pilot(project: Project, name: str) -> Pilot:
    """Rival recipes of a model on a few of its training rows: what they are worth, and would cost.

    Raises:
        DataError: there are too few training rows to keep some for asking.
    """
    from tunesmith.lm.size import num_layers
    from tunesmith.stages.evaluate.compare import estimates

    path = build(project.file).models[name]
    dataset, base = project.run(path.dataset), project.run(path.base)
    rivals = pilots(path, dataset.train.num_rows, num_layers(base, project.runner.blobs))
    tried = []
    for tag, rival in rivals.items():
        preview(project, rival)
        model, asked = project.run(rival.model), project.run(rival.tuned_evaluation)
        loss, accuracy = estimates(
            asked, project.runner.blobs, confidence=CONFIDENCE, seed=project.file.project.seed
        )
        changes, leave_out = to_set(recipe_of(path), recipe_of(rival))
        tried.append(
            Piloted(
                recipe=tag,
                changes=changes,
                leave_out=leave_out,
                num_trainable=model.num_trainable,
                num_steps=model.num_steps,
                loss=loss,
                accuracy=accuracy,
                **_spent(project, rival.model, model, whole_tokens(recipe_of(path), dataset.train)),
            )
        )
    recipe = recipe_of(rivals["own"])
    return Pilot(
        model=name,
        share_of_rows=recipe.share_of_rows,
        num_trained_rows=max(1, round(recipe.share_of_rows * dataset.train.num_rows)),
        num_asked_rows=asked.num_rows,
        confidence=CONFIDENCE,
        recipes=tuple(sorted(tried, key=lambda each: each.loss.mean)),
        front=front(tried),
        best=clear_best(tried),
    )


def used_by(project: Project, step: Step) -> tuple[Usage, Mapping[str, float]]:
    """What a step that ran used, over all attempts, and the last point of each of its curves."""
    (planned,) = project.runner.plan([step])
    assert planned.hit is not None
    with project.runner.database.read() as connection:
        curves = catalog.run_metrics(connection, planned.hit.id)
    usages = [
        Usage(**run.usage) for run in project.runs() if run.key == planned.hit.key and run.usage
    ]
    total = replace(
        usages[-1],
        wall_s=sum(usage.wall_s for usage in usages),
        cpu_s=sum(usage.cpu_s for usage in usages),
        joules=sum(usage.joules for usage in usages),
    )
    return total, {name: points[-1][1] for name, points in curves.items()}


def _spent(project: Project, step: Step, model: ModelVersion, tokens: float) -> dict[str, Spent]:
    """What a pilot took, and what it would have with so many `tokens`.

    Loading and checking take what they take; only what is left to train is added, at the speed that
    the pilot went. If that is not known, because nothing was left to do when it was interrupted,
    all of its time counts as training.
    """
    used, last = used_by(project, step)
    left = max(0.0, tokens - model.num_trained_tokens)
    speed = last.get("tokens_per_s", model.num_trained_tokens / used.wall_s)
    cpu_speed = last.get("tokens_per_cpu_s", model.num_trained_tokens / used.cpu_s)
    cpu_s = used.cpu_s + left / cpu_speed
    whole = replace(
        used,
        wall_s=used.wall_s + left / speed,
        cpu_s=cpu_s,
        joules=used.joules * cpu_s / used.cpu_s,
    )
    rates = project.file.ledger.rates
    return {
        "spent": Spent(wall_s=used.wall_s, cost=price(used, rates)),
        "whole": Spent(wall_s=whole.wall_s, cost=price(whole, rates)),
    }


# Beside the path: what was served, and what every run cost.


def watch_served(project: Project, name: str, service: str) -> Signal:
    """Compare what a service was asked and answered with what its model was tuned on.

    Raises:
        NotFound: the service has answered nothing yet.
    """
    traffic = gather(service, project.traces(service), "served", project.runner.blobs)
    signal: Signal = project.run(watch_traffic(project.file, name, service, traffic))
    return signal


def ask_of_run(project: Project, name: str, wish: Request) -> None:
    """Ask the tuning run of a model, at another terminal, to pause, to go on or to stop.

    Raises:
        NotFound: it is not running.
    """
    step = build(project.file).models[name].model
    request(project.kept_of_running(step), wish)


def first_batch(project: Project, name: str) -> FirstBatch:
    """The first batch that a model would be tuned on, token by token; nothing is trained."""
    from tunesmith.stages.finetune.preflight import look

    path = build(project.file).models[name]
    dataset, base = project.run(path.dataset), project.run(path.base)
    recipe, seed = project.file.model[name], project.file.project.seed
    return look(recipe, project.runner.blobs, base, dataset, seed)


def export(project: Project, name: str, config: ExportConfig) -> Export:
    """A model in another form, kept only if it answers as the tuned model does.

    Raises:
        GateFailed: it does not.
        NotFound: the model is not tuned as it is set now.
    """
    project.runner.current(build(project.file).models[name].model)  # to export is not to tune
    made: Export = project.run(export_of(project.file, name, config))
    return made


def books(project: Project) -> Register:
    """The register of every run of this project, derived afresh from the evidence."""
    runs = project.runs()
    done = {run.id: _read(project, run) for run in runs if run.status == "succeeded"}
    passed = {id: made.verdict == "pass" for id, made in done.items() if type(made) is GateResult}
    aliases = {id: made.move.alias for id, made in done.items() if type(made) is Release}
    served = _served_models(build(project.file), runs)
    return register(facts(runs, served, passed, aliases), project.file.ledger)


def _read(project: Project, run: Run) -> Any:
    """What a run made. What cannot be read is not shown: accounting makes no run fail."""
    try:
        return project.load(run)
    except (StoreError, ValueError):
        return None


def _served_models(graph: Graph, runs: Iterable[Run]) -> dict[str, str]:
    """Which model a step serves: each step on the path of exactly one, and each of its exports."""
    served: dict[str, set[str]] = {}
    for name, path in graph.models.items():
        for step in ordered(*path.steps()):
            served.setdefault(step.name, set()).add(name)
    for exported in {run.step for run in runs if run.kind == "export@1"}:
        served[exported] = {exported.partition(":")[2].partition("/")[0]} & graph.models.keys()
    return {step: names.pop() for step, names in served.items() if len(names) == 1}
