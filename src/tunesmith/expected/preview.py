"""What a plan can say of datasets and of tuning before they ran: rows, tokens, time and price."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.core.plan import Planned
from tunesmith.core.ref import Blob
from tunesmith.core.step import Step
from tunesmith.expected.size import DatasetPreview
from tunesmith.graph import Graph
from tunesmith.ledger.cost import price
from tunesmith.project import Project
from tunesmith.records.data import Dataset, Split
from tunesmith.records.money import Money
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.finetune.config import ModelConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelPreview:
    """What tuning would roughly take that never ran."""

    model: str
    is_estimate: bool
    """Whether its dataset is estimated, too."""
    wall_s: float
    cost: Money
    basis: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Previews:
    """All that can be said of what never ran."""

    datasets: tuple[DatasetPreview, ...]
    models: tuple[ModelPreview, ...]
    unknown: tuple[str, ...]
    """Names of datasets of which nothing can be said: a source, or the base model, was not read."""


def read_inputs(
    project: Project,
    graph: Graph,
    planned: Sequence[Planned],
    read: Callable[[str, Step], object],
) -> None:
    """Run what datasets that were not cut are measured with: their base models, and their data
    assets, each by `read` of its name and step."""
    hits = {each.step for each in planned if each.hit is not None}
    asked = [step for step in graph.datasets.values() if step not in hits]
    for name, asset in graph.assets.items():
        if any(asset in step.inputs["assets"] for step in asked):
            read(name, asset)
    for step in asked:
        project.run(step.inputs["base"])


def previews(
    project: Project, graph: Graph, planned: Sequence[Planned], *, every: bool
) -> Previews:
    """What is known, or can be estimated, of datasets and models that would run: of `every` one, or
    of those that never ran, of which no earlier run tells. Nothing is run."""
    by_step = {each.step: each for each in planned}

    def made(step: Step) -> Any:
        """The record of a step that would not run; None of one that would."""
        run = by_step[step].hit
        return project.load(run) if run is not None else None

    def is_asked(step: Step) -> bool:
        return by_step[step].hit is None and (every or by_step[step].last is None)

    tuned = {name: path.model for name, path in graph.models.items() if is_asked(path.model)}
    needed = {each.inputs["dataset"] for each in tuned.values()}
    sizes: dict[Step, tuple[DatasetPreview, Dataset]] = {}
    unknown = []
    for name, step in graph.datasets.items():
        dataset: Dataset | None = made(step)
        if dataset is not None:
            if step in needed:
                sizes[step] = _known(dataset), dataset
            continue
        if not is_asked(step):
            continue
        given = [made(each) for each in (*step.inputs["assets"], step.inputs["base"])]
        if any(each is None for each in given):
            unknown.append(name)
            continue
        from tunesmith.expected.sample import estimated  # tokenizers and torch, for this alone

        *assets, base = given
        assert isinstance(step.config, DatasetConfig)
        reviewed = step.inputs.get("reviewed")
        found = estimated(step.config, step.seed, assets, base, project.runner.blobs, reviewed)
        sizes[step] = found, _as_large(found)
    models = [
        _model(project, name, step, made, *sizes[step.inputs["dataset"]])
        for name, step in tuned.items()
        if step.inputs["dataset"] in sizes
    ]
    return Previews(
        datasets=tuple(found for found, _ in sizes.values()),
        models=tuple(each for each in models if each is not None),
        unknown=tuple(unknown),
    )


def _known(dataset: Dataset) -> DatasetPreview:
    return DatasetPreview(
        dataset=dataset.name,
        num_sampled=0,
        num_in=dataset.num_in,
        num_train=dataset.train.num_rows,
        num_test=dataset.test.num_rows,
        num_train_tokens=dataset.train.num_tokens,
        within=0,
        dropped_by_reason=dataset.dropped_by_reason,
    )


def _as_large(found: DatasetPreview) -> Dataset:
    """A dataset of that size without a row: all that a preview of tuning looks at."""
    empty = Blob(sha256="", num_bytes=0)
    return Dataset(
        name=found.dataset,
        instruction="",
        labels=(),
        train=Split(rows=empty, num_rows=found.num_train, num_tokens=found.num_train_tokens),
        test=Split(rows=empty, num_rows=found.num_test, num_tokens=0),
        dropped=empty,
        num_in=found.num_in,
        num_dropped=0,
        dropped_by_reason={},
        num_components=0,
        card=empty,
        licences=(),
    )


def _model(
    project: Project,
    name: str,
    step: Step,
    made: Callable[[Step], Any],
    found: DatasetPreview,
    dataset: Dataset,
) -> ModelPreview | None:
    """None where the base model or the teacher is not there."""
    from tunesmith.stages.finetune.preview import preview  # torch, for this alone

    given = {key: made(each) for key, each in step.inputs.items() if key != "dataset"}
    if any(each is None for each in given.values()):
        return None
    assert isinstance(step.config, ModelConfig)
    rough = preview(step.config, project.runner.blobs, dataset=dataset, **given)
    return ModelPreview(
        model=name,
        is_estimate=found.num_sampled > 0,
        wall_s=rough.wall_s,
        cost=price(rough, project.file.ledger.rates),
        basis=rough.basis,
    )
