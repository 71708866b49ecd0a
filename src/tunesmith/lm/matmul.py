"""Matrix products on a CPU, by the faster of the two libraries that torch brings along.

torch gives float32 products on x86 to MKL. On the shapes of small language models oneDNN, which it
carries for inference, is a quarter to a third faster with the same weights as they lie, in either
orientation (docs/benchmarks.md); sums are added in another order, so the last bits differ. Its
operator is not part of torch's public interface: it is tried once, on numbers that show whether it
does what it should, and is left alone where it does not.
"""

from __future__ import annotations

import functools

import torch


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """`x @ weight.T + bias`: x is (rows, in), weight (out, in), bias (out,)."""
    if x.dtype is torch.float32 and _dense(x) and _dense(weight) and _usable():
        return _onednn(x, weight, bias)
    return torch.nn.functional.linear(x, weight, bias)


def product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """`left @ right`: left is (rows, inner), right (inner, columns)."""
    return linear(left, right.t())


class _Linear(torch.nn.Linear):
    """A layer of torch's, but for the library; where a gradient is wanted it is torch's own."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(..., in_features) to (..., out_features)."""
        if torch.is_grad_enabled() and (input.requires_grad or self.weight.requires_grad):
            return super().forward(input)
        flat = input.reshape(-1, self.in_features)
        return linear(flat, self.weight, self.bias).view(*input.shape[:-1], self.out_features)


def speed_up(model: torch.nn.Module) -> None:
    """Let the linear layers of `model` compute by the faster library, in place."""
    for module in model.modules():
        if type(module) is torch.nn.Linear:
            module.__class__ = _Linear


def _dense(matrix: torch.Tensor) -> bool:
    """Whether its rows or its columns lie one after the other in memory. oneDNN takes a thousand
    times as long for a strip of a wider matrix."""
    return matrix.is_contiguous() or matrix.t().is_contiguous()


def _onednn(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return out


@functools.cache
def _usable() -> bool:
    """Whether oneDNN is there and right, on a wide, a tall and a turned matrix."""
    if not torch.backends.mkldnn.enabled:
        return False
    x = torch.arange(35.0).reshape(5, 7) - 17
    wide, tall = torch.arange(77.0).reshape(11, 7) % 5, torch.arange(21.0).reshape(7, 3)
    try:
        for weight in (wide, tall.t()):
            if not torch.equal(_onednn(x, weight, None), x @ weight.t()):  # small integers: exact
                return False
        with_bias = _onednn(x, wide, torch.arange(11.0))
    except (AttributeError, RuntimeError):
        return False
    return torch.equal(with_bias, x @ wide.t() + torch.arange(11.0))
