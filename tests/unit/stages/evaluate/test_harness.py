from __future__ import annotations

import io
import json
import string
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from tunesmith.core.errors import DataError, NotFound
from tunesmith.lm.load import load_model
from tunesmith.records.evaluation import TaskRows
from tunesmith.stages.evaluate import harness
from tunesmith.stages.evaluate.asking import task_base
from tunesmith.stages.evaluate.extract import found, without
from tunesmith.stages.evaluate.harness import Carried, carry_over
from tunesmith.stages.evaluate.harness_files import as_files
from tunesmith.stages.evaluate.own_rows import OwnRow, read_own
from tunesmith.stages.evaluate.task import TaskConfig

CHOICE: dict[str, Any] = {
    "task": "arc_like",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "rows.jsonl"}},
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "Question: {{question}}\nAnswer:",
    "doc_to_target": "{{choices.label.index(answerKey)}}",
    "doc_to_choice": "{{choices.text}}",
    "metric_list": [
        {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
        {"metric": "acc_norm", "aggregation": "mean", "higher_is_better": True},
    ],
    "metadata": {"version": 1.0},
}
CHOICE_ROWS = [
    {
        "question": "Which is 2?",
        "choices": {"text": ["one", "it's two"], "label": ["A", "B"]},
        "answerKey": "B",
    }
]
WRITE: dict[str, Any] = {
    "task": "say",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": "rows.jsonl"},
    "output_type": "generate_until",
    "description": "Be short. ",
    "doc_to_text": "{{q | upper}}",
    "doc_to_target": "a",
    "generation_kwargs": {"until": ["\n", "Q:"], "max_gen_toks": 16, "do_sample": False},
    "metric_list": [{"metric": "exact_match"}],
}
WRITE_ROWS = [{"q": "who?", "a": "I", "level": "easy"}, {"q": "when?", "a": ["now", "soon"]}]

Carry = Callable[..., Carried]


@pytest.fixture
def carry(tmp_path: Path) -> Carry:
    def of(task: dict[str, Any], rows: list[dict[str, Any]], more: str = "") -> Carried:
        (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        (tmp_path / "task.yaml").write_text(yaml.safe_dump(task) + more)
        return carry_over(tmp_path / "task.yaml")

    return of


def read_back(carried: Carried) -> tuple[TaskConfig, list[OwnRow]]:
    text, rows = as_files(carried, "tasks/x.jsonl")
    config = TaskConfig.model_validate(tomllib.loads(text))
    return config, read_own(config, TaskRows(task=config.name, text=rows))


def test_choices_are_carried_over_whole(carry: Carry) -> None:
    carried = carry(CHOICE, CHOICE_ROWS)
    config, (row,) = read_back(carried)

    assert (carried.changes, carried.notes) == ([], [])
    assert (config.name, config.version, config.ask, config.chat) == (
        "arc_like",
        "1.0",
        "choose",
        False,
    )
    assert config.metrics == ("accuracy", "normalised accuracy")
    assert config.between == " "
    assert row.prompt == "Question: Which is 2?\nAnswer:"
    assert (row.choices, row.right) == (("one", "it's two"), ("it's two",))


@pytest.mark.parametrize(
    ("settings", "rows"),
    [
        ({"doc_to_choice": ["no", "yes"], "doc_to_target": "label"}, [{"label": 1}]),
        ({"doc_to_choice": ["no", "yes"], "doc_to_target": "{{label}}"}, [{"label": 1}]),
        ({"doc_to_choice": ["no", "yes"], "doc_to_target": "word"}, [{"word": "yes"}]),
        ({"doc_to_choice": {"a": "no", "b": "yes"}, "doc_to_target": 1}, [{"x": "y"}]),
        ({"doc_to_choice": "options", "doc_to_target": 1}, [{"options": ["no", "yes"]}]),
    ],
)
def test_each_way_to_say_what_is_right(
    carry: Carry, settings: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    (row,) = read_back(carry(CHOICE | {"doc_to_text": "Is it?"} | settings, rows))[1]

    assert (row.prompt, row.choices, row.right) == ("Is it?", ("no", "yes"), ("yes",))


def test_answers_are_carried_over_whole(carry: Carry) -> None:
    carried = carry(WRITE, WRITE_ROWS)
    config, rows = read_back(carried)

    assert carried.changes == []
    assert (config.stop, config.max_new_tokens) == (("\n", "Q:"), 16)
    assert config.metrics == ("exact match",)
    assert [row.prompt for row in rows] == ["Be short. WHO?", "Be short. WHEN?"]
    assert [row.right for row in rows] == [("I",), ("now", "soon")]
    assert rows[0].fields["level"] == "easy"


LAMBADA: dict[str, Any] = {
    "task": "lambada_like",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "rows.jsonl"}},
    "test_split": "test",
    "output_type": "loglikelihood",
    "doc_to_text": "{{text.split(' ')[:-1]|join(' ')}}",
    "doc_to_target": "{{' '+text.split(' ')[-1]}}",
    "metric_list": [{"metric": "perplexity", "aggregation": "perplexity"}],
}
WIKITEXT: dict[str, Any] = LAMBADA | {
    "task": "wikitext_like",
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "doc_to_target": "{{text}}",
    "metric_list": [{"metric": name} for name in ("word_perplexity", "bits_per_byte")],
}
TEXTS = [
    {"text": "Permission is hereby granted"},
    {"text": "This program is free software"},
    {"text": " ".join(f"clause {n} of the licence" for n in range(300))},
]


