"""Attention over a flat stream of tokens, document by document.

Documents of unequal length lie end to end in one row of tokens, so no padding is computed. Every
layer but attention treats tokens one by one; attention runs once for each document, so nothing
leaks from one to the next, and a dense mask over the whole stream is never made.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from tunesmith.core.errors import DataError

NAME = "tunesmith_documents"
ENCODERS = ("bert", "modernbert")
ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3", "smollm3", "gemma3_text", *ENCODERS)
"""Those whose layers mix tokens in attention only and hand their arguments on to it."""
Attend = Callable[..., torch.Tensor]
"""Scaled dot products of query, key and value, with `attn_mask` or `is_causal`."""
LAYERS = {"full_attention", "sliding_attention"}
SHARED_ROPE = {"dynamic", "longrope"}
"""Rotary positions that turn by the longest document of a batch, so that each depends on all."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Documents:
    """How a flat stream is cut. Passed to the model as its argument `documents`."""

    lengths: tuple[int, ...]
    """Tokens of each document; they add up to the stream."""
    masks: tuple[torch.Tensor | None, ...] = ()
    """For each document what attends (row) to what (column), shape (length, length), bool; None,
    or no entry at all, is what the model does: causal or both ways. Where a layer has a window,
    what is further off by its position is not attended to, whatever the mask says."""
    branches: tuple[tuple[int, ...], ...] = ()
    """For each document the lengths of its parts, if there are several: a beginning, and what goes
    on from it in different ways, each of which sees the beginning and itself. For decoders."""


def attend_by_document(model: Any) -> None:
    """Make `model` take the argument `documents`; other models of the process are not affected.

    Calls without that argument work as before.

    Raises:
        DataError: the architecture is not one that this is known to be exact for.
    """
    obstacle = _obstacle(model.config)
    if obstacle:
        raise DataError(
            f"models of type {model.config.model_type!r} cannot be packed without leaks here: "
            f"{obstacle}",
            remedy=f"use a base model of type {', '.join(ARCHITECTURES)}",
        )
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)  # for calls without documents
    model.config._attn_implementation = NAME


def reads_both_ways(config: Any) -> bool:
    """Whether a model of that configuration reads both ways, so that each state is of the whole
    document."""
    both_ways = getattr(config, "use_bidirectional_attention", False)
    return config.model_type in ENCODERS or bool(both_ways)


def hidden_states(
    model: Any,
    ids: torch.Tensor,
    positions: torch.Tensor,
    documents: Documents,
    types: torch.Tensor | None = None,
) -> torch.Tensor:
    """What the output head of `model` would see, for a flat stream; of an encoder its last states.

    `ids` and `positions` have shape (num_tokens,); so does the first dimension of the result,
    (num_tokens, hidden_size). Positions restart in every document. `types` are those of the tokens,
    (num_tokens,), where a model has them; None is the first for all.
    """
    output = model.base_model(
        input_ids=ids[None],
        position_ids=positions[None],
        # Transformers takes a mask of four dimensions as made, and so does not make a dense one.
        attention_mask=torch.ones(1, 1, 1, 1, dtype=torch.bool),
        documents=documents,
        use_cache=False,
        **typed(types),
    )
    return output.last_hidden_state[0]


