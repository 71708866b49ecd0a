"""The files of a gate's tasks, as they are at this moment.

They are read when the project is opened, and what they say is in the keys of the steps that ask.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from tunesmith.core import settings
from tunesmith.core.errors import ConfigError, DataError
from tunesmith.core.project_folder import check_path, read_inside
from tunesmith.core.settings import AnySection
from tunesmith.records.evaluation import TaskRows
from tunesmith.records.model import TASKS
from tunesmith.records.pairwise import Preferences
from tunesmith.records.transform import python_program
from tunesmith.stages.evaluate.config import GateConfig
from tunesmith.stages.evaluate.direction import require_metrics
from tunesmith.stages.evaluate.judge import JudgeConfig
from tunesmith.stages.evaluate.judge_rules import (
    Weights,
    require_judges,
    require_more_than_judged,
)
from tunesmith.stages.evaluate.label_set import label_set
from tunesmith.stages.evaluate.own_rows import OwnRow, read_own
from tunesmith.stages.evaluate.people import read_people
from tunesmith.stages.evaluate.task import ANSWERED, CHOSEN, EXAMPLES, FILE, Task, TaskConfig

MAX_BYTES = 64 << 20
"""Of a file of a task."""


class Recipe(Protocol):
    """What of a model's section says what it can be asked."""

    @property
    def objective(self) -> str:
        """What is learnt from the rows."""

    @property
    def dataset(self) -> str:
        """Name of the dataset that it is tuned on."""

    @property
    def base(self) -> str:
        """Name of the base model that is tuned."""


class Rows(Protocol):
    """What of a dataset's section says how its rows can be asked."""

    @property
    def format(self) -> str:
        """What a row says."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the data assets that its rows are of."""


def with_tasks(
    gate: GateConfig,
    project: Path,
    models: Mapping[str, Recipe],
    datasets: Mapping[str, Rows],
    bases: Mapping[str, Weights],
) -> GateConfig:
    """The gate with what the files of its tasks say.

    Raises:
        ConfigError: a file says something wrong, two tasks have one name, a rule names none of
            them, or a metric that there is not or the wrong way round, they cannot be asked of such
            a model, or all rests on a judge.
        NotFound: there is no such file.
        DataError: a file leads out of the project's folder, is no text, or has no judgements.
    """
    key = f"gate.{gate.name}"
    objective = models[gate.model].objective
    data_format = datasets[models[gate.model].dataset].format
    tasks = [read_task(path, project, f"{key}.tasks") for path in gate.tasks]
    names = [task.config.name for task in tasks]
    for task in tasks:
        name = task.config.name
        if names.count(name) > 1:
            raise ConfigError(f"{key}.tasks", f"two of its tasks are called {name!r}")
        if objective in TASKS:
            raise ConfigError(
                f"{key}.tasks",
                f"its model is tuned to {objective}, so it answers nothing in words",
                remedy="tasks are for models that go on with a text; leave them out",
            )
        _require_answered(task.config, f"{key}.tasks", models[gate.model].dataset, datasets)
    by_name = {task.config.name: task.config for task in tasks}
    own = {task.config.name: task for task in tasks if task.rows is not None}
    for rule in gate.rules:
        if rule.task:
            settings.nearest(f"{key}.rules", rule.task, names, "task")
        if rule.task and rule.slice is not None and rule.slice.source:
            of = datasets[by_name[rule.task].other or models[gate.model].dataset]
            settings.nearest(f"{key}.rules.slice.source", rule.slice.source, of.sources, "source")
        if rule.task in own and rule.slice is not None and rule.slice.label:
            _require_label(own[rule.task], rule.slice.label, f"{key}.rules.slice.label")
    require_judges(f"{key}.tasks", tasks, models[gate.model].base, bases)
    require_more_than_judged(gate, tasks, objective, data_format)
    require_metrics(gate, tasks, objective, data_format)
    return gate.with_tasks(tasks)


def _require_label(task: Task, label: str, key: str) -> None:
    """The rows of a task's own file have labels, and this is one of them."""
    assert task.rows is not None
    if not task.has_labels:
        raise ConfigError(
            key,
            f"the rows of task {task.config.name!r} have no labels: these are choices that are the "
            "same for each row",
            remedy=f'cut it by a field of its rows, such as field = "{task.config.answer}"',
        )
    found = {row.right[0] for row in read_own(task.config, task.rows)}
    settings.nearest(key, label, sorted(found), "label")