def test_texts_are_carried_over_whole(carry: Carry) -> None:
    carried = carry(LAMBADA, TEXTS[:2])
    config, rows = read_back(carried)
    assert (carried.changes, config.ask, config.between) == ([], "score", "")
    assert carried.notes == ["metric perplexity: the same nats, here by token"]
    assert [(row.prompt, row.right) for row in rows] == [
        ("Permission is hereby", (" granted",)),
        ("This program is free", (" software",)),
    ]

    carried = carry(WIKITEXT | {"num_fewshot": 2}, TEXTS)
    config, rows = read_back(carried)
    assert (carried.changes, config.prompt, config.num_fewshot) == ([], "", 0)
    assert [row.right for row in rows] == [(each["text"],) for each in TEXTS]
    assert [each.partition(":")[0] for each in carried.notes] == [
        "num_fewshot",
        "metric word_perplexity",
        "metric bits_per_byte",
    ]


GSM8K: dict[str, Any] = WRITE | {
    "doc_to_text": "Question: {{q}}\nAnswer:",
    "description": "",
    "metric_list": [
        {
            "metric": "exact_match",
            "ignore_case": True,
            "ignore_punctuation": False,
            "regexes_to_ignore": [",", "\\$", "(?s).*#### ", "\\.$"],
        }
    ],
    "filter_list": [
        {
            "name": "strict-match",
            "filter": [
                {"function": "regex", "regex_pattern": "#### (\\-?[0-9\\.\\,]+)"},
                {"function": "take_first"},
            ],
        },
        {
            "name": "flexible-extract",
            "filter": [
                {
                    "function": "regex",
                    "group_select": -1,
                    "regex_pattern": "(-?[$0-9.,]{2,})|(-?[0-9]+)",
                },
                {"function": "take_first"},
            ],
        },
    ],
}
SUMS = [{"q": "2 + 2", "a": "It is 2 more.\n#### 4"}, {"q": "2 * 600", "a": "#### 1,200"}]


def test_what_is_taken_out_of_an_answer_is_carried_over(carry: Carry) -> None:
    carried = carry(GSM8K, SUMS)
    config, _ = read_back(carried)

    assert carried.changes == []
    assert [note.partition(";")[0] for note in carried.notes] == ["filter_list: flexible-extract"]
    assert (config.extract, config.extract_match) == ("#### (\\-?[0-9\\.\\,]+)", "first")
    assert config.metrics == ("caseless match",)
    assert list(config.ignore) == GSM8K["metric_list"][0]["regexes_to_ignore"]
    last = GSM8K | {"filter_list": GSM8K["filter_list"][1:]}
    config, _ = read_back(carry(last, SUMS))
    assert config.extract_match == "last"

    strict = {"metric": "exact_match", "ignore_punctuation": True, "ignore_numbers": True}
    config, _ = read_back(carry(WRITE | {"metric_list": [strict]}, WRITE_ROWS))
    every = "".join(map(chr, range(32, 127)))
    assert without(config.ignore, [every]) == [f" {string.ascii_uppercase}{string.ascii_lowercase}"]


def test_what_is_taken_out_is_what_the_harness_takes_out(carry: Carry) -> None:
    """By the harness itself where it is installed."""
    filters = pytest.importorskip("lm_eval.filters.extraction")
    said = ["so #### 1,200.", "#### 4\n#### 5", "it is $3.50, or 7", "no", "", "x 1 y 22 #### -3"]
    for each in GSM8K["filter_list"]:
        step = {k: v for k, v in each["filter"][0].items() if k != "function"}
        theirs = [one for (one,) in filters.RegexFilter(**step).apply([[s] for s in said], [])]
        config, _ = read_back(carry(GSM8K | {"filter_list": [each]}, SUMS))
        ours = found(config.extract, said, last=config.extract_match == "last")
        assert [one or "[invalid]" for one in ours] == theirs


