"""From the section of a model to its steps: tuned, asked, looked at beyond its task, judged,
released."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tunesmith.core.errors import ConfigError
from tunesmith.core.step import Step
from tunesmith.data_graph import step
from tunesmith.project_file import ProjectFile
from tunesmith.records.document import Documented
from tunesmith.records.evaluation import WIN_RATE, OwnRows
from tunesmith.records.pairwise import BASE, People
from tunesmith.records.release import Standing, Standings
from tunesmith.records.suite import Limits
from tunesmith.stages.audit.config import AuditConfig
from tunesmith.stages.evaluate.config import EvaluateConfig, GateConfig, PairsConfig, SlicesConfig
from tunesmith.stages.evaluate.task import Task
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.probe.config import BesideConfig, SuiteConfig, asking, limits_of, suites_of
from tunesmith.stages.release.config import ReleaseConfig


@dataclass(frozen=True, kw_only=True)
class ModelPath:
    """The steps that lead to a model and past its gate."""

    base: Step
    dataset: Step
    base_evaluation: Step
    model: Step
    tuned_evaluation: Step
    suites: Mapping[str, Step] = field(default_factory=dict)
    """By name: what is looked at beyond the task."""
    besides: Mapping[str, Step] = field(default_factory=dict)
    """By the names of suites: the same beside the version under an alias, if one stands there."""
    others: Mapping[str, Step] = field(default_factory=dict)
    """By name: other datasets whose test rows its gate's tasks ask."""
    apart: Mapping[str, Step] = field(default_factory=dict)
    """By the names of its gate's tasks: that no row which is asked there is tuned on."""
    slices: Step | None = None
    judges: Mapping[str, Step] = field(default_factory=dict)
    """The base models that judge answers to the gate's tasks, by name."""
    audit: Step | None = None
    gate: Step | None = None
    release: Step | None = None

    def asked(self) -> list[Step]:
        """The steps that ask the tuned model: its evaluation, and its gate's tasks."""
        tasks = self.gate.inputs.get("tasks", ()) if self.gate else ()
        return [self.tuned_evaluation, *(task for task in tasks if "model" in task.inputs)]

    def steps(self) -> list[Step]:
        """The steps in order."""
        always = [self.dataset, self.base_evaluation, self.model, self.tuned_evaluation]
        always += [*self.suites.values(), *self.besides.values()]
        judging = (self.audit, self.gate, self.release)
        return always + [step for step in judging if step is not None]


def model_paths(
    file: ProjectFile, bases: Mapping[str, Step], datasets: Mapping[str, Step]
) -> dict[str, ModelPath]:
    """The path of every model, a teacher's before its pupil's.

    Raises:
        ConfigError: a model is taught by itself, at however many removes.
    """
    paths: dict[str, ModelPath] = {}

    def path_of(name: str, pupils: tuple[str, ...]) -> ModelPath:
        if name in pupils:
            raise ConfigError(
                f"model.{name}.teacher", f"{' is taught by '.join((*pupils, name))}: a circle"
            )
        if name not in paths:
            place, _, teacher = file.model[name].teacher.partition(":")
            taught = {}
            if place:
                at = path_of(teacher, (*pupils, name)).model if place == "model" else bases[teacher]
                taught = {"teacher": at}
            paths[name] = _model_path(file, name, bases, datasets, taught)
        return paths[name]

    return {name: path_of(name, ()) for name in file.model}


def asked_of(recipe: ModelConfig, unseen_training_rows: int = 0) -> EvaluateConfig:
    """What a model of that recipe is evaluated on, and its base beside it."""
    rewarded = recipe.objective == "grpo"
    return EvaluateConfig(
        objective=recipe.objective,
        rewards=recipe.rewards,
        max_new_tokens=recipe.max_new_tokens if rewarded else 0,
        unseen_training_rows=unseen_training_rows,
    )


def _model_path(
    file: ProjectFile,
    name: str,
    bases: Mapping[str, Step],
    datasets: Mapping[str, Step],
    taught: Mapping[str, Step],
) -> ModelPath:
    recipe = file.model[name]
    seed = file.project.seed
    asked = asked_of(recipe)
    base, data = bases[recipe.base], datasets[recipe.dataset]
    before = step(f"evaluate-base:{name}", "evaluate-base@1", asked, seed, base=base, dataset=data)
    model = step(f"finetune:{name}", "finetune@1", recipe, seed, base=base, dataset=data, **taught)
    after = step(f"evaluate:{name}", "evaluate-tuned@1", asked, seed, model=model, dataset=data)
    path = ModelPath(
        base=base,
        dataset=data,
        base_evaluation=before,
        model=model,
        tuned_evaluation=after,
        suites={
            suite.name: _suite(suite, seed, model, data)
            for suite in suites_of_model(file, name).values()
        },
    )
    gate = next((gate for gate in file.gate.values() if gate.model == name), None)
    if gate is None:
        return path
    named = [task.config.other for task in gate.given() if task.config.other]
    others = {other: datasets[other] for other in named}
    apart = {
        task.config.name: _apart(file, gate, task, data, others)
        for task in gate.given()
        if task.rows or task.config.other
    }
    judges = {task.judge.base: bases[task.judge.base] for task in gate.given() if task.judge}
    path = replace(path, others=others, apart=apart, judges=judges)
    return judged_beside(file, name, replace(path, slices=_slices(file, gate, path)))


