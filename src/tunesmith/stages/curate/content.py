"""What a source row says in a dataset's format, or why it says nothing in it."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pydantic

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
    Turn,
)

_TURN_FIELDS = frozenset(field.name for field in dataclasses.fields(Turn))
_TURN_NAMES = frozenset({"id", "name"})
"""What other trainers' files add to a turn, and no chat template of a model needs."""
_STRINGS = ("str", "bool")


class NotInFormat(ValueError):
    """A row that cannot be read in the dataset's format; the message says why, in a few words."""


def to_content(format: str, columns: Mapping[str, str], source: Mapping[str, Any]) -> Content:
    """The row of `format` that the fields of a source row make.

    A list or an object may also be the JSON of one, as in a cell of a CSV file. Calls of tools may
    be written as OpenAI's interface has them.

    Raises:
        NotInFormat: a field is missing, of the wrong type, empty, or they do not go together.
    """
    kind = FORMATS[format]
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        column = columns.get(field.name, field.name)
        if column == "negatives" and column not in source:
            column = "negative"  # files of triplets have one, and call it so
        value = source.get(column)
        is_plain = field.type in _STRINGS
        if value is None or (value == "" and not is_plain):
            if field.default is dataclasses.MISSING:
                raise NotInFormat(f"it has no field {column!r}")
            continue
        if field.name == "negatives" and isinstance(value, str) and not value.startswith("["):
            value = [value]
        values[field.name] = value if is_plain else _parsed(column, value)
    if "messages" in values:
        turns = [_turn(turn) for turn in _list("messages", values["messages"])]
        values["messages"] = _with_ids_of_answers(turns)
    try:
        content = from_plain(kind, values)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise NotInFormat(f"{where}: {first['msg'].lower()}") from None
    if wrong := problem(content):
        raise NotInFormat(wrong)
    return content


def compared(content: Content, common: frozenset[str] = frozenset()) -> str:
    """The text that near duplicates are found by.

    `common` are system messages that several conversations share: they would make all of them
    alike.
    """
    match content:
        case Labelled() | Text():
            return content.text
        case Chat():
            return "\n".join(
                turn.content
                for turn in content.messages
                if turn.content and not (turn.role == "system" and turn.content in common)
            )
        case Completion() | Preference() | Feedback() | Checked():
            return content.prompt
        case Tagged():
            return " ".join(content.tokens)
        case Pair():
            return content.anchor


def stratum(content: Content) -> str:
    """What the split is stratified by; empty where the format has nothing of the kind."""
    match content:
        case Labelled():
            return content.label
        case Feedback():
            return "true" if content.label else "false"
    return ""


