"""Many texts through a model that reads states, packed into few passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from tunesmith.core.errors import UsageError
from tunesmith.lm.attention import attend_by_document, hidden_states
from tunesmith.lm.example import Example, MicroBatch, streams
from tunesmith.lm.load import LoadedHead

MAX_TOKENS = 1024
"""Tokens of one forward pass."""

Done = Callable[[int], None]
"""Called with the number of texts that are finished."""


def unheard(_done: int) -> None:
    """Nobody watches."""


def read(
    loaded: LoadedHead,
    examples: Sequence[Example],
    says: Callable[[torch.Tensor, MicroBatch], torch.Tensor],
    done: Done = unheard,
) -> list[torch.Tensor]:
    """What `says(states, micro)` makes of each micro-batch of `examples`, in their order.

    The result of a text depends neither on the others nor on how they are packed, but for rounding.

    Raises:
        UsageError: a text does not fit the model's context.
        DataError: the model's architecture cannot be packed.
    """
    for example in examples:
        longest = max(map(len, example.documents()))
        if longest > loaded.context_length:
            raise UsageError(
                f"{example.row_id}: a text of {longest} tokens does not fit the model's "
                f"{loaded.context_length}",
                remedy="shorten it, or cut it into passages",
            )
    attend_by_document(loaded.model)
    found, finished = [], 0
    with torch.inference_mode():
        for micro in streams(examples, MAX_TOKENS):
            states = hidden_states(
                loaded.model, micro.ids, micro.positions, micro.documents, micro.types
            )
            found.append(says(states, micro))
            finished += len(micro.examples)
            done(finished)
    return found
