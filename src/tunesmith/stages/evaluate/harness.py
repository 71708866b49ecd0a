"""A task of EleutherAI's lm-evaluation-harness (a YAML file) as a task of ours.

Its templates are rendered once, here, so that what is asked stands in a file that people can read.
What cannot be carried over is named: what would change the questions or the answers stops it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tunesmith.core.errors import DataError, NotFound
from tunesmith.core.project_folder import read_text, require_inside
from tunesmith.stages.evaluate.harness_filters import filters_of
from tunesmith.stages.evaluate.harness_metrics import metrics_of
from tunesmith.stages.evaluate.harness_shapes import require_shapes

MAX_BYTES = 64 << 20
TIMEOUT_S = 120.0
MAX_INCLUDED = 8
"""Files that include one another."""
ROLLING = "loglikelihood_rolling"
"""Whole texts."""
ASKS = {
    "multiple_choice": "choose",
    "generate_until": "answer",
    "loglikelihood": "score",
    ROLLING: "score",
}
"""Kinds of output that are carried over, and what they are here."""
TEMPLATES = ("doc_to_text", "doc_to_target", "doc_to_choice")
READ = frozenset(
    {
        *("task", "dataset_path", "dataset_kwargs", "output_type", "test_split"),
        *("validation_split", "doc_to_text", "doc_to_target", "doc_to_choice", "description"),
        *("target_delimiter", "generation_kwargs", "metric_list", "metadata", "filter_list"),
    }
)
"""Keys that are carried over, or looked at and named in part."""
OF_NO_EFFECT = frozenset(
    {
        *("tag", "group", "task_alias", "dataset_name", "training_split", "fewshot_split"),
        *("fewshot_delimiter", "fewshot_config", "should_decontaminate"),
        "doc_to_decontamination_query",
    }
)
"""Keys that bear on nothing where no examples are put before the question: named, no more."""
OF_EXAMPLES = frozenset(
    {*("num_fewshot", "training_split", "fewshot_split", "fewshot_delimiter", "fewshot_config")}
)
"""Keys that are read where examples are."""
SAMPLERS = {"default": "seeded", "first_n": "first_n"}


@dataclass(frozen=True, kw_only=True)
class Carried:
    """A task as it was carried over."""

    settings: Mapping[str, Any]
    """Of our file, but for the place of its rows."""
    rows: Sequence[Mapping[str, Any]]
    changes: Sequence[str]
    """What was not carried over and changes what is asked, or what counts as right."""
    notes: Sequence[str]
    """What was not carried over, or is another way here, and changes neither."""
    examples: Sequence[Mapping[str, Any]] = ()
    """The rows that examples before the question are of."""


@dataclass(frozen=True, kw_only=True)
class _Examples:
    """Rows before the question, as far as they are carried over."""

    rows: Sequence[Mapping[str, Any]] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    """Why they are not."""


class _Loader(yaml.SafeLoader):
    """YAML without objects; a function of the harness's own is only its name."""


@dataclass(frozen=True, slots=True)
class _Function:
    name: str


_Loader.add_constructor("!function", lambda _loader, node: _Function(str(node.value)))
# A date is rendered as it is written, and JSON has none.
_Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda _loader, node: str(node.value))


def carry_over(path: Path) -> Carried:
    """The task of a YAML file, whose rows lie in its folder.

    Raises:
        NotFound: there is no such file, or none of its rows.
        DataError: it is no such task, or nothing of it can be asked here.
    """
    task = _read(path)
    kind = _kind(path, task)
    chooses, reads = ASKS[kind] == "choose", ASKS[kind] == "score"
    if reads:  # there the target follows at once; examples before a whole text are not asked
        task = {**task, "target_delimiter": ""}
    examples = _Examples() if kind == ROLLING else _examples(path, task, chooses)
    # Before examples a description stands once, and not before each question.
    asked = {**task, "description": ""} if examples.rows else task
    rows = _rendered(path, asked, _docs(path, task, _tested(task)), chooses)
    if reads:
        rows = [_with_its_spaces(row) for row in rows]
    metrics, changes, of_metrics = metrics_of(task, ASKS[kind], rows)
    extracts, of_filters, others = filters_of(task, ASKS[kind])
    changes += of_filters
    generation, more = ({}, []) if reads else _generation(task)
    unread = sorted(task.keys() - READ - OF_NO_EFFECT - OF_EXAMPLES)
    if examples.problem:
        changes.append(f"num_fewshot: {_short(task['num_fewshot'])}; {examples.problem}")
    changes += [*more, *(f"{key}: {_short(task[key])}" for key in unread if _says(task[key]))]
    metadata = task.get("metadata") or {}
    settings = {
        "name": str(task.get("task", path.stem)),
        "version": str(metadata.get("version", "1")),
        "ask": ASKS[kind],
        "prompt": "" if kind == ROLLING else "{prompt}",
        "answer": "answer",
        "chat": False,
        "metrics": metrics,
    }
    if chooses or reads:
        settings["between"] = str(task.get("target_delimiter", " "))
    settings |= {"choices": "choices"} if chooses else generation
    settings |= {**extracts, **examples.settings}
    read = OF_EXAMPLES if examples.rows else frozenset[str]()
    notes = [f"{key}: {_short(task[key])}" for key in sorted(task.keys() & OF_NO_EFFECT - read)]
    if kind == ROLLING and task.get("num_fewshot"):
        notes.append(f"num_fewshot: {task['num_fewshot']}; nothing stands before a whole text")
    notes += [*of_metrics, *others]
    if settings.get("fewshot_sampler") == "seeded":
        notes.append("sampler default: by the project's seed other examples are drawn than there")
    return Carried(
        settings=settings,
        rows=rows,
        changes=changes,
        notes=notes,
        examples=examples.rows,
    )


