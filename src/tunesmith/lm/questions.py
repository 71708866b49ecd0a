"""Rows that ask a question and answer it in one way or two, as tokens."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.lm.chat_template import answered, with_instruction
from tunesmith.lm.engine import Message
from tunesmith.lm.example import Answer, Example
from tunesmith.lm.tokenizer import Tokenizer
from tunesmith.records.rows import Feedback, Preference


def asked(instruction: str, prompt: str) -> tuple[Message, ...]:
    """The conversation that asks `prompt`, as a served one; an empty instruction is no message."""
    return with_instruction((Message(role="user", content=prompt),), instruction)


def preference_example(
    tokenizer: Tokenizer, instruction: str, row_id: str, content: Preference
) -> Example:
    """A question with its better answer and its worse one, in this order.

    Raises:
        DataError: the chat template cannot render them.
    """
    texts = (content.chosen, content.rejected)
    return _example(tokenizer, asked(instruction, content.prompt), row_id, texts)


def feedback_example(
    tokenizer: Tokenizer, instruction: str, row_id: str, content: Feedback
) -> Example:
    """A question with its answer; the target is 1 if the answer was liked, else 0.

    Raises:
        DataError: the chat template cannot render them.
    """
    messages = asked(instruction, content.prompt)
    liked = int(content.label)
    return _example(tokenizer, messages, row_id, (content.completion,), liked)


def _example(
    tokenizer: Tokenizer,
    messages: Sequence[Message],
    row_id: str,
    texts: Sequence[str],
    target: int | None = None,
) -> Example:
    """What follows the prompt, up to and with the end of the turn, is the answer."""
    rendered = [answered(tokenizer, messages, text) for text in texts]
    return Example(
        row_id=row_id,
        prompt=rendered[0].ids[: rendered[0].num_prompt],
        answers=tuple(Answer(ids=each.ids[each.num_prompt :]) for each in rendered),
        target=target,
    )
