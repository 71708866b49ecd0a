"""Records and conversations in YAML, and files made to exhaust who reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tunesmith.stages.ingest.entry import Entry, Quarantined, Unreadable
from tunesmith.stages.ingest.yaml_records import read_yaml

TALKS = """categories:
- support
conversations:
- - My mouse is dead.
  - Change its batteries.
- - Hello
  - Hello yourself
  - no: way
- question: 1.10
  answer: no
- - only
  - [nested]
- plain
"""


def read(text: str, records: str = "") -> list[Any]:
    return list(read_yaml("talks.yml", text.encode(), records))


def test_a_conversation_is_a_list_of_what_is_said_in_turn() -> None:
    first, mixed, mapping, nested, plain = read(TALKS, "conversations")
    assert isinstance(first, Entry)
    assert first.pointer == "talks.yml#1"
    assert first.fields == {
        "messages": [
            {"role": "user", "content": "My mouse is dead."},
            {"role": "assistant", "content": "Change its batteries."},
        ]
    }
    assert json.loads(first.data) == first.fields
    assert mapping.fields == {"question": "1.10", "answer": "no"}, "what is written stays a string"
    for bad in (mixed, nested, plain):
        assert isinstance(bad, Quarantined)
        assert bad.rule == "not-an-object"


def test_equal_records_are_equal_bytes() -> None:
    one, other = read("- {a: 1, b: 2}\n- b: '2'\n  a: \"1\"\n")
    assert one.data == other.data


@pytest.mark.parametrize(
    ("text", "records", "words"),
    [
        (TALKS, "", "no list in the file"),
        (TALKS, "talks", "no list under 'talks'"),
        (TALKS, "conversations.more", "no list under"),
        ("", "", "no list"),
        ("- [a\n", "", "while parsing"),
        ("- &a [x, x]\n- *a\n", "", "alias"),
        ("a: &a [1]\nb: [*a, *a]\n", "b", "alias"),
        ("- a: 1\n  a: 2\n", "", "there twice"),
        ("- " + "[" * 50_000, "", "nested"),
        ("- a\0b\n", "", "NUL"),
    ],
)
def test_a_bad_file_says_why(text: str, records: str, words: str) -> None:
    with pytest.raises(Unreadable, match=words):
        read(text, records)


def test_a_tag_constructs_nothing() -> None:
    (entry,) = read("- {a: !!python/object/apply:os.system [x], b: !!int 7}\n")
    assert entry.fields == {"a": ["x"], "b": "7"}
