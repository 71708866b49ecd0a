"""What a gate's rows, tasks and slices could show, said before the tuned model is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tunesmith.core.blobs import Blobs
from tunesmith.paired.power import (
    BOUNDED,
    IN_NATS,
    MACRO_F1,
    NO_MEANS,
    OF_TEXTS,
    SHARE,
    by_what_one_has,
    could_show,
    in_nats,
    in_points,
    is_bounded,
    what_could_show,
)
from tunesmith.records.data import Dataset
from tunesmith.records.evaluation import Evaluation, Slice, Slices
from tunesmith.stages.evaluate.config import GateConfig, GateRule
from tunesmith.stages.evaluate.task import Task


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """What is known of the rows before the tuned model is asked."""

    blobs: Blobs
    bases: Mapping[str, Evaluation] = field(default_factory=dict)
    """What the base model said to each task, and to the test rows (""), if it was asked already."""
    seed: int = 0


def what_gate_could_show(
    gate: GateConfig,
    dataset: Dataset,
    slices: Slices | None,
    others: Mapping[str, Dataset] | None = None,
    known: Known | None = None,
) -> list[str]:
    """A sentence for the test rows, for each task, for each other metric that a rule asks for, and
    for each slice that has been cut. `others` are the other datasets that tasks ask, by name."""
    first = _of_base(known, "", "", gate.confidence, None, f"{dataset.test.num_rows} test rows")
    said = [first or what_could_show(dataset.format, dataset.test.num_rows, gate.confidence)]
    tasks = {task.config.name: task for task in gate.given()}
    num_rows = {"": dataset.test.num_rows}
    for name, task in tasks.items():
        asked = (others or {}).get(task.config.other) if task.config.other else dataset
        if asked is None:
            said.append(f"task {name}: what it could show is known when its dataset is cut")
            continue
        num_rows[name] = task.rows.num_rows if task.rows else asked.test.num_rows
        rule = GateRule(task=name, at_least=0)
        said.append(_of(gate, rule, tasks, dataset, num_rows[name], known=known))
    for rule in gate.rules:
        cut = slices.of(rule.task, rule.slice.said) if slices and rule.slice else None
        if cut is not None:
            said.append(_of(gate, rule, tasks, dataset, len(cut.row_ids), cut, known))
        elif rule.metric and rule.slice is None and rule.task in num_rows:
            said.append(_of(gate, rule, tasks, dataset, num_rows[rule.task], known=known))
    return list(dict.fromkeys(said))


def _of(
    gate: GateConfig,
    rule: GateRule,
    tasks: Mapping[str, Task],
    dataset: Dataset,
    num_rows: int,
    cut: Slice | None = None,
    known: Known | None = None,
) -> str:
    """What so many rows could show of the metric of a rule."""
    of = f" of {cut.said}" if cut else ""
    metric = rule.metric or (tasks[rule.task].config.metrics[0] if rule.task else "")
    which = f"{num_rows} rows{of}" if rule.task or of else f"{num_rows} test rows"
    which += f" by {metric}" if rule.metric else ""
    if rule.task:
        which = f"task {rule.task}, {which}"
    confidence = rule.confidence or gate.confidence
    is_known = is_bounded(metric) if metric else dataset.format in BOUNDED
    if not num_rows or is_known:
        return could_show(which, num_rows, confidence)
    if metric == MACRO_F1 and (truth := _truth(known, dataset, rule.task, cut)):
        return _of_macro_f1(which, truth, confidence, known, rule.task)
    if said := _of_base(known, rule.task, metric, confidence, cut, which):
        return said
    if metric in IN_NATS or metric == "perplexity" or (not metric and dataset.format in OF_TEXTS):
        return in_nats(which, metric, num_rows, confidence)
    if metric in NO_MEANS:
        return (
            f"{which}: that is no mean of rows, so what they could show is known when the base "
            "model was asked"
        )
    unknown = f"rows by {metric}" if metric else f"rows of format {dataset.format!r}"
    return could_show(which, num_rows, confidence, unknown)


def _of_base(
    known: Known | None, task: str, metric: str, confidence: float, cut: Slice | None, which: str
) -> str:
    """By how far the base model's rows spread, where it was asked and the metric is no share; else
    empty."""
    base = known.bases.get(task) if known else None
    metric = metric or (base.metric if base else "")
    if known is None or base is None or is_bounded(metric):
        return ""
    from tunesmith.stages.evaluate.compare import floor_interval

    if metric not in base.metrics():
        return ""
    found, _ = floor_interval(
        base, known.blobs, metric=metric, confidence=confidence, seed=known.seed, only=cut
    )
    return by_what_one_has(which, found.low, found.high, confidence)


def _of_macro_f1(
    which: str, truth: Sequence[str], confidence: float, known: Known | None, task: str
) -> str:
    """By a simulation of models that are right as often as the base model is, if that is known."""
    from tunesmith.paired.macro import ACCURACY, detectable_macro_f1

    base = known.bases.get(task) if known else None
    asked = base is not None and base.metric == "accuracy"
    accuracy = base.value if base is not None and asked else ACCURACY
    counts = list(Counter(truth).values())
    usual, most = (
        detectable_macro_f1(counts, confidence, share, accuracy) for share in (SHARE, 1.0)
    )
    # Who differ on a fifth of the rows are hardly further apart: a larger one they could not have.
    within = usual if usual <= SHARE else None
    whose = "as the base model is" if asked else "which is assumed, as no model was asked yet"
    given = (
        f"; simulated, {len(counts)} labels, models right on {accuracy:.0%} of the rows, {whose}"
    )
    return in_points(which, within, most, confidence, given)


def _truth(known: Known | None, dataset: Dataset, task: str, cut: Slice | None) -> Sequence[str]:
    """The label of each row, where rows have one and it can be known."""
    if known is None:
        return ()
    import pyarrow.parquet as pq

    base = known.bases.get(task)
    if base is not None and base.labels and base.metric == "accuracy":
        rows = known.blobs.path(base.predictions)
    elif not task and dataset.format == "labels":
        rows = known.blobs.path(dataset.test.rows)
    else:
        return ()
    table = pq.read_table(rows, columns=["row_id", "label"])
    only = set(cut.row_ids) if cut else None
    return [row["label"] for row in table.to_pylist() if only is None or row["row_id"] in only]
