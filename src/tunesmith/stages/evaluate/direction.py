"""Whether the rules of a gate ask for metrics that there are, and the right way round; said before
anything is tuned."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.core import settings
from tunesmith.core.errors import ConfigError
from tunesmith.records.evaluation import LOWER_IS_BETTER, WIN_RATE
from tunesmith.stages.evaluate.config import METRICS, SCORERS, GateConfig, GateRule
from tunesmith.stages.evaluate.task import Task


def require_metrics(
    gate: GateConfig, tasks: Sequence[Task], objective: str, data_format: str
) -> None:
    """Each rule asks for a metric of its task, or of the model's objective, and bounds it from the
    side on which it is worse.

    Raises:
        ConfigError: one does not.
    """
    by_name = {task.config.name: task.config for task in tasks}
    judged = {task.config.name for task in tasks if task.judge}
    of_model = METRICS[SCORERS[objective, data_format]]
    for rule in gate.rules:
        task = by_name.get(rule.task)
        names = task.all_metrics if task else of_model
        names = (*names, WIN_RATE) if rule.task in judged else names
        metric = rule.metric or names[0]
        settings.nearest(f"gate.{gate.name}.rules", metric, names, "metric")
        falls = metric in LOWER_IS_BETTER or (task is not None and metric in task.lower_is_better)
        require_direction(rule, gate.name, metric, falls)


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
