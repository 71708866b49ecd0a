"""Several answers to one question, drawn together: the prompt is read once for all of them.

What is drawn for an answer depends on its own name and on the logits alone, never on a generator
that others have used, so that any answer can be drawn again.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from tunesmith.core.canonical import draw
from tunesmith.lm.generate import continuation
from tunesmith.lm.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """One answer."""

    ids: tuple[int, ...]
    """With the token that ends it, if it was ended."""
    ended: bool
    """False where it was cut off at the most tokens."""


@torch.no_grad()
def draw_group(
    model: Any,
    prompt: Sequence[int],
    names: Sequence[str],
    *,
    stops: frozenset[int],
    temperature: float,
    max_tokens: int,
) -> list[Drawn]:
    """An answer for each of `names`, drawn from softmax(logits / temperature), token by token.

    `names` hold the seed and whatever else tells one answer from another. `model` is transformers',
    with the adapters that are being tuned, if any. Answers that have ended leave the batch.
    """
    generators = [
        torch.Generator().manual_seed(int.from_bytes(draw(name)[:8]) >> 1) for name in names
    ]
    found: list[list[int]] = [[] for _ in names]
    cache = DynamicCache(config=model.config)
    logits = _logits(model, torch.tensor([prompt]), cache).expand(len(names), -1)
    cache.batch_repeat_interleave(len(names))
    going = list(range(len(names)))
    while True:
        chances = torch.softmax(logits.double() / temperature, dim=-1)
        for place, member in enumerate(going):
            token = torch.multinomial(chances[place], 1, generator=generators[member])
            found[member].append(int(token))
        kept = [
            place
            for place, member in enumerate(going)
            if found[member][-1] not in stops and len(found[member]) < max_tokens
        ]
        if not kept:
            break
        if len(kept) < len(going):
            cache.batch_select_indices(torch.tensor(kept))
            going = [going[place] for place in kept]
        logits = _logits(model, torch.tensor([found[member][-1:] for member in going]), cache)
    return [Drawn(ids=tuple(ids), ended=ids[-1] in stops) for ids in found]


def greedy(model: Any, prompt: Sequence[int], stops: frozenset[int], max_tokens: int) -> Drawn:
    """The likeliest answer, token by token."""
    ids: list[int] = []
    tokens = continuation(model, prompt, lambda logits: int(logits.argmax()))
    for token in itertools.islice(tokens, max_tokens):
        ids.append(token)
        if token in stops:
            break
    return Drawn(ids=tuple(ids), ended=ids[-1] in stops)


def said(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """What an answer says, as rules are shown it and as it is served: without special tokens."""
    return tokenizer.decode(ids).strip()


def _logits(model: Any, ids: torch.Tensor, cache: DynamicCache) -> torch.Tensor:
    """Of the next token: (batch, vocabulary)."""
    output = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
    last: torch.Tensor = output.logits[:, -1]
    return last
