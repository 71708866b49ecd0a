"""Rows that lm-evaluation-harness logged, of tasks whose templates are functions.

The golden lines were logged by it (0.4.13: `--model dummy --log_samples`) of three tasks as below,
and are cut to the keys that are read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunesmith.core.errors import DataError
from tunesmith.stages.evaluate.harness import Carried, carry_over
from tunesmith.stages.evaluate.harness_files import as_files
from tunesmith.stages.evaluate.harness_rows import given_rows

GOLDEN = json.loads(
    (Path(__file__).parents[3] / "golden/harness_samples.json").read_text(encoding="utf-8")
)
TASK = """
task: {name}
dataset_path: someone/things
test_split: test
process_docs: !function utils.proc
doc_to_text: !function utils.text
num_fewshot: 1
"""
KINDS = {
    "fc": "output_type: multiple_choice\ndoc_to_target: !function utils.target\n"
    "doc_to_choice: ['no', 'yes']\nmetric_list: [{metric: acc}]\n",
    "fg": "output_type: generate_until\ndoc_to_target: \"{{[q, 'x']}}\"\n"
    "metric_list: [{metric: exact_match}]\n",
    "fl": "output_type: loglikelihood\ndoc_to_target: \"{{' ' + q}}\"\n"
    "metric_list: [{metric: perplexity}]\n",
}


def carried(folder: Path, name: str, lines: list[dict[str, Any]]) -> Carried:
    (folder / "task.yaml").write_text(TASK.format(name=name) + KINDS[name])
    logged = folder / "samples.jsonl"
    logged.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return carry_over(folder / "task.yaml", given_rows([f"test={logged}"]))


@pytest.mark.parametrize(
    ("name", "prompts", "answers"),
    [
        (
            "fc",
            [f"Q: IS É\nA: yes\n\nQ: {q}\nA:" for q in ("IS É", "WAS", "WILL")],
            [1, 0, 1],
        ),
        (
            "fg",
            [f"Q: {q}\nA:" for q in ("IS É", "WAS", "WILL")],
            [[q, "x"] for q in ("IS É", "WAS", "WILL")],
        ),
        (
            "fl",
            [f"Q: IS É\nA:  IS É\n\nQ: {q}\nA:" for q in ("IS É", "WAS", "WILL")],
            [" IS É", " WAS", " WILL"],
        ),
    ],
)
def test_what_the_harness_logged_is_asked_as_it_was(
    tmp_path: Path, name: str, prompts: list[str], answers: list[Any]
) -> None:
    found = carried(tmp_path, name, GOLDEN[name])

    assert found.changes == []
    assert [row["prompt"] for row in found.rows] == prompts
    assert [row["answer"] for row in found.rows] == answers
    assert [row["q"] for row in found.rows] == ["IS É", "WAS", "WILL"]
    if name == "fc":
        assert all(row["choices"] == ["no", "yes"] for row in found.rows)
    as_files(found, "tasks/x.jsonl")


def changed(name: str, **values: Any) -> list[dict[str, Any]]:
    return [{**GOLDEN[name][0], **values}]


def choices(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {f"gen_args_{at}": {"arg_0": a, "arg_1": b} for at, (a, b) in enumerate(pairs)}


@pytest.mark.parametrize(
    ("name", "lines", "said"),
    [
        ("fc", changed("fc", arguments=choices(("a", " x"), ("b", " x"))), "and they are not"),
        ("fc", changed("fc", arguments=choices(("a", "x"), ("a", " y"))), "do not begin with"),
        ("fc", changed("fc", target="2"), "none of its choices"),
        ("fc", changed("fc", arguments=choices(("a", " 1"), ("a", " 0"))), "or the place of one"),
        ("fc", changed("fc", arguments={"gen_args_1": {"arg_0": "a"}}), "gen_args_0"),
        ("fg", changed("fg", arguments={"gen_args_0": {"arg_0": 1}}), "no text"),
    ],
)
def test_what_was_logged_of_another_task_is_refused(
    tmp_path: Path, name: str, lines: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(DataError, match=f"(?s)row 0 cannot be asked here.*{said}"):
        carried(tmp_path, name, lines)


def test_a_choice_may_be_logged_by_its_text_and_a_text_that_is_no_list_stays(
    tmp_path: Path,
) -> None:
    (row,) = carried(tmp_path, "fc", changed("fc", target="yes")).rows
    assert row["answer"] == "yes"
    for target in ("[not a list]", "[]", "word"):
        (row,) = carried(tmp_path, "fg", changed("fg", target=target)).rows
        assert row["answer"] == target
