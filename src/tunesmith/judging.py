"""What a gate is judged by, before it judges: what it asks is on record, what its rows could show
is said, and which models stand beside the one that is judged; and what is said of a refusal."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from tunesmith.core import catalog, lifecycle
from tunesmith.core.canonical import fingerprint
from tunesmith.core.catalog import Run
from tunesmith.core.errors import GateFailed, StoreError
from tunesmith.core.event import Event
from tunesmith.core.plan import Planned
from tunesmith.core.step import Step
from tunesmith.graph import Graph, build
from tunesmith.model_graph import ModelPath, judged_beside, suite_beside, suites_of_model
from tunesmith.project import Project
from tunesmith.records.data import Dataset
from tunesmith.records.document import Documented
from tunesmith.records.evaluation import GateResult
from tunesmith.records.release import PRODUCTION, RELEASED
from tunesmith.records.suite import SuiteBeside, beside_outcomes, not_kept
from tunesmith.stages.evaluate.beforehand import Known, what_gate_could_show
from tunesmith.stages.evaluate.config import GateConfig, GateRule
from tunesmith.stages.evaluate.task import TaskConfig, require_libraries
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.probe.beforehand import what_suite_could_show
from tunesmith.stages.probe.config import ProbeConfig, SuiteConfig


def what_gates_could_show(project: Project, graph: Graph, planned: Iterable[Planned]) -> list[str]:
    """A sentence for each gate: the smallest difference that its rows could be expected to show;
    and one for each document that it asks for and that people have not filled.

    `planned` are the steps of `graph`. Of a dataset that is not cut yet nothing can be said.

    Raises:
        MissingExtra: a metric that a gate's task asks for cannot be counted here.
    """
    hits = {each.step: each.hit for each in planned}
    said = []
    for name, path in graph.models.items():
        if path.gate is None:
            continue
        gate = path.gate.config
        assert isinstance(gate, GateConfig)
        require_metrics(path)
        said += [f"gate of {name}: {unsaid}" for unsaid in what_nobody_states(project, gate)]
        said += [f"gate of {name}: {never}" for never in what_never_stood(project, path, gate)]
        hit = hits[path.dataset]
        if hit is None:
            said.append(f"gate of {name}: what it could show is known when its dataset is cut")
            continue
        dataset: Dataset = project.load(hit)
        cut = hits[path.slices] if path.slices else None
        slices = project.load(cut) if cut else None
        cut_too = {other: hits[step] for other, step in path.others.items()}
        others = {other: project.load(run) for other, run in cut_too.items() if run}
        said += [
            f"gate of {name}: {could}"
            for could in what_gate_could_show(
                gate, dataset, slices, others, _known(project, path, hits)
            )
        ]
        if path.slices and not cut:
            said.append(f"gate of {name}: its slices are cut when it is run")
    return said


def require_metrics(path: ModelPath) -> None:
    """What counts the metrics of a gate's tasks is installed.

    Raises:
        MissingExtra: it is not.
    """
    if path.gate is None:
        return
    gate = path.gate.config
    assert isinstance(gate, GateConfig)
    for task in gate.given():
        require_libraries(task.config.metrics)


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
    for never in what_never_stood(project, path, gate):
        project.runner.on_event(Event(step=path.gate.name, what="warned", note=never))
    if all(planned.hit is not None for planned in project.runner.plan(path.asked())):
        return
    for unsaid in what_nobody_states(project, gate):  # before hours of tuning
        project.runner.on_event(Event(step=path.gate.name, what="warned", note=unsaid))
    for apart in path.apart.values():
        project.run(apart)
    slices = project.run(path.slices) if path.slices else None
    others = {name: project.run(other) for name, other in path.others.items()}
    bases = {each.step: each.hit for each in project.runner.plan([*_base_steps(path).values()])}
    known = _known(project, path, bases)
    could = "; ".join(what_gate_could_show(gate, dataset, slices, others, known))
    project.put_on_record(
        "gate.registered",
        {"model": gate.model, "settings": gate, "dataset": fingerprint(dataset), "could": could},
    )
    project.runner.on_event(Event(step=path.gate.name, what="registered", note=could))


def _base_steps(path: ModelPath) -> dict[str, Step]:
    """The steps that ask the base model: the test rows (""), and each task, by its name."""
    found = {"": path.base_evaluation}
    for step in path.gate.inputs.get("tasks", ()) if path.gate else ():
        if "base" in step.inputs:
            assert isinstance(step.config, TaskConfig)
            found[step.config.name] = step
    return found


def _known(project: Project, path: ModelPath, hits: Mapping[Step, Run | None]) -> Known:
    """What the base model said, as far as it was asked already."""
    runs = {name: hits.get(step) for name, step in _base_steps(path).items()}
    return Known(
        blobs=project.runner.blobs,
        bases={name: project.load(run) for name, run in runs.items() if run is not None},
        seed=project.file.project.seed,
    )


def what_suites_could_show(project: Project, graph: Graph, planned: Iterable[Planned]) -> list[str]:
    """A sentence for each suite and number of examples: the smallest difference that they could be
    expected to show.

    Raises:
        DataError: the file of one cannot be understood.
    """
    known = {each.step: each for each in planned}
    said = []
    for path in graph.models.values():
        cut = known[path.dataset].hit
        dataset: Dataset | None = project.load(cut) if cut else None
        for step in path.suites.values():
            said += [
                f"{step.name}: {could}" for could in _suite_could(project, known[step], dataset)
            ]
    return said


def _suite_could(project: Project, planned: Planned, dataset: Dataset | None) -> list[str]:
    config, given = planned.step.config, planned.step.inputs.get("given")
    assert isinstance(config, ProbeConfig)
    try:
        last = project.load(planned.last) if planned.last else None
    except StoreError:  # it was erased, or is damaged
        last = None
    return what_suite_could_show(config, given, dataset, last)


def register_suites(project: Project, path: ModelPath, dataset: Dataset) -> None:
    """Put on record what each suite of a model asks, by which limits, and what it could show,
    before the model is tuned; not again of one whose result is there.

    Raises:
        DataError: the file of one cannot be understood.
    """
    known = {each.step: each for each in project.runner.plan([*path.suites.values()])}
    for name, section in _sections(project, path).items():
        planned = known[path.suites[name]]
        if planned.hit is not None:
            continue
        could = "; ".join(_suite_could(project, planned, dataset))
        project.put_on_record(
            "suite.registered",
            {
                "model": section.model,
                "settings": planned.step.config,
                "limits": section.judged_by(),
                "limits_against": section.judged_beside(),
                "dataset": fingerprint(dataset),
                "could": could,
            },
        )
        project.runner.on_event(Event(step=planned.step.name, what="registered", note=could))


def what_never_stood(project: Project, path: ModelPath, gate: GateConfig) -> Iterator[str]:
    """A sentence for each alias that a gate compares with, and that the registry knows nothing of:
    such a rule holds, and compares nothing for as long as it is misspelt."""
    sections = _sections(project, path)
    beside = (sections[named].against for named in gate.suites)
    named = dict.fromkeys((*gate.others(), *(against for against in beside if against)))
    if not named:
        return
    with project.runner.database.read() as connection:
        moved = catalog.alias_history(connection, "model", gate.model)
        changes = lifecycle.changes(connection, gate.model)
    known = {PRODUCTION, RELEASED, gate.alias, *(row.alias for row in moved)}
    known |= {str(each.body["alias"]) for each in changes if each.what == "asked"}
    for against in named:
        if against not in known:
            near = [each for each in known if each.casefold() == against.casefold()]
            near = near or difflib.get_close_matches(against, sorted(known), n=1)
            yield (
                f"no version of {gate.model} ever had the alias {against!r}, so what is compared "
                "with it holds, whatever the model is"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )


def what_nobody_states(project: Project, gate: GateConfig) -> Iterator[str]:
    """A sentence for each document that a gate asks for and of which fields are empty that only
    people can fill."""
    if not gate.documents:
        return
    from tunesmith.documents.before_gate import unstated
    from tunesmith.documents.compile import kind_of

    for kind, found in unstated(project, gate.model, map(kind_of, gate.documents)).items():
        if found.lacks:
            first = ", ".join(lack.what for lack in found.lacks[:3])
            more = f" and {len(found.lacks) - 3} more" if len(found.lacks) > 3 else ""
            yield (
                f"it will fail as it is set now: {kind} lacks {first}{more}, which only people can "
                "state (a [document] section), also while the model is tuned"
            )


def beside_what_stands(project: Project, path: ModelPath, digest: str) -> ModelPath:
    """The path with the models in it that its gate compares with, of which it is not one, and the
    documents that it asks for, as they could be written now.

    `digest` is that of the model version; empty while it is not known.

    Raises:
        ConfigError: people answer something in its documents that nobody asks.
    """
    path = _suites_beside(project, path, digest)
    if path.gate is None:
        return path
    gate = path.gate.config
    assert isinstance(gate, GateConfig)
    found = [project.standing(gate.model, against, digest) for against in gate.others()]
    standings = tuple(standing for standing in found if standing is not None)
    documents = _documents(project, gate, digest)
    if not standings and documents is None and not path.besides:
        return path
    return judged_beside(project.file, gate.model, path, standings, documents)


def _suites_beside(project: Project, path: ModelPath, digest: str) -> ModelPath:
    """The path with its suites beside the versions that their sections name, where one stands."""
    besides = {}
    for suite in _sections(project, path).values():
        standing = project.standing(suite.model, suite.against, digest) if suite.against else None
        if standing is not None:
            besides[suite.name] = suite_beside(project.file, suite, path, standing)
    return replace(path, besides=besides)


def compare_suites(project: Project, path: ModelPath) -> None:
    """Compare what suites found with what they find of the versions that stand under aliases; say
    where that is beyond its limits."""
    sections = _sections(project, path)
    for name, step in path.besides.items():
        found: SuiteBeside = project.run(step)
        for said in not_kept(beside_outcomes(found, sections[name].judged_beside())):
            project.runner.on_event(Event(step=step.name, what="warned", note=said))


def _sections(project: Project, path: ModelPath) -> dict[str, SuiteConfig]:
    if not path.suites:  # those of a rival recipe, which has no section in the file either
        return {}
    recipe = path.model.config
    assert isinstance(recipe, ModelConfig)
    of_model = suites_of_model(project.file, recipe.name)
    return {name: of_model[name] for name in path.suites}


def _documents(project: Project, gate: GateConfig, digest: str) -> Documented | None:
    """What the documents that a gate asks for could say of the version of that digest, as of now;
    None where it asks for none, or nothing was tuned."""
    if not gate.documents or not digest:
        return None
    # Half a second of imports, which a gate that asks for none does not wait for.
    from tunesmith.documents.before_gate import before_gate
    from tunesmith.documents.compile import kind_of

    with project.runner.database.read() as connection:
        number = catalog.version_number(connection, "model", gate.model, digest)
    return before_gate(project, f"{gate.model}@{number}", map(kind_of, gate.documents))


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


def beside_the_released(gate: GateConfig) -> GateConfig:
    """The gate, which compares a retrained model with the released one also where it does not say
    with what: to be better than the base is no reason to replace a model that is better still."""
    if gate.others():
        return gate
    return gate.model_copy(update={"rules": (*gate.rules, GateRule(against=RELEASED))})


def refusal(model: str, gate: GateResult) -> GateFailed:
    """What is said where a gate lets nothing pass: the rules that were not met, and what to do."""
    return GateFailed(
        f"gate {gate.gate} says {gate.verdict} for {model}: {gate.failed()}",
        remedy=f"the model version is kept but not released; {'; '.join(_remedies(gate))}",
    )


def all_of(errors: Sequence[GateFailed]) -> GateFailed:
    """What is said where several gates let nothing pass."""
    remedies = dict.fromkeys(error.remedy for error in errors)
    return GateFailed("\n".join(e.message for e in errors), remedy="; ".join(remedies))


def _remedies(gate: GateResult) -> Iterator[str]:
    """What to do about the rules that were not met."""
    lacks = dict.fromkeys(lack.remedy for each in gate.documents for lack in each.lacks)
    if sum(not rule.passed for rule in gate.rules) > sum(bool(e.lacks) for e in gate.documents):
        yield (
            "see the worst rows with `tunesmith model mistakes`, add data or change the recipe, "
            "and run again"
        )
    if lacks:
        more = f" (and {len(lacks) - 3} more, in the gate's report)" if len(lacks) > 3 else ""
        yield (
            "fill the documents, and run again, which tunes nothing again: "
            + "; ".join(list(lacks)[:3])
            + more
        )