def _kind(path: Path, task: Mapping[str, Any]) -> str:
    """Its kind of output, which is carried over.

    Raises:
        DataError: it is not, or a template is a function.
    """
    kind = task.get("output_type", "generate_until")
    if kind not in ASKS:
        raise DataError(
            f"{path.name}: output_type {kind!r} is not carried over",
            remedy=f"there is: {', '.join(ASKS)}",
        )
    for key in TEMPLATES:
        if isinstance(task.get(key), _Function):
            raise DataError(
                f"{path.name}: {key} is a function, {task[key].name}, and is not run",
                remedy="write it as a template or as the name of a column",
            )
    return str(kind)


def _read(path: Path) -> dict[str, Any]:
    found = _with_included(path, 0)
    if "doc_to_text" not in found:
        raise DataError(
            f"{path.name} is no task of the harness: it has no doc_to_text",
            remedy="name the YAML file of one task, not of a group",
        )
    require_shapes(path.name, found)
    return {key: value for key, value in found.items() if value is not None or key in TEMPLATES}


def _with_included(path: Path, depth: int) -> dict[str, Any]:
    """What a file says, over what the files say that it includes, which lie in its folder."""
    try:
        found = _Loader(_text(path)).get_single_data()
    except yaml.YAMLError as error:
        raise DataError(f"{path.name} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict) or depth > MAX_INCLUDED:
        raise DataError(f"{path.name} is no task of the harness")
    named = found.pop("include", None) or []
    require_shapes(path.name, {"include": named})
    whole: dict[str, Any] = {}
    for name in [named] if isinstance(named, str) else named:
        whole |= _with_included(_beside(path, name), depth + 1)
    return whole | found


def _beside(path: Path, name: Any) -> Path:
    """The file of that name in the folder of `path`; what lies elsewhere is not read."""
    place = path.parent / str(name).lstrip("/")
    require_inside(path.parent, place)
    return place


def _tested(task: Mapping[str, Any]) -> str:
    """The split that is tested on."""
    return str(task.get("test_split") or task.get("validation_split") or "train")


def _examples(path: Path, task: Mapping[str, Any], chooses: bool) -> _Examples:
    """The rows before the question, rendered, and how they are taken."""
    count, config = task.get("num_fewshot") or 0, task.get("fewshot_config") or {}
    if not count:
        return _Examples()
    if not isinstance(count, int) or not isinstance(config, dict):
        return _Examples(problem="num_fewshot is no number, or fewshot_config no mapping")
    config = {key: value for key, value in config.items() if _says(value)}
    templates = {key: config.pop(key) for key in TEMPLATES if key in config}
    split = config.pop("split", None) or task.get("fewshot_split")
    samples, sampler = config.pop("samples", None), config.pop("sampler", "default")
    if not split and samples is None:
        split = task.get("training_split") or task.get("validation_split") or _tested(task)
    between = config.pop("fewshot_delimiter", task.get("fewshot_delimiter", "\n\n"))
    given = task.get("target_delimiter", " ")
    glue = config.pop("target_delimiter", given)
    files = (task.get("dataset_kwargs") or {}).get("data_files")
    description = str(task.get("description") or "")
    problems = {
        f"fewshot_config.{next(iter(config), '')} is not read": bool(config),
        f"sampler {_short(sampler)} is not known": sampler not in list(SAMPLERS),
        "its samples are no list": not isinstance(samples, list | _Function | None),
        "its examples are made by a function": any(
            isinstance(each, _Function) for each in (samples, *templates.values())
        ),
        "its examples are of the rows that are asked": bool(split)
        and (not isinstance(files, dict) or files.get(split) == files.get(_tested(task))),
        "its examples and its questions have other target delimiters": glue != given,
        "its description is another for each row": "{{" in description or "{%" in description,
    }
    for problem, there_is in problems.items():
        if there_is:
            return _Examples(problem=problem)
    docs = _docs(path, task, str(split)) if split else list(samples or ())
    if len(docs) < count or not all(isinstance(each, dict) for each in docs):
        return _Examples(problem=f"{len(docs)} rows are there for examples")
    return _Examples(
        rows=_rendered(path, {**task, **templates, "description": ""}, docs, chooses),
        settings={
            "num_fewshot": count,
            "fewshot_sampler": SAMPLERS[sampler],
            "between": str(glue),
            "between_examples": str(between),
            "preamble": description,
        },
    )


def _docs(path: Path, task: Mapping[str, Any], split: str) -> list[dict[str, Any]]:
    """The rows of a split."""
    files = (task.get("dataset_kwargs") or {}).get("data_files")
    if task.get("dataset_path") != "json" or not files:
        raise DataError(
            f"{path.name}: its rows are no local files (dataset_path "
            f"{task.get('dataset_path')!r}), and nothing is fetched",
            remedy="write them as JSON Lines beside it: dataset_path: json, and their names in "
            "dataset_kwargs.data_files",
        )
    named = files.get(split, []) if isinstance(files, dict) else files
    docs: list[dict[str, Any]] = []
    for name in [named] if isinstance(named, str) else named:
        docs += _objects(_text(_beside(path, name)), str(name))
    if not docs:
        raise DataError(f"{path.name}: its split {split!r} has no rows")
    return docs


def _objects(text: str, name: str) -> list[dict[str, Any]]:
    try:
        if text.lstrip().startswith("["):
            found = json.loads(text)
        else:
            found = [json.loads(line) for line in text.split("\n") if line.strip()]
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is no JSON: {error}") from error
    if not all(isinstance(each, dict) for each in found):
        raise DataError(f"{name} has rows that are no objects")
    return list(found)


def _rendered(
    path: Path, task: Mapping[str, Any], docs: Sequence[Mapping[str, Any]], chooses: bool
) -> list[dict[str, Any]]:
    """Our rows: what the templates say of each, and its own fields beside."""
    asked = {
        "text": task["doc_to_text"],
        "target": task.get("doc_to_target"),
        "choice": task.get("doc_to_choice") if chooses else None,
        "docs": docs,
    }
    if asked["target"] is None or (chooses and asked["choice"] is None):
        raise DataError(f"{path.name} has no doc_to_target, or of choices no doc_to_choice")
    worker = Path(__file__).with_name("harness_worker.py")
    try:
        done = subprocess.run(  # noqa: S603  # no shell, and no word that is not ours
            [sys.executable, "-P", "-s", "-B", str(worker)],
            input=json.dumps(asked).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
            check=False,
        )
        answer = json.loads(done.stdout or b'{"problem": "it took too much time or memory"}')
    except subprocess.TimeoutExpired:
        answer = {"problem": f"they were not done after {TIMEOUT_S:g} s"}
    if "problem" in answer:
        raise DataError(
            f"the templates of {path.name} cannot be rendered: {answer['problem']}",
            remedy="templates see the fields of a row, and Jinja's own filters",
        )
    description = str(task.get("description") or "")
    return [
        {**doc, **row, "prompt": description + row["prompt"]}
        for doc, row in zip(docs, answer["rows"], strict=True)
    ]


def _with_its_spaces(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose answer begins with the spaces that its prompt ends with: there they are read."""
    prompt = row["prompt"].rstrip()
    answer = row["answer"]
    if isinstance(answer, str):
        answer = row["prompt"][len(prompt) :] + answer
    return {**row, "prompt": prompt, "answer": answer}


def _generation(task: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """How an answer is made, and what is not carried over of it."""
    asked = task.get("generation_kwargs", {})
    given = {key: value for key, value in asked.items() if value is not None}
    until = given.pop("until", "\n\n")
    settings = {
        "stop": [until] if isinstance(until, str) else [str(each) for each in until],
        "max_new_tokens": given.pop("max_gen_toks", 256),
    }
    changes = []
    for key, value in given.items():
        if value and (key, value) not in (("temperature", 0), ("do_sample", False)):
            changes.append(f"generation_kwargs.{key}: {_short(value)}; answers are the likeliest")
    return settings, changes


def _says(value: Any) -> bool:
    """Whether a setting asks for anything: no examples, or one answer, is what is done anyhow."""
    return value not in (None, False, 0, 1, [], {}, "")


def _short(value: Any) -> str:
    text = value.name if isinstance(value, _Function) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _text(path: Path) -> str:
    if not path.exists():
        raise NotFound(f"there is no {path}", remedy="rows are looked for beside the YAML file")
    return read_text(path, path.name, MAX_BYTES, encoding="utf-8-sig")
