"""Conversations as token ids, by the model's own chat template.

The prompt of a training row is rendered by the same call as the prompt of a served request, so
their ids are equal by construction. The answer's ids are what is left when the whole conversation
is rendered: its text and the token that ends a turn. No mask is ever derived from a token's value.

Templates come with the model, so they are rendered in a sandbox (see `lm.sandbox`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.core.errors import DataError
from tunesmith.lm.engine import Message
from tunesmith.lm.sandbox import compile_template
from tunesmith.lm.tokenizer import Tokenizer

WORD_JOINER = "\u2060"


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
    prompt = _render(tokenizer, asked, ask=True)
    prompt_tokens = tokenizer.encode(prompt)
    answer_tokens = _answer_ids(tokenizer, asked, prompt, prompt_tokens, answer)
    return Rendered(ids=(*prompt_tokens, *answer_tokens), num_prompt=len(prompt_tokens))


def question(instruction: str, text: str) -> tuple[Message, ...]:
    """The messages of one question; the instruction is always the system message."""
    return (Message(role="system", content=instruction), Message(role="user", content=text))


def with_instruction(messages: Sequence[Message], instruction: str) -> tuple[Message, ...]:
    """`messages`, the instruction before them unless a system message is among them: the model was
    tuned with one, and a template may bring its own where there is none."""
    if any(message.role == "system" for message in messages):
        return tuple(messages)
    return (Message(role="system", content=instruction), *messages)


def is_tuned_task(messages: Sequence[Message], instruction: str) -> bool:
    """Whether `messages` ask for what the model was tuned for: the instruction comes first, be it
    said or understood, and there is no other system message."""
    first, *others = with_instruction(messages, instruction)
    ours = Message(role="system", content=instruction)
    return first == ours and all(message.role != "system" for message in others)


def prompt_ids(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """The ids that ask the model to answer `messages`.

    Raises:
        DataError: the template cannot render them.
    """
    return tokenizer.encode(_render(tokenizer, messages, ask=True))


@functools.lru_cache(maxsize=16)
def end_of_turn(tokenizer: Tokenizer) -> int:
    """The id that ends an answer, as the template writes it.

    Raises:
        DataError: the template does not end a turn with a special token.
    """
    return conversation(tokenizer, "a", "b", "c").ids[-1]


def stop_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """The ids at which an answer is over."""
    ids = {end_of_turn(tokenizer)}
    if tokenizer.eos_token:
        ids.add(tokenizer.id_of(tokenizer.eos_token))
    return frozenset(ids)


def _answer_ids(
    tokenizer: Tokenizer,
    asked: Sequence[Message],
    prompt: str,
    prompt_tokens: list[int],
    answer: str,
) -> list[int]:
    whole = _render(tokenizer, [*asked, Message(role="assistant", content=answer)], ask=False)
    if not whole.startswith(prompt):
        raise DataError(
            "the chat template renders an answered conversation differently from its prompt, so "
            "what is trained would not be what is served",
            remedy="use a base model whose template only appends",
        )
    ids = tokenizer.encode(whole)
    if ids[: len(prompt_tokens)] == prompt_tokens:
        rest = ids[len(prompt_tokens) :]
    else:  # a merge reaches across the border, but generation starts from the prompt's ids
        rest = tokenizer.encode(whole[len(prompt) :])
    special = tokenizer.special_ids
    for index, token in enumerate(rest):
        if token in special:
            return rest[: index + 1]
    raise DataError(
        "the chat template does not end an answer with a special token, so the model would never "
        "learn to stop",
        remedy="use an instruction-tuned base model whose template ends each turn",
    )


def _render(tokenizer: Tokenizer, messages: Sequence[Message], *, ask: bool) -> str:
    """The conversation as text; `ask` adds what makes the model answer."""
    if not tokenizer.chat_template:
        raise DataError(
            "the base model has no chat template, so it cannot be asked anything",
            remedy="use an instruction-tuned base model",
        )
    variables = {
        "add_generation_prompt": ask,
        "bos_token": tokenizer.bos_token,
        "eos_token": tokenizer.eos_token,
        "tools": None,
        "documents": None,
    }
    try:
        return compile_template(tokenizer.chat_template).render(
            [
                {"role": message.role, "content": inert(tokenizer, message.content)}
                for message in messages
            ],
            variables,
        )
    except Exception as error:  # a template is a program, and can fail as any program can
        raise DataError(
            f"the base model's chat template cannot be rendered: {error}",
            remedy="use a base model whose template needs only messages",
        ) from error


def inert(tokenizer: Tokenizer, text: str) -> str:
    """`text` in which no special token is recognised: a word joiner parts its first two characters.

    Else a document that contains the end-of-turn token would end the turn.
    """
    for token in tokenizer.special_tokens:
        if token in text:
            text = text.replace(token, token[:1] + WORD_JOINER + token[1:])
    return text