def typed(types: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """The argument of transformers' models that gives the types of one stream of tokens; a model
    that has none is not given any."""
    return {} if types is None else {"token_type_ids": types[None]}


def _obstacle(config: Any) -> str:
    """Why packed documents would not be what each is alone; empty if nothing is known to."""
    rope = getattr(config, "rope_parameters", None) or {}
    parts = [part for part in (rope, *rope.values()) if isinstance(part, dict)]  # or one a kind
    shared = SHARED_ROPE & {part.get("rope_type") for part in parts}
    kinds = set(getattr(config, "layer_types", None) or LAYERS)
    softcaps = ("attn_logit_softcapping", "final_logit_softcapping")
    if config.model_type not in ARCHITECTURES:
        return "it is not known whether its layers keep documents apart"
    if not kinds <= LAYERS:
        return f"it has layers of {', '.join(sorted(kinds - LAYERS))}"
    if shared:
        return f"its {', '.join(sorted(shared))} positions depend on the batch"
    if any(getattr(config, name, None) is not None for name in softcaps):
        return "its soft caps on logits are not computed"
    if not getattr(config, "is_causal", True):
        return "it is a decoder turned into an encoder by is_causal"
    return ""


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    documents: Documents | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """An attention function of transformers: (1, heads, tokens, width) in, heads and tokens swapped
    out.

    Key and value may have fewer heads than the query (grouped-query attention): PyTorch's flash
    kernel takes that on a CPU too, forward and backward, as fast as with repeated heads.
    """
    if documents is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    lengths = documents.lengths
    masks = documents.masks or (None,) * len(lengths)
    branches = documents.branches or ((),) * len(lengths)
    is_causal = bool(module.is_causal)
    window = kwargs.get("sliding_window")
    positions = kwargs.get("position_ids")
    if positions is None:  # an encoder keeps them to itself; only differences matter
        positions = torch.arange(query.shape[2], device=query.device)[None]
    attend = functools.partial(
        scaled_dot_product_attention,
        dropout_p=kwargs.get("dropout", 0.0),
        scale=kwargs.get("scaling"),
        enable_gqa=True,
    )
    outputs = []
    for q, k, v, places, given, parts in zip(
        *(torch.split_with_sizes(stream, lengths, 2) for stream in (query, key, value)),
        torch.split_with_sizes(positions[0], lengths),
        masks,
        branches,
        strict=True,
    ):
        if parts:
            outputs += _by_branch(attend, q, k, v, parts, window)
            continue
        mask = given if window is None else _within(window, places, given, is_causal=is_causal)
        outputs.append(attend(q, k, v, attn_mask=mask, is_causal=is_causal and mask is None))
    return torch.cat(outputs, dim=2).transpose(1, 2), None


def _by_branch(
    attend: Attend,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    parts: Sequence[int],
    window: int | None,
) -> list[torch.Tensor]:
    """One document's attention, part by part: less than half of a mask over the whole of it is
    ever attended to, and the kernel computes all of a mask.

    Where no mask is needed it computes half. So what goes on from a short beginning is computed
    with it, and what comes out there again is dropped.
    """
    (q, *queries), (k, *keys), (v, *values) = (
        torch.split_with_sizes(stream, list(parts), 2) for stream in (query, key, value)
    )
    shared = parts[0]
    cut = window is not None and window < shared
    mask = _behind(0, shared, window, query.dtype) if cut else None
    outputs = [attend(q, k, v, attn_mask=mask, is_causal=mask is None)]
    for own_q, own_k, own_v in zip(queries, keys, values, strict=True):
        both = (torch.cat([k, own_k], dim=2), torch.cat([v, own_v], dim=2))
        own = own_q.shape[2]
        if shared < own and (window is None or shared + own <= window):
            whole = attend(torch.cat([q, own_q], dim=2), *both, attn_mask=None, is_causal=True)
            outputs.append(whole[:, :, shared:])
        else:
            mask = _behind(shared, own, window, query.dtype)
            outputs.append(attend(own_q, *both, attn_mask=mask, is_causal=False))
    return outputs


@functools.lru_cache(maxsize=64)
@torch.inference_mode(False)  # kept for training too, which refuses what was made for inference
def _behind(shared: int, length: int, window: int | None, dtype: torch.dtype) -> torch.Tensor:
    """What `length` tokens after `shared` others attend to: a number to add, 0 or minus infinity.

    Shape (length, shared + length). As numbers: of booleans the kernel makes them in every call.
    """
    distance = torch.arange(shared, shared + length)[:, None] - torch.arange(shared + length)
    seen = distance >= 0 if window is None else (distance >= 0) & (distance < window)
    return torch.zeros(seen.shape, dtype=dtype).masked_fill_(~seen, float("-inf"))


def _within(
    window: int, places: torch.Tensor, mask: torch.Tensor | None, *, is_causal: bool
) -> torch.Tensor | None:
    """`mask` without what is `window` positions away or more; None if that forbids nothing.

    `places` are the positions of one document's tokens.
    """
    if len(places) <= window:
        return mask
    distance = places[:, None] - places
    near = distance.abs() < window
    if mask is not None:
        return near & mask
    return near & (distance >= 0) if is_causal else near
