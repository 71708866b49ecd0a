"""What models without an output vocabulary make of the states of a flat stream.

The states of each document are pooled as transformers' class does it, and the class's own modules
are called on what was pooled, so that their mathematics stay transformers' own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import normalize

from tunesmith.lm.example import MicroBatch


def head_modules(model: Any) -> list[str]:
    """The names of the modules that stand above the states and make an answer of them, the lowest
    first; none of a model without a head, or whose head is the vocabulary's."""
    base = model.base_model
    if base is model or model.get_output_embeddings() is not None:
        return []
    above = [
        name
        for name, child in model.named_children()
        if child is not base and any(True for _ in child.parameters())
    ]
    has_pooler = getattr(base, "pooler", None) is not None
    return [f"{model.base_model_prefix}.pooler"] * has_pooler + above


def head_parameters(model: Any) -> dict[str, torch.nn.Parameter]:
    """The parameters of `head_modules`, by name."""
    heads = tuple(f"{name}." for name in head_modules(model))
    return {name: p for name, p in model.named_parameters() if heads and name.startswith(heads)}


def outputs(model: Any, states: torch.Tensor, micro: MicroBatch) -> torch.Tensor:
    """What `model` says of each unit of `micro`: logits, (num_units, num_outputs), or of a model
    without a head vectors of length 1, (num_units, hidden_size).

    `states` are the final ones of its stream, (num_tokens, hidden_size).
    """
    if model.base_model is model:
        return normalize(_pooled(states, micro, model.config.sentence_pooling), dim=-1)
    if hasattr(model, "score"):
        return logits(model, states[micro.last])
    return logits(model, _pooled(states, micro, getattr(model.config, "classifier_pooling", "cls")))


def logits(model: Any, pooled: torch.Tensor) -> torch.Tensor:
    """What the head makes of states that were pooled, or of those of single tokens: (rows,
    hidden_size) to (rows, num_outputs)."""
    pooler = getattr(model.base_model, "pooler", None)
    if pooler is not None:
        pooled = pooler(pooled[:, None])  # it takes the first token of each document
    if hasattr(model, "head"):
        pooled = model.head(pooled)
    found: torch.Tensor = (model.score if hasattr(model, "score") else model.classifier)(pooled)
    return found


def _pooled(states: torch.Tensor, micro: MicroBatch, how: str) -> torch.Tensor:
    """One state for each document, which is a unit of its own."""
    if how == "cls":
        return states[micro.first]
    parts = torch.split_with_sizes(states, micro.documents.lengths)
    return torch.stack([part.mean(dim=0) for part in parts])
