from __future__ import annotations

import json
from typing import Any

import pytest

from tunesmith.core.errors import DataError
from tunesmith.records.evaluation import TaskRows
from tunesmith.stages.evaluate.own_rows import OwnRow, filled, read_own
from tunesmith.stages.evaluate.task import TaskConfig

OWN = {"name": "own", "version": "1", "rows": "file:own.jsonl", "prompt": "{q}?"}


def read(text: str, **settings: Any) -> list[OwnRow]:
    config = TaskConfig(**OWN | {"metrics": ("chrF",)} | settings)
    return read_own(config, TaskRows(task="own", text=text))


def chosen(row: dict[str, Any], **settings: Any) -> OwnRow:
    choose = {"ask": "choose", "metrics": ("accuracy",), "choices": "options"}
    (found,) = read(json.dumps(row), **choose | settings)
    return found


def test_a_row_is_a_line_with_its_number() -> None:
    text = '\n{"q": "Who", "answer": "I"}\n\n{"q": 3, "answer": ["a", "b"], "x": "\u2028"}\n'

    rows = read(text)

    assert [(row.row_id, row.prompt, row.right) for row in rows] == [
        ("own:2", "Who?", ("I",)),
        ("own:4", "3?", ("a", "b")),
    ]
    assert rows[1].fields["x"] == "\u2028"


def test_the_right_choice_is_named_or_counted() -> None:
    row = {"q": "Which", "options": ["no", "yes"]}

    assert chosen(row | {"answer": "yes"}).right == ("yes",)
    assert chosen(row | {"answer": 1}).right == ("yes",)
    assert chosen({"q": "a", "answer": "b"}, choices=("a", "b")).choices == ("a", "b")


@pytest.mark.parametrize(
    "wrong",
    [
        {"answer": "maybe"},
        {"answer": 2},
        {"answer": -1},
        {"answer": True},
        {"answer": ["yes", "no"]},
        {"answer": "yes", "options": "yes"},
        {"answer": "yes", "options": ["yes"]},
    ],
)
def test_what_is_no_right_choice_is_an_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"^own.jsonl, line 1"):
        chosen({"q": "Which", "options": ["no", "yes"]} | wrong)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 1 is no JSON"),
        ("[1]", "line 1 is no JSON object"),
        ('{"q": "a"}', "no field 'answer'"),
        ('{"answer": "a"}', "no field 'q', which the prompt names"),
        ('{"q": "a", "answer": ""}', "no right answer"),
        ('{"q": "a", "answer": " \\n"}', "no right answer"),
        ('{"q": "a\\ud83d", "answer": "b"}', "half a character"),
        ('{"q": "a", "answer": []}', "no right answer"),
        ("", "has no rows"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_a_line_that_is_wrong_is_named(line: str, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        read(line)
    assert caught.value.remedy
    assert "own.jsonl" in str(caught.value)


def test_a_character_that_json_escapes_in_two_parts_is_one() -> None:
    assert read('{"q": "\\ud83d\\ude00", "answer": "b"}')[0].prompt == "\U0001f600?"


def test_braces_are_fields_and_nothing_else() -> None:
    """A row's text is never read as a template, and a field is never more than its name."""
    fields = {"a": "{b}", "b": "x", "c.d": 1, "n": None}

    assert filled("{a} {{b}} {c.d} {n}", fields) == "{b} {b} 1 null"
    with pytest.raises(DataError, match=r"a\.__class__"):
        filled("{a.__class__}", fields)
