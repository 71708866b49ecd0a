"""Whether the rules of a gate ask for metrics that there are, and the right way round; said before
anything is tuned."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.core import settings
from tunesmith.core.errors import ConfigError
from tunesmith.records.evaluation import AT_RANK, LOWER_IS_BETTER, RANKED, WIN_RATE
from tunesmith.stages.evaluate.config import METRICS, SCORERS, GateConfig, GateRule
from tunesmith.stages.evaluate.label_set import OF_LABELS, WHY_NOT
from tunesmith.stages.evaluate.task import Task


def require_metrics(
    gate: GateConfig, tasks: Sequence[Task], objective: str, data_format: str
) -> None:
    """Each rule asks for a metric of its task, or of the model's objective, and bounds it from the
    side on which it is worse.

    Raises:
        ConfigError: one does not.
    """
    by_name = {task.config.name: task for task in tasks}
    of_model = METRICS[SCORERS[objective, data_format]]
    for rule in gate.rules:
        task = by_name.get(rule.task)
        names = _metrics_of(task) if task else of_model
        metric = rule.metric or names[0]
        if task and task.config.ask == "choose" and metric in OF_LABELS and metric not in names:
            raise ConfigError(
                f"gate.{gate.name}.rules",
                f"{metric!r} is {WHY_NOT}; task {rule.task!r} has none",
                remedy=f"there is: {', '.join(names)}",
            )
        if RANKED not in names or not AT_RANK.fullmatch(metric):
            settings.nearest(f"gate.{gate.name}.rules", metric, names, "metric")
        falls = metric in LOWER_IS_BETTER or (
            task is not None and metric in task.config.lower_is_better
        )
        require_direction(rule, gate.name, metric, falls)


def _metrics_of(task: Task) -> tuple[str, ...]:
    """What rules can ask for."""
    names = task.config.metrics
    if task.config.ask == "choose":
        names = (*names, "loss", *(OF_LABELS if task.has_labels else ()))
    return (*names, WIN_RATE) if task.judge else names


def require_direction(rule: GateRule, gate: str, metric: str, falls: bool) -> None:
    """A floor is of a metric of which more is better, and a ceiling of one that `falls`.

    Raises:
        ConfigError: it is the other way round.
    """
    if falls and rule.at_least is not None:
        raise ConfigError(
            f"gate.{gate}.rules",
            f"less of {metric!r} is better, and at_least = {rule.at_least:g} asks for more",
            remedy=f'write at_most = {rule.at_least:g}, or compare it: against = "base"',
        )
    if not falls and rule.at_most is not None:
        raise ConfigError(
            f"gate.{gate}.rules",
            f"more of {metric!r} is better, and at_most = {rule.at_most:g} asks for less",
            remedy=f"write at_least = {rule.at_most:g}, or name another metric",
        )
