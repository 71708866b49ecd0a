"""What is trained of a model: chosen before the first step, saved after the last."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from tunesmith.core.errors import ConfigError
from tunesmith.records.model import BaseModel
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.dora import DoraLinear
from tunesmith.stages.finetune.lora import (
    LoraLinear,
    adapter_bytes,
    adapter_config,
    add_lora,
    trainable,
)
from tunesmith.stages.finetune.overlay import (
    overlay_bytes,
    overlay_config,
    unfreeze_all,
    unfreeze_head,
    unfreeze_top,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """What is trained of a model: adapters on its linear layers, or weights of its own."""

    parameters: list[torch.nn.Parameter]
    """In a fixed order; no other parameter of the model needs a gradient."""
    lowest_layer: int
    """Index of the lowest decoder layer that holds one of them; the number of layers if none does.
    If it is not 0, nothing below that layer is trained, and no gradient goes there."""
    adapters: dict[str, LoraLinear] = field(default_factory=dict)
    """With "lora" and "dora": the wrappers, by the name of the layer that they wrap."""
    overlay: dict[str, torch.nn.Parameter] = field(default_factory=dict)
    """With "full" and "head": the parameters, by their names in the model."""


def prepare(model: Any, config: ModelConfig, seed: int) -> Trained:
    """Wrap or unfreeze, in place, what `config` says is trained of a transformers' causal model.

    `seed` draws the matrices A of new adapters.

    Raises:
        ConfigError: more layers are to be trained than the model has.
    """
    num_layers = model.config.num_hidden_layers
    if config.layers > num_layers:
        raise ConfigError(
            f"model.{config.name}.layers",
            f"the base model has {num_layers} layers, not {config.layers}",
            remedy=f"set it to at most {num_layers}, or to 0 for all",
        )
    lowest = num_layers - config.layers if config.layers else 0
    if config.method in ("lora", "dora"):
        kind = DoraLinear if config.method == "dora" else LoraLinear
        adapters = add_lora(model, config.rank, config.alpha, seed, lowest, kind)
        return Trained(parameters=trainable(adapters), lowest_layer=lowest, adapters=adapters)
    if config.method == "head":
        lowest, overlay = num_layers, unfreeze_head(model)
    else:
        overlay = unfreeze_top(model, lowest) if config.layers else unfreeze_all(model)
    return Trained(parameters=list(overlay.values()), lowest_layer=lowest, overlay=overlay)


def trained_bytes(trained: Trained) -> bytes:
    """What was learnt, as safetensors; `lm.adapter.merge_adapter` reads it."""
    if trained.adapters:
        return adapter_bytes(trained.adapters)
    return overlay_bytes(trained.overlay)


def trained_config(trained: Trained, config: ModelConfig, base: BaseModel) -> bytes:
    """The JSON that belongs to `trained_bytes`: PEFT's adapter_config.json, or an overlay's."""
    if trained.adapters:
        return adapter_config(trained.adapters, config.rank, config.alpha, base.origin)
    return overlay_config(config.method, config.layers, base.origin)
