"""Conversations as token ids, by the model's own chat template.

The prompt of a training row is rendered by the same call as the prompt of a served request, so
their ids are equal by construction. The answer's ids are what is left when the whole conversation
is rendered: its text and the token that ends a turn. No mask is ever derived from a token's value.

Templates come with the model, so they are rendered in a sandbox: no attribute that Python keeps to
itself, nothing can be changed, and neither loops nor text can grow past a fixed size.
"""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import jinja2.exceptions
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

from tunesmith.core.errors import DataError
from tunesmith.lm.engine import Message
from tunesmith.lm.tokenizer import Tokenizer

MAX_TEMPLATE_CHARS = 100_000
MAX_RANGE = 10_000
"""Numbers that the ranges of one rendering may count in all, nested loops included."""
MAX_REPEAT = 1_000
GROWING_METHODS = {"center", "expandtabs", "format", "format_map", "ljust", "rjust", "zfill"}
"""Methods of a string that make a huge one of a small one."""
GROWING_FILTERS = ("center", "format", "indent", "wordwrap")
WORD_JOINER = "\u2060"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendered:
    """One conversation as ids; the label tokens are `ids[num_prompt:]`."""

    ids: tuple[int, ...]
    """Prompt, answer, and the token that ends the answer's turn."""
    num_prompt: int


def conversation(tokenizer: Tokenizer, instruction: str, text: str, answer: str) -> Rendered:
    """`text` asked under `instruction` and answered with `answer`.

    Raises:
        DataError: the template does not render the prompt as a prefix of the conversation, or
            does not end a turn with a special token.
    """
    asked = question(instruction, text)
    prompt = _render(tokenizer, asked, ask=True)
    prompt_tokens = tokenizer.encode(prompt)
    answer_tokens = _answer_ids(tokenizer, asked, prompt, prompt_tokens, answer)
    return Rendered(ids=(*prompt_tokens, *answer_tokens), num_prompt=len(prompt_tokens))


def question(instruction: str, text: str) -> tuple[Message, ...]:
    """The messages of one question; the instruction is always the system message."""
    return (Message(role="system", content=instruction), Message(role="user", content=text))


def with_instruction(messages: Sequence[Message], instruction: str) -> tuple[Message, ...]:
    """`messages` with a system message: the model was tuned with one, and a template may bring its
    own where there is none."""
    if messages and messages[0].role == "system":
        return tuple(messages)
    return (Message(role="system", content=instruction), *messages)


def prompt_ids(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """The ids that ask the model to answer `messages`.

    Raises:
        DataError: the template cannot render them.
    """
    return tokenizer.encode(_render(tokenizer, messages, ask=True))


def prompt_text(tokenizer: Tokenizer, messages: Sequence[Message]) -> str:
    """The text whose ids are `prompt_ids`; special tokens are written out in it."""
    return _render(tokenizer, messages, ask=True)


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
    try:
        return _compile(tokenizer.chat_template).render(
            messages=[
                {"role": message.role, "content": _inert(tokenizer, message.content)}
                for message in messages
            ],
            add_generation_prompt=ask,
            bos_token=tokenizer.bos_token,
            eos_token=tokenizer.eos_token,
            tools=None,
            documents=None,
            range=_Ranges(),
        )
    except (jinja2.TemplateError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise DataError(
            f"the base model's chat template cannot be rendered: {error}",
            remedy="use a base model whose template needs only messages",
        ) from error


def _inert(tokenizer: Tokenizer, text: str) -> str:
    """`text` in which no special token is recognised: a word joiner parts its first two characters.

    Else a document that contains the end-of-turn token would end the turn.
    """
    for token in tokenizer.special_tokens:
        if token in text:
            text = text.replace(token, token[:1] + WORD_JOINER + token[1:])
    return text


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Jinja without what could run for ever or fill the memory."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(
        self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any
    ) -> Any:
        """Refuse powers and long repetitions."""
        sequence = next((item for item in (left, right) if isinstance(item, str | list)), None)
        if operator == "**" or (operator == "%" and isinstance(left, str)):
            raise jinja2.exceptions.SecurityError(f"{operator} is not allowed in a chat template")
        if operator == "*" and sequence is not None:
            count = right if sequence is left else left
            if not isinstance(count, int) or count * len(sequence) > MAX_REPEAT:
                raise jinja2.exceptions.SecurityError("a chat template repeats too much")
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Refuse also the string methods that make huge strings."""
        if isinstance(obj, str) and attr in GROWING_METHODS:
            return False
        return super().is_safe_attribute(obj, attr, value)


class _Generation(jinja2.ext.Extension):
    """`{% generation %}...{% endgeneration %}`, which marks answers: rendered as what is in it."""

    tags = {"generation"}  # noqa: RUF012  # read by jinja2 from the class

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        """The nodes between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@functools.lru_cache(maxsize=16)
def _compile(template: str) -> jinja2.Template:
    if len(template) > MAX_TEMPLATE_CHARS:
        raise DataError(f"the chat template has {len(template)} characters; that is no template")
    environment = _Sandbox(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_Generation, jinja2.ext.loopcontrols],
    )
    for name in GROWING_FILTERS:
        del environment.filters[name]
    environment.filters["tojson"] = _to_json
    environment.globals = {
        "namespace": jinja2.utils.Namespace,
        "dict": dict,
        "raise_exception": _raise,
        "strftime_now": _strftime_now,
    }
    return environment.from_string(template)


class _Ranges:
    """`range` for one rendering, with a budget."""

    def __init__(self) -> None:
        self._left = MAX_RANGE

    def __call__(self, *bounds: int) -> range:
        found = range(*bounds)
        self._left -= len(found)
        if self._left < 0:
            raise jinja2.exceptions.SecurityError(f"more than {MAX_RANGE} turns of its loops")
        return found


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(form: str) -> str:
    """A fixed day: the date in a prompt would make two equal runs differ."""
    return datetime.date(2024, 1, 1).strftime(form)
