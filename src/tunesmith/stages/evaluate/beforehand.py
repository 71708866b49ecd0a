"""What a gate's rows, tasks and slices could show, said before a model is asked."""

from __future__ import annotations

from collections.abc import Mapping

from tunesmith.records.data import Dataset
from tunesmith.records.evaluation import Slices
from tunesmith.stages.evaluate.config import GateConfig, GateRule
from tunesmith.stages.evaluate.power import (
    BOUNDED,
    BOUNDED_METRICS,
    NO_MEANS,
    could_show,
    what_could_show,
)
from tunesmith.stages.evaluate.task import Task


def what_gate_could_show(
    gate: GateConfig,
    dataset: Dataset,
    slices: Slices | None,
    others: Mapping[str, Dataset] | None = None,
) -> list[str]:
    """A sentence for the test rows, for each task, for each other metric that a rule asks for, and
    for each slice that has been cut. `others` are the other datasets that tasks ask, by name."""
    said = [what_could_show(dataset.format, dataset.test.num_rows, gate.confidence)]
    tasks = {task.config.name: task for task in gate.given()}
    num_rows = {"": dataset.test.num_rows}
    for name, task in tasks.items():
        asked = (others or {}).get(task.config.other) if task.config.other else dataset
        if asked is None:
            said.append(f"task {name}: what it could show is known when its dataset is cut")
            continue
        num_rows[name] = task.rows.num_rows if task.rows else asked.test.num_rows
        said.append(_of(gate, GateRule(task=name, at_least=0), tasks, dataset, num_rows[name]))
    for rule in gate.rules:
        cut = slices.of(rule.task, rule.slice.said) if slices and rule.slice else None
        if cut is not None:
            said.append(_of(gate, rule, tasks, dataset, len(cut.row_ids), f" of {cut.said}"))
        elif rule.metric and rule.slice is None and rule.task in num_rows:
            said.append(_of(gate, rule, tasks, dataset, num_rows[rule.task]))
    return list(dict.fromkeys(said))


def _of(
    gate: GateConfig,
    rule: GateRule,
    tasks: Mapping[str, Task],
    dataset: Dataset,
    num_rows: int,
    of: str = "",
) -> str:
    """What so many rows could show of the metric of a rule."""
    metric = rule.metric or (tasks[rule.task].config.metrics[0] if rule.task else "")
    which = f"{num_rows} rows{of}" if rule.task or of else f"{num_rows} test rows"
    which += f" by {metric}" if rule.metric else ""
    if rule.task:
        which = f"task {rule.task}, {which}"
    if metric in NO_MEANS:
        return f"{which}: that is no mean of rows, so what they could show the report says"
    known = metric in BOUNDED_METRICS if metric else dataset.format in BOUNDED
    unknown = f"rows by {metric}" if metric else f"rows of format {dataset.format!r}"
    return could_show(which, num_rows, rule.confidence or gate.confidence, "" if known else unknown)
