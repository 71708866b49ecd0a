"""How well a passage answers a query, and how good an answer is: one number each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from tunesmith.lm.encode import preferred, ranked
from tunesmith.lm.example import Example
from tunesmith.lm.heads import outputs
from tunesmith.lm.load import LoadedHead
from tunesmith.lm.read import Done, read, unheard
from tunesmith.records.rows import Pair, Preference


def passage_scores(
    loaded: LoadedHead, pairs: Sequence[tuple[str, str]], done: Done = unheard
) -> torch.Tensor:
    """The logit of "belongs to it" of each (query, passage), (num_pairs,), float64.

    Raises:
        UsageError: a pair does not fit the model's context.
        DataError: the model's architecture cannot be packed.
    """
    examples = [
        ranked(loaded, f"pair {number}", Pair(anchor=query, positive=passage))
        for number, (query, passage) in enumerate(pairs)
    ]
    return _numbers(loaded, examples, done)


def answer_rewards(
    loaded: LoadedHead,
    pairs: Sequence[tuple[str, str]],
    instruction: str = "",
    done: Done = unheard,
) -> torch.Tensor:
    """The reward of each (question, answer), (num_pairs,), float64; only differences of answers to
    one question mean something.

    Raises:
        UsageError: a pair does not fit the model's context.
        DataError: the model's architecture cannot be packed, or its template cannot be used.
    """
    examples = []
    for number, (prompt, answer) in enumerate(pairs):
        content = Preference(prompt=prompt, chosen=answer, rejected=answer)
        both = preferred(loaded, f"answer {number}", content, instruction)
        examples.append(Example(row_id=both.row_id, prompt=both.prompt, answers=both.answers[:1]))
    return _numbers(loaded, examples, done)


def _numbers(loaded: LoadedHead, examples: Sequence[Example], done: Done) -> torch.Tensor:
    found = read(loaded, examples, partial(outputs, loaded.model), done)
    return torch.cat([torch.empty(0, 1), *found]).squeeze(1).double()
