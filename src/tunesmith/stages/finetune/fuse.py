"""Modules of transformers' models put together, so that fewer and larger products are computed
and less is kept for the backward pass. The arithmetic stays the same but for rounding.

What is not known here stays as it is; before the first step the engine is compared with stock code
(`stock.py`), so a change of transformers' own modules cannot go unnoticed.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import silu

from tunesmith.lm.size import layer_of
from tunesmith.stages.finetune.lora import LoraLinear
from tunesmith.stages.finetune.lora_matmul import lora_matmul, wide, wide_backward

READ_THE_SAME = (
    ("q_proj", "k_proj", "v_proj"),
    ("query", "key", "value"),
    ("gate_proj", "up_proj"),
)
"""Layers of one module that are given the same input, in the order in which they are called."""
PLAIN_NORMS = {
    f"{family}RMSNorm" for family in ("Llama", "Mistral", "Qwen2", "Qwen3", "SmolLM3")
}  # fmt: skip


def fuse(model: Any, lowest_layer: int = 0) -> None:
    """Put together, in place, what can be of a model whose layers were wrapped by `add_lora`.

    The layers below `lowest_layer` stay as they are, so that the states that come out of them are
    those of any other method, to the bit.
    """
    modules = [
        module
        for name, module in model.base_model.named_modules()
        if not 0 <= layer_of(f"{name}.") < lowest_layer
    ]
    for module in modules:
        for names in READ_THE_SAME:
            members: list[Any] = [getattr(module, name, None) for name in names]
            if all(type(member) is LoraLinear for member in members):
                group = Group(members)
                for index, name in enumerate(names):
                    setattr(module, name, Member(group, index))
    for module in modules:
        for name, child in list(module.named_children()):
            if _is_gated_silu(child):
                setattr(module, name, GatedMlp(child))
            elif type(child).__name__ in PLAIN_NORMS:
                setattr(module, name, RmsNorm(child))


class Group(torch.nn.Module):
    """Layers that read the same input, as one product; the last of them lets go of the result."""

    def __init__(self, members: Sequence[LoraLinear]) -> None:
        super().__init__()
        self.members = torch.nn.ModuleList(members)
        self.scaling = members[0].scaling
        self.weight = _stacked([member.frozen for member in members])
        biases = [member.frozen.bias for member in members]
        self.bias = None if biases[0] is None else torch.cat([bias.detach() for bias in biases])
        self._at_hand: dict[int, tuple[torch.Tensor, tuple[torch.Tensor, ...]]] = {}
        """Of each thread that is in a pass: the input and all outputs of it."""

    def output(self, x: torch.Tensor, index: int) -> torch.Tensor:
        """What the layer `index` makes of `x`; all are computed when the first is asked."""
        thread = threading.get_ident()
        given, outputs = self._at_hand.get(thread, (None, ()))
        if x is not given:
            outputs = lora_matmul(x, self.weight, self.bias, self.scaling, [*self.members])
        if index == len(self.members) - 1:
            self._at_hand.pop(thread, None)
        else:
            self._at_hand[thread] = x, outputs
        return outputs[index]


class Member(torch.nn.Module):
    """Stands where a layer of a group stood."""

    def __init__(self, group: Group, index: int) -> None:
        super().__init__()
        self.group, self.index = group, index

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in_features) to (..., out_features)."""
        return self.group.output(x, self.index)


class GatedMlp(torch.nn.Module):
    """`down(silu(gate(x)) * up(x))`; only x, gate(x) and up(x) are kept for the backward pass."""

    def __init__(self, mlp: Any) -> None:
        super().__init__()
        self.group: Group = mlp.gate_proj.group
        self.down: LoraLinear = mlp.down_proj

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., hidden_size) to the same."""
        gate, up = self.group.members
        flat = x.reshape(-1, x.shape[-1])
        out = _GatedMlp.apply(  # type: ignore[no-untyped-call]
            flat,
            self.group.weight,
            self.down.frozen.weight,
            self.group.scaling,
            gate.lora_a,
            up.lora_a,
            gate.lora_b,
            up.lora_b,
            self.down.lora_a,
            self.down.lora_b,
        )
        return out.view(x.shape)


class _GatedMlp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        down: torch.Tensor,
        scaling: float,
        *matrices: torch.Tensor,
    ) -> torch.Tensor:
        """`matrices`: A of gate and up, B of gate and up, A and B of down."""
        lows, highs, (low_d, high_d) = matrices[:2], matrices[2:4], matrices[4:]
        both, low, narrow = wide(x, weight, None, scaling, lows, highs)
        gate, up = both.chunk(2, dim=1)
        out, _, narrow_d = wide(silu(gate).mul_(up), down, None, scaling, [low_d], [high_d])
        ctx.save_for_backward(x, weight, down, both, low, narrow, low_d, narrow_d, *highs, high_d)
        ctx.scaling = scaling
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        """Gradients of x and of every A and B."""
        (grad,) = grads
        x, weight, down, both, low, narrow, low_d, narrow_d, *highs, high_d = ctx.saved_tensors
        gate, up = both.chunk(2, dim=1)
        active = silu(gate)
        grad_inner, grad_d = wide_backward(
            grad, active * up, down, ctx.scaling, low_d, narrow_d, [high_d], needs_x=True
        )
        assert grad_inner is not None
        grad_both = torch.empty_like(both)
        torch.mul(grad_inner, active, out=grad_both[:, gate.shape[1] :])
        grad_gate = torch.ops.aten.silu_backward(grad_inner.mul_(up), gate)
        grad_both[:, : gate.shape[1]] = grad_gate
        grad_x, grad_gu = wide_backward(
            grad_both, x, weight, ctx.scaling, low, narrow, highs, needs_x=ctx.needs_input_grad[0]
        )
        return grad_x, None, None, None, *grad_gu, *grad_d


class RmsNorm(torch.nn.Module):
    """Root mean square normalisation (arXiv 1910.07467) with a frozen weight."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight = norm.weight
        self.eps = float(norm.variance_epsilon)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., width) to the same."""
        out: torch.Tensor = _RmsNorm.apply(x, self.weight, self.eps)  # type: ignore[no-untyped-call]
        return out


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        """x is (..., width), weight (width,)."""
        mean = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1])
        inverse = mean.add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        return (x * inverse).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """d/dx of x / rms(x) * w."""
        (grad,) = grads
        x, weight, inverse = ctx.saved_tensors
        inner = grad * weight
        along = torch.linalg.vecdot(inner, x).unsqueeze(-1)
        along.mul_(inverse.pow(3)).div_(-x.shape[-1])
        return inner.mul_(inverse).addcmul_(x, along), None, None


def _stacked(linears: Sequence[torch.nn.Linear]) -> torch.Tensor:
    """Their weights one below the other; each becomes a view of it, so that nothing lies twice."""
    whole = torch.cat([linear.weight.detach() for linear in linears])
    start = 0
    for linear in linears:
        linear.weight.data = whole[start : start + linear.out_features]
        start += linear.out_features
    return whole


def _is_gated_silu(module: Any) -> bool:
    down = getattr(module, "down_proj", None)
    gate = getattr(module, "gate_proj", None)
    if not isinstance(gate, Member) or type(down) is not LoraLinear:
        return False
    plain = getattr(gate.group, "bias", None) is None and getattr(down.frozen, "bias", None) is None
    return plain and getattr(module.config, "hidden_act", "") == "silu"