def test_spaces_at_the_end_of_a_prompt_are_read(carry: Carry) -> None:
    carried = carry(LAMBADA | {"doc_to_text": "Say: ", "doc_to_target": "text"}, TEXTS[:1])
    (row,) = read_back(carried)[1]
    assert (row.prompt, row.right) == ("Say:", (" Permission is hereby granted",))


def test_that_the_likeliest_is_what_was_meant_is_not_carried_over(carry: Carry) -> None:
    acc = {"metric": "acc", "aggregation": "mean"}
    carried = carry(LAMBADA | {"metric_list": [*LAMBADA["metric_list"], acc]}, TEXTS[:1])
    assert carried.changes == ["metric acc"]


@pytest.mark.parametrize("task", [LAMBADA, WIKITEXT], ids=lambda task: str(task["task"]))
def test_texts_are_read_as_the_harness_reads_them(
    carry: Carry, tiny: Any, tmp_path: Path, task: dict[str, Any]
) -> None:
    """The nats of each row, by the harness itself where it is installed."""
    theirs_of = pytest.importorskip("lm_eval.api.task").ConfigurableTask
    model_of = pytest.importorskip("lm_eval.models.huggingface").HFLM

    rows = TEXTS if task is WIKITEXT else TEXTS[:2]
    config, _ = read_back(carry(task, rows))
    own = TaskRows(task=config.name, text=as_files(carry(task, rows), "tasks/x.jsonl")[1])
    dataset = tiny.dataset([], [("a", "b")])
    answered = task_base(config, tiny.context(), base=tiny.base, dataset=dataset, rows=own)
    table = pq.read_table(io.BytesIO(tiny.blobs.get(answered.predictions)))

    files = {"data_files": {"test": str(tmp_path / "rows.jsonl")}}
    theirs = theirs_of(config=task | {"dataset_kwargs": files})
    length = load_model(tiny.base, tiny.blobs).context_length - 1  # it reads one token more
    model = model_of(pretrained=str(tiny.folder), device="cpu", max_length=length, batch_size=1)
    asked = [
        theirs.construct_requests(doc, theirs.fewshot_context(doc, 0)) for doc in theirs.test_docs()
    ]
    said = getattr(model, task["output_type"])(asked)
    nats = [-each if task is WIKITEXT else -each[0] for each in said]
    assert table["nats"].to_pylist() == pytest.approx(nats, rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "more", "said"),
    [
        ({"num_fewshot": 5}, "", "num_fewshot: 5"),
        ({"filter_list": [{"name": "strict"}]}, "", "filter_list: strict"),
        ({"filter_list": [{"name": "x", "filter": 3}]}, "", "filter_list: x"),
        (
            {"filter_list": [{"filter": [{"function": "regex"}, {"function": "lowercase"}]}]},
            "",
            "filter_list: {'filter': [{'function': 'regex'}",
        ),
        (
            {
                "filter_list": [
                    {"name": "x", "filter": [{"function": "regex", "regex_pattern": "(?<=a)b"}]}
                ]
            },
            "",
            "filter_list: x",
        ),
        (
            {
                "filter_list": [
                    {"name": "x", "filter": [{"function": "regex", "group_select": [2]}]}
                ]
            },
            "",
            "filter_list: x",
        ),
        ({"repeats": 4}, "", "repeats: 4"),
        ({}, "process_docs: !function utils.process\n", "process_docs: utils.process"),
        ({}, "process_results: !function utils.score\n", "process_results: utils.score"),
        ({"surprise": "x"}, "", "surprise: x"),
        ({"metric_list": [{"metric": "ter"}]}, "", "metric ter"),
        (
            {"metric_list": [{"metric": "bleu", "aggregation": "mean"}]},
            "",
            "metric bleu: here of all answers together",
        ),
        ({"metric_list": [{"metric": "acc"}]}, "", "metric acc"),
        (
            {"metric_list": [{"metric": "exact_match", "regexes_to_ignore": ["(?<=a)b"]}]},
            "",
            "metric exact_match: regexes_to_ignore",
        ),
        (
            {
                "metric_list": [
                    {"metric": "exact_match", "ignore_punctuation": True},
                    {"metric": "chrf"},
                ]
            },
            "",
            "metric exact_match: ignore_punctuation",
        ),
        ({"generation_kwargs": {"temperature": 0.7}}, "", "generation_kwargs.temperature: 0.7"),
    ],
)
def test_what_is_not_carried_over_is_named_and_stands_in_the_file(
    carry: Carry, settings: dict[str, Any], more: str, said: str
) -> None:
    carried = carry(WRITE | settings, WRITE_ROWS, more)
    text, _ = as_files(carried, "tasks/x.jsonl")

    assert any(each.startswith(said) for each in carried.changes), carried.changes
    assert f"# not carried over: {said}" in text
    read_back(carried)


