"""The engine's forward pass beside that of transformers, which is also what it falls back to.

Stock is: no code of ours in the model, every document alone, attention by "sdpa".
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from tunesmith.lm.attention import hidden_states
from tunesmith.stages.finetune.batches import MicroBatch

TOLERANCE = 1e-3
"""Of the states' root mean square. Rounding in float32 makes a tenth of it where a few states are
far larger than the others, as in SmolLM2; a leak makes a hundred times as much and more."""

Forward = Callable[[torch.Tensor], torch.Tensor]
"""(num_tokens,) ids of one document to (num_tokens, width) states, or logits."""


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


def stock_hidden(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """What the output head sees of one document: (num_tokens,) to (num_tokens, hidden_size)."""
    states: torch.Tensor = model.base_model(input_ids=ids[None], use_cache=False)[0][0]
    return states


def stock_logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """The logits of one document: (num_tokens,) to (num_tokens, vocabulary)."""
    logits: torch.Tensor = model(input_ids=ids[None], use_cache=False).logits[0]
    return logits


def matches_stock(model: Any, stock: Forward, micro: MicroBatch) -> Comparison:
    """Compare the states of `micro` as the engine packs it with those of its documents alone.

    `model` has been through `attend_by_document`, and its adapters are still zero; `stock` is
    `partial(stock_hidden, twin)`, or another way to the states of one document.
    """
    with torch.no_grad():
        packed = hidden_states(model, micro.ids, micro.positions, micro.documents)
        alone = torch.cat(
            [stock(ids) for ids in torch.split_with_sizes(micro.ids, micro.documents.lengths)]
        )
    return Comparison(difference=relative_difference(packed, alone))


def relative_difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest absolute difference, over the root mean square of `expected`."""
    scale = expected.double().square().mean().sqrt()
    return float((found - expected).abs().max() / scale)


def stock_micro_loss(model: Any, micro: MicroBatch) -> torch.Tensor:
    """Sum of the cross-entropies of the labels of one micro-batch, document by document.

    The same sum as the loop's, without any code of the engine: the slow path, for a model that the
    fast one is not exact for. `model` takes no `documents`; it may be wrapped in adapters.
    """
    total = micro.ids.new_zeros((), dtype=torch.float32)
    start = 0
    for ids in torch.split_with_sizes(micro.ids, micro.documents.lengths):
        inside = (micro.predicting >= start) & (micro.predicting < start + len(ids))
        places = micro.predicting[inside] - start
        output = model(input_ids=ids[None], use_cache=False, logits_to_keep=places)
        total = total + cross_entropy(output.logits[0], micro.labels[inside], reduction="sum")
        start += len(ids)
    return total
