"""What a gate may rest on a judge: never all that it says of quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from tunesmith.core import settings
from tunesmith.core.errors import ConfigError
from tunesmith.records.evaluation import WIN_RATE
from tunesmith.stages.evaluate.config import SCORERS, GateConfig, GateRule
from tunesmith.stages.evaluate.task import CHOSEN, WRITTEN, Task

_LIKELIHOOD = SCORERS["sft", "chat"]
REMEDY = (
    "beside it, ask for what is measured: a rule of the same task with a metric such as "
    '"token F1" and at_least, or against = "base"'
)


class Weights(Protocol):
    """What of a base model's section says which weights they are."""

    @property
    def origin(self) -> str:
        """Where they come from."""

    @property
    def file(self) -> str:
        """Which file or folder of it."""


def require_judges(
    key: str, tasks: Sequence[Task], base: str, bases: Mapping[str, Weights]
) -> None:
    """Each judge is a base model that is there, and another than `base`, which is tuned.

    Raises:
        ConfigError: it is not; `key` is where the project file names the tasks.
    """
    for task in tasks:
        judge, name = task.judge, task.config.name
        if judge is None:
            continue
        if task.config.ask != "answer":
            raise ConfigError(
                key,
                f"task {name!r} has a judge, and no answers in words that it could compare",
                remedy='leave [judge] out, or ask = "answer"',
            )
        settings.nearest(f"{key}: judge.base of task {name}", judge.base, bases, "base")
        if not judge.own_base and _weights(bases[judge.base]) == _weights(bases[base]):
            raise ConfigError(
                key,
                f"the judge of task {name!r} is {judge.base!r}, the base of the model that it "
                "judges, and models hold what they would say themselves for better",
                remedy="name another base model, best of another family; own_base = true under "
                "[judge] lets it be",
            )


def require_more_than_judged(
    gate: GateConfig, tasks: Sequence[Task], objective: str, data_format: str
) -> None:
    """Rules on what a model judged are comparisons, of a task with a judge, and not all there is.

    Raises:
        ConfigError: they are not.
    """
    key = f"gate.{gate.name}.rules"
    judges = {task.config.name for task in tasks if task.judge is not None}
    judged = [rule for rule in gate.rules if rule.metric == WIN_RATE]
    for rule in judged:
        if rule.task not in judges:
            known = ", ".join(sorted(judges)) or "none"
            raise ConfigError(
                key,
                f"{WIN_RATE!r} is of a task with a judge, and "
                + (f"task {rule.task!r} has none" if rule.task else "this rule names no task"),
                remedy=f"write a table [judge] into the task's file; tasks with one: {known}",
            )
        if not rule.against:
            raise ConfigError(
                key,
                f"{WIN_RATE!r} is of two models side by side, so it has no floor",
                remedy='say beside what: against = "base" and, if need be, margin; a margin of '
                "0.1 asks for a win rate above 0.55",
            )
    beats_base = SCORERS[objective, data_format] != _LIKELIHOOD and gate.beats_base_by > -1
    measured = beats_base or gate.at_least is not None
    if judged and not measured and not any(map(_is_measured, gate.rules)):
        raise ConfigError(
            key,
            "its only rule on what the model says rests on the verdicts of a model, which may "
            "favour a place, a length or a style; that the answers of the data became likelier "
            "than to the base says nothing of what is written",
            remedy=REMEDY,
        )


def _is_measured(rule: GateRule) -> bool:
    """Whether it rests on what was measured, and could fail."""
    if rule.metric == WIN_RATE:
        return False
    if rule.at_least is None:
        return rule.margin > -1
    is_share = bool(rule.task) and rule.metric in ("", *WRITTEN, *CHOSEN)
    return rule.at_least > 0 or not is_share


def _weights(base: Weights) -> tuple[str, str]:
    return base.origin, base.file.rstrip("/")
