"""Examples before the question, and rows of another dataset."""

from __future__ import annotations

import dataclasses
import io
import json
import tomllib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.core.errors import DataError
from tunesmith.records.evaluation import TaskRows
from tunesmith.records.rows import Chat, Completion, Labelled, ToolCall, Turn
from tunesmith.stages.evaluate.apart import ApartConfig, check
from tunesmith.stages.evaluate.asking import asked_items, task_base, task_tuned
from tunesmith.stages.evaluate.examples import _without_frame
from tunesmith.stages.evaluate.harness import carry_over
from tunesmith.stages.evaluate.harness_files import as_files, as_lines
from tunesmith.stages.evaluate.items import Item
from tunesmith.stages.evaluate.task import TaskConfig

TOPICS = ("copper", "violins", "glaciers", "bees", "harbours", "lenses", "bridges", "looms")


def file_rows(name: str, *rows: dict[str, Any]) -> TaskRows:
    return TaskRows(task=name, text="".join(f"{json.dumps(row)}\n" for row in rows))


def texts_are_contents(tiny: Any, dataset: Any) -> Any:
    """The dataset with what each row says as the text that near duplicates are found by."""
    table = pq.read_table(tiny.blobs.path(dataset.train.rows))
    place = table.column_names.index("text")
    sink = io.BytesIO()
    pq.write_table(table.set_column(place, "text", table["content"]), sink)
    split = dataclasses.replace(dataset.train, rows=tiny.blobs.put(sink.getvalue()))
    return dataclasses.replace(dataset, train=split)


def own_task(**settings: Any) -> TaskConfig:
    fields: dict[str, Any] = {
        "name": "own",
        "version": "1",
        "rows": "file:own.jsonl",
        "prompt": "Q: {q}\nA:",
        "metrics": ("chrF",),
        "num_fewshot": 2,
        "examples": "file:shown.jsonl",
        "chat": False,
    }
    return TaskConfig(**fields | settings)


def plain_of(tiny: Any, config: TaskConfig, asked: list[Any], shown: list[Any]) -> list[str]:
    given = {
        "rows": file_rows("own", *asked),
        "examples": file_rows("own/examples", *shown),
    }
    items = asked_items(config, tiny.context(seed=3), "", tiny.dataset([], []), given)
    return [item.plain for item in items]


SHOWN = [{"q": f"What are {topic}?", "answer": f"{topic}!"} for topic in TOPICS]


def test_the_first_rows_stand_before_every_question(tiny: Any) -> None:
    config = own_task(fewshot_sampler="first_n", preamble="Be short.\n", between_examples="\n--\n")
    asked = [{"q": "Who wrote Emma?", "answer": "Austen"}, {"q": "Where is Oslo?", "answer": "N"}]

    first, second = plain_of(tiny, config, asked, SHOWN)

    shown = "Q: What are copper?\nA: copper!\n--\nQ: What are violins?\nA: violins!\n--\n"
    assert first == f"Be short.\n{shown}Q: Who wrote Emma?\nA:"
    assert second == f"Be short.\n{shown}Q: Where is Oslo?\nA:"


def test_a_row_that_is_nearly_the_question_is_never_shown(tiny: Any) -> None:
    """Neither word for word nor with another case; the next one takes its place."""
    for sampler in ("first_n", "seeded"):
        config = own_task(fewshot_sampler=sampler, num_fewshot=7)
        asked = [{"q": "what are COPPER?", "answer": "metal"}]
        (said,) = plain_of(tiny, config, asked, SHOWN)

        assert "copper!" not in said
        assert all(f"{topic}!" in said for topic in TOPICS[1:])
        with pytest.raises(DataError, match="7 rows can be examples for own:1") as caught:
            plain_of(tiny, own_task(fewshot_sampler=sampler, num_fewshot=8), asked, SHOWN)
        assert "lower num_fewshot" in caught.value.remedy


def test_a_template_does_not_make_questions_alike() -> None:
    mine, theirs = _without_frame(
        ["Question: What is ice? Answer:"], ["Question: What is hail? Answer:"]
    )

    assert (mine, theirs) == (["ice"], ["hail"])
    assert _without_frame(["only one"], []) == (["only one"], [])


@given(texts=st.lists(st.text(max_size=6), min_size=2, max_size=5))
def test_what_is_left_of_texts_and_what_is_shared_are_the_texts(texts: list[str]) -> None:
    left, right = _without_frame(texts[:1], texts[1:])

    cut = [*left, *right]
    assert all(part in text for part, text in zip(cut, texts, strict=True))
    assert len({len(text) - len(part) for part, text in zip(cut, texts, strict=True)}) == 1
    if len(set(texts)) > 1 and all(cut):
        assert len({part[0] for part in cut}) > 1
        assert len({part[-1] for part in cut}) > 1


