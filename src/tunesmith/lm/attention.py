"""Attention over a flat stream of tokens, document by document.

Documents of unequal length lie end to end in one row of tokens, so no padding is computed. Every
layer but attention treats tokens one by one; attention runs once for each document, so nothing
leaks from one to the next, and a dense mask over the whole stream is never made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from tunesmith.core.errors import DataError

NAME = "tunesmith_documents"
ARCHITECTURES = ("llama", "qwen2", "qwen3")
"""Those whose layers mix tokens in attention only and hand their arguments on to it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Documents:
    """How a flat stream is cut. Passed to the model as its argument `documents`."""

    lengths: tuple[int, ...]
    """Tokens of each document; they add up to the stream."""
    masks: tuple[torch.Tensor | None, ...] = ()
    """For each document what attends (row) to what (column), shape (length, length), bool; None,
    or no entry at all, is causal."""


def attend_by_document(model: Any) -> None:
    """Make `model` take the argument `documents`; other models of the process are not affected.

    Calls without that argument work as before, for sequences without padding.

    Raises:
        DataError: the architecture is not one that this is known to be exact for.
    """
    config = model.config
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if config.model_type not in ARCHITECTURES or kinds != {"full_attention"}:
        raise DataError(
            f"models of type {config.model_type!r} cannot be packed without leaks here",
            remedy=f"use a base model of type {', '.join(ARCHITECTURES)} with full attention",
        )
    AttentionInterface.register(NAME, _attention)
    config._attn_implementation = NAME


def hidden_states(
    model: Any, ids: torch.Tensor, positions: torch.Tensor, documents: Documents
) -> torch.Tensor:
    """What the output head of `model` would see, for a flat stream.

    `ids` and `positions` have shape (num_tokens,); so does the first dimension of the result,
    (num_tokens, hidden_size). Positions restart in every document.
    """
    decoder = model.get_decoder()
    output = decoder(
        input_ids=ids[None], position_ids=positions[None], documents=documents, use_cache=False
    )
    return output.last_hidden_state[0]


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    documents: Documents | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """An attention function of transformers: (1, heads, tokens, width) in, heads and tokens swapped
    out.

    Key and value may have fewer heads than the query (grouped-query attention).
    """
    if documents is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
    lengths = documents.lengths
    masks = documents.masks or (None,) * len(lengths)
    outputs = [
        scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None, scale=scaling, enable_gqa=True
        )
        for q, k, v, mask in zip(
            *(torch.split_with_sizes(stream, lengths, 2) for stream in (query, key, value)),
            masks,
            strict=True,
        )
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2), None
