"""What a gate's rows, tasks and slices could show, said before a model is asked."""

from __future__ import annotations

from tunesmith.records.data import Dataset
from tunesmith.records.evaluation import Slices
from tunesmith.stages.evaluate.config import GateConfig
from tunesmith.stages.evaluate.power import RIGHT_OR_WRONG, could_show, what_could_show
from tunesmith.stages.evaluate.task import RIGHT_OR_WRONG as ALL_OR_NOTHING
from tunesmith.stages.evaluate.task import Task


def what_gate_could_show(gate: GateConfig, dataset: Dataset, slices: Slices | None) -> list[str]:
    """A sentence for the test rows, for each task, and for each slice that has been cut."""
    said = [what_could_show(dataset.format, dataset.test.num_rows, gate.confidence)]
    for task in gate.given():
        num_rows = task.rows.num_rows if task.rows else dataset.test.num_rows
        which = f"task {task.config.name}, {num_rows} rows"
        said.append(could_show(which, num_rows, gate.confidence, _unknown(task)))
    tasks = {task.config.name: task for task in gate.given()}
    for rule in gate.rules:
        cut = slices.of(rule.task, rule.slice.said) if slices and rule.slice else None
        if cut is None:
            continue
        confidence = rule.confidence or gate.confidence
        which = f"{len(cut.row_ids)} rows of {cut.said}"
        if rule.task:
            which, unknown = f"task {rule.task}, {which}", _unknown(tasks[rule.task], rule.metric)
        else:
            known = dataset.format in RIGHT_OR_WRONG
            unknown = "" if known else f"rows of format {dataset.format!r}"
        said.append(could_show(which, len(cut.row_ids), confidence, unknown))
    return list(dict.fromkeys(said))


def _unknown(task: Task, metric: str = "") -> str:
    """What is not known beforehand of a task's rows; empty where each is right or wrong."""
    name = metric or task.config.metrics[0]
    return "" if name in ALL_OR_NOTHING else f"rows by {name}"
