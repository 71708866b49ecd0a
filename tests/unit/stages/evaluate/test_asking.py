from __future__ import annotations

import dataclasses
import io
import json
import math
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from sacrebleu import corpus_chrf, sentence_chrf

from tunesmith.core.errors import DataError, UsageError
from tunesmith.lm.chat_template import prompt_ids
from tunesmith.lm.lessons import beginning
from tunesmith.lm.load import load_model
from tunesmith.lm.questions import asked
from tunesmith.records.evaluation import Evaluation, TaskRows
from tunesmith.records.rows import Chat, Checked, Completion, Text, Turn
from tunesmith.records.transform import Program
from tunesmith.stages.evaluate.answers import token_f1
from tunesmith.stages.evaluate.asking import task_base, task_tuned
from tunesmith.stages.evaluate.compare import Asking, compare_as, floor_interval
from tunesmith.stages.evaluate.items import item_of
from tunesmith.stages.evaluate.measured import known
from tunesmith.stages.evaluate.predictions import from_parquet
from tunesmith.stages.evaluate.task import TaskConfig

CHATS = [
    Chat(
        messages=(
            Turn(role="user", content=f"{text} {n}"),
            Turn(role="assistant", content="What?", weight=0.0),
            Turn(role="user", content="The licence."),
            Turn(role="assistant", content=name),
        )
    )
    for n, (text, name) in enumerate(
        [("Permission is hereby granted", "mit"), ("This program is free software", "gpl-2.0")]
    )
]
OWN = {
    "name": "own",
    "version": "1",
    "rows": "file:own.jsonl",
    "prompt": "{question}",
}


def table_of(tiny: Any, found: Evaluation) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(
        io.BytesIO(tiny.blobs.get(found.predictions))
    ).to_pylist()
    return rows


def asked_of(readers: Any, contents: Any) -> Any:
    dataset = readers.dataset(contents)
    return dataclasses.replace(dataset, test=dataset.train)


def of_transformers(tiny: Any, prompt: list[int], count: int) -> str:
    """What transformers' own greedy generation says."""
    loaded = load_model(tiny.base, tiny.blobs)
    ids = torch.tensor([prompt])
    with torch.no_grad():
        said = loaded.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=count,
            do_sample=False,
            eos_token_id=loaded.tokenizer.id_of("<|im_end|>"),
            pad_token_id=loaded.tokenizer.id_of("<|im_end|>"),
        )[0, len(prompt) :].tolist()
    return loaded.tokenizer.decode(said).strip()


def test_what_is_measured_is_what_the_model_writes(tiny: Any, readers: Any) -> None:
    dataset = asked_of(readers, CHATS)
    config = TaskConfig(name="talk", version="3", metrics=("token F1", "chrF"), max_new_tokens=12)
    found = task_base(config, tiny.context(), base=tiny.base, dataset=dataset)

    tokenizer = load_model(tiny.base, tiny.blobs).tokenizer
    rows = table_of(tiny, found)
    for row, chat in zip(rows, CHATS, strict=True):
        system = Turn(role="system", content=dataset.instruction)
        prompt = prompt_ids(tokenizer, [system, *chat.messages[:3]])
        assert row["predicted"] == of_transformers(tiny, prompt, 12)
        assert row["label"] == chat.messages[-1].content
        assert row["score"] == token_f1(row["predicted"], row["label"])
    assert (found.task, found.task_version, found.metric) == ("talk", "3", "token F1")
    assert found.value == pytest.approx(sum(row["score"] for row in rows) / 2)
    assert set(found.others) == {"chrF", "answers that ended"}
    said, right = ([row[column] for row in rows] for column in ("predicted", "label"))
    assert found.others["chrF"] == corpus_chrf(said, [right]).score / 100
    assert [row["metric chrF"] for row in rows] == [
        sentence_chrf(*each).score / 100
        for each in zip(said, [[one] for one in right], strict=True)
    ]


