"""How many tasks of lm-evaluation-harness can be carried over, and why others are not.

    pip download --no-deps lm-eval==0.4.13 && unzip -q lm_eval-*.whl -d harness
    python bench/harness_tasks.py harness/lm_eval/tasks

Its rows lie on a hub, so none are rendered here: of each task what `task import` says of all but
its rows is counted, and its templates are compiled as they would be. Nothing of the package is run.
A family is a folder beneath `tasks`; it counts where at least one of its tasks does.
"""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tunesmith.core.errors import DataError
from tunesmith.stages.evaluate import harness, harness_worker
from tunesmith.stages.evaluate.harness_rows import Given
from tunesmith.stages.evaluate.harness_yaml import members, whole

NOWHERE = Path("of-no-rows")
LOGGED = {"doc_id": 0, "doc": {}, "target": "", "arguments": {}, "prompt": "", "answer": ""}
WAYS = [
    ("", Given(by_split={}, folder=NOWHERE), {}),
    (", with --processed", Given(by_split={}, folder=NOWHERE, is_processed=True), {}),
    (", with what the harness logs", Given(by_split={}, folder=NOWHERE), LOGGED),
]
"""How rows may be given, the simplest first."""


def main(root: Path) -> None:
    """Print a table of the tasks, of their kinds of output, and of the groups."""
    with ProcessPoolExecutor(2) as pool:
        found = list(pool.map(outcome, sorted(root.rglob("*.yaml")), chunksize=50))
    tasks = [each for each in found if each[0] != "group"]
    groups = Counter(said for kind, said, _ in found if kind == "group")
    families: dict[str, set[str]] = defaultdict(set)
    for _, said, file in tasks:
        families[said].add(Path(file).relative_to(root).parts[0])
    every = {Path(file).relative_to(root).parts[0] for _, _, file in tasks}
    print(f"{len(tasks)} tasks in {len(every)} families; {groups.total()} groups: {dict(groups)}")
    print("| outcome | tasks | families |\n|---|---:|---:|")
    for said, count in Counter(said for _, said, _ in tasks).most_common():
        print(f"| {said} | {count} | {len(families[said])} |")
    print("| kind of output | whole | of |\n|---|---:|---:|")
    kinds = Counter(kind for kind, _, _ in tasks)
    wholes = Counter(kind for kind, said, _ in tasks if said.startswith("whole"))
    for kind, count in kinds.most_common():
        print(f"| {kind} | {wholes[kind]} | {count} |")


def outcome(path: Path) -> tuple[str, str, str]:
    """The kind of output of a file, what becomes of it, and which file."""
    try:
        said = whole(path)
        if isinstance(said.get("task"), list):
            return "group", _of_group(path, said), str(path)
        kind = str(said.get("output_type", "generate_until"))
    except DataError as error:
        return "none", f"refused: {_plain(error.message)}", str(path)
    found: list[tuple[str, list[str]]] = []
    for way, given, docs in WAYS:
        try:
            with (
                patch.object(harness, "docs_of", lambda *_, docs=docs: ([docs] * 64, [])),
                patch.object(harness, "_rendered", _compiled),
                patch.object(harness, "rows_of_logged", lambda docs, *_: docs),
            ):
                found.append((way, list(harness.carry_over(path, given).changes)))
        except DataError as error:
            refused = f"refused: {_plain(error.message)}"
    if not found:
        return kind, refused, str(path)
    way, changes = min(found, key=lambda each: len(each[1]))  # of equals the first
    if changes:
        return kind, f"with --partly: {', '.join(sorted({_plain(c) for c in changes}))}", str(path)
    return kind, f"whole{way}", str(path)


def _of_group(path: Path, said: dict[str, Any]) -> str:
    try:
        return "found" if members(path, said) else "empty"
    except DataError:
        return "a task of it is not found"


def _compiled(path: Path, task: dict[str, Any], docs: Any, chooses: bool) -> Sequence[Any]:
    """Rows of nothing, once the templates are compiled."""
    if task.get("doc_to_target") is None or (chooses and task.get("doc_to_choice") is None):
        raise DataError(f"{path.name} has no doc_to_target, or of choices no doc_to_choice")
    for key in (*harness.TEMPLATES, "description", "gen_prefix"):
        try:
            if isinstance(task.get(key), str):
                harness_worker.environment().from_string(task[key])
        except Exception as error:
            raise DataError(f"{key} cannot be compiled: {error}") from error
    return [{"prompt": "", "answer": "", "choices": []} for _ in docs]


def _plain(text: str) -> str:
    """What a message says, without the name of a file or a value, so that like ones are one."""
    text = re.sub(r"^\S+\.yaml(: | )", "", text)
    for pattern, short in PLAIN:
        if re.search(pattern, text):
            return short if short else text.partition(":")[0]
    return text


PLAIN = [
    (r"is a function", "a template is a function in Python"),
    (r"^output_type", ""),
    (r"has no doc_to_text", "no doc_to_text (written in Python)"),
    (r"^filter_list", "filters"),
    (r"^num_fewshot", "num_fewshot"),
    (r"^generation_kwargs", "answers that are drawn"),
    (r"^metric .*here the mean", "a metric of all rows together"),
    (r"^metric \S+: (regexes|ignore)", "what a metric leaves out, of several metrics"),
    (r"^metric", "other metrics"),
    (r"cannot be compiled", "a template that Jinja's own cannot compile"),
    (r"^(process_results|repeats|doc_to_image|doc_to_audio|process_docs|custom_dataset)", ""),
]
"""Patterns of messages and what they are counted as; where it is empty, their first word."""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
