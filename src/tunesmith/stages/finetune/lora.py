"""Low-rank adapters on every linear layer inside a model (LoRA, arXiv 2106.09685), scaled by
alpha / sqrt(rank) (rank-stabilised, arXiv 2312.03732), saved in PEFT's format."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import safetensors.torch
import torch

from tunesmith.lm.adapter import PREFIX
from tunesmith.lm.size import layer_of
from tunesmith.stages.finetune.lora_matmul import lora_matmul


class LoraLinear(torch.nn.Module):
    """A frozen linear layer plus `scaling * B @ A`; B is zero, so nothing changes at first."""

    use_dora = False
    """What PEFT's adapter_config.json says of such a layer."""

    def __init__(
        self, frozen: torch.nn.Linear, rank: int, scaling: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.frozen = frozen
        self.scaling = scaling
        weight = frozen.weight
        self.lora_a = torch.nn.Parameter(weight.new_empty(rank, frozen.in_features))
        self.lora_b = torch.nn.Parameter(weight.new_zeros(frozen.out_features, rank))
        torch.nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5), generator=generator)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in_features) to (..., out_features)."""
        (out,) = lora_matmul(x, self.frozen.weight, self.frozen.bias, self.scaling, [self])
        return out

    def trained(self) -> dict[str, torch.nn.Parameter]:
        """What is trained, by the names that PEFT puts after the layer's."""
        return {"lora_A.weight": self.lora_a, "lora_B.weight": self.lora_b}


def add_lora(
    model: Any,
    rank: int,
    alpha: float,
    seed: int,
    lowest_layer: int = 0,
    kind: type[LoraLinear] = LoraLinear,
) -> dict[str, LoraLinear]:
    """Wrap every linear layer of the model's layers from `lowest_layer` up, not the output head;
    the wrappers by layer name.

    All other parameters stay as they are and need no gradient. The scaling is alpha / sqrt(rank)
    (arXiv 2312.03732).
    """
    generator = torch.Generator().manual_seed(seed)
    model.requires_grad_(False)
    linears = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and layer_of(name) >= lowest_layer
    ]
    layers = {}
    for name in linears:
        parent, _, leaf = name.rpartition(".")
        holder = model.get_submodule(parent)
        wrapper = kind(getattr(holder, leaf), rank, alpha / math.sqrt(rank), generator)
        setattr(holder, leaf, wrapper)
        layers[name] = wrapper
    return layers


def trainable(layers: dict[str, LoraLinear]) -> list[torch.nn.Parameter]:
    """The parameters that are trained, in a fixed order."""
    return [parameter for layer in layers.values() for parameter in layer.trained().values()]


def adapter_bytes(
    layers: dict[str, LoraLinear], whole: Mapping[str, torch.nn.Parameter] = MappingProxyType({})
) -> bytes:
    """The contents of PEFT's adapter_model.safetensors; `whole` are parameters that were trained as
    they are, by name."""
    tensors = {
        f"{PREFIX}{name}.{part}": parameter.detach().contiguous()
        for name, layer in layers.items()
        for part, parameter in layer.trained().items()
    }
    tensors |= {f"{PREFIX}{name}": p.detach().contiguous() for name, p in whole.items()}
    return safetensors.torch.save(tensors, metadata={"format": "pt"})


def adapter_config(
    layers: dict[str, LoraLinear],
    rank: int,
    alpha: float,
    base: str,
    task: str = "CAUSAL_LM",
    whole: Sequence[str] = (),
    rows: Mapping[str, Sequence[int]] = MappingProxyType({}),
) -> bytes:
    """The contents of PEFT's adapter_config.json.

    `base` says which model it belongs to, `task` is PEFT's word for the model's class, and `whole`
    are the last parts of the names of the modules that were trained as they are, `rows` those of
    the modules of which some rows were, with their places.
    """
    adapted = sorted({layer_of(name) for name in layers})
    # Of a model that is saved without what stands above its layers, stock classes have a pooler,
    # whose linear layer has the same last name as others.
    is_bare = task == "FEATURE_EXTRACTION"
    leaves = layers if is_bare else {name.rpartition(".")[2] for name in layers}
    config = {
        "peft_type": "LORA",
        "task_type": task,
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": alpha,
        "use_rslora": True,
        "use_dora": any(layer.use_dora for layer in layers.values()),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": sorted(leaves),
        "layers_to_transform": adapted if adapted[0] > 0 and not is_bare else None,
        "modules_to_save": list(whole) or None,
        "trainable_token_indices": {name: list(ids) for name, ids in rows.items()} or None,
    }
    return json.dumps(config, indent=2, sort_keys=True).encode()
