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
from types import MappingProxyType
from typing import Any

from tunesmith.core.errors import DataError
from tunesmith.stages.evaluate.harness_filters import filters_of
from tunesmith.stages.evaluate.harness_metrics import metrics_of
from tunesmith.stages.evaluate.harness_rows import NONE_GIVEN, Given, docs_of, is_same
from tunesmith.stages.evaluate.harness_samples import are_logged, rows_of_logged
from tunesmith.stages.evaluate.harness_shapes import require_shapes, short
from tunesmith.stages.evaluate.harness_yaml import Function, whole

TIMEOUT_S = 120.0
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
OF_ROWS = frozenset({"process_docs", "custom_dataset"})
"""Functions that make the rows, which a person may have run elsewhere."""
READ = frozenset(
    {
        *("task", "dataset_path", "dataset_kwargs", "output_type", "test_split"),
        *("validation_split", "doc_to_text", "doc_to_target", "doc_to_choice", "description"),
        *("target_delimiter", "generation_kwargs", "metric_list", "metadata", "filter_list"),
        "gen_prefix",
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
MOST_TOKENS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""What the most tokens of an answer are called; the first that there is counts."""
OF_DRAWS = frozenset({"do_sample", "temperature", "top_p", "top_k"})
"""Keys that bear on nothing where the likeliest token is taken each time."""
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
    sources: Sequence[str] = ()
    """Files that a person named, which rows are of, with their digests."""


@dataclass(frozen=True, kw_only=True)
class _Examples:
    """Rows before the question, as far as they are carried over."""

    rows: Sequence[Mapping[str, Any]] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    """Why they are not."""
    sources: Sequence[str] = ()


def carry_over(
    path: Path, given: Given = NONE_GIVEN, over: Mapping[str, Any] = MappingProxyType({})
) -> Carried:
    """The task of a YAML file, whose rows are given, or lie in its folder; `over` is what a group
    says over it.

    Raises:
        NotFound: there is no such file, or none of its rows.
        DataError: it is no such task, or nothing of it can be asked here.
    """
    task = _read(path, over)
    kind = _kind(path, task)
    chooses, reads = ASKS[kind] == "choose", ASKS[kind] == "score"
    before_prefix = str(task.get("target_delimiter", " "))
    if reads:  # there the target follows at once; examples before a whole text are not asked
        task = {**task, "target_delimiter": ""}
    docs, sources = docs_of(path, task, _tested(task), given)
    logged = are_logged(docs)
    if logged:  # the prompts are there, with examples before them
        examples = _Examples()
        rows = rows_of_logged(docs, ASKS[kind], str(task.get("target_delimiter", " ")))
    else:
        _require_templates(path, task)
        examples = _Examples() if kind == ROLLING else _examples(path, task, chooses, given)
        # Before examples a description stands once, and not before each question.
        asked = {**task, "description": ""} if examples.rows else task
        rows = _rendered(path, {**asked, "before_prefix": before_prefix}, docs, chooses)
    if reads:
        rows = [_with_its_spaces(row) for row in rows]
    metrics, changes, of_metrics = metrics_of(task, ASKS[kind], rows)
    extracts, of_filters, others = filters_of(task, ASKS[kind])
    changes += of_filters
    generation, more = ({}, []) if reads else _generation(task)
    if examples.problem:
        changes.append(f"num_fewshot: {_short(task['num_fewshot'])}; {examples.problem}")
    changes += [*more, *_unread(task, given.is_processed or logged)]
    settings = _settings(path, task, kind) | {"metrics": metrics}
    if chooses or reads:
        settings["between"] = str(task.get("target_delimiter", " "))
    settings |= {"choices": "choices"} if chooses else generation
    settings |= {**extracts, **examples.settings}
    notes = _of_no_effect(task, given.is_processed or logged, bool(examples.rows))
    if logged:
        notes.append("templates and examples: the prompts are those that the harness logged")
    notes += [*of_metrics, *others]
    if kind == ROLLING and task.get("num_fewshot"):
        notes.insert(0, f"num_fewshot: {task['num_fewshot']}; nothing stands before a whole text")
    if settings.get("fewshot_sampler") == "seeded":
        notes.append("sampler default: by the project's seed other examples are drawn than there")
    every = [*sources, *(each for each in examples.sources if each not in sources)]
    return Carried(
        settings=settings,
        rows=rows,
        changes=changes,
        notes=notes,
        examples=examples.rows,
        sources=every,
    )


def _settings(path: Path, task: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """What each task of ours says."""
    return {
        "name": str(task.get("task", path.stem)),
        "version": str((task.get("metadata") or {}).get("version", "1")),
        "ask": ASKS[kind],
        "prompt": "" if kind == ROLLING else "{prompt}",
        "answer": "answer",
        "chat": False,
    }


def _unread(task: Mapping[str, Any], is_processed: bool) -> list[str]:
    """What a task says that is not read, and asks for something."""
    made = OF_ROWS if is_processed else frozenset[str]()
    keys = sorted(task.keys() - READ - OF_NO_EFFECT - OF_EXAMPLES - made)
    found = {key: f"{key}: {_short(task[key])}" for key in keys if _says(task[key])}
    for key in found.keys() & OF_ROWS:
        found[key] += "; give the rows as it leaves them, with --rows and --processed"
    return list(found.values())


def _of_no_effect(task: Mapping[str, Any], is_processed: bool, has_examples: bool) -> list[str]:
    """What a task says that bears on nothing here."""
    read = OF_EXAMPLES if has_examples else frozenset[str]()
    made = OF_ROWS if is_processed else frozenset[str]()
    return [
        *(f"{key}: {_short(task[key])}" for key in sorted(task.keys() & OF_NO_EFFECT - read)),
        *(
            f"{key}: {_short(task[key])}; not run, the rows are said to be as it leaves them"
            for key in sorted(task.keys() & made)
        ),
    ]


def _kind(path: Path, task: Mapping[str, Any]) -> str:
    """Its kind of output, which is carried over.

    Raises:
        DataError: it is not.
    """
    kind = task.get("output_type", "generate_until")
    if kind not in ASKS:
        raise DataError(
            f"{path.name}: output_type {kind!r} is not carried over",
            remedy=f"there is: {', '.join(ASKS)}",
        )
    return str(kind)


def _require_templates(path: Path, task: Mapping[str, Any]) -> None:
    """Raises DataError where a template is a function."""
    for key in TEMPLATES:
        if isinstance(task.get(key), Function):
            raise DataError(
                f"{path.name}: {key} is a function, {task[key].name}, and is not run",
                remedy="write it as a template or as the name of a column, or give as --rows what "
                "the harness logs of the task elsewhere (--model dummy --log_samples)",
            )


def _read(path: Path, over: Mapping[str, Any]) -> dict[str, Any]:
    found = {**whole(path), **over}
    if "doc_to_text" not in found:
        raise DataError(
            f"{path.name} is no task of the harness: it has no doc_to_text",
            remedy="name the YAML file of a task, or of a group of tasks beneath its folder",
        )
    require_shapes(path.name, found)
    return {key: value for key, value in found.items() if value is not None or key in TEMPLATES}


def _tested(task: Mapping[str, Any]) -> str:
    """The split that is tested on."""
    return str(task.get("test_split") or task.get("validation_split") or "train")


def _examples(path: Path, task: Mapping[str, Any], chooses: bool, given: Given) -> _Examples:
    """The rows before the question, rendered, and how they are taken."""
    count, config = task.get("num_fewshot") or 0, task.get("fewshot_config") or {}
    if not count:
        return _Examples()
    if not isinstance(count, int) or not isinstance(config, dict):
        return _Examples(problem="num_fewshot is no number, or fewshot_config no mapping")
    config = {key: value for key, value in config.items() if _says(value)}
    if given.is_processed:
        config.pop("process_docs", None)
    templates = {key: config.pop(key) for key in TEMPLATES if key in config}
    split = config.pop("split", None) or task.get("fewshot_split")
    samples, sampler = config.pop("samples", None), config.pop("sampler", "default")
    if not split and samples is None:
        split = task.get("training_split") or task.get("validation_split") or _tested(task)
    between = config.pop("fewshot_delimiter", task.get("fewshot_delimiter", "\n\n"))
    asked_glue = task.get("target_delimiter", " ")
    glue = config.pop("target_delimiter", asked_glue)
    description = str(task.get("description") or "")
    problems = {
        f"fewshot_config.{next(iter(config), '')} is not read": bool(config),
        f"sampler {_short(sampler)} is not known": sampler not in list(SAMPLERS),
        "its samples are no list": not isinstance(samples, list | Function | None),
        "its examples are made by a function": any(
            isinstance(each, Function) for each in (samples, *templates.values())
        ),
        "its examples are of the rows that are asked": bool(split)
        and is_same(given, task, str(split), _tested(task)),
        "its examples and its questions have other target delimiters": glue != asked_glue,
        "its description is another for each row": any(
            mark in description for mark in ("{{", "{%", "{#")
        ),
        "its answers have a gen_prefix": bool(task.get("gen_prefix") or config.get("gen_prefix")),
    }
    for problem, there_is in problems.items():
        if there_is:
            return _Examples(problem=problem)
    docs, sources = docs_of(path, task, str(split), given) if split else (list(samples or ()), [])
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
        sources=sources,
    )


def _rendered(
    path: Path, task: Mapping[str, Any], docs: Sequence[Mapping[str, Any]], chooses: bool
) -> list[dict[str, Any]]:
    """Our rows: what the templates say of each, and its own fields beside."""
    asked = {
        "text": task["doc_to_text"],
        "target": task.get("doc_to_target"),
        "choice": task.get("doc_to_choice") if chooses else None,
        "among": None if chooses else task.get("doc_to_choice"),
        "description": task.get("description") or "",
        "prefix": task.get("gen_prefix") or "",
        "before_prefix": task.get("before_prefix", ""),
        # A field that a row lacks and another has is null to the library that the harness reads by.
        "docs": [{**dict.fromkeys(key for each in docs for key in each), **doc} for doc in docs],
    }
    if asked["target"] is None or (chooses and asked["choice"] is None):
        raise DataError(f"{path.name} has no doc_to_target, or of choices no doc_to_choice")
    worker = Path(__file__).with_name("harness_worker.py")
    try:
        done = subprocess.run(  # noqa: S603  # no shell, and no word that is not ours
            [sys.executable, "-P", "-s", "-B", str(worker)],
            input=_as_json(path, asked),
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
    return [{**doc, **row} for doc, row in zip(docs, answer["rows"], strict=True)]


def _as_json(path: Path, asked: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(asked).encode()
    except (TypeError, ValueError) as error:
        raise DataError(f"{path.name}: a template is no text: {error}") from error


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
    until = given.pop("until", task.get("fewshot_delimiter") or "\n\n")
    most = [given.pop(key) for key in MOST_TOKENS if key in given] or [256]
    settings = {
        "stop": [until] if isinstance(until, str) else [str(each) for each in until],
        "max_new_tokens": most[0],
    }
    draws = given.get("do_sample", given.get("temperature", 0)) and given.get("temperature", 1)
    changes = []
    for key, value in given.items():
        if value and (key, value) != ("num_beams", 1) and (draws or key not in OF_DRAWS):
            changes.append(f"generation_kwargs.{key}: {_short(value)}; answers are the likeliest")
    return settings, changes


def _says(value: Any) -> bool:
    """Whether a setting asks for anything: no examples, or one answer, is what is done anyhow."""
    return value not in (None, False, 0, 1, [], {}, "")


def _short(value: Any) -> str:
    return short(value.name if isinstance(value, Function) else str(value))
