"""Conversations as token ids, by the model's own chat template.

The prompt of a training row is rendered by the same call as the prompt of a served request, so
their ids are equal by construction. A turn's ids are what is left when the conversation is rendered
with it: its text and the token that ends a turn. No mask is ever derived from a token's value.

Templates come with the model, so they are rendered in a sandbox (see `lm.sandbox`). Conversations
of several turns are in `lm.turns`.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.core.canonical import fingerprint
from tunesmith.core.errors import DataError
from tunesmith.lm.engine import Message
from tunesmith.lm.sandbox import compile_template
from tunesmith.lm.tokenizer import Tokenizer
from tunesmith.records.rows import ToolCall, Turn

WORD_JOINER = "\u2060"
ID_CHARS = 9
"""Of the id of a call: what templates of the Mistral family insist on, and others do with."""
NEVER_STOPS = "so the model would never learn to stop"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendered:
    """One conversation as ids; the label tokens are `ids[num_prompt:]`."""

    ids: tuple[int, ...]
    """Prompt, answer, and the token that ends the answer's turn."""
    num_prompt: int


def conversation(tokenizer: Tokenizer, instruction: str, text: str, answer: str) -> Rendered:
    """`text` asked under `instruction` and answered with `answer`: a row as it is trained.

    Raises:
        DataError: as `answered`.
    """
    return answered(tokenizer, question(instruction, text), answer)


def answered(tokenizer: Tokenizer, asked: Sequence[Message], answer: str) -> Rendered:
    """The conversation `asked`, and `answer` after it.

    Raises:
        DataError: the template does not render the prompt as a prefix of the conversation, or
            does not end a turn with a special token.
    """
    turn = Message(role="assistant", content=answer)
    return turn_ids(tokenizer, *turn_texts(tokenizer, for_template(tokenizer, [*asked, turn])))


def question(instruction: str, text: str) -> tuple[Message, ...]:
    """The messages of one question; the instruction is always the system message."""
    return (Message(role="system", content=instruction), Message(role="user", content=text))


def with_instruction(messages: Sequence[Message], instruction: str) -> tuple[Message, ...]:
    """`messages`, the instruction before them unless a system message is among them: the model was
    tuned with one, and a template may bring its own where there is none. An empty instruction is
    none: the model was tuned without."""
    if not instruction or any(message.role == "system" for message in messages):
        return tuple(messages)
    return (Message(role="system", content=instruction), *messages)


def is_tuned_task(messages: Sequence[Message], instruction: str) -> bool:
    """Whether `messages` ask for what the model was tuned for: the instruction, if there is one,
    comes first, be it said or understood, and there is no other system message."""
    told = with_instruction(messages, instruction)
    ours = (Message(role="system", content=instruction),) if instruction else ()
    others = told[len(ours) :]
    return told[: len(ours)] == ours and all(message.role != "system" for message in others)


def prompt_ids(
    tokenizer: Tokenizer,
    messages: Sequence[Message | Turn],
    tools: Sequence[Mapping[str, Any]] = (),
) -> list[int]:
    """The ids that ask the model to answer `messages`, when it may call `tools` (JSON schemas).

    Raises:
        DataError: the template cannot render them.
    """
    given = inert(tokenizer, tools)
    return tokenizer.encode(render(tokenizer, for_template(tokenizer, messages), given, ask=True))


@functools.lru_cache(maxsize=16)
def end_of_turn(tokenizer: Tokenizer) -> int:
    """The id that ends an answer: the first special token of what the template writes behind any;
    without a template, the token that ends a text.

    Raises:
        DataError: the template does not end a turn with a special token, or there is none at all.
    """
    if not tokenizer.chat_template and tokenizer.eos_token:
        return tokenizer.id_of(tokenizer.eos_token)
    asked = question("a", "b")
    try:
        behind = _behind_answers(tokenizer, asked)
    except DataError:  # some templates know no system message
        behind = _behind_answers(tokenizer, asked[1:])
    for token in tokenizer.encode(behind):
        if token in tokenizer.special_ids:
            return token
    raise DataError(
        f"the chat template does not end an answer with a special token, {NEVER_STOPS}",
        remedy="use an instruction-tuned base model whose template ends each turn",
    )


def _behind_answers(tokenizer: Tokenizer, asked: Sequence[Message]) -> str:
    """What the template writes behind an answer, whatever that is."""
    one, other = (
        render(tokenizer, for_template(tokenizer, [*asked, answer]), ask=False)
        for answer in (Message(role="assistant", content=text) for text in ("c", "d"))
    )
    backwards = zip(reversed(one), reversed(other), strict=False)
    same = "".join(a for a, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], backwards))
    return "" if one == other else same[::-1]


@functools.lru_cache(maxsize=16)
def stop_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """The ids at which a turn of the assistant is over.

    Some templates end one that calls a tool in a way of their own, as gpt-oss and Gemma 4.

    Raises:
        DataError: as `end_of_turn`.
    """
    ids = {end_of_turn(tokenizer)}
    if tokenizer.eos_token:
        ids.add(tokenizer.id_of(tokenizer.eos_token))
    call = Turn(role="assistant", tool_calls=(ToolCall(name="f", arguments={"a": "b"}),))
    messages = for_template(tokenizer, [Message(role="user", content="a"), call])
    try:
        prompt, whole = turn_texts(tokenizer, messages)
    except DataError:  # it has no calls
        return frozenset(ids)
    called = tokenizer.encode(whole[len(prompt) :].rstrip())
    if called and ids.isdisjoint(called) and called[-1] in tokenizer.special_ids:
        ids.add(called[-1])
    return frozenset(ids)


