"""The files of a task that was carried over from another harness."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.records.evaluation import TaskRows
from tunesmith.stages.evaluate.harness import Carried
from tunesmith.stages.evaluate.own_rows import read_own
from tunesmith.stages.evaluate.task import EXAMPLES, TaskConfig


def as_files(carried: Carried, rows: str) -> tuple[str, str]:
    """The text of our file (TOML), which says what was not carried over, and of its rows (JSONL),
    which will lie at `rows`, relative to the project.

    Raises:
        DataError: a row has no right answer.
        pydantic.ValidationError: a setting is none of ours.
    """
    lines = as_lines(carried.rows)
    settings = {"rows": f"file:{rows}", **carried.settings}
    if carried.examples:
        settings["examples"] = f"file:{examples_beside(rows)}"
    config = TaskConfig.model_validate(settings)
    read_own(config, TaskRows(task=config.name, text=lines))
    if carried.examples:
        examples = as_lines(carried.examples)
        read_own(config, TaskRows(task=f"{config.name}{EXAMPLES}", text=examples))
    left = [*carried.changes, *carried.notes]
    head = [f"# rows of {' '.join(each.split())}" for each in carried.sources]
    head += [f"# not carried over: {' '.join(each.split())}" for each in left]
    body = [f"{key} = {_toml(value)}" for key, value in settings.items()]
    return "\n".join([*head, *body]) + "\n", lines


def as_lines(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as JSON Lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def examples_beside(rows: str) -> str:
    """Where the examples lie of a task whose rows lie at `rows`."""
    return f"{rows.removesuffix('.jsonl')}-examples.jsonl"


def _toml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