def _apart(
    file: ProjectFile, gate: GateConfig, task: Task, dataset: Step, others: Mapping[str, Step]
) -> Step:
    """The step that holds what a task asks against what is tuned on. Its examples may be that."""
    # Both bring what reads tables, and hardly any gate has such a task.
    from tunesmith.stages.curate.filters import leak_thresholds
    from tunesmith.stages.evaluate.apart import ApartConfig

    near = leak_thresholds(file.dataset[file.model[gate.model].dataset])
    config = ApartConfig(
        words=near.words, runs=near.runs, task=task.config if task.rows is not None else None
    )
    given = {"rows": task.rows} if task.rows is not None else {"other": others[task.config.other]}
    return step(
        f"apart:{gate.model}/{task.config.name}", "apart@1", config, dataset=dataset, **given
    )


def suites_of_model(file: ProjectFile, model: str) -> dict[str, SuiteConfig]:
    """The suites of a model that run, by name."""
    return suites_of(model, file.model[model].objective, file.suite)


def _suite(suite: SuiteConfig, seed: int, model: Step, dataset: Step) -> Step:
    given = {"given": suite.given} if suite.given is not None else {}
    name = f"suite:{suite.model}/{suite.name}"
    return step(name, "probe@1", asking(suite), seed, model=model, dataset=dataset, **given)


def suite_beside(
    file: ProjectFile, suite: SuiteConfig, path: ModelPath, standing: Standing
) -> Step:
    """The step that compares what a suite finds of a model with what it finds of the version that
    stands somewhere. That one is asked the same, which is no work where it was asked already."""
    mine = path.suites[suite.name]
    theirs = Step(
        name=f"{mine.name}/{standing.version}",
        kind=mine.kind,
        config=mine.config,
        inputs={**mine.inputs, "model": standing.model},
        seed=mine.seed,
    )
    return step(
        f"suite-beside:{suite.model}/{suite.name}/{standing.version}",
        "probe-beside@1",
        BesideConfig(against=suite.against, version=standing.version),
        file.project.seed,
        suite=mine,
        other=theirs,
        model=path.model,
        rival=standing.model,
    )


def judged_beside(
    file: ProjectFile,
    name: str,
    path: ModelPath,
    standings: tuple[Standing, ...] = (),
    documents: Documented | None = None,
) -> ModelPath:
    """The path of a model that has a gate, judged beside what stands under the aliases that its
    gate's rules name: those models are asked the same rows. `documents` are those that it asks for,
    as they could be written now."""
    gate = next(gate for gate in file.gate.values() if gate.model == name)
    seed = file.project.seed
    beside = _rivals(file, name, path, standings) if standings else {}
    suites = suites_of_model(file, name)
    gate = with_limits(gate, suites)
    if gate.suites:
        beside["suites"] = tuple(path.suites[named] for named in gate.suites)
        if against := limits_against(suites, gate.suites):
            beside["limits_against"] = against
            compared = [each.suite for each in against.of if each.suite in path.besides]
            beside["besides"] = tuple(path.besides[named] for named in compared)
    shown: dict[str, Any] = {}
    if suites:
        shown = {"suites": tuple(path.suites.values()), "limits": limits_of(suites, path.suites)}
        if path.besides:
            shown["besides"] = tuple(path.besides.values())
            if against := limits_against(suites, path.besides):
                shown["limits_against"] = against
    beside |= _asked_beside(file, gate, path, standings)
    if path.slices is not None:
        beside["slices"] = path.slices
    if documents is not None:
        beside["documents"] = documents
    audited = None
    if gate.audit:
        config = AuditConfig(name=name)
        given = {"model": path.model, "dataset": path.dataset}
        audited = beside["audit"] = step(f"audit:{name}", "audit@1", config, seed, **given)
    asked = {"base": path.base_evaluation, "tuned": path.tuned_evaluation}
    judged = step(f"gate:{name}", "gate@1", gate, seed, **asked, **beside)
    released = step(
        f"release:{name}",
        "release@1",
        ReleaseConfig(name=name, alias=gate.alias),
        seed,
        model=path.model,
        dataset=path.dataset,
        gate=judged,
        **(shown if path.suites else {}),
    )
    return replace(path, audit=audited, gate=judged, release=released)


def with_limits(gate: GateConfig, suites: Mapping[str, SuiteConfig]) -> GateConfig:
    """The gate with the limits of all its suites: where it has none of its own, the section's."""
    limits = {n: gate.limits.get(n, dict(suites[n].judged_by().limits)) for n in gate.suites}
    return gate.model_copy(update={"limits": limits}) if limits else gate


def limits_against(suites: Mapping[str, SuiteConfig], names: Iterable[str]) -> Limits | None:
    """The limits of these suites' differences from another version; None where none has any."""
    held = (suites[named].judged_beside() for named in names)
    of = tuple(each for each in held if each.limits)
    return Limits(of=of) if of else None


