"""Conversations of several turns as token ids, with the weight of each token in the loss.

What is trained of a turn is what the model would have to generate where it is served: from the
first token after the prompt that serving would send there, up to and with the token that ends the
turn. It is found by rendering the conversation up to the turn with it and without it, so templates
need no `{% generation %}` marks, and no token's value decides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.core.errors import DataError
from tunesmith.lm.chat_template import (
    Rendered,
    for_template,
    inert,
    render,
    turn_ids,
    turn_texts,
)
from tunesmith.lm.tokenizer import Tokenizer
from tunesmith.records.rows import Turn

OTHER_MODEL = "use a base model whose template can say it, or leave such conversations out"

Plain = Mapping[str, Any]
"""A turn or a tool as a template is given it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderedChat:
    """A conversation, or what of it one forward pass can train, as ids.

    It ends with the end of the last turn that is trained: what follows can teach nothing.
    """

    ids: tuple[int, ...]
    weights: tuple[float, ...]
    """Of each of `ids` as a label: the turn's weight where the assistant generates it, else 0."""


def render_chat(
    tokenizer: Tokenizer, messages: Sequence[Turn], tools: Sequence[Mapping[str, Any]] = ()
) -> tuple[RenderedChat, ...]:
    """`messages` as rows to train on; `tools` are the JSON schemas of what the assistant may call.

    There is one piece where the template only appends, which is the usual case. Some templates
    render a turn otherwise once others follow it: Qwen3 drops the reasoning of all turns but the
    last, gpt-oss ends them with another token. There a new piece begins, with the conversation as
    serving would send it at that point, so that every trained token follows exactly the ids that it
    will follow when the model is used. Each trained turn is in exactly one piece.

    Raises:
        DataError: no turn is trained; the template refuses the conversation, leaves a part of it
            out, renders a turn differently from its prompt, or does not end it with a token that
            stops generation.
    """
    plain, schemas = for_template(tokenizer, messages), inert(tokenizer, tools)
    pieces: list[RenderedChat] = []
    ids: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()
    first = 0  # of the turns that were not looked at yet
    for place in _trained(messages):
        try:
            turn = _render_turn(tokenizer, plain[: place + 1], schemas, first)
        except DataError as error:
            raise DataError(f"turn {place + 1}: {error.message}", remedy=error.remedy) from error
        if turn.ids[: turn.num_prompt][: len(ids)] != ids:  # serving would not send that
            pieces.append(RenderedChat(ids=ids, weights=weights))
            ids, weights = (), ()
        num_generated = len(turn.ids) - turn.num_prompt
        weights += (0.0,) * (turn.num_prompt - len(ids))
        weights += (messages[place].weight,) * num_generated
        ids = turn.ids
        first = place + 1
    return (*pieces, RenderedChat(ids=ids, weights=weights))


def _trained(messages: Sequence[Turn]) -> list[int]:
    """The places of the turns that are trained; at least one."""
    places = []
    for place, turn in enumerate(messages):
        if turn.role == "assistant" and turn.weight:
            if not 0 < turn.weight < math.inf:
                raise DataError(
                    f"turn {place + 1} has the weight {turn.weight}",
                    remedy="give it a number from 0 up; 0 leaves it out of the loss",
                )
            places.append(place)
    if not places:
        raise DataError(
            "nothing of the conversation would be trained",
            remedy="leave it out, or give a turn of the assistant a weight above 0",
        )
    return places


def _render_turn(
    tokenizer: Tokenizer, until: Sequence[Plain], tools: Sequence[Plain], first: int
) -> Rendered:
    """The last turn of `until`, after the prompt that serving would send; nothing is left out."""
    prompt, whole = turn_texts(tokenizer, until, tools)
    _require_all_said(tokenizer, until, tools, first, whole)
    return turn_ids(tokenizer, prompt, whole)


def _require_all_said(
    tokenizer: Tokenizer,
    until: Sequence[Plain],
    tools: Sequence[Plain],
    first: int,
    whole: str,
) -> None:
    """Refuse a template that leaves out anything of the turns from `first` on, or the tools.

    Each part is changed here: if the text stays what it was, the part is not in it.
    """
    for part, changed, some_tools in _with_a_change(until, tools, first):
        try:
            same = render(tokenizer, changed, some_tools, ask=False) == whole
        except DataError:  # it cannot do with that change, so it does look at the part
            continue
        if same:
            raise DataError(
                f"the chat template leaves out {part}, so the model would be trained on "
                "something else than the conversation",
                remedy=OTHER_MODEL,
            )


def _with_a_change(
    until: Sequence[Plain], tools: Sequence[Plain], first: int
) -> Iterator[tuple[str, Sequence[Plain], Sequence[Plain]]]:
    """The name of a part, and the conversation and the tools with that part changed."""
    if tools and not first:
        yield "the tools", until, ()
    for place in range(first, len(until)):
        for part, turn in _changes(until[place], is_last=place == len(until) - 1):
            changed = [*until[:place], turn, *until[place + 1 :]]
            yield f"{part} in turn {place + 1}", changed, tools


def _changes(turn: Plain, *, is_last: bool) -> Iterator[tuple[str, Plain]]:
    """The name of a part of `turn`, and the turn with that part changed."""
    said, calls = turn["content"], turn.get("tool_calls", [])
    # What an assistant said earlier a template may shorten, as it does when it is served.
    if said.strip() and (turn["role"] != "assistant" or is_last):
        yield f"what the {turn['role']} says", {**turn, "content": said + "x"}
    silent = {key: value for key, value in turn.items() if key != "tool_calls"}
    for index, call in enumerate(calls):
        before, after = calls[:index], calls[index + 1 :]
        rest = [*before, *after]
        yield f"tool call {index + 1}", {**silent, "tool_calls": rest} if rest else silent
        if call["function"]["arguments"]:
            bare = {**call, "function": {**call["function"], "arguments": {}}}
            yield (
                f"the arguments of tool call {index + 1}",
                {**turn, "tool_calls": [*before, bare, *after]},
            )
