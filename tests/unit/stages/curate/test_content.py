"""What a source row says in each format, and every way in which it can say nothing in it."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.core.canonical import canonical_json, parse
from tunesmith.core.ref import from_plain
from tunesmith.records.rows import (
    FORMATS,
    Chat,
    Checked,
    Completion,
    Content,
    Feedback,
    Labelled,
    Pair,
    Preference,
    Tagged,
    Text,
    ToolCall,
    Turn,
)
from tunesmith.stages.curate.content import NotInFormat, compared, stratum, to_content

USER = {"role": "user", "content": "Hi"}
ASSISTANT = {"role": "assistant", "content": "Hello"}
CALL = {"name": "look", "arguments": {"for": "x"}}
CALLING = {"role": "assistant", "tool_calls": [CALL]}
TOOL = {"role": "tool", "content": "42"}


def chat(*turns: Any, **more: Any) -> dict[str, Any]:
    return {"messages": list(turns), **more}


@pytest.mark.parametrize(
    ("format", "fields", "content", "text", "label"),
    [
        ("labels", {"text": "T", "label": "l"}, Labelled(text="T", label="l"), "T", "l"),
        ("text", {"text": " T\n"}, Text(text=" T\n"), " T\n", ""),
        ("completion", {"prompt": "P", "completion": " c"},
         Completion(prompt="P", completion=" c"), "P", ""),
        ("preference", {"prompt": "P", "chosen": "a", "rejected": "b", "more": 1},
         Preference(prompt="P", chosen="a", rejected="b"), "P", ""),
        ("feedback", {"prompt": "P", "completion": "c", "label": True},
         Feedback(prompt="P", completion="c", label=True), "P", "true"),
        ("feedback", {"prompt": "P", "completion": "c", "label": "false"},
         Feedback(prompt="P", completion="c", label=False), "P", "false"),
        ("checked", {"prompt": "P", "answer": "a"}, Checked(prompt="P", answer="a"), "P", ""),
        ("checked", {"prompt": "P"}, Checked(prompt="P"), "P", ""),
        ("tags", {"tokens": ["a", "b"], "tags": ["X", "O"]},
         Tagged(tokens=("a", "b"), tags=("X", "O")), "a b", ""),
        ("tags", {"tokens": '["a"]', "tags": '["X"]'},
         Tagged(tokens=("a",), tags=("X",)), "a", ""),
        ("pairs", {"anchor": "a", "positive": "b"}, Pair(anchor="a", positive="b"), "a", ""),
        ("pairs", {"anchor": "a", "positive": "b", "negatives": ""},
         Pair(anchor="a", positive="b"), "a", ""),
        ("pairs", {"anchor": "a", "positive": "b", "negative": "c"},  # a triplet
         Pair(anchor="a", positive="b", negatives=("c",)), "a", ""),
        ("pairs", {"anchor": "a", "positive": "b", "negative": "c", "negatives": '["d", "e"]'},
         Pair(anchor="a", positive="b", negatives=("d", "e")), "a", ""),
        ("pairs", {"anchor": "a", "positive": "b", "negatives": ["c"]},
         Pair(anchor="a", positive="b", negatives=("c",)), "a", ""),
    ],
)  # fmt: skip
def test_a_row_of_each_format(
    format: str, fields: dict[str, Any], content: Content, text: str, label: str
) -> None:
    assert to_content(format, {}, fields) == content
    assert (compared(content), stratum(content)) == (text, label)


def test_a_conversation_with_tools_as_other_trainers_write_it() -> None:
    tools = [{"type": "function", "function": {"name": "look"}}]
    openai = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "1", "type": "function",
             "function": {"name": "look", "arguments": '{"for": "x"}'}}
        ],
    }  # fmt: skip
    turns = [{"role": "system", "content": "Be brief."}, USER, openai,
             TOOL | {"tool_call_id": "1", "name": None}, ASSISTANT | {"weight": 0.5}]  # fmt: skip
    expected = Chat(
        messages=(
            Turn(role="system", content="Be brief."),
            Turn(role="user", content="Hi"),
            Turn(
                role="assistant",
                tool_calls=(ToolCall(name="look", arguments={"for": "x"}, id="1"),),
            ),
            Turn(role="tool", content="42", tool_call_id="1"),
            Turn(role="assistant", content="Hello", weight=0.5),
        ),
        tools=tuple(tools),
    )
    said = to_content("chat", {}, chat(*turns, tools=tools))
    assert said == expected
    assert to_content("chat", {}, {"messages": json.dumps(turns), "tools": tools}) == expected
    assert to_content("chat", {}, chat(USER, CALLING, TOOL, TOOL, ASSISTANT)).messages[1] == Turn(
        role="assistant", tool_calls=(ToolCall(name="look", arguments={"for": "x"}),)
    )
    assert compared(said) == "Be brief.\nHi\n42\nHello"
    assert compared(said, frozenset({"Be brief."})) == "Hi\n42\nHello"


def test_columns_say_which_field_is_which() -> None:
    columns = {"prompt": "question", "chosen": "better"}
    fields = {"question": "Q", "better": "a", "rejected": "b", "prompt": "not this"}
    said = to_content("preference", columns, fields)
    assert said == Preference(prompt="Q", chosen="a", rejected="b")
    with pytest.raises(NotInFormat, match="it has no field 'question'"):
        to_content("preference", columns, {"prompt": "Q", "better": "a", "rejected": "b"})


def test_the_example_lines_of_the_documents_are_in_their_formats() -> None:
    page = Path(__file__).parents[4] / "docs" / "how-to" / "use-your-own-data.md"
    lines = dict(
        re.findall(r'^\| `"(\w+)"` \| .* \| `(\{.*\})` \|$', page.read_text(), re.MULTILINE)
    )
    assert lines.keys() == FORMATS.keys()
    for format, line in lines.items():
        assert to_content(format, {}, json.loads(line))


def test_calls_are_called_as_their_answers_call_them() -> None:
    """Ids that stand on one side only are those of both; ids that the data have stay."""
    calls = [CALL, CALL | {"name": "see"}]
    answers = [TOOL | {"tool_call_id": "x"}, TOOL | {"tool_call_id": "y"}]
    said = to_content("chat", {}, chat(USER, CALLING | {"tool_calls": calls}, *answers, ASSISTANT))
    assert isinstance(said, Chat)
    assert [call.id for call in said.messages[1].tool_calls] == ["x", "y"]
    assert [turn.tool_call_id for turn in said.messages[2:4]] == ["x", "y"]


@pytest.mark.parametrize(
    ("format", "fields", "words"),
    [
        ("text", {}, "no field 'text'"),
        ("text", {"text": None}, "no field 'text'"),
        ("text", {"text": 7}, "text: input should be a valid string"),
        ("text", {"text": " \n"}, "text is empty"),
        ("completion", {"prompt": "", "completion": "c"}, "prompt is empty"),
        ("completion", {"prompt": "p", "completion": ""}, "completion is empty"),
        ("preference", {"prompt": "p", "chosen": "a", "rejected": "a "}, "the same"),
        ("preference", {"prompt": "p", "chosen": [USER], "rejected": "b"}, "chosen: input"),
        ("feedback", {"prompt": "p", "completion": "c", "label": "perhaps"}, "label: input"),
        ("feedback", {"prompt": "p", "completion": "c"}, "no field 'label'"),
        ("tags", {"tokens": ["a"], "tags": ["X", "O"]}, "1 tokens have 2 tags"),
        ("tags", {"tokens": [], "tags": []}, "tokens is empty"),
        ("tags", {"tokens": ["a", ""], "tags": ["X", "O"]}, "tokens is empty"),
        ("tags", {"tokens": ["a"], "tags": [" "]}, "tags is empty"),
        ("tags", {"tokens": ["a"], "tags": [3]}, "tags.0: input should be a valid string"),
        ("tags", {"tokens": "two words", "tags": ["X"]}, "'tokens' is a text, not a list"),
        ("tags", {"tokens": '"quoted"', "tags": ["X"]}, "tokens: input"),
        ("pairs", {"anchor": "a", "positive": " a"}, "the positive is the anchor"),
        ("pairs", {"anchor": "a", "positive": "b", "negatives": ["b"]}, "one of the negatives"),
        ("pairs", {"anchor": "a", "positive": "b", "negative": "b"}, "one of the negatives"),
        ("pairs", {"anchor": "a", "positive": "b", "negatives": "[c"}, "a text, not a list"),
        ("pairs", {"anchor": "a", "positive": "b", "negatives": [""]}, "negatives is empty"),
        ("chat", chat(), "no messages"),
        ("chat", {"messages": "text"}, "'messages' is a text"),
        ("chat", {"messages": {"role": "user"}}, "messages is not a list"),
        ("chat", chat("Hi"), "a message is not an object"),
        ("chat", chat(USER), "does not end with a message of the assistant"),
        ("chat", chat(USER, ASSISTANT, USER), "does not end"),
        ("chat", chat(USER, ASSISTANT | {"weight": 0}), "does not end"),
        ("chat", chat(USER, ASSISTANT | {"weight": -1}), "message 2: its weight is below 0"),
        ("chat", chat(USER | {"weight": 0}, ASSISTANT), "message 1: tool_calls and weight"),
        ("chat", chat(ASSISTANT), "starts with a message of the assistant"),
        ("chat", chat(TOOL, ASSISTANT), "starts with a message of the tool"),
        ("chat", chat(USER, USER | {"role": "system"}, ASSISTANT), "2: system comes after user"),
        ("chat", chat(USER | {"role": "system"}, ASSISTANT), "2: assistant comes after system"),
        ("chat", chat(USER, ASSISTANT, ASSISTANT), "3: assistant comes after assistant"),
        ("chat", chat(USER, TOOL, ASSISTANT), "2: tool comes after user"),
        ("chat", chat(USER, ASSISTANT, TOOL, ASSISTANT), "3: a tool answers though none"),
        ("chat", chat(USER | {"content": ""}, ASSISTANT), "message 1: it is empty"),
        ("chat", chat(USER, {"role": "assistant", "content": None}), "message 2: it is empty"),
        ("chat", chat(USER | {"role": "human"}, ASSISTANT), "messages.0.role: input should be"),
        ("chat", chat({"content": "Hi"}, ASSISTANT), "messages.0.role"),
        ("chat", chat(USER | {"thought": "hm"}, ASSISTANT), "'thought', which nothing reads"),
        ("chat", chat(USER, CALLING, TOOL | {"tool_call_id": "a"}, TOOL | {"tool_call_id": "b"},
                      ASSISTANT), "message 3: it answers the call 'a', which there is not"),
        ("chat", chat(USER, CALLING | {"tool_calls": [CALL | {"id": "a"}] * 2}, TOOL, ASSISTANT),
         "message 2: two calls have one id"),
        ("chat", chat(USER | {"tool_call_id": "a"}, ASSISTANT), "message 1: tool_call_id is of"),
        ("chat", chat(USER, CALLING | {"tool_calls": ["x"]}), "call of a tool is not an object"),
        ("chat", chat(USER, CALLING | {"tool_calls": [{"name": "x"}]}), "arguments: input"),
        ("chat", chat(USER, CALLING | {"tool_calls": [CALL | {"name": " "}]}), "has no name"),
        ("chat", chat(USER, CALLING | {"tool_calls": [CALL | {"arguments": "{"}]}),
         "'arguments' is a text"),
    ],
)  # fmt: skip
def test_what_is_not_in_the_format(format: str, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(NotInFormat, match=words):
        to_content(format, {}, fields)


WORD = st.text(st.characters(exclude_categories=["Cs", "Z", "C"]), min_size=1, max_size=6)
GOOD: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "labels": st.fixed_dictionaries({"text": WORD, "label": WORD}),
    "text": st.fixed_dictionaries({"text": WORD}),
    "completion": st.fixed_dictionaries({"prompt": WORD, "completion": WORD}),
    "checked": st.fixed_dictionaries({"prompt": WORD}, optional={"answer": WORD}),
    "preference": st.builds(
        lambda p, a: {"prompt": p, "chosen": a, "rejected": a + "x"}, WORD, WORD
    ),
    "feedback": st.fixed_dictionaries({"prompt": WORD, "completion": WORD, "label": st.booleans()}),
    "tags": st.lists(st.tuples(WORD, WORD), min_size=1).map(
        lambda pairs: {"tokens": [t for t, _ in pairs], "tags": [t for _, t in pairs]}
    ),
    "pairs": st.builds(
        lambda a, n: {"anchor": a, "positive": a + "x", "negatives": [a + "y" + w for w in n]},
        WORD,
        st.lists(WORD),
    ),
    "chat": st.builds(
        lambda said, weights: chat(
            *(
                turn
                for text, weight in zip(said, weights, strict=False)
                for turn in (
                    {"role": "user", "content": text},
                    {"role": "assistant", "content": text, "weight": weight},
                )
            ),
            USER,
            ASSISTANT,
        ),
        st.lists(WORD),
        st.lists(st.floats(0, 2)),
    ),
}


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_content_written_out_is_read_again(format: str) -> None:
    """The `content` column holds all that a row says, in every format."""
    assert GOOD.keys() == FORMATS.keys()

    @given(GOOD[format])
    def law(fields: dict[str, Any]) -> None:
        content = to_content(format, {}, fields)
        assert type(content) is FORMATS[format]
        assert from_plain(FORMATS[format], parse(canonical_json(content))) == content
        assert to_content(format, {}, dataclasses.asdict(content)) == content
        assert to_content(format, {}, json.loads(json.dumps(fields))) == content

    law()


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "tool_calls", "name", "arguments", "weight"]), inner
        )
    ),
    max_leaves=8,
)


@given(st.sampled_from(sorted(FORMATS)), st.data())
def test_whatever_a_row_says_it_is_in_the_format_or_is_told_why_not(
    format: str, data: st.DataObject
) -> None:
    names = [field.name for field in dataclasses.fields(FORMATS[format])]
    fields = data.draw(st.dictionaries(st.sampled_from(names), ANY))
    reason = ""
    try:
        reason = "none" if compared(to_content(format, {}, fields)).strip() else ""
    except NotInFormat as error:
        reason = str(error)
    assert reason