def test_an_item_has_its_examples_whichever_others_are_asked(tiny: Any) -> None:
    asked = [{"q": f"Number {n} {topic}?", "answer": "x"} for n, topic in enumerate("abcdef")]
    every = plain_of(tiny, own_task(), asked, SHOWN)
    some = plain_of(tiny, own_task(), asked[:2], SHOWN)

    assert every[:2] == some
    assert len({text[: text.rindex("Q:")] for text in every}) > 1, "each draws its own"


def test_examples_of_conversations_are_turns_under_one_instruction(tiny: Any, readers: Any) -> None:
    call = ToolCall(name="look", arguments={})
    chats = [
        Chat(
            messages=(
                Turn(role="system", content="Other."),
                Turn(role="user", content=f"{topic} {n}"),
                Turn(role="assistant", content=topic),
            )
        )
        for n, topic in enumerate(TOPICS[:3])
    ]
    tool = Chat(
        messages=(
            Turn(role="user", content="call it"),
            Turn(role="assistant", tool_calls=(call,)),
            Turn(role="tool", content="done"),
            Turn(role="assistant", content="called"),
        )
    )
    empty = Chat(messages=(Turn(role="user", content="x"), Turn(role="assistant", content=" ")))
    dataset = texts_are_contents(tiny, readers.dataset([tool, empty, *chats]))
    test = readers.dataset(
        [Chat(messages=(Turn(role="user", content="Who?"), Turn(role="assistant", content="I")))]
    )
    dataset = dataclasses.replace(dataset, test=test.train, instruction="Answer.")
    config = TaskConfig(
        name="t", version="1", metrics=("chrF",), num_fewshot=3, fewshot_sampler="first_n"
    )
    (item,) = asked_items(config, tiny.context(), "", dataset, {})

    said = [(turn.role, turn.content) for turn in item.messages]
    shown = [
        each
        for n, topic in enumerate(TOPICS[:3])
        for each in (("user", f"{topic} {n}"), ("assistant", topic))
    ]
    assert said == [("system", "Answer."), *shown, ("user", "Who?")]
    assert item.question == "Who?"


def test_completions_go_on_as_they_are_learnt(tiny: Any, readers: Any) -> None:
    pairs = [("One and ", "two"), ("Red and ", "blue")]
    rows = [Completion(prompt=p, completion=c) for p, c in pairs]
    dataset = texts_are_contents(tiny, readers.dataset(rows))
    test = readers.dataset([Completion(prompt="Salt and ", completion="pepper")])
    dataset = dataclasses.replace(dataset, test=test.train)
    config = TaskConfig(
        name="t", version="1", metrics=("chrF",), num_fewshot=2, fewshot_sampler="first_n"
    )
    (item,) = asked_items(config, tiny.context(), "", dataset, {})

    assert item.plain == "One and two\n\nRed and blue\n\nSalt and "


