"""What lm-evaluation-harness asks of rows like those of its own tasks, for the test that we ask it.

    pip download --no-deps lm-eval==0.4.13 && unzip -q lm_eval-*.whl -d harness
    PYTHONPATH=harness python bench/harness_prompts.py harness/lm_eval/tasks

The harness itself makes the prompts, and what it reads after them (its package needs nothing that
the tests do not have). They, the settings of its YAML files (MIT licence) and the rows below go to
tests/golden/harness_prompts.json. The rows are made up, with the columns that the hub's have.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from tunesmith.stages.evaluate.harness_yaml import whole

GOLDEN = Path(__file__).parent.parent / "tests/golden/harness_prompts.json"
KEYS = frozenset(
    {
        *("task", "output_type", "training_split", "validation_split", "test_split"),
        *(
            "fewshot_split",
            "fewshot_config",
            "fewshot_delimiter",
            "target_delimiter",
            "num_fewshot",
        ),
        *("doc_to_text", "doc_to_target", "doc_to_choice", "description", "gen_prefix"),
    }
)
"""What bears on what is asked."""


def _mc(label: str) -> dict[str, Any]:
    return {"text": ["a stone", 'it\'s "water"', "élan"], "label": ["A", "B", label]}


def _rows(**columns: Any) -> list[dict[str, Any]]:
    """Three rows that differ: texts in them end with the number of the row."""
    return [
        {
            key: f"{value} {at}" if isinstance(value, str) else value
            for key, value in columns.items()
        }
        for at in (1, 2, 3)
    ]


def _told(rows: list[dict[str, Any]], **columns: Any) -> list[dict[str, Any]]:
    return [{**row, **columns} for row in rows]


PAIR = _told(_rows(premise="It rains.", hypothesis="It is wet"), label=1)
SAMPLES: dict[str, tuple[int, list[dict[str, Any]]]] = {
    "arc/arc_easy": (0, _told(_rows(question="What flows"), choices=_mc("C"), answerKey="B")),
    "arc/arc_challenge": (2, _told(_rows(question="What flows"), choices=_mc("C"), answerKey="C")),
    "glue/sst2/default": (2, _told(_rows(sentence="a fine film "), label=1)),
    "glue/rte/default": (0, _told(_rows(sentence1="It rains.", sentence2="It is wet"), label=0)),
    "glue/cola/default": (1, _told(_rows(sentence="Me are glad"), label=1)),
    "piqa/piqa": (0, _told(_rows(goal="Open it", sol1="Push", sol2="Pull{x}"), label=1)),
    "sciq/sciq": (
        1,
        _rows(
            support="  Salt",
            question="Which",
            correct_answer="salt",
            **{f"distractor{at}": f"thing {at}" for at in (1, 2, 3)},
        ),
    ),
    "super_glue/boolq/default": (2, _told(_rows(passage="Ünder it", question="is it so"), label=0)),
    "super_glue/cb/default": (0, PAIR),
    "openbookqa/openbookqa": (
        0,
        _told(_rows(question_stem="The sun is"), choices=_mc("C"), answerKey=" A"),
    ),
    "commonsense_qa/default": (
        2,
        _told(
            _rows(question=" Where do "),
            choices={"text": [*"vwxyz"], "label": [*"ABCDE"]},
            answerKey="D",
        ),
    ),
    "swag/swag": (
        0,
        _told(_rows(startphrase="He", **{f"ending{at}": f"goes {at}" for at in range(4)}), label=2),
    ),
    "triviaqa/default": (
        2,
        _told(_rows(question="Who"), answer={"aliases": ["Ada", "A. L."], "value": "Ada"}),
    ),
    "nq_open/nq_open": (2, _told(_rows(question="who"), answer=["Ada", "A. L."])),
    "gsm8k/gsm8k": (2, _rows(question="2 + 2 =", answer="It is\n#### 4")),
    "truthfulqa/truthfulqa_mc1": (
        0,
        _told(_rows(question="What is"), mc1_targets={"choices": ["x", "y"], "labels": [1, 0]}),
    ),
    "anli/anli_r1": (2, PAIR),
    "xnli/xnli_en": (0, PAIR),
    "bbh/zeroshot/boolean_expressions": (0, _rows(input="not True is", target="False")),
    "bbh/cot_fewshot/boolean_expressions": (2, _rows(input="not True is", target="False")),
    "mmlu/default/mmlu_anatomy": (
        2,
        _told(_rows(question=" Where "), choices=[*"wxyz"], answer=3, subject="anatomy"),
    ),
    "belebele/belebele_fra_Latn": (
        0,
        _told(
            _rows(
                flores_passage="Il pleut",
                question="Quand",
                **{f"mc_answer{at}": f"réponse {at}" for at in (1, 2, 3, 4)},
            ),
            correct_answer_num="2",
        ),
    ),
    "lambada/lambada_openai": (0, _rows(text="He said to her: come")),
    "blimp/adjunct_island": (
        0,
        _rows(sentence_good="Who goes.", sentence_bad="Goes who."),
    ),
}
"""Of each task how many examples, and its rows, in each of its splits."""


def main(root: Path) -> None:
    """Write what the harness asks."""
    os.environ |= {"HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["HF_HOME"] = scratch
        made = {
            name: asked_of(root / f"{name}.yaml", count, rows, Path(scratch))
            for name, (count, rows) in SAMPLES.items()
        }
    GOLDEN.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(made)} tasks, {sum(len(each['asked']) for each in made.values())} rows")


def asked_of(path: Path, count: int, rows: list[dict[str, Any]], scratch: Path) -> dict[str, Any]:
    """A task's settings, its rows by split, and what the harness asks of each."""
    from lm_eval.api.task import ConfigurableTask

    said = {key: value for key, value in whole(path).items() if key in KEYS}
    said |= {"dataset_path": "json", "num_fewshot": count}
    if count:
        said["fewshot_config"] = {**(said.get("fewshot_config") or {}), "sampler": "first_n"}
    config = said.get("fewshot_config") or {}
    shown = config.get("split") or said.get("fewshot_split") or said.get("training_split")
    tested = said.get("test_split") or said.get("validation_split")
    splits = {tested: rows[:2] if shown == tested else rows[2:]}
    splits |= {} if shown in (None, tested) else {shown: rows[:2]}
    files = {}
    for split, docs in splits.items():
        file = scratch / f"{said['task']}-{split}.jsonl"
        file.write_text("".join(f"{json.dumps(doc)}\n" for doc in docs), encoding="utf-8")
        files[split] = str(file)
    kept = {key: value for key, value in said.items() if _is_split(key, value, splits)}
    task = ConfigurableTask(config=kept | {"dataset_kwargs": {"data_files": files}})
    task.set_fewshot_seed(1234)
    docs = list(task.test_docs() if task.has_test_docs() else task.validation_docs())
    asked = []
    for doc in docs:
        context = task.fewshot_context(doc, count, gen_prefix=task.doc_to_prefix(doc))
        requests = task.construct_requests(doc, context)
        each = requests if isinstance(requests, list) else [requests]
        follows = [one.args[1] for one in each if isinstance(one.args[-1], str)]
        asked.append({"prompt": context, "follows": follows, "right": task.doc_to_target(doc)})
    return {"yaml": yaml.safe_dump(kept, allow_unicode=True), "rows": splits, "asked": asked}


def _is_split(key: str, value: Any, splits: dict[str, Any]) -> bool:
    """Whether a setting stays: of a split, if it has rows here."""
    return not key.endswith("_split") or value in splits


if __name__ == "__main__":
    main(Path(sys.argv[1]))