def _parsed(column: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise NotInFormat(f"{column!r} is a text, not a list") from None


def _list(where: str, value: Any) -> Sequence[Any]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise NotInFormat(f"{where} is not a list")
    return value


def _turn(turn: Any) -> Any:
    """A turn with this program's names; nulls, which some tools write for what is not there, are
    left out."""
    if not isinstance(turn, Mapping):
        raise NotInFormat("a message is not an object")
    fields = {key: value for key, value in turn.items() if value is not None}
    if unread := sorted(fields.keys() - _TURN_FIELDS - _TURN_NAMES):
        raise NotInFormat(f"a message has the field {unread[0]!r}, which nothing reads")
    if "tool_calls" in fields:
        fields["tool_calls"] = [_call(call) for call in _list("tool_calls", fields["tool_calls"])]
    return {key: value for key, value in fields.items() if key in _TURN_FIELDS}


def _with_ids_of_answers(turns: Sequence[Any]) -> list[Any]:
    """Calls without ids have those of the answers that follow them, in their order."""
    found = list(turns)
    for place, turn in enumerate(turns):
        calls = turn.get("tool_calls", [])
        answers = itertools.takewhile(lambda each: each.get("role") == "tool", turns[place + 1 :])
        ids = [answer.get("tool_call_id") for answer in answers]
        if calls and len(ids) == len(calls) and all(ids) and not any("id" in c for c in calls):
            named = [{**call, "id": each} for call, each in zip(calls, ids, strict=True)]
            found[place] = {**turn, "tool_calls": named}
    return found


def _call(call: Any) -> Any:
    """A call of a tool; OpenAI's interface wraps it, and has the arguments as JSON in a string."""
    inner = call.get("function", call) if isinstance(call, Mapping) else call
    if not isinstance(inner, Mapping):
        raise NotInFormat("a call of a tool is not an object")
    found = {"name": inner.get("name"), "arguments": _parsed("arguments", inner.get("arguments"))}
    given = call.get("id")
    return found if given is None else {**found, "id": given}


def problem(content: Content) -> str:
    """What is wrong with the values of a row whose types are right; empty for nothing."""
    match content:
        case Chat():
            return _problem_of_turns(content.messages)
        case Tagged():
            return _problem_of_tags(content)
        case Preference():
            if content.chosen.strip() == content.rejected.strip():
                return "both answers are the same"
        case Checked():
            return _first_empty([("prompt", content.prompt)])
        case Pair():
            if content.positive.strip() == content.anchor.strip():
                return "the positive is the anchor"
            if content.positive.strip() in {text.strip() for text in content.negatives}:
                return "the positive is one of the negatives"
    return _first_empty(_texts(content))


def _texts(content: Content) -> Iterable[tuple[str, str]]:
    """(name, text) of each text of a row."""
    for field in dataclasses.fields(content):
        value = getattr(content, field.name)
        if isinstance(value, str):
            yield field.name, value
        elif isinstance(value, tuple):
            yield from ((field.name, each) for each in value)


def _first_empty(texts: Iterable[tuple[str, str]]) -> str:
    return next((f"{name} is empty" for name, text in texts if not text.strip()), "")


def _problem_of_tags(content: Tagged) -> str:
    if len(content.tokens) != len(content.tags):
        return f"{len(content.tokens)} tokens have {len(content.tags)} tags"
    return _first_empty(_texts(content)) if content.tokens else "tokens is empty"


FOLLOWS: Mapping[str, tuple[str, ...]] = types.MappingProxyType(
    {
        "system": ("user",),
        "user": ("user", "assistant"),
        "assistant": ("user", "tool"),
        "tool": ("tool", "assistant"),
    }
)
"""Which roles may come after which; a conversation starts with a system message or a user's."""


def _problem_of_turns(turns: Sequence[Turn]) -> str:
    if not turns:
        return "it has no messages"
    if turns[0].role not in ("system", "user"):
        return f"it starts with a message of the {turns[0].role}"
    for number, turn in enumerate(turns):
        if problem := _problem_of_turn(turn):
            return f"message {number + 1}: {problem}"
    for number, (turn, after) in enumerate(itertools.pairwise(turns), start=2):
        if after.role not in FOLLOWS[turn.role]:
            return f"message {number}: {after.role} comes after {turn.role}"
        if after.role == "tool" and turn.role == "assistant" and not turn.tool_calls:
            return f"message {number}: a tool answers though none was called"
    if problem := _problem_of_ids(turns):
        return problem
    last = turns[-1]
    if last.role != "assistant" or not last.weight:
        return "it does not end with a message of the assistant that is learnt"
    return ""


def _problem_of_ids(turns: Sequence[Turn]) -> str:
    """An answer to no call, or calls that cannot be told apart; of those that have ids."""
    called: tuple[str, ...] = ()
    for number, turn in enumerate(turns, start=1):
        if turn.role == "assistant":
            called = tuple(call.id for call in turn.tool_calls if call.id)
            if len(set(called)) < len(called):
                return f"message {number}: two calls have one id"
        elif turn.tool_call_id and turn.tool_call_id not in called:
            return (
                f"message {number}: it answers the call {turn.tool_call_id!r}, which there is not"
            )
    return ""


def _problem_of_turn(turn: Turn) -> str:
    if not turn.content.strip() and not turn.tool_calls:
        return "it is empty"
    if turn.role != "assistant" and (turn.tool_calls or turn.weight != 1.0):
        return f"tool_calls and weight are of the assistant's turns, not of {turn.role}"
    if turn.role != "tool" and turn.tool_call_id:
        return f"tool_call_id is of a tool's turns, not of {turn.role}"
    if not (math.isfinite(turn.weight) and turn.weight >= 0):
        return "its weight is below 0 or no number"
    return next(("a call has no name" for call in turn.tool_calls if not call.name.strip()), "")