def turn_texts(
    tokenizer: Tokenizer,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] = (),
) -> tuple[str, str]:
    """What serving would send before the last of `messages`, and the text with it.

    Both arguments are as of `for_template` and `inert`.

    Raises:
        DataError: the former is not the beginning of the latter.
    """
    prompt = render(tokenizer, messages[:-1], tools, ask=True)
    whole = render(tokenizer, messages, tools, ask=False)
    if not whole.startswith(prompt):
        raise DataError(
            "the chat template renders an answered conversation differently from its prompt, so "
            "what is trained would not be what is served",
            remedy="use a base model whose template only appends",
        )
    return prompt, whole


def turn_ids(tokenizer: Tokenizer, prompt: str, whole: str) -> Rendered:
    """The texts of `turn_texts` as ids, up to the token that ends the turn.

    Raises:
        DataError: no such token follows.
    """
    # Generation starts from the prompt's ids, also where a merge reaches across the border.
    asked, rest = tokenizer.encode_on(prompt, whole[len(prompt) :])
    # What a turn says cannot hold a special token, so these are the template's.
    ends = stop_ids(tokenizer) & tokenizer.special_ids
    for index, token in enumerate(rest):
        if token in ends:
            return Rendered(ids=(*asked, *rest[: index + 1]), num_prompt=len(asked))
    raise DataError(
        f"the chat template does not end this turn as it ends an answer, {NEVER_STOPS}: "
        f"{whole[-60:]!r}",
        remedy="use a base model whose template ends each turn with the same token",
    )


def for_template(
    tokenizer: Tokenizer, messages: Sequence[Message | Turn]
) -> tuple[dict[str, Any], ...]:
    """`messages` as templates expect them; no special token is left in what they say."""
    return tuple(_for_template(tokenizer, message) for message in with_call_ids(messages))


def with_call_ids(messages: Sequence[Message | Turn]) -> tuple[Message | Turn, ...]:
    """`messages` in which every call of a tool, and every answer to one, has an id.

    Those of the data stay. Others follow from the place of the turn and from what is called, so
    that what comes later changes none. Answers without one are to the calls in their order.
    """
    found: list[Message | Turn] = []
    called: list[str] = []
    for place, message in enumerate(messages):
        turn = message
        if isinstance(turn, Turn) and turn.role == "tool":
            next_id = called.pop(0) if called else ""
            turn = dataclasses.replace(turn, tool_call_id=turn.tool_call_id or next_id)
        elif isinstance(turn, Turn) and turn.tool_calls:
            calls = tuple(
                dataclasses.replace(call, id=call.id or _id_of(call, place, number))
                for number, call in enumerate(turn.tool_calls)
            )
            turn = dataclasses.replace(turn, tool_calls=calls)
            called = [call.id for call in calls]
        found.append(turn)
    return tuple(found)


def _id_of(call: ToolCall, place: int, number: int) -> str:
    return fingerprint([place, number, call.name, call.arguments])[:ID_CHARS]


def _for_template(tokenizer: Tokenizer, message: Message | Turn) -> dict[str, Any]:
    found = {"role": message.role, "content": inert(tokenizer, message.content)}
    if isinstance(message, Turn) and message.tool_calls:  # many templates ask whether it is there
        found["tool_calls"] = [
            {
                "type": "function",
                "id": inert(tokenizer, call.id),
                "function": {
                    "name": inert(tokenizer, call.name),
                    "arguments": inert(tokenizer, call.arguments),
                },
            }
            for call in message.tool_calls
        ]
    if isinstance(message, Turn) and message.tool_call_id:
        found["tool_call_id"] = inert(tokenizer, message.tool_call_id)
    return found


def render(
    tokenizer: Tokenizer,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] = (),
    *,
    ask: bool,
) -> str:
    """The conversation as text; `ask` adds what makes the model answer.

    Raises:
        DataError: the template cannot render it.
    """
    if not tokenizer.chat_template:
        raise DataError(
            "the base model has no chat template, so it cannot be asked anything",
            remedy="use an instruction-tuned base model",
        )
    variables = {
        "add_generation_prompt": ask,
        "bos_token": tokenizer.bos_token,
        "eos_token": tokenizer.eos_token,
        "tools": list(tools) or None,
        "documents": None,
    }
    try:
        return compile_template(tokenizer.chat_template).render(list(messages), variables)
    except Exception as error:  # a template is a program, and can fail as any program can
        raise DataError(
            f"the base model's chat template cannot be rendered: {error}",
            remedy="use a base model whose template takes such conversations",
        ) from error


def inert(tokenizer: Tokenizer, value: Any) -> Any:
    """`value` in whose texts no special token is recognised: a word joiner parts its first two
    characters.

    Else a document that contains the end-of-turn token would end the turn.
    """
    if isinstance(value, Mapping):
        return {inert(tokenizer, key): inert(tokenizer, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [inert(tokenizer, item) for item in value]
    if not isinstance(value, str):
        return value
    for token in sorted(token for token in tokenizer.special_tokens if token in value):
        value = value.replace(token, token[:1] + WORD_JOINER + token[1:])
    return value
