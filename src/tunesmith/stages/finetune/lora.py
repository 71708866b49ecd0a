"""Low-rank adapters on every linear layer of the decoder (LoRA, arXiv 2106.09685), scaled by
alpha / sqrt(rank) (rank-stabilised, arXiv 2312.03732), saved in PEFT's format."""

from __future__ import annotations

import json
import math
from typing import Any

import safetensors.torch
import torch

from tunesmith.lm.adapter import PREFIX


class LoraLinear(torch.nn.Module):
    """A frozen linear layer plus `scaling * B @ A`; B is zero, so nothing changes at first."""

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
        flat = x.reshape(-1, x.shape[-1])
        out = _LoraMatmul.apply(  # type: ignore[no-untyped-call]
            flat, self.frozen.weight, self.frozen.bias, self.lora_a, self.lora_b, self.scaling
        )
        return out.reshape(*x.shape[:-1], -1)


class _LoraMatmul(torch.autograd.Function):
    """`x W' + b + s (x A') B'` that keeps only x and the narrow x A' for the backward pass, adds
    the narrow product in place, and never makes a gradient of the frozen weight."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        low: torch.Tensor,
        high: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        """x is (tokens, in), weight (out, in), low (rank, in), high (out, rank)."""
        narrow = x @ low.t()
        ctx.save_for_backward(x, weight, low, high, narrow)
        ctx.scaling = scaling
        out = torch.nn.functional.linear(x, weight, bias)
        return out.addmm_(narrow, high.t(), alpha=scaling)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        """Gradients of x, A and B."""
        (grad,) = grads
        x, weight, low, high, narrow = ctx.saved_tensors
        grad_narrow = (grad @ high).mul_(ctx.scaling)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (grad @ weight).addmm_(grad_narrow, low)
        grad_low = grad_narrow.t() @ x
        grad_high = (grad.t() @ narrow).mul_(ctx.scaling)
        return grad_x, None, None, grad_low, grad_high, None


def add_lora(model: Any, rank: int, alpha: float, seed: int) -> dict[str, LoraLinear]:
    """Wrap every linear layer of the decoder, not the output head; the wrappers by layer name.

    All other parameters stay as they are and need no gradient.
    """
    generator = torch.Generator().manual_seed(seed)
    model.requires_grad_(False)
    decoder = model.get_decoder()
    linears = [name for name, m in decoder.named_modules() if isinstance(m, torch.nn.Linear)]
    prefix = next(name for name, module in model.named_modules() if module is decoder)
    layers = {}
    for name in linears:
        parent, _, leaf = name.rpartition(".")
        holder = decoder.get_submodule(parent)
        wrapper = LoraLinear(getattr(holder, leaf), rank, alpha / math.sqrt(rank), generator)
        setattr(holder, leaf, wrapper)
        layers[f"{prefix}.{name}"] = wrapper
    return layers


def trainable(layers: dict[str, LoraLinear]) -> list[torch.nn.Parameter]:
    """The parameters that are trained, in a fixed order."""
    return [parameter for layer in layers.values() for parameter in (layer.lora_a, layer.lora_b)]


def adapter_bytes(layers: dict[str, LoraLinear]) -> bytes:
    """The contents of PEFT's adapter_model.safetensors."""
    tensors = {}
    for name, layer in layers.items():
        tensors[f"{PREFIX}{name}.lora_A.weight"] = layer.lora_a.detach().contiguous()
        tensors[f"{PREFIX}{name}.lora_B.weight"] = layer.lora_b.detach().contiguous()
    return safetensors.torch.save(tensors, metadata={"format": "pt"})


def adapter_config(layers: dict[str, LoraLinear], rank: int, alpha: float, base: str) -> bytes:
    """The contents of PEFT's adapter_config.json; `base` says which model it belongs to."""
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": alpha,
        "use_rslora": True,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": sorted({name.rpartition(".")[2] for name in layers}),
    }
    return json.dumps(config, indent=2, sort_keys=True).encode()
