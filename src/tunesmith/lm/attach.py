"""Adapters beside the weights of a base model, not in them: several models, one base in memory.

Each model is a tree of modules of its own over the same parameters, so that nothing is switched
from one request to the next, and no adapter can act on another model's.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
from typing import Any

import safetensors.torch
import torch
from torch.nn.functional import linear

from tunesmith.core.blobs import Blobs
from tunesmith.core.errors import DataError
from tunesmith.lm.adapter import Adapted, adapted_layers
from tunesmith.lm.load import LoadedModel, grown, load_model
from tunesmith.records.model import ModelVersion


class AdaptedLinear(torch.nn.Module):
    """A linear layer of the base model, and what an adapter adds to it."""

    low: torch.Tensor
    high: torch.Tensor
    stretch: torch.Tensor | None

    def __init__(self, frozen: Any, adapted: Adapted) -> None:
        """The weight of `frozen` is that of other models too."""
        super().__init__()
        self.frozen = frozen
        dtype = frozen.weight.dtype
        magnitude = adapted.magnitude
        stretch = None if magnitude is None else adapted.stretch(adapted.direction(frozen.weight))
        self.register_buffer("low", adapted.low.to(dtype))
        self.register_buffer("high", adapted.scaling * adapted.high.to(dtype))
        self.register_buffer("stretch", stretch)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in_features) to (..., out_features)."""
        out: torch.Tensor = self.frozen(x)
        added = linear(linear(x, self.low), self.high)
        if self.stretch is None:
            return out + added
        if self.frozen.bias is None:
            return (out + added) * self.stretch
        return (out - self.frozen.bias + added) * self.stretch + self.frozen.bias


def load_version(
    version: ModelVersion, blobs: Blobs, bases: dict[str, LoadedModel] | None = None
) -> LoadedModel:
    """`version` as it is evaluated on labels and served: an adapter attached to its base model, or
    else the base model with what was tuned in its weights.

    `bases` are base models as they were loaded, by the digest of their weights; one that is missing
    is loaded and added.

    Raises:
        DataError: what was tuned is not of its base model, or cannot be read here.
    """
    if not can_attach(version, blobs):
        return load_model(version.base, blobs, adapter=version)
    known = {} if bases is None else bases
    weights = version.base.weights.sha256
    if weights not in known:
        known[weights] = load_model(version.base, blobs)
    return attached(known[weights], version, blobs)


def can_attach(version: ModelVersion, blobs: Blobs) -> bool:
    """Whether what was tuned leaves all of the base model's weights as they are: an adapter, with
    nothing beside it but rows of new tokens."""
    config = json.loads(blobs.get(version.adapter_config))
    has_rows = bool(config.get("trainable_token_indices"))
    is_adapter = config.get("peft_type") == "LORA" and not config.get("modules_to_save")
    return is_adapter and has_rows == bool(version.new_tokens)


def attached(base: LoadedModel, version: ModelVersion, blobs: Blobs) -> LoadedModel:
    """`version`, for which `can_attach` holds, on the weights of `base`, its own base model as it
    was loaded; these are not changed.

    What it has of its own are the matrices of its adapter and, with new tokens, the embeddings. It
    computes what the merged model does, but for rounding.

    Raises:
        DataError: the adapter is of a kind that is not read here, of another model, incomplete, or
            not finite.
    """
    loaded = grown(dataclasses.replace(base, model=_twin(base.model)), version.new_tokens)
    model = loaded.model
    state = safetensors.torch.load(blobs.get(version.adapter))
    for name, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise DataError(
                f"{name!r} of the adapter of {version.name} is infinite or not a number",
                remedy="tune again with a lower learning_rate",
            )
    with torch.no_grad():
        layers, rows = adapted_layers(model, state, json.loads(blobs.get(version.adapter_config)))
        for weight, merged in rows.values():
            weight.copy_(merged())
        for name, adapted in layers.items():
            parent, _, leaf = name.rpartition(".")
            wrapper = AdaptedLinear(model.get_submodule(name), adapted)
            setattr(model.get_submodule(parent), leaf, wrapper)
    return loaded


def _twin(model: Any) -> Any:
    """Another model of the same parameters and modules of its own."""
    shared = {id(tensor): tensor for tensor in itertools.chain(model.parameters(), model.buffers())}
    return copy.deepcopy(model, shared)
