"""What is trained of a model: chosen before the first step, saved after the last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from tunesmith.core.errors import ConfigError
from tunesmith.lm.adapter import TOKEN_ROWS
from tunesmith.lm.heads import head_modules, head_parameters
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
from tunesmith.stages.finetune.token_rows import train_rows

TASK_TYPES = {
    "classify": "SEQ_CLS",
    "reward": "SEQ_CLS",
    "rerank": "SEQ_CLS",
    "tag": "TOKEN_CLS",
    "embed": "FEATURE_EXTRACTION",
}
"""PEFT's words for the class of a model that reads states, by objective."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """What is trained of a model: adapters on its linear layers, or weights of its own."""

    parameters: list[torch.nn.Parameter]
    """In a fixed order; no other parameter of the model needs a gradient."""
    lowest_layer: int
    """Index of the lowest layer that holds one of them or that one is an input of; the number of
    layers if none does.
    If it is not 0, nothing below that layer is trained, and no gradient goes there."""
    adapters: dict[str, LoraLinear] = field(default_factory=dict)
    """With "lora" and "dora": the wrappers, by the name of the layer that they wrap."""
    overlay: dict[str, torch.nn.Parameter] = field(default_factory=dict)
    """What is saved as it is, by its name in the model: with "full" and "head" all that is trained;
    with adapters a head that reads states."""
    heads: tuple[str, ...] = ()
    """The names of the modules of such a head beside adapters, as PEFT's configuration has them."""
    token_ids: tuple[int, ...] = ()
    """The new tokens, whose rows are trained beside adapters."""
    token_rows: dict[str, torch.nn.Parameter] = field(default_factory=dict)
    """Those rows, by the name of the module that they are of."""


def prepare(model: Any, config: ModelConfig, seed: int, token_ids: Sequence[int] = ()) -> Trained:
    """Wrap or unfreeze, in place, what `config` says is trained of a transformers' model.

    A head that reads states is always trained, as a whole, and so are the rows of `token_ids`, the
    new tokens. `seed` draws the matrices A of new adapters.

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
        whole = head_parameters(model)
        rows = train_rows(model, token_ids) if token_ids else {}
        return Trained(
            parameters=[*trainable(adapters), *_moving(whole, config), *rows.values()],
            lowest_layer=0 if rows else lowest,
            adapters=adapters,
            overlay=whole,
            heads=tuple(name.rpartition(".")[2] for name in head_modules(model)),
            token_ids=tuple(sorted(token_ids)),
            token_rows=rows,
        )
    if config.method == "head":
        lowest, overlay = num_layers, unfreeze_head(model)
    else:
        overlay = unfreeze_top(model, lowest) if config.layers else unfreeze_all(model)
    return Trained(parameters=_moving(overlay, config), lowest_layer=lowest, overlay=overlay)


def _moving(
    overlay: Mapping[str, torch.nn.Parameter], config: ModelConfig
) -> list[torch.nn.Parameter]:
    """Those that the objective can move, which then need a gradient. What is added to every reward
    is in none of their differences."""
    still = {"classifier.bias"} if config.objective == "reward" else set()
    for name, parameter in overlay.items():
        parameter.requires_grad_(name not in still)
    return [parameter for parameter in overlay.values() if parameter.requires_grad]


def trained_bytes(trained: Trained) -> bytes:
    """What was learnt, as safetensors; `lm.adapter.merge_adapter` reads it."""
    if trained.adapters:
        rows = {f"{name}{TOKEN_ROWS}": each for name, each in trained.token_rows.items()}
        return adapter_bytes(trained.adapters, trained.overlay | rows)
    return overlay_bytes(trained.overlay)


def trained_config(trained: Trained, config: ModelConfig, base: BaseModel) -> bytes:
    """The JSON that belongs to `trained_bytes`: PEFT's adapter_config.json, or an overlay's."""
    if trained.adapters:
        task = TASK_TYPES.get(config.objective, "CAUSAL_LM")
        rows = {name.rpartition(".")[2]: trained.token_ids for name in trained.token_rows}
        return adapter_config(
            trained.adapters, config.rank, config.alpha, base.origin, task, trained.heads, rows
        )
    return overlay_config(config.method, config.layers, base.origin)
