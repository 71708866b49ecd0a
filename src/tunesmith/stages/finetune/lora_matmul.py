"""Products with frozen weights that have low-rank adapters, and their gradients.

Layers that read the same input are one product: their frozen weights lie one below the other, and
so do their matrices A. A gradient of a frozen weight is never made, and nothing is kept for the
backward pass but the input and the narrow product with A.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch.nn.functional import linear


class Adapter(Protocol):
    """What a layer trains: A is (rank, in_features), B (out_features, rank)."""

    lora_a: torch.nn.Parameter
    lora_b: torch.nn.Parameter


def lora_matmul(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    scaling: float,
    adapters: Sequence[Adapter],
) -> tuple[torch.Tensor, ...]:
    """`x W' + b + s (x A') B'` of each of the layers whose frozen weights `weight` is made of.

    x is (..., in_features), weight (sum of the layers' out_features, in_features) and frozen; the
    result has a tensor (..., out_features) for each of `adapters`.
    """
    flat = x.reshape(-1, x.shape[-1])
    outs: tuple[torch.Tensor, ...] = _LoraMatmul.apply(  # type: ignore[no-untyped-call]
        flat,
        weight,
        bias,
        scaling,
        *(adapter.lora_a for adapter in adapters),
        *(adapter.lora_b for adapter in adapters),
    )
    return tuple(out.view(*x.shape[:-1], -1) for out in outs)


class _LoraMatmul(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        scaling: float,
        *matrices: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """`matrices` are all A and then all B."""
        lows, highs = _halves(matrices)
        out, low, narrow = wide(x, weight, bias, scaling, lows, highs)
        ctx.save_for_backward(x, weight, low, narrow, *highs)
        ctx.scaling = scaling
        return torch.split(out, [high.shape[0] for high in highs], dim=1)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        """Gradients of x and of every A and B."""
        x, weight, low, narrow, *highs = ctx.saved_tensors
        grad = grads[0] if len(grads) == 1 else torch.cat(grads, dim=1)
        grad_x, grad_matrices = wide_backward(
            grad, x, weight, ctx.scaling, low, narrow, highs, needs_x=ctx.needs_input_grad[0]
        )
        return grad_x, None, None, None, *grad_matrices


def wide(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    scaling: float,
    lows: Sequence[torch.Tensor],
    highs: Sequence[torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The layers' outputs side by side, all A one below the other, and their narrow product.

    x is (tokens, in_features).
    """
    low = lows[0] if len(lows) == 1 else torch.cat(list(lows))
    narrow = linear(x, low)
    out = linear(x, weight, bias)
    for part, thin, high in _parts(out, narrow, highs):
        part.addmm_(thin, high.t(), alpha=scaling)
    return out, low, narrow


def wide_backward(
    grad: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    scaling: float,
    low: torch.Tensor,
    narrow: torch.Tensor,
    highs: Sequence[torch.Tensor],
    *,
    needs_x: bool,
) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
    """The gradients of x, if it needs one, and of all A and then all B, from that of `wide`."""
    grad_thins, grad_highs = [], []
    for part, thin, high in _parts(grad, narrow, highs):
        grad_thins.append(part @ high)
        grad_highs.append((thin.t() @ part).t().mul(scaling))
    grad_narrow = (grad_thins[0] if len(highs) == 1 else torch.cat(grad_thins, dim=1)).mul_(scaling)
    grad_x = (grad @ weight).addmm_(grad_narrow, low) if needs_x else None
    grad_lows = torch.split(grad_narrow.t() @ x, highs[0].shape[1])
    return grad_x, [*grad_lows, *grad_highs]


def _parts(wide: torch.Tensor, narrow: torch.Tensor, highs: Sequence[torch.Tensor]) -> Any:
    """Each layer's columns of the wide and of the narrow tensor, with its B."""
    sizes = [high.shape[0] for high in highs]
    rank = highs[0].shape[1]
    return zip(
        torch.split(wide, sizes, dim=1), torch.split(narrow, rank, dim=1), highs, strict=True
    )


def _halves(matrices: Sequence[torch.Tensor]) -> tuple[Sequence[torch.Tensor], ...]:
    middle = len(matrices) // 2
    return matrices[:middle], matrices[middle:]
