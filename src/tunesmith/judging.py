"""What a gate is judged by, before it judges: what it asks is on record, what its rows could show
is said, and which models stand beside the one that is judged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tunesmith.core.canonical import fingerprint
from tunesmith.core.event import Event
from tunesmith.core.plan import Planned
from tunesmith.graph import Graph, build
from tunesmith.model_graph import ModelPath, judged_beside
from tunesmith.project import Project
from tunesmith.records.data import Dataset
from tunesmith.stages.evaluate.beforehand import what_gate_could_show
from tunesmith.stages.evaluate.config import GateConfig


def what_gates_could_show(project: Project, graph: Graph, planned: Iterable[Planned]) -> list[str]:
    """A sentence for each gate: the smallest difference that its rows could be expected to show.

    `planned` are the steps of `graph`. Of a dataset that is not cut yet nothing can be said.
    """
    hits = {each.step: each.hit for each in planned}
    said = []
    for name, path in graph.models.items():
        if path.gate is None:
            continue
        hit = hits[path.dataset]
        if hit is None:
            said.append(f"gate of {name}: what it could show is known when its dataset is cut")
            continue
        dataset: Dataset = project.load(hit)
        gate = path.gate.config
        assert isinstance(gate, GateConfig)
        cut = hits[path.slices] if path.slices else None
        slices = project.load(cut) if cut else None
        cut_too = {other: hits[step] for other, step in path.others.items()}
        others = {other: project.load(run) for other, run in cut_too.items() if run}
        said += [
            f"gate of {name}: {could}"
            for could in what_gate_could_show(gate, dataset, slices, others)
        ]
        if path.slices and not cut:
            said.append(f"gate of {name}: its slices are cut when it is run")
    return said


def register_gate(project: Project, path: ModelPath, dataset: Dataset) -> None:
    """Put on record what a gate asks, and what the rows could show, before a model is asked.

    A gate that was judged as it is set now was registered then.

    Raises:
        DataError: rows that a task asks, another dataset's or its own, are among those to tune on.
    """
    if path.gate is None:
        return
    gate = path.gate.config
    assert isinstance(gate, GateConfig)
    if all(planned.hit is not None for planned in project.runner.plan(path.asked())):
        return
    for apart in path.apart.values():  # before hours of tuning
        project.run(apart)
    slices = project.run(path.slices) if path.slices else None
    others = {name: project.run(other) for name, other in path.others.items()}
    could = "; ".join(what_gate_could_show(gate, dataset, slices, others))
    project.put_on_record(
        "gate.registered",
        {"model": gate.model, "settings": gate, "dataset": fingerprint(dataset), "could": could},
    )
    project.runner.on_event(Event(step=path.gate.name, what="registered", note=could))


def beside_what_stands(project: Project, path: ModelPath, digest: str) -> ModelPath:
    """The path with the models in it that its gate compares with, of which it is not one.

    `digest` is that of the model version; empty while it is not known.
    """
    if path.gate is None:
        return path
    gate = path.gate.config
    assert isinstance(gate, GateConfig)
    found = [project.standing(gate.model, against, digest) for against in gate.others()]
    standings = tuple(standing for standing in found if standing is not None)
    return judged_beside(project.file, gate.model, path, standings) if standings else path


def planned_path(project: Project, path: ModelPath) -> ModelPath:
    """The path as it would be run: what it is judged beside depends on what the model is."""
    (planned,) = project.runner.plan([path.model])
    return beside_what_stands(project, path, _digest(planned))


def planned_graph(project: Project) -> Graph:
    """Every step that the project file asks for, as it would be run."""
    graph = build(project.file)
    planned = project.runner.plan([path.model for path in graph.models.values()])
    models = {
        name: beside_what_stands(project, path, _digest(each))
        for (name, path), each in zip(graph.models.items(), planned, strict=True)
    }
    return replace(graph, models=models)


def _digest(planned: Planned) -> str:
    """Of the record that is there; empty while none is."""
    return planned.hit.output.sha256 if planned.hit and planned.hit.output else ""
