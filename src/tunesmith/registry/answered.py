"""What a model said to each row that it was asked, with what the row says; of older versions, too,
as long as it is in the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from tunesmith.core import catalog
from tunesmith.core.catalog import Run
from tunesmith.core.errors import BlobMissing, NotFound
from tunesmith.core.step import Step
from tunesmith.project import Project
from tunesmith.records.data import Dataset
from tunesmith.records.evaluation import Evaluation, TaskRows
from tunesmith.registry.standing import NUMBER, version_of
from tunesmith.stages.evaluate.own_rows import fields_of, filled

KINDS = ("evaluate-tuned@1", "evaluate-tuned-task@1")


@dataclass(frozen=True, kw_only=True, eq=False)
class Answered:
    """One evaluation, row by row."""

    of: str
    """A version such as "desk@1", or the step that asked."""
    evaluation: Evaluation
    rows: list[dict[str, Any]]
    """The columns of its predictions, and `text`: what the row says, empty where that is no longer
    in the store."""


def answered_now(project: Project, step: Step) -> Answered:
    """What a model said as the settings are now; `step` is the one that asked it.

    Raises:
        NotFound: it has not run, or the answers are no longer in the store.
    """
    (planned,) = project.runner.plan([step])
    if planned.hit is None:
        raise NotFound(
            f"{step.name} has not run as it is set now: {planned.reason}",
            remedy="run it first: `tunesmith run`; or name a version, such as desk@1",
        )
    return _read(project, step.name, planned.hit)


def answered_by(project: Project, version: str, task: str = "") -> Answered:
    """What "desk@1", or by an alias "desk@production", said of the test rows, or of a task's: the
    newest time that it was asked.

    Raises:
        NotFound: there is no such version, alias or task; it was not asked; or its answers are no
            longer in the store.
    """
    name, _, which = version.rpartition("@")
    if not NUMBER.fullmatch(which):
        version = project.released(name, which)[1]
    return _read(project, version, _run_of_version(project, version, task))


def _run_of_version(project: Project, version: str, task: str) -> Run:
    """The newest run that asked it."""
    with project.runner.database.read() as connection:
        digest = version_of(connection, version).digest
        runs = {
            run.identity["config"].get("name", "") if run.kind == KINDS[1] else "": run
            for run in catalog.all_runs(connection)
            if run.kind in KINDS
            and run.status == "succeeded"
            and run.identity["inputs"]["model"] == [digest]
            and not run.identity["config"].get("unseen_training_rows")
        }
    if task not in runs:
        there = ", ".join(filter(None, runs)) or "none"
        if task:
            raise NotFound(f"{version} has no task {task!r}", remedy=f"there is: {there}")
        raise NotFound(f"{version} was never evaluated", remedy="run: `tunesmith run`")
    return runs[task]


def _read(project: Project, of: str, run: Run) -> Answered:
    try:
        evaluation: Evaluation = project.load(run)
        rows = pq.read_table(project.runner.blobs.path(evaluation.predictions)).to_pylist()
    except BlobMissing as error:
        raise NotFound(
            f"what {of} said is no longer in the store",
            remedy="ask another version: `tunesmith model list`",
        ) from error
    try:
        texts = _texts(project, run)
    except BlobMissing:  # forgotten, or collected
        texts = {}
    return Answered(
        of=of,
        evaluation=evaluation,
        rows=[{**row, "text": texts.get(row["row_id"], "")} for row in rows],
    )


def _texts(project: Project, run: Run) -> dict[str, str]:
    """What each row says, by its id: of a task's own rows their prompt, and without one the
    text that was read."""
    given = run.identity["inputs"]
    if "rows" in given:
        own = project.record(TaskRows, given["rows"][0])
        config = run.identity["config"]
        return {
            f"{own.task}:{number}": filled(config["prompt"] or f"{{{config['answer']}}}", fields)
            for number, fields in fields_of(own, own.task)
        }
    dataset = project.record(Dataset, given.get("other", given["dataset"])[0])
    path = project.runner.blobs.path(dataset.test.rows)
    table = pq.read_table(path, columns=["row_id", "text"])
    return dict(zip(table["row_id"].to_pylist(), table["text"].to_pylist(), strict=True))
