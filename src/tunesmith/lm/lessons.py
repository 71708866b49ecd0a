"""Rows that are learnt token by token, as examples: labels, conversations, completions, texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tunesmith.core.errors import DataError
from tunesmith.lm.chat_template import conversation, prompt_ids, with_instruction
from tunesmith.lm.engine import Message
from tunesmith.lm.example import Answer, Example
from tunesmith.lm.tokenizer import Tokenizer
from tunesmith.lm.turns import RenderedChat, render_chat
from tunesmith.records.rows import Chat, Completion, Content, Labelled, Text, Turn

WINDOW_TOKENS = 1024
"""Tokens of a text that are learnt in one piece."""


def lessons(
    tokenizer: Tokenizer, instruction: str, row_id: str, content: Content, context_length: int
) -> Iterator[Example]:
    """The examples of one row: one, but for long texts and for templates that render the past anew.

    Those after the first are called `row_id/2` and so on.

    Raises:
        DataError: the chat template cannot render it, or there is nothing to learn in it.
    """
    match content:
        case Labelled():
            rendered = conversation(tokenizer, instruction, content.text, content.label)
            yield labelled(row_id, rendered.ids, rendered.num_prompt)
        case Chat():
            pieces = render_chat(tokenizer, with_system(content, instruction), content.tools)
            yield from _numbered(row_id, map(_of_chat, pieces))
        case Completion():
            start, rest = tokenizer.encode_on(content.prompt, content.completion)
            prompt = (*beginning(tokenizer), *start)
            yield labelled(row_id, (*prompt, *rest, _end(tokenizer)), len(prompt))
        case Text():
            ids = (*beginning(tokenizer), *tokenizer.encode(content.text), _end(tokenizer))
            windows = _windows(ids, min(WINDOW_TOKENS, context_length))
            yield from _numbered(row_id, (((), Answer(ids=window)) for window in windows))
        case _:
            raise TypeError(f"{type(content).__name__} is not learnt token by token")


def labelled(row_id: str, ids: Sequence[int], num_prompt: int) -> Example:
    """A conversation of which all after the first `num_prompt` tokens is the answer."""
    return Example(
        row_id=row_id,
        prompt=tuple(ids[:num_prompt]),
        answers=(Answer(ids=tuple(ids[num_prompt:])),),
    )


def served_prompt(tokenizer: Tokenizer, instruction: str, content: Content) -> list[int]:
    """The ids that serving would ask the model with for the first thing that is learnt of a row.

    They are made as a served request's are, and not by what renders the rows.

    Raises:
        DataError: the chat template cannot render it.
    """
    match content:
        case Labelled():
            asked = with_instruction([Message(role="user", content=content.text)], instruction)
            return prompt_ids(tokenizer, asked)
        case Chat():
            turns = with_system(content, instruction)
            learnt = [turn.role == "assistant" and turn.weight > 0 for turn in turns]
            return prompt_ids(tokenizer, turns[: learnt.index(True)], content.tools)
    raise TypeError(f"{type(content).__name__} is not asked by a chat template")


def with_system(chat: Chat, instruction: str) -> tuple[Turn, ...]:
    """The turns, the instruction before them unless they begin with a system message."""
    if not instruction or chat.messages[0].role == "system":
        return chat.messages
    return (Turn(role="system", content=instruction), *chat.messages)


def beginning(tokenizer: Tokenizer) -> tuple[int, ...]:
    """What the model's own tokenizer puts before a text that no template has rendered."""
    with_special = tokenizer.core.encode("a").ids
    plain = tokenizer.core.encode("a", add_special_tokens=False).ids
    place = next(n for n in range(len(with_special)) if with_special[n : n + len(plain)] == plain)
    return tuple(with_special[:place])


def _of_chat(piece: RenderedChat) -> tuple[tuple[int, ...], Answer]:
    """All before the first token that is trained is the prompt."""
    first = next(place for place, weight in enumerate(piece.weights) if weight > 0)
    return piece.ids[:first], Answer(ids=piece.ids[first:], weights=piece.weights[first:])


def _numbered(row_id: str, pieces: Iterator[tuple[tuple[int, ...], Answer]]) -> Iterator[Example]:
    for number, (prompt, answer) in enumerate(pieces, start=1):
        name = row_id if number == 1 else f"{row_id}/{number}"
        yield Example(row_id=name, prompt=prompt, answers=(answer,))


def _windows(ids: Sequence[int], size: int) -> Iterator[tuple[int, ...]]:
    """Pieces of at most `size` tokens; each begins with the last token of the one before, so that
    every token but the first has one that predicts it, in exactly one piece."""
    for start in range(0, max(1, len(ids) - 1), size - 1):
        yield tuple(ids[start : start + size])


def _end(tokenizer: Tokenizer) -> int:
    """The token that ends a text.

    Raises:
        DataError: the tokenizer has none.
    """
    if not tokenizer.eos_token:
        raise DataError(
            "the tokenizer names no token that ends a text, so the model would never learn to stop",
            remedy="use a base model whose tokenizer_config.json has an eos_token",
        )
    return tokenizer.id_of(tokenizer.eos_token)
