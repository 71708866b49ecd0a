"""Metrics that a function of the project counts, in a process of its own."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.core.errors import DataError
from tunesmith.core.function import ENVIRONMENT, command
from tunesmith.core.step import Context
from tunesmith.records.transform import Program
from tunesmith.stages.evaluate.task import TaskConfig

TIMEOUT_S = 300.0
"""How long the answers to all rows may take."""


def counted(
    config: TaskConfig, program: Program, given: Sequence[Mapping[str, Any]], ctx: Context
) -> dict[str, list[float]]:
    """What the function counts of each of `given`, by the names of the task's own metrics.

    Raises:
        DataError: its file cannot be run, it takes too long, or what it returns of a row is no dict
            with a number for each of them.
    """
    folder = ctx.workdir / "function"
    folder.mkdir(exist_ok=True)
    path = folder / program.file
    path.write_text(program.python, encoding="utf-8")
    where = f"{config.python} of task {config.name!r}"
    try:
        done = subprocess.run(  # noqa: S603  # no shell, and no word that is not ours
            command(path, program.function),
            input=b"".join(json.dumps(each).encode() + b"\n" for each in given),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what it prints may be anybody's, and is not kept
            cwd=folder,
            env=dict(ENVIRONMENT),
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(
            f"{where} was not done with {len(given)} answers after {TIMEOUT_S:g} s",
            remedy="make it do less",
        ) from error
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if answers and "broken" in answers[0]:
        raise DataError(
            f"{where} cannot be used: {answers[0]['broken']}",
            remedy="correct the file; it may import what is installed, and no other file of the "
            "project",
        )
    if len(answers) < len(given):
        raise DataError(
            f"{where} ended its process at answer {len(answers) + 1} (exit code {done.returncode})",
            remedy="it may only return or raise",
        )
    rows = [
        _numbers(config, answer, where, row) for answer, row in zip(answers, given, strict=True)
    ]
    return {name: [row[name] for row in rows] for name in config.own_metrics}


def _numbers(
    config: TaskConfig, answer: Mapping[str, Any], where: str, row: Mapping[str, Any]
) -> dict[str, float]:
    found = answer.get("rows", [])
    numbers = found[0] if len(found) == 1 else {}
    said = answer.get("problem") or f"it returned {json.dumps(found)[:200]}"
    right = [
        isinstance(value := numbers.get(name), int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        for name in config.own_metrics
    ]
    if not all(right):
        raise DataError(
            f"{where} gives no number for each of {', '.join(config.own_metrics)} of the answer "
            f"{row['said'][:80]!r}: {said}",
            remedy='return a dict such as {"cites a rule": 1.0}',
        )
    return {name: float(numbers[name]) for name in config.own_metrics}
