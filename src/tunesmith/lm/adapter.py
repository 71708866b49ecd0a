"""Adding a low-rank adapter to the weights of its base model (LoRA, arXiv 2106.09685)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch

from tunesmith.core.errors import DataError

PREFIX = "base_model.model."
"""What PEFT puts before the name of a module."""


def merge_adapter(model: torch.nn.Module, tensors: bytes, config: bytes) -> None:
    """Add `scaling * B @ A` to each adapted weight of `model`, in place and in its own precision.

    `tensors` is PEFT's adapter_model.safetensors, `config` its adapter_config.json.

    Raises:
        DataError: the adapter is not a plain LoRA adapter of this model.
    """
    scaling = scaling_of(json.loads(config))
    state = safetensors.torch.load(tensors)
    modules = sorted(name.removesuffix(".lora_A.weight") for name in state if ".lora_A." in name)
    if 2 * len(modules) != len(state):
        raise DataError("the adapter holds something other than pairs of lora_A and lora_B")
    linears = dict(model.named_modules())
    with torch.no_grad():
        for module in modules:
            linear = linears.get(module.removeprefix(PREFIX))
            if not isinstance(linear, torch.nn.Linear):
                raise DataError(
                    f"the adapter was tuned on another model: no linear layer {module!r}",
                    remedy="tune again on this base model",
                )
            low, high = state[f"{module}.lora_A.weight"], state[f"{module}.lora_B.weight"]
            delta = high.to(linear.weight.dtype) @ low.to(linear.weight.dtype)
            linear.weight += scaling * delta


def scaling_of(config: Mapping[str, Any]) -> float:
    """The factor of `B @ A`: alpha / rank, or alpha / sqrt(rank) if rank-stabilised
    (arXiv 2312.03732).

    Raises:
        DataError: the adapter is of a kind whose arithmetic is another.
    """
    if config.get("peft_type") != "LORA" or config.get("use_dora"):
        raise DataError(f"adapters of kind {config.get('peft_type')!r} are not read here")
    rank, alpha = float(config["r"]), float(config["lora_alpha"])
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
