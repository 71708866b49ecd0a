"""Losses of the labelled tokens' logits, with their gradients computed in the forward pass.

The gradient of the hidden states needs two products with the head, that of the head, where it is
trained, one more, and nothing else of the vocabulary's size is kept (as in Liger's fused linear
cross-entropy, arXiv 2410.10989). Unlabelled tokens never reach the head.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tunesmith.lm.matmul import linear, product

CHUNK_TOKENS = 128
"""Labelled tokens for which logits are held at once."""

ChunkLoss = Callable[[slice, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""(which labelled tokens, their logits (tokens, vocabulary), which it may overwrite) to the sum of
their losses and its gradient by the logits."""


def cross_entropy_sum(
    hidden: torch.Tensor, head: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Sum over the rows of `hidden` of -weight * log softmax(head @ row)[label], in nats.

    `hidden` is (num_labels, hidden_size), `head` (vocabulary, hidden_size), `labels` (num_labels,)
    int64, `weights` (num_labels,). The first two get gradients if they need them. Divide by the
    weights of the whole global step, not of a part of it.
    """
    weights = weights.to(hidden.dtype)
    is_plain = bool((weights == 1).all())  # the usual case, which needs no pass over all of p

    def chunk_loss(chunk: slice, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        wanted, weight = labels[chunk, None], weights[chunk, None]
        log_p = torch.log_softmax(logits, dim=-1)
        loss = -(log_p.gather(1, wanted) * weight).sum()
        p = log_p.exp_()
        p.scatter_add_(1, wanted, p.new_full(wanted.shape, -1.0))
        return loss, p if is_plain else p.mul_(weight)

    return head_loss_sum(hidden, head, chunk_loss)


def head_loss_sum(hidden: torch.Tensor, head: torch.Tensor, chunk_loss: ChunkLoss) -> torch.Tensor:
    """The sum of `chunk_loss` over all rows of `hidden`, some at a time, differentiable by both.

    `hidden` is (num_labels, hidden_size), `head` (vocabulary, hidden_size).
    """
    result: torch.Tensor = _HeadLossSum.apply(hidden, head, chunk_loss)  # type: ignore[no-untyped-call]
    return result


class _HeadLossSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, head: torch.Tensor, chunk_loss: ChunkLoss
    ) -> torch.Tensor:
        of_hidden, of_head, _ = ctx.needs_input_grad
        grad_hidden = torch.empty_like(hidden) if of_hidden else None
        grad_head = torch.zeros_like(head) if of_head else None
        total = hidden.new_zeros(())
        for start in range(0, len(hidden), CHUNK_TOKENS):
            chunk = slice(start, start + CHUNK_TOKENS)
            loss, grad = chunk_loss(chunk, linear(hidden[chunk], head))
            total += loss
            if grad_hidden is not None:
                grad_hidden[chunk] = product(grad, head)
            if grad_head is not None:
                grad_head.addmm_(grad.t(), hidden[chunk])
        ctx.save_for_backward(grad_hidden, grad_head)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        made = (None if each is None else each * grads[0] for each in ctx.saved_tensors)
        return *made, None
