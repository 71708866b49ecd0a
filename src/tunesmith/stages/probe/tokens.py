"""How probable a model holds each token of given texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch.nn.functional import linear

from tunesmith.lm.attention import attend_by_document, hidden_states
from tunesmith.lm.example import Example, streams
from tunesmith.lm.load import LoadedModel

MAX_TOKENS = 1024
"""Tokens of one forward pass."""
CHUNK_TOKENS = 128
"""Tokens for which logits are held at once."""


@torch.inference_mode()
def token_log_probs(
    loaded: LoadedModel,
    examples: Sequence[Example],
    done: Callable[[int], None] = lambda _answers: None,
) -> list[list[float]]:
    """log p of each token of each answer of the examples, in their order, in nats, over the full
    vocabulary; a first token that nothing predicts, and tokens of weight 0, are left out.
    `done(answers)` is called as they are finished.

    Raises:
        DataError: the model's architecture cannot be packed.
    """
    attend_by_document(loaded.model)
    head = loaded.model.get_output_embeddings().weight
    found: list[list[float]] = []
    for micro in streams(examples, MAX_TOKENS):
        states = hidden_states(loaded.model, micro.ids, micro.positions, micro.documents)
        of_labels = _log_probs(states[micro.predicting], head, micro.labels).double()
        sizes = torch.bincount(micro.unit_of_label, minlength=micro.num_units).tolist()
        found += [part.tolist() for part in torch.split_with_sizes(of_labels, sizes)]
        done(len(found))
    return found


def _log_probs(states: torch.Tensor, head: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """log softmax(head @ state)[label] of each of `states`: (num_labels,)."""
    parts = [states.new_empty(0)]
    for start in range(0, len(labels), CHUNK_TOKENS):
        chunk = slice(start, start + CHUNK_TOKENS)
        log_p = torch.log_softmax(linear(states[chunk], head), dim=-1)
        parts.append(log_p.gather(1, labels[chunk, None])[:, 0])
    return torch.cat(parts)