def test_an_answer_ends_at_a_stop_text_which_is_no_part_of_it(tiny: Any, readers: Any) -> None:
    dataset = asked_of(readers, [Completion(prompt="Permission is", completion="granted")])
    long = TaskConfig(name="t", version="1", metrics=("chrF",), max_new_tokens=20)
    whole = table_of(tiny, task_base(long, tiny.context(), base=tiny.base, dataset=dataset))
    said = whole[0]["predicted"]
    loaded = load_model(tiny.base, tiny.blobs)
    prompt = [*beginning(loaded.tokenizer), *loaded.tokenizer.encode("Permission is")]
    assert said == of_transformers(tiny, prompt, 20)
    stop = said[len(said) // 2 :][:4]

    short = long.model_copy(update={"stop": (stop,)})
    found = task_base(short, tiny.context(), base=tiny.base, dataset=dataset)

    assert table_of(tiny, found)[0]["predicted"] == said[: said.index(stop)].strip()
    assert found.others["answers that ended"] == 1.0


def test_a_tuned_model_is_asked_as_it_is_served(tiny: Any, readers: Any) -> None:
    """One that learnt the answers by heart says them, where its base did not."""
    from tunesmith.stages.finetune.config import ModelConfig
    from tunesmith.stages.finetune.run import finetune

    dataset = asked_of(readers, CHATS)
    recipe = ModelConfig(
        name="desk", base="b", dataset="d", method="full", learning_rate=3e-3, epochs=30
    )
    model = finetune(recipe, tiny.context(), base=tiny.base, dataset=dataset)
    config = TaskConfig(name="t", version="1", metrics=("exact match",), max_new_tokens=8)
    before = task_base(config, tiny.context(), base=tiny.base, dataset=dataset)
    after = task_tuned(config, tiny.context(), model=model, dataset=dataset)

    assert (before.value, after.value) == (0.0, 1.0)
    assert [row["predicted"] for row in table_of(tiny, after)] == ["mit", "gpl-2.0"]
    assert after.others["answers that ended"] == 1.0


def rows_of(*rows: dict[str, Any]) -> TaskRows:
    return TaskRows(task="own", text="\n".join(json.dumps(row) for row in rows) + "\n")


@pytest.mark.parametrize("chat", [True, False])
def test_choices_are_weighed_as_transformers_weighs_them(tiny: Any, chat: bool) -> None:
    """By the sum over a choice's tokens, and the same by its characters."""
    config = TaskConfig(**OWN, ask="choose", choices="options", answer="right", chat=chat)
    given = [
        {"question": "Which licence?", "options": ["mit", "gpl-2.0-plus", "a"], "right": 1},
        {
            "question": "Permission is",
            "options": ["granted", "not granted here"],
            "right": "granted",
        },
    ]
    dataset = tiny.dataset([], [("a", "b")])
    found = task_base(config, tiny.context(), base=tiny.base, dataset=dataset, rows=rows_of(*given))

    loaded = load_model(tiny.base, tiny.blobs)
    tokenizer = loaded.tokenizer
    for row, each in zip(table_of(tiny, found), given, strict=True):
        sums = []
        for choice in each["options"]:
            if chat:
                prompt = prompt_ids(tokenizer, asked(dataset.instruction, each["question"]))
                rest = [*tokenizer.encode(choice), tokenizer.id_of("<|im_end|>")]
            else:
                prompt = [*beginning(tokenizer), *tokenizer.encode(each["question"])]
                rest = tokenizer.encode(f" {choice}")
            ids = torch.tensor([[*prompt, *rest]])
            with torch.no_grad():
                log_p = torch.log_softmax(loaded.model(ids).logits[0].double(), dim=-1)
            steps = log_p[len(prompt) - 1 : -1].gather(1, ids[0, len(prompt) :, None])
            sums.append(float(steps.sum()))
        right = each["right"] if isinstance(each["right"], int) else 0
        best = max(range(len(sums)), key=sums.__getitem__)
        by_char = [s / len(choice) for s, choice in zip(sums, each["options"], strict=True)]
        assert row["predicted"] == each["options"][best]
        assert row["score"] == float(best == right)
        assert row["metric normalised accuracy"] == float(
            max(range(len(sums)), key=by_char.__getitem__) == right
        )
        expected = -torch.log_softmax(torch.tensor(sums), 0)[right]
        assert row["loss"] == pytest.approx(float(expected), rel=1e-3, abs=1e-6)
    assert [row["row_id"] for row in table_of(tiny, found)] == ["own:1", "own:2"]


def test_choices_that_are_labels_are_measured_as_labels_of_a_dataset_are(tiny: Any) -> None:
    """Whatever their order in a row; macro-F1 as scikit-learn counts it."""
    from sklearn.metrics import f1_score

    config = TaskConfig(**OWN, ask="choose", choices="options", answer="right", chat=False)
    words = ["granted", "free", "mit", "a", "the software", "licence"]
    given = [
        {
            "question": f"Permission {word} is",
            "options": (labels := ["granted", "mit", "free"])[:: -1 if n % 2 else 1],
            "right": labels[n % 3],
        }
        for n, word in enumerate(words * 3)
    ]
    dataset = tiny.dataset([], [("a", "b")])
    found = task_base(config, tiny.context(), base=tiny.base, dataset=dataset, rows=rows_of(*given))
    rows = table_of(tiny, found)
    truth, said = ([row[name] for row in rows] for name in ("label", "predicted"))

    in_order = [{**each, "options": labels} for each in given]
    same = task_base(
        config, tiny.context(), base=tiny.base, dataset=dataset, rows=rows_of(*in_order)
    )
    assert len(set(said)) > 1, "a model that always says the same shows nothing here"
    for one, other in zip(rows, table_of(tiny, same), strict=True):
        assert one["predicted"] == other["predicted"]
        assert one["probabilities"] == pytest.approx(other["probabilities"], rel=1e-4)
    assert found.labels == ("granted", "mit", "free")
    assert truth == [each["right"] for each in given]
    wanted = f1_score(truth, said, labels=list(found.labels), average="macro", zero_division=0)
    assert found.others["macro-F1"] == pytest.approx(wanted)
    assert found.others["micro-F1"] == pytest.approx(found.value)
    brier = []
    for row in rows:
        assert sum(row["probabilities"]) == pytest.approx(1)
        assert found.labels[max(range(3), key=row["probabilities"].__getitem__)] == row["predicted"]
        hit = [float(label == row["label"]) for label in found.labels]
        brier.append(sum((p - t) ** 2 for p, t in zip(row["probabilities"], hit, strict=True)))
        place = found.labels.index(row["label"])
        assert math.exp(-row["loss"]) == pytest.approx(row["probabilities"][place], rel=1e-5)
    assert found.others["Brier score"] == pytest.approx(sum(brier) / len(brier), rel=1e-5)
    said_of = from_parquet(tiny.blobs.get(found.predictions))
    assert {"macro-F1", "micro-F1", "calibration error", "Brier score", "loss"} <= set(
        known(found, said_of)
    )
    for metric in known(found, said_of):
        estimate, _ = floor_interval(found, tiny.blobs, metric=metric, confidence=0.95, seed=1)
        assert estimate.low <= found.metrics()[metric] <= estimate.high
        both = compare_as(found, found, tiny.blobs, Asking(confidence=0.9, seed=1, metric=metric))
        assert both.difference == 0


def test_choices_that_are_each_rows_own_are_no_labels(tiny: Any) -> None:
    config = TaskConfig(**OWN, ask="choose", choices="options", answer="right", chat=False)
    given = [{"question": "a", "options": ["b", word], "right": 0} for word in ("c", "d")]
    dataset = tiny.dataset([], [("a", "b")])
    found = task_base(config, tiny.context(), base=tiny.base, dataset=dataset, rows=rows_of(*given))

    assert (found.labels, set(found.others)) == ((), {"normalised accuracy", "loss"})


def nats_of(tiny: Any, prompt: list[int], rest: list[int]) -> float:
    """What transformers itself says."""
    ids = torch.tensor([[*prompt, *rest]])
    with torch.no_grad():
        log_p = torch.log_softmax(load_model(tiny.base, tiny.blobs).model(ids).logits[0], dim=-1)
    return -float(log_p[len(prompt) - 1 : -1].gather(1, ids[0, len(prompt) :, None]).sum())


@pytest.mark.parametrize("chat", [True, False])
def test_what_follows_a_prompt_is_read(tiny: Any, chat: bool) -> None:
    config = TaskConfig(**OWN, ask="score", chat=chat)
    given = [
        {"question": "Which licence?", "answer": "mit"},
        {"question": "Permission is", "answer": "hereby granted, free of charge"},
    ]
    dataset = tiny.dataset([], [("a", "b")])
    found = task_base(config, tiny.context(), base=tiny.base, dataset=dataset, rows=rows_of(*given))

    tokenizer = load_model(tiny.base, tiny.blobs).tokenizer
    rows = table_of(tiny, found)
    for row, each in zip(rows, given, strict=True):
        if chat:
            prompt = prompt_ids(tokenizer, asked(dataset.instruction, each["question"]))
            rest = [*tokenizer.encode(each["answer"]), tokenizer.id_of("<|im_end|>")]
        else:
            prompt = [*beginning(tokenizer), *tokenizer.encode(each["question"])]
            rest = tokenizer.encode(f" {each['answer']}")
        assert row["num_tokens"] == len(rest)
        assert row["nats"] == pytest.approx(nats_of(tiny, prompt, rest), rel=1e-4)
        assert row["score"] == pytest.approx(-row["nats"] / len(rest))
    loss = sum(row["nats"] for row in rows) / sum(row["num_tokens"] for row in rows)
    assert found.others == {
        "loss": pytest.approx(loss),
        "perplexity": pytest.approx(math.exp(loss)),
    }
    estimate, _ = floor_interval(found, tiny.blobs, metric="perplexity", confidence=0.95, seed=1)
    assert estimate.low <= found.others["perplexity"] <= estimate.high


def test_a_whole_text_is_read_and_a_long_one_in_pieces(tiny: Any) -> None:
    """Every token counts once; the first after the token that begins a text."""
    config = TaskConfig(**OWN | {"prompt": ""}, ask="score", chat=False)
    loaded = load_model(tiny.base, tiny.blobs)
    tokenizer, length = loaded.tokenizer, loaded.context_length
    long = " ".join(f"clause {n} of the licence" for n in range(length))
    given = [{"answer": "Permission is hereby granted."}, {"answer": long}]
    dataset = tiny.dataset([], [("a", "b")])
    found = task_base(config, tiny.context(), base=tiny.base, dataset=dataset, rows=rows_of(*given))

    for row, each in zip(table_of(tiny, found), given, strict=True):
        ids = [tokenizer.id_of(tokenizer.bos_token), *tokenizer.encode(each["answer"])]
        pieces = []
        for first in range(1, len(ids), length - 1):
            end = min(len(ids), first + length - 1)
            pieces.append((ids[max(0, end - length) : first], ids[first:end]))
        nats = sum(nats_of(tiny, *piece) for piece in pieces)
        assert row["num_tokens"] == len(ids) - 1
        assert row["nats"] == pytest.approx(nats, rel=1e-4)
    assert len(pieces) > 1
    assert len(pieces[-1][0]) > 1


def test_the_nearest_of_several_right_answers_counts(tiny: Any) -> None:
    config = TaskConfig(**OWN, metrics=("chrF",), max_new_tokens=6)
    dataset = tiny.dataset([], [("a", "b")])

    def value(answer: Any) -> float:
        rows = rows_of({"question": "Which?", "answer": answer})
        return task_base(config, tiny.context(), base=tiny.base, dataset=dataset, rows=rows).value

    said = table_of(
        tiny,
        task_base(
            config,
            tiny.context(),
            base=tiny.base,
            dataset=dataset,
            rows=rows_of({"question": "Which?", "answer": "x"}),
        ),
    )[0]["predicted"]
    assert value(["~", said]) == value(said) == 1.0
    assert value("~") == 0.0


def test_what_is_taken_out_of_an_answer_is_compared(tiny: Any) -> None:
    """The answer itself is kept, as people and judges read it."""
    dataset = tiny.dataset([], [("a", "b")])
    own = OWN | {"metrics": ("exact match",), "max_new_tokens": 12}
    rows = [{"question": f"Permission {word}", "answer": "x"} for word in ("is", "granted")]
    (said, other) = (
        row["predicted"]
        for row in table_of(
            tiny,
            task_base(
                TaskConfig(**own),
                tiny.context(),
                base=tiny.base,
                dataset=dataset,
                rows=rows_of(*rows),
            ),
        )
    )
    letters = next(each for each in said if each.isalpha())
    rows[0]["answer"], rows[1]["answer"] = f"<{letters}>", f"{other}!"
    config = TaskConfig(**own, extract="[A-Za-z]", ignore=("[<>]",))
    found = task_base(config, tiny.context(), base=tiny.base, dataset=dataset, rows=rows_of(*rows))
    first, second = table_of(tiny, found)
    assert (first["predicted"], first["extracted"], first["score"]) == (said, letters, 1.0)
    assert (second["predicted"], second["score"]) == (other, 0.0)


def test_a_row_that_does_not_fit_is_named(tiny: Any) -> None:
    dataset = tiny.dataset([], [("a", "b")])
    rows = rows_of({"question": "a" * 2000, "answer": "b", "options": ["b", "c"]})
    for more in ({"metrics": ("chrF",)}, {"ask": "choose", "choices": "options"}):
        with pytest.raises(UsageError, match=r"own:1 has \d+ tokens"):
            task_base(
                TaskConfig(**OWN, **more),
                tiny.context(),
                base=tiny.base,
                dataset=dataset,
                rows=rows,
            )


def test_a_row_without_an_answer_in_words_is_an_error() -> None:
    call = Chat(messages=(Turn(role="user", content="a"), Turn(role="assistant", content=" ")))
    for content in (call, Checked(prompt="Which?")):
        with pytest.raises(DataError, match="row r1 has no answer in words"):
            item_of("r1", content, "")
    with pytest.raises(TypeError, match="not answered"):
        item_of("r1", Text(text="a"), "")


COUNTS = """
def score(row):
    if row["fields"].get("stop"):
        raise ValueError("no")
    knows = row["prompt"] == "Which?" and row["answers"] == ["x"]
    return {"letters": len(row["said"]) if knows else -1}
"""


def own_metric(tiny: Any, text: str, **fields: Any) -> Evaluation:
    config = TaskConfig(**OWN, metrics=("letters", "chrF"), python="c.py:score", max_new_tokens=4)
    rows = rows_of({"question": "Which?", "answer": "x", **fields})
    return task_base(
        config,
        tiny.context(),
        base=tiny.base,
        dataset=tiny.dataset([], [("a", "b")]),
        rows=rows,
        program=Program(python=text, file="c.py", function="score"),
    )


def test_a_function_of_the_project_counts_metrics_of_its_own(tiny: Any) -> None:
    found = own_metric(tiny, COUNTS)

    assert found.metric == "letters"
    assert found.value == len(table_of(tiny, found)[0]["predicted"])
    assert "chrF" in found.others


@pytest.mark.parametrize(
    ("text", "fields", "said"),
    [
        (COUNTS, {"stop": 1}, r"ValueError: no \(c.py, line 4\)"),
        ("def score(row): return {}", {}, "gives no number for each of letters"),
        ("def score(row): return {'letters': True}", {}, "gives no number"),
        ("def score(row): return None", {}, "gives no number"),
        ("def other(row): return {}", {}, "there is no function 'score'"),
        ("import os\ndef score(row): os._exit(3)", {}, r"ended its process at answer 1 \(exit"),
        ("def score(row): open('/etc/passwd')", {}, "may not read /etc/passwd"),
        ("def score(row): open('x', 'w')", {}, "may not write x"),
    ],
)
def test_a_function_that_does_not_count_says_so(
    tiny: Any, text: str, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        own_metric(tiny, text, **fields)
