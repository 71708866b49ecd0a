"""The engine's forward pass beside that of transformers, which is also what it falls back to.

Stock is: no code of ours in the model, every document alone, attention by "sdpa".
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tunesmith.lm.attention import typed
from tunesmith.lm.example import Example, MicroBatch

TOLERANCE = 1e-3
"""Of the states' root mean square. Rounding in float32 makes a tenth of it where a few states are
far larger than the others, as in SmolLM2; a leak makes a hundred times as much and more."""

Forward = Callable[[torch.Tensor, Sequence[int]], torch.Tensor]
"""(num_tokens,) ids of one document, and the types of its tokens or none at all, to logits, for
each token or for the whole, or to states."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """How far the packed forward pass is from the stock one."""

    difference: float
    """Largest absolute difference of the final hidden states, over their root mean square."""
    tolerance: float = TOLERANCE

    @property
    def ok(self) -> bool:
        """Whether they are the same but for rounding; never so if one is not a number."""
        return self.difference <= self.tolerance


def stock_twin(model: Any) -> Any:
    """Another model of the same modules and the same parameters, with attention by "sdpa".

    It is to be made while `model` is as it was loaded: what is wrapped or patched in `model` later
    does not change the twin. It takes no memory; whatever trains a parameter trains both.
    """
    shared = {id(tensor): tensor for tensor in itertools.chain(model.parameters(), model.buffers())}
    twin = copy.deepcopy(model, shared)
    twin.config._attn_implementation = "sdpa"
    return twin


def stock_hidden(model: Any, ids: torch.Tensor, types: Sequence[int] = ()) -> torch.Tensor:
    """What the output head sees of one document: (num_tokens,) to (num_tokens, hidden_size)."""
    given = typed(torch.tensor(types) if types else None)
    states: torch.Tensor = model.base_model(input_ids=ids[None], use_cache=False, **given)[0][0]
    return states


def stock_logits(model: Any, ids: torch.Tensor, types: Sequence[int] = ()) -> torch.Tensor:
    """The logits of one document: (num_tokens,) to (num_tokens, vocabulary); of a head that reads
    the whole document (num_outputs,), and without a head the states."""
    given = typed(torch.tensor(types) if types else None)
    output = model(input_ids=ids[None], use_cache=False, **given)
    logits: torch.Tensor = output["logits" if "logits" in output else "last_hidden_state"][0]
    return logits


def stock_outputs(model: Any, example: Example) -> list[torch.Tensor]:
    """What `stock_logits` gives of each document of `example`."""
    pairs = zip(example.documents(), example.document_types(), strict=True)
    return [stock_logits(model, torch.tensor(ids), types) for ids, types in pairs]


def stock_states(model: Any, micro: MicroBatch) -> torch.Tensor:
    """The states of a micro-batch's stream, document by document: the slow path, without any code
    of the engine. `model` takes no `documents`; it may be wrapped in adapters.

    Where answers share a prompt, each is run after the prompt by itself, and the prompt's states
    are those of the first.
    """
    parts = []
    for example in micro.examples:
        start = len(example.prompt)
        pairs = zip(example.documents(), example.document_types(), strict=True)
        for number, (document, types) in enumerate(pairs):
            states = stock_hidden(model, torch.tensor(document), types)
            parts.append(states[start if number and start else 0 :])
    return torch.cat(parts)


def matches_stock(
    states: Callable[[MicroBatch], torch.Tensor], twin: Any, micro: MicroBatch
) -> Comparison:
    """Compare the states of `micro` as the engine packs it with those of its documents alone.

    The adapters of the model that `states` are of are still zero.
    """
    with torch.no_grad():
        packed = states(micro)
        alone = stock_states(twin, micro)
    return Comparison(difference=relative_difference(packed, alone))


def relative_difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest absolute difference, over the root mean square of `expected`."""
    scale = expected.double().square().mean().sqrt()
    return float((found - expected).abs().max() / scale)