def test_base_and_tuned_are_asked_the_same(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the id, and no test row is among what stands before a question."""
    from tunesmith.stages.evaluate import asking
    from tunesmith.stages.finetune.config import ModelConfig
    from tunesmith.stages.finetune.run import finetune

    train = [(f"all about {topic} of old", "ab"[n % 2]) for n, topic in enumerate(TOPICS)]
    dataset = tiny.dataset(train, [("my own words here", "a"), ("more words there", "b")])
    recipe = ModelConfig(name="desk", base="b", dataset="d", epochs=1)
    model = finetune(recipe, tiny.context(), base=tiny.base, dataset=dataset)
    config = TaskConfig(
        name="t", version="1", metrics=("exact match",), num_fewshot=3, max_new_tokens=2
    )
    prompts: list[list[int]] = []
    real = asking.written

    def seen(loaded: Any, item: Item, config: TaskConfig) -> tuple[str, bool]:
        prompts.append(item.prompt(loaded.tokenizer))
        assert len([turn for turn in item.messages if turn.role == "assistant"]) == 3
        assert not any("words" in turn.content for turn in item.messages[:-1])
        return real(loaded, item, config)

    monkeypatch.setattr(asking, "written", seen)
    task_base(config, tiny.context(seed=5), base=tiny.base, dataset=dataset)
    task_tuned(config, tiny.context(seed=5), model=model, dataset=dataset)

    assert len(prompts) == 4
    assert prompts[:2] == prompts[2:]
    assert prompts[0] != prompts[1]


def test_another_dataset_is_asked_under_its_own_instruction(tiny: Any, readers: Any) -> None:
    mine = tiny.dataset([("a", "x")], [("b", "x")])
    other = readers.dataset([Labelled(text=t, label=lab) for t, lab in [("c", "p"), ("d", "q")]])
    other = dataclasses.replace(other, test=other.train, labels=("p", "q"), instruction="Other?")
    config = TaskConfig(name="ood", version="1", rows="dataset:other", ask="choose")
    given: Any = {"other": other}
    items = asked_items(config, tiny.context(), "Mine.", mine, given)

    assert [item.messages[0].content for item in items] == ["Other?", "Other?"]
    assert [(item.question, item.choices, item.right) for item in items] == [
        ("c", ("p", "q"), ("p",)),
        ("d", ("p", "q"), ("q",)),
    ]
    bare = {"other": dataclasses.replace(other, instruction="")}
    said = asked_items(config, tiny.context(), "Mine.", mine, bare)  # type: ignore[arg-type]
    assert said[0].messages[0].content == "Mine."
    found = task_base(config, tiny.context(), base=tiny.base, dataset=mine, other=other)
    assert (found.metric, found.num_rows) == ("accuracy", 2)


LONG = "It is a long and winding sentence about the keeping of bees on the roofs of old towns"


@pytest.mark.parametrize(
    ("test", "alike"),
    [
        ("something else entirely, of another thing", False),
        (LONG.upper(), True),
        (f"{LONG} today", True),
        ("bees on roofs", False),
    ],
)
def test_rows_that_were_tuned_on_are_no_test(tiny: Any, test: str, alike: bool) -> None:
    def with_pointers(rows: list[tuple[str, str]], name: str) -> Any:
        dataset = tiny.dataset(rows, rows)
        table = pq.read_table(tiny.blobs.path(dataset.train.rows))
        table = table.append_column("pointer", pa.array([f"{name}:{n}" for n in range(len(rows))]))
        sink = io.BytesIO()
        pq.write_table(table, sink)
        split = dataclasses.replace(dataset.train, rows=tiny.blobs.put(sink.getvalue()))
        return dataclasses.replace(dataset, name=name, train=split, test=split)

    mine, other = with_pointers([(LONG, "a")], "mine"), with_pointers([(test, "a")], "other")
    config = ApartConfig(words=0.7, runs=0.4)
    if not alike:
        found = check(config, tiny.context(), dataset=mine, other=other)
        assert (found.asked, found.trained, found.num_asked) == ("other", "mine", 1)
        return
    with pytest.raises(
        DataError, match=r"1 of the 1 test rows of 'other'.*other:0 is mine:0"
    ) as at:
        check(config, tiny.context(), dataset=mine, other=other)
    assert at.value.remedy.endswith('apart_from = ["other"] in [dataset.mine]')


# What lm-eval 0.4.13 asks (`ConfigurableTask.fewshot_context`), written down from its own output.

TRAIN = [
    {
        "question": "What is frozen water?",
        "choices": {"text": ["ice", "steam"], "label": ["A", "B"]},
        "answerKey": "A",
    },
    {
        "question": "What barks?",
        "choices": {"text": ["a cat", "a dog"], "label": ["A", "B"]},
        "answerKey": "B",
    },
    {
        "question": "What is hot?",
        "choices": {"text": ["fire", "snow"], "label": ["A", "B"]},
        "answerKey": "A",
    },
]
TEST = {
    "question": "Which is 2?",
    "choices": {"text": ["one", "it's two"], "label": ["A", "B"]},
    "answerKey": "B",
}
THEIRS: dict[str, Any] = {
    "task": "arc_like",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"train": "train.jsonl", "test": "test.jsonl"}},
    "training_split": "train",
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "Question: {{question}}\nAnswer:",
    "doc_to_target": "{{choices.label.index(answerKey)}}",
    "doc_to_choice": "{{choices.text}}",
    "num_fewshot": 2,
    "fewshot_config": {"sampler": "first_n"},
    "description": "Answer the questions.\n\n",
    "metric_list": [{"metric": "acc"}],
    "metadata": {"version": 1.0},
}
SAMPLES = [
    {
        "question": "Sky?",
        "choices": {"text": ["blue", "red"], "label": ["A", "B"]},
        "answerKey": "A",
    },
    {
        "question": "Grass?",
        "choices": {"text": ["blue", "green"], "label": ["A", "B"]},
        "answerKey": "B",
    },
]
GOLDEN = {
    "choices": (
        {},
        "Answer the questions.\n\nQuestion: What is frozen water?\nAnswer: ice\n\n"
        "Question: What barks?\nAnswer: a dog\n\nQuestion: Which is 2?\nAnswer:",
    ),
    "answers": (
        {
            "output_type": "generate_until",
            "doc_to_choice": None,
            "doc_to_text": "Q: {{question}}\nA:",
            "doc_to_target": "{{choices.text}}",
            "fewshot_delimiter": "\n##\n",
            "target_delimiter": " => ",
            "generation_kwargs": {"until": ["\n"]},
            "metric_list": [{"metric": "exact_match"}],
        },
        "Answer the questions.\n\nQ: What is frozen water?\nA: => ice\n##\n"
        "Q: What barks?\nA: => a cat\n##\nQ: Which is 2?\nA:",
    ),
    "samples": (
        {
            "training_split": None,
            "description": "",
            "fewshot_config": {
                "sampler": "first_n",
                "samples": SAMPLES,
                "doc_to_text": "Example: {{question}}\nIt is:",
            },
        },
        "Example: Sky?\nIt is: blue\n\nExample: Grass?\nIt is: green\n\n"
        "Question: Which is 2?\nAnswer:",
    ),
}


def written_down(folder: Path, **settings: Any) -> Path:
    task = {key: value for key, value in (THEIRS | settings).items() if value is not None}
    (folder / "train.jsonl").write_text(as_lines(TRAIN))
    (folder / "test.jsonl").write_text(as_lines([TEST]))
    path = folder / "task.yaml"
    path.write_text(yaml.safe_dump(task))
    return path


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_what_is_asked_is_what_the_other_harness_asks(tiny: Any, tmp_path: Path, name: str) -> None:
    settings, expected = GOLDEN[name]
    carried = carry_over(written_down(tmp_path, **settings))
    text, rows = as_files(carried, "tasks/arc.jsonl")
    config = TaskConfig.model_validate(tomllib.loads(text))
    given: Any = {
        "rows": TaskRows(task=config.name, text=rows),
        "examples": TaskRows(task=f"{config.name}/examples", text=as_lines(carried.examples)),
    }
    (item,) = asked_items(config, tiny.context(), "", tiny.dataset([], []), given)

    assert carried.changes == []
    assert item.plain == expected
    assert config.examples == "file:tasks/arc-examples.jsonl"
    if config.ask == "choose":
        assert [f"{config.between}{each}" for each in item.choices] == [" one", " it's two"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"training_split": None}, "of the rows that are asked"),
        ({"fewshot_split": "test"}, "of the rows that are asked"),
        ({"dataset_kwargs": {"data_files": "test.jsonl"}, "test_split": None}, "that are asked"),
        ({"fewshot_config": {"sampler": "balanced"}}, "sampler balanced is not known"),
        ({"fewshot_config": {"fewshot_indices": [2, 0]}}, "fewshot_indices is not read"),
        ({"fewshot_config": {"target_delimiter": "="}}, "other target delimiters"),
        ({"description": "{{question}}"}, "another for each row"),
        ({"num_fewshot": 4}, "3 rows are there for examples"),
        ({"num_fewshot": "two"}, "is no number"),
        ({"fewshot_config": {"samples": ["x"]}}, "1 rows are there"),
    ],
)
def test_examples_that_cannot_be_carried_over_are_named(
    tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    carried = carry_over(written_down(tmp_path, **settings))
    text, _ = as_files(carried, "tasks/arc.jsonl")

    assert any(each.startswith("num_fewshot: ") and said in each for each in carried.changes)
    assert "num_fewshot =" not in text


def test_a_drawn_sampler_is_ours_and_said_to_be(tmp_path: Path) -> None:
    carried = carry_over(written_down(tmp_path, fewshot_config=None))

    assert carried.settings["fewshot_sampler"] == "seeded"
    assert carried.notes == [
        "sampler default: by the project's seed other examples are drawn than there"
    ]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_fewshot": -1}, "greater than or equal to 0"),
        ({"num_fewshot": 65}, "less than or equal to 64"),
        ({"examples": ""}, "examples is the file"),
        ({"num_fewshot": 0}, "examples is the file"),
        ({"num_fewshot": 0, "examples": "", "preamble": "x"}, "read with num_fewshot alone"),
        ({"fewshot_sampler": "random"}, "'seeded' or 'first_n'"),
        ({"examples": "shown.jsonl"}, "write a file, as in"),
        ({"examples": "file:../shown.jsonl"}, "inside the project"),
        ({"chat": True, "preamble": "x"}, "chat = false"),
        ({"rows": "test", "prompt": ""}, "rows of the training split"),
        ({"rows": "dataset:"}, "name the dataset"),
        ({"rows": "dataset:d"}, "leave prompt out"),
        (
            {"rows": "dataset:d", "prompt": "", "examples": "", "ask": "choose", "choices": "a"},
            "its labels: leave choices out",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        own_task(**settings)
