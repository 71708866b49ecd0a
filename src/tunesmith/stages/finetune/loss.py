"""Cross-entropy of the labelled tokens, with its gradients computed in the forward pass.

The gradient of the hidden states needs two products with the head, that of the head, where it is
trained, one more, and nothing else of the vocabulary's size is kept (as in Liger's fused linear
cross-entropy, arXiv 2410.10989). Unlabelled tokens never reach the head.
"""

from __future__ import annotations

from typing import Any

import torch

from tunesmith.lm.matmul import linear, product

CHUNK_TOKENS = 128
"""Labelled tokens for which logits are held at once."""


def cross_entropy_sum(
    hidden: torch.Tensor, head: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Sum over the rows of `hidden` of -weight * log softmax(head @ row)[label], in nats.

    `hidden` is (num_labels, hidden_size), `head` (vocabulary, hidden_size), `labels` (num_labels,)
    int64, `weights` (num_labels,). The first two get gradients if they need them. Divide by the
    weights of the whole global step, not of a part of it.
    """
    weights = weights.to(hidden.dtype)
    result: torch.Tensor = _CrossEntropySum.apply(hidden, head, labels, weights)  # type: ignore[no-untyped-call]
    return result


class _CrossEntropySum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        head: torch.Tensor,
        labels: torch.Tensor,
        weights: torch.Tensor,
    ) -> torch.Tensor:
        of_hidden, of_head, *_ = ctx.needs_input_grad
        grad_hidden = torch.empty_like(hidden) if of_hidden else None
        grad_head = torch.zeros_like(head) if of_head else None
        total = hidden.new_zeros(())
        is_plain = bool((weights == 1).all())  # the usual case, which needs no pass over all of p
        for start in range(0, len(labels), CHUNK_TOKENS):
            chunk = slice(start, start + CHUNK_TOKENS)
            wanted, weight = labels[chunk, None], weights[chunk, None]
            log_p = torch.log_softmax(linear(hidden[chunk], head), dim=-1)
            total -= (log_p.gather(1, wanted) * weight).sum()
            p = log_p.exp_()
            p.scatter_add_(1, wanted, p.new_full(wanted.shape, -1.0))
            if not is_plain:
                p *= weight
            if grad_hidden is not None:
                grad_hidden[chunk] = product(p, head)
            if grad_head is not None:
                grad_head.addmm_(p.t(), hidden[chunk])
        ctx.save_for_backward(grad_hidden, grad_head)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        made = (None if each is None else each * grads[0] for each in ctx.saved_tensors)
        return *made, None, None