def _require_answered(config: TaskConfig, key: str, own: str, datasets: Mapping[str, Rows]) -> None:
    """The rows of a dataset that a task asks can be asked so."""
    if config.has_own_rows:
        return
    if config.other:
        settings.nearest(key, config.other, datasets, "dataset")
    if config.other == own:
        raise ConfigError(
            key,
            f"task {config.name!r} asks {own!r}, which is its model's own dataset",
            remedy='write rows = "test"',
        )
    data_format = datasets[config.other or own].format
    if config.ask == "choose" and data_format != "labels":
        raise ConfigError(
            key,
            f"rows of format {data_format!r} have no labels to choose from, as {config.name!r} "
            "asks",
            remedy="ask for an answer, or name a dataset of format 'labels'",
        )
    if data_format not in ANSWERED:
        raise ConfigError(
            key,
            f"test rows of format {data_format!r} are not answered in words, as {config.name!r} "
            "asks",
            remedy='give the task rows of its own: rows = "file:PATH.jsonl"',
        )


def read_task(path: str, project: Path, key: str) -> Task:
    """The task of a file in the project's folder; `key` is where the project file names it.

    Raises:
        ConfigError: it, or a row of its files, says something that is wrong; the message names the
            file.
        NotFound: there is no such file.
        DataError: a file leads out of the project's folder, or is no text.
    """
    try:
        check_path(path, ".toml", "tasks/answers.toml")
        values = tomllib.loads(_text(project, path))
    except (ValueError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(key, f"{path}: {error}") from error
    asked = values.pop("judge", None)
    config = _validated(TaskConfig, values, path, key)
    judge = _validated(JudgeConfig, asked, f"{path}, [judge]", key) if asked is not None else None
    rows, examples = (
        TaskRows(task=f"{config.name}{of}", text=_text(project, named.removeprefix(FILE)))
        if named.startswith(FILE)
        else None
        for named, of in ((config.rows, ""), (config.examples, EXAMPLES))
    )
    asked = _readable(config, rows, f"{key}: {path}")
    _readable(config, examples, f"{key}: {path}")
    has_labels = config.metrics[0] == CHOSEN[0]
    if rows is not None:
        has_labels = bool(label_set(config, [row.choices for row in asked]))
    program = None
    if config.python:
        place = config.python.rpartition(":")[0]
        program = python_program(config.python, _text(project, place))
    people = None
    if judge is not None and judge.people:
        people = Preferences(task=config.name, text=_text(project, judge.people))
        read_people(people.text, judge.people)
    return Task(
        config=config,
        rows=rows,
        program=program,
        examples=examples,
        judge=judge,
        people=people,
        has_labels=config.ask == "choose" and has_labels,
    )


def _readable(config: TaskConfig, rows: TaskRows | None, key: str) -> list[OwnRow]:
    """What a task's own rows ask, or its examples, which are as many as it shows.

    Raises:
        ConfigError: one cannot be asked; the message names the file and the line.
    """
    if rows is None:
        return []
    try:
        found = read_own(config, rows)
    except DataError as error:
        raise ConfigError(key, error.message, remedy=error.remedy) from error
    if rows.task != config.name and len(found) < config.num_fewshot:
        raise ConfigError(
            key,
            f"{config.examples.removeprefix(FILE)} has {len(found)} rows, and num_fewshot is "
            f"{config.num_fewshot}",
            remedy="lower num_fewshot, or add rows to take examples from",
        )
    return found


def _validated(model: type[AnySection], values: Any, where: str, key: str) -> AnySection:
    try:
        return settings.validate(model, values)
    except ConfigError as error:
        raise ConfigError(key, f"{where}: {error.message}", remedy=error.remedy) from None


def _text(project: Path, path: str) -> str:
    return read_inside(
        project,
        path,
        MAX_BYTES,
        encoding="utf-8-sig",
        missing="paths of tasks are relative to the folder of the project file",
        too_long="shorten it",
    )
