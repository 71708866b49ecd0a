"""What a model is asked, as it was tuned to be asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tunesmith.lm.chat_template import is_tuned_task, with_instruction
from tunesmith.lm.engine import Message
from tunesmith.text.normalise import normalise


def as_tuned(messages: Sequence[Message], instruction: str) -> tuple[Message, ...]:
    """The conversation as the model was tuned: under the instruction, its texts normalised as those
    of a dataset are. Under a system message of the client's own it stays as it came."""
    asked = with_instruction(messages, instruction)
    if not is_tuned_task(asked, instruction):
        return asked
    return tuple(
        dataclasses.replace(message, content=normalise(message.content))
        if message.role == "user"
        else message
        for message in asked
    )