def test_bleu_and_chrf_are_what_they_are_there(carry: Carry) -> None:
    """Of all answers together, with one right answer each; of several they are none there."""
    task = WRITE | {"metric_list": [{"metric": "bleu"}, {"metric": "chrf", "aggregation": "chrf"}]}
    carried = carry(task, WRITE_ROWS[:1])

    assert (carried.changes, read_back(carried)[0].metrics) == ([], ("BLEU", "chrF"))
    assert carry(task, WRITE_ROWS).changes == [
        f"metric {name}: here of several right answers, which it is not there"
        for name in ("bleu", "chrf")
    ]


def test_what_bears_on_nothing_is_a_note(carry: Carry) -> None:
    carried = carry(WRITE | {"tag": "mine", "num_fewshot": 0, "repeats": 1}, WRITE_ROWS)

    assert (carried.changes, carried.notes) == ([], ["tag: mine"])


@pytest.mark.parametrize(
    ("settings", "more", "said"),
    [
        ({"output_type": "of_a_later_version"}, "", "is not carried over"),
        ({"dataset_path": "super_glue"}, "", "no local files"),
        ({"dataset_kwargs": {"data_files": {"train": "rows.jsonl"}}, "test_split": "test"}, "",
         "no rows"),
        ({"dataset_kwargs": {"data_files": "../rows.jsonl"}}, "", "leads out"),
        ({"doc_to_text": None}, "", "gives None"),
        ({"doc_to_text": "{{nothing}}"}, "", "'nothing' is undefined"),
        ({"doc_to_target": None}, "", "no doc_to_target"),
        ({"doc_to_text": "{{ ''.__class__.__mro__ }}"}, "", "unsafe|SecurityError"),
        ({"doc_to_text": "{{ q.__init__.__globals__ }}"}, "", "SecurityError|undefined"),
        ({"doc_to_text": "{% for i in range(10 ** 9) %}{% endfor %}"}, "", "Range too big"),
        ({"doc_to_text": "{{ 'a' * 10 ** 10 }}"}, "", "MemoryError"),
        ({"doc_to_text": "{% include 'x' %}"}, "", "no loader"),
        ({"doc_to_text": "{{ q | regex_replace('a', 'b') }}"}, "", "No filter named"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(
    carry: Carry, settings: dict[str, Any], more: str, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        carry(WRITE | settings, WRITE_ROWS, more)


def test_a_template_that_never_ends_is_ended(carry: Carry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "TIMEOUT_S", 1.0)
    loop = "{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}"
    with pytest.raises(DataError, match="not done after 1 s"):
        carry(WRITE | {"doc_to_text": loop}, WRITE_ROWS)


def test_files_that_are_none_are_refused(carry: Carry, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    for text, said in (
        ("a: [", "no YAML"),
        ("- 1", "no task of the harness"),
        ("group: x\ntask: [a, b]\n", "no task of the harness"),
        ("doc_to_text: !!python/object/apply:os.system [x]\n", "no YAML"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=said):
            carry_over(path)
    with pytest.raises(NotFound):
        carry_over(tmp_path / "y.yaml")
    for place in ("other.jsonl", "/etc/hostname"):
        with pytest.raises(NotFound, match="beside the YAML file"):
            carry(WRITE | {"dataset_kwargs": {"data_files": place}}, WRITE_ROWS)
    with pytest.raises(DataError, match=r"is a function, utils\.text, and is not run"):
        carry({k: v for k, v in WRITE.items() if k != "doc_to_text"}, WRITE_ROWS,
              "doc_to_text: !function utils.text\n")  # fmt: skip


def test_what_is_included_lies_beneath(carry: Carry, tmp_path: Path) -> None:
    base = {key: value for key, value in WRITE.items() if key != "description"}
    (tmp_path / "_base.yaml").write_text(yaml.safe_dump(base | {"num_fewshot": 3}))

    carried = carry({"include": "_base.yaml", "task": "mine", "num_fewshot": 0}, WRITE_ROWS)

    assert carried.changes == []
    assert read_back(carried)[0].name == "mine"
    assert carried.rows[0]["prompt"] == "WHO?"
    for place, said in (("task.yaml", "no task"), ("../x.yaml", "leads out")):
        with pytest.raises(DataError, match=said):
            carry({"include": place, "task": "mine"}, WRITE_ROWS)


@pytest.mark.parametrize(
    ("more", "key", "expected"),
    [
        ("metadata: 1.0", "metadata", "a mapping"),
        ("metric_list: [exact_match]", "metric_list", "a list of mappings"),
        ("metric_list: {metric: acc}", "metric_list", "a list of mappings"),
        ("generation_kwargs: [1]", "generation_kwargs", "a mapping"),
        ("generation_kwargs: {max_gen_toks: abc}", "generation_kwargs.max_gen_toks", "a whole"),
        ("generation_kwargs: {max_gen_toks: true}", "generation_kwargs.max_gen_toks", "a whole"),
        ("generation_kwargs: {until: 5}", "generation_kwargs.until", "a list of texts"),
        ("include: 5", "include", "a list of texts"),
        ("include: [5]", "include", "a list of texts"),
        ("dataset_kwargs: [1]", "dataset_kwargs", "a mapping"),
        ("dataset_kwargs: {data_files: 5}", "dataset_kwargs.data_files", "names of files"),
        ("dataset_kwargs: {data_files: {train: 5}}", "dataset_kwargs.data_files", "names of"),
        ("output_type: [generate_until]", "output_type", "a text"),
        ("target_delimiter: 5", "target_delimiter", "a text"),
        ("fewshot_config: {split: [a]}", "fewshot_config.split", "a text"),
        ("5: five", "the key 5", "no text"),
    ],
)
def test_a_key_of_another_shape_is_named(carry: Carry, more: str, key: str, expected: str) -> None:
    task = {name: value for name, value in WRITE.items() if not more.startswith(f"{name}:")}

    with pytest.raises(DataError) as told:
        carry(task, WRITE_ROWS, more)

    assert told.value.message.startswith(f"task.yaml: {key} is ")
    assert expected in told.value.message
    assert told.value.remedy


def test_what_is_null_is_as_if_it_was_not_there(carry: Carry) -> None:
    nothing = dict.fromkeys(("metadata", "metric_list", "include", "target_delimiter"))
    plain = {key: value for key, value in WRITE.items() if key not in nothing}
    kwargs = {"until": None, "max_gen_toks": None}

    found = carry({**plain, **nothing, "generation_kwargs": kwargs}, WRITE_ROWS)

    assert found == carry({**plain, "generation_kwargs": {}}, WRITE_ROWS)


@pytest.mark.parametrize("config", [{"samples": 5}, {"sampler": ["first_n"]}])
def test_examples_of_another_shape_are_left_out(carry: Carry, config: dict[str, Any]) -> None:
    found = carry({**WRITE, "num_fewshot": 1, "fewshot_config": config}, WRITE_ROWS)

    assert not found.examples
    assert any(each.startswith("num_fewshot: 1; ") for each in found.changes)


def test_a_date_is_a_text(carry: Carry) -> None:
    more = "num_fewshot: 1\nfewshot_config: {samples: [{q: 2026-01-02, a: b}]}\n"

    (row,) = carry(WRITE, WRITE_ROWS, more).examples

    assert "2026-01-02" in row["prompt"]


def test_an_answer_that_is_asked_for_by_its_number_is_the_choice(carry: Carry) -> None:
    task = WRITE | {"doc_to_choice": ["yes", "no"], "doc_to_target": "a"}
    _, rows = read_back(carry(task, [{"q": "so?", "a": 1}, {"q": "and?", "a": 0}]))
    assert [row.right for row in rows] == [("no",), ("yes",)]


def test_an_answer_ends_where_examples_do_unless_it_is_said(carry: Carry) -> None:
    task = WRITE | {"generation_kwargs": {"do_sample": False}, "fewshot_delimiter": "\n"}
    assert carry(task, WRITE_ROWS).settings["stop"] == ["\n"]


def test_a_column_that_looks_like_a_list_is_one_answer(carry: Carry) -> None:
    _, (row,) = read_back(carry(WRITE, [{"q": "which?", "a": "[1, 2]"}]))
    assert row.right == ("[1, 2]",)


@pytest.mark.parametrize(
    "more",
    ["x: !!float abc\n", "doc_to_text: !!binary aGVsbG8=\n", "x: " + "[" * 3000 + "\n"],
)
def test_yaml_that_means_nothing_is_said(carry: Carry, more: str) -> None:
    task = {name: value for name, value in WRITE.items() if name not in more}
    with pytest.raises(DataError):
        carry(task, WRITE_ROWS, more)