def _rivals(
    file: ProjectFile, name: str, path: ModelPath, standings: tuple[Standing, ...]
) -> dict[str, Any]:
    """What a gate is given of the models that stand beside: which they are, and their answers."""
    asked = asked_of(file.model[name])
    evaluations = tuple(
        step(
            f"evaluate:{name}/{standing.version}",
            "evaluate-tuned@1",
            asked,
            file.project.seed,
            model=standing.model,
            dataset=path.dataset,
        )
        for standing in standings
    )
    return {"standings": Standings(standings=standings), "rivals": evaluations}


def _asked_beside(
    file: ProjectFile, gate: GateConfig, path: ModelPath, standings: tuple[Standing, ...]
) -> dict[str, Any]:
    """What a gate is given of its tasks, if it has any: answers, and what judges and people said
    of them."""
    if not gate.given():
        return {}
    tasks = _task_steps(file, gate, path, standings)
    given: dict[str, Any] = {"tasks": tasks}
    if path.judges:
        given["verdicts"] = _pair_steps(file, gate, path, standings, tasks)
    if people := tuple(task.people for task in gate.given() if task.people):
        given["people"] = People(of=people)
    return given


def _task_steps(
    file: ProjectFile, gate: GateConfig, path: ModelPath, standings: tuple[Standing, ...]
) -> tuple[Step, ...]:
    """The steps that ask a gate's tasks: the base model, the tuned one, and each of `standings`."""
    subjects: list[tuple[str, str, dict[str, Any]]] = [
        ("-base", "", {"base": path.base}),
        ("", "", {"model": path.model}),
        *(("", f"/{each.version}", {"model": each.model}) for each in standings),
    ]
    made = []
    own: dict[str, Any]
    for which, version, asked in subjects:
        for task in gate.given():
            own = {"rows": task.rows, "program": task.program, "examples": task.examples}
            if other := task.config.other:
                own["other"] = path.others[other]
            own["apart"] = path.apart.get(task.config.name)
            made.append(
                step(
                    f"evaluate{which}:{gate.model}/{task.config.name}{version}",
                    f"evaluate{which or '-tuned'}-task@1",
                    task.config,
                    file.project.seed,
                    dataset=path.dataset,
                    **asked,
                    **{name: record for name, record in own.items() if record is not None},
                )
            )
    return tuple(made)


def _pair_steps(
    file: ProjectFile,
    gate: GateConfig,
    path: ModelPath,
    standings: tuple[Standing, ...],
    asked: tuple[Step, ...],
) -> tuple[Step, ...]:
    """The steps in which judges compare what was `asked`: the tuned model's answers with the base
    model's, and with those of each of `standings` that a rule on a win rate names."""
    num_tasks = len(gate.given())
    made = []
    for place, task in enumerate(gate.given()):
        if task.judge is None:
            continue
        of_base, tuned, *of_rivals = asked[place::num_tasks]
        wanted = {
            rule.against
            for rule in gate.rules
            if rule.task == task.config.name and rule.metric == WIN_RATE
        }
        others: dict[str, dict[str, Any]] = {BASE: {"other": of_base}}
        for standing, answers in zip(standings, of_rivals, strict=True):
            if standing.against in wanted:
                others[standing.version] = {"other": answers, "rival": standing.model}
        own: dict[str, Any] = {"rows": task.rows} if task.rows is not None else {}
        if task.config.other:
            own["asked"] = path.others[task.config.other]
        for versus, given in others.items():
            suffix = "" if versus == BASE else f"/{versus}"
            config = PairsConfig(
                task=task.config,
                question=task.judge.question,
                versus=versus,
                own_base=task.judge.own_base,
            )
            made.append(
                step(
                    f"judge:{gate.model}/{task.config.name}{suffix}",
                    "evaluate-tuned-pairs@1",
                    config,
                    file.project.seed,
                    judge=path.judges[task.judge.base],
                    model=path.model,
                    tuned=tuned,
                    dataset=path.dataset,
                    **given,
                    **own,
                )
            )
    return tuple(made)


def _slices(file: ProjectFile, gate: GateConfig, path: ModelPath) -> Step | None:
    """The step that cuts the slices which a gate's rules ask for, if they do."""
    sliced = gate.slices()
    if not sliced:
        return None
    given: dict[str, Any] = {}
    with_field = [each for each in sliced if each.slice.field and (each.dataset or not each.task)]
    asked = [path.others[each.dataset] if each.dataset else path.dataset for each in with_field]
    if assets := {asset.name: asset for cut in asked for asset in cut.inputs["assets"]}:
        given["assets"] = tuple(assets.values())
    if others := {each.dataset: path.others[each.dataset] for each in sliced if each.dataset}:
        given["others"] = tuple(others.values())
    named = {each.task for each in sliced}
    if own := [task.rows for task in gate.given() if task.rows and task.config.name in named]:
        given["own"] = OwnRows(files=tuple(own))
    config = SlicesConfig(slices=sliced)
    return step(
        f"slice:{gate.model}", "slice@1", config, file.project.seed, dataset=path.dataset, **given
    )
