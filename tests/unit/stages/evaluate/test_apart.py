"""What a task asks is held against what is tuned on."""

from __future__ import annotations

import dataclasses
import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tunesmith.core.errors import DataError
from tunesmith.records.data import Dataset
from tunesmith.records.evaluation import TaskRows
from tunesmith.stages.evaluate.apart import ApartConfig, check
from tunesmith.stages.evaluate.task import TaskConfig

BEES = "Who keeps the bees on the roofs of the old town hall by the river?"
LOOMS = "How many looms stood in the long sheds of the northern mills that year?"
GLASS = "Where was the glass for the lenses of the first harbour lights ground?"


def dataset(tiny: Any, name: str, *rows: dict[str, Any], asked: str = "prompt") -> Dataset:
    """A dataset whose rows, train and test alike, say `rows`; `asked` is what they are compared
    by."""
    columns = {
        "row_id": [str(number) for number in range(len(rows))],
        "pointer": [f"{name}.jsonl:{number}" for number in range(1, len(rows) + 1)],
        "text": [
            row[asked] if asked in row else "\n".join(turn["content"] for turn in row["messages"])
            for row in rows
        ],
        "content": [json.dumps(row) for row in rows],
    }
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    made: Dataset = tiny.dataset([("a", "b")], [("a", "b")])
    split = dataclasses.replace(made.train, rows=tiny.blobs.put(sink.getvalue()))
    return dataclasses.replace(made, name=name, train=split, test=split)


def exam(prompt: str = "{question}", **changes: Any) -> TaskConfig:
    fields: dict[str, Any] = {
        "name": "exam",
        "version": "1",
        "rows": "file:tasks/exam.jsonl",
        "prompt": prompt,
        "metrics": ("exact match",),
    }
    return TaskConfig(**fields | changes)


def asked(tiny: Any, config: TaskConfig, trained: Dataset, *questions: str) -> Any:
    rows = [{"question": question, "answer": "yes"} for question in questions]
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    return check(
        ApartConfig(words=0.7, runs=0.4, task=config),
        tiny.context(),
        dataset=trained,
        rows=TaskRows(task="exam", text=text),
    )


def completion(prompt: str, said: str = "nobody") -> dict[str, Any]:
    return {"prompt": prompt, "completion": said}


def user(*said: str) -> dict[str, Any]:
    turns = []
    for each in said:
        turns += [{"role": "user", "content": each}, {"role": "assistant", "content": "Ask him."}]
    return {"messages": turns}


def test_a_tasks_own_rows_are_no_training_rows(tiny: Any) -> None:
    trained = dataset(tiny, "qa", completion(BEES), completion(LOOMS))
    found = asked(tiny, exam(), trained, GLASS)
    assert (found.asked, found.trained, found.num_asked, found.num_trained) == ("exam", "qa", 1, 2)
    near = LOOMS.replace("northern ", "").upper()
    with pytest.raises(DataError) as caught:
        asked(tiny, exam(), trained, GLASS, near, BEES)
    said = caught.value.message
    assert said.startswith("2 of the 3 rows of tasks/exam.jsonl are rows that 'qa' tunes on, ")
    assert "tasks/exam.jsonl, line 2 is qa.jsonl:2, or has 0.92 of its words" in said
    assert "tasks/exam.jsonl, line 3 is qa.jsonl:1" in said
    assert caught.value.remedy == ("leave them out of tasks/exam.jsonl, or out of what 'qa' reads")


def test_no_more_rows_are_named_than_one_can_read(tiny: Any) -> None:
    questions = [f"{BEES} {number}" for number in range(9)]
    with pytest.raises(DataError, match="9 of the 9 rows") as caught:
        asked(tiny, exam(), dataset(tiny, "qa", *map(completion, questions)), *questions)
    assert caught.value.message.count("tasks/exam.jsonl, line ") == 3
    assert caught.value.message.endswith("; and so on")


@pytest.mark.parametrize(
    "row",
    [
        user("Good day, I should like to ask you a few things.", LOOMS, "And the year after?"),
        {"text": f"{LOOMS} yes"},
        completion(f"Answer the question as shortly and as truly as you can. {LOOMS} Answer:"),
    ],
)
def test_it_is_found_in_a_turn_with_its_answer_and_in_the_same_frame(
    tiny: Any, row: dict[str, Any]
) -> None:
    framed = exam("Answer the question as shortly and as truly as you can. {question} Answer:")
    trained = dataset(tiny, "qa", row, asked="text" if "text" in row else "prompt")
    with pytest.raises(DataError, match=r"line 1 is qa.jsonl:1"):
        asked(tiny, framed, trained, LOOMS)


def test_rows_that_are_asked_in_the_same_frame_are_not_alike_for_it(tiny: Any) -> None:
    frame = (
        "You are asked by a member of the society of engineers of the old harbour town, who wants "
        "one short word and no more, on a thing that you know well: {question}\nYour one word:"
    )
    trained = dataset(tiny, "qa", completion(frame.replace("{question}", "Who mended the clock?")))
    assert asked(tiny, exam(frame), trained, "Who sold the boats?").num_asked == 1
    with pytest.raises(DataError):
        asked(tiny, exam(frame), trained, "Who mended the clock?")


def test_a_prompt_without_a_field_is_compared_as_it_stands(tiny: Any) -> None:
    trained = dataset(tiny, "qa", completion(BEES))
    with pytest.raises(DataError):
        asked(tiny, exam(BEES), trained, GLASS)
    assert asked(tiny, exam(LOOMS), trained, GLASS).num_asked == 1


@pytest.mark.parametrize(
    "row",
    [
        {"text": f"{GLASS * 9} {LOOMS} Nobody ever knew. {BEES.upper() * 9}"},
        completion("Go on.", f"{GLASS * 9} He asked: {LOOMS} Nobody ever knew."),
        user(f"{GLASS * 9} And now: {LOOMS}"),
    ],
)
def test_what_stands_in_a_longer_row_is_found(tiny: Any, row: dict[str, Any]) -> None:
    trained = dataset(tiny, "qa", row, asked="text" if "text" in row else "prompt")
    with pytest.raises(DataError) as caught:
        asked(tiny, exam("Q: {question}"), trained, LOOMS, f"{LOOMS} Since when, and by whom then?")
    said = "1 of the 2 rows of tasks/exam.jsonl are rows that 'qa' tunes on, resemble them, or "
    assert caught.value.message == (
        f"{said}stand in them: tasks/exam.jsonl, line 1 stands in qa.jsonl:1, by 1.00 of its word "
        "8-grams"
    )


@pytest.mark.parametrize("row", [completion(LOOMS), user(BEES, LOOMS)])
def test_another_datasets_test_rows_stand_in_a_longer_row(tiny: Any, row: dict[str, Any]) -> None:
    other = dataset(tiny, "bench", row)
    config = ApartConfig(words=0.7, runs=0.4)
    trained = dataset(tiny, "qa", {"text": f"{GLASS * 9} {LOOMS} And so on."}, asked="text")
    with pytest.raises(DataError, match=r"bench.jsonl:1 stands in qa.jsonl:1, by 1.00") as caught:
        check(config, tiny.context(), dataset=trained, other=other)
    assert 'apart_from = ["bench"]' in str(caught.value.remedy)
    trained = dataset(tiny, "qa", {"text": GLASS * 9}, asked="text")
    assert check(config, tiny.context(), dataset=trained, other=other).num_asked == 1
