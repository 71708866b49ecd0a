"""Cross-entropy of the labelled tokens, with its gradient computed in the forward pass.

The output head is frozen, so the only gradient is that of the hidden states, and it needs two
products with the head and nothing else of the vocabulary's size (as in Liger's fused linear
cross-entropy, arXiv 2410.10989). Unlabelled tokens never reach the head.
"""

from __future__ import annotations

from typing import Any

import torch

CHUNK_TOKENS = 128
"""Labelled tokens for which logits are held at once."""


def cross_entropy_sum(
    hidden: torch.Tensor, head: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Sum over the rows of `hidden` of -log softmax(head @ row)[label], in nats.

    `hidden` is (num_labels, hidden_size), `head` (vocabulary, hidden_size) and frozen, `labels`
    (num_labels,) int64. Divide by the labels of the whole global step, not of a part of it.
    """
    result: torch.Tensor = _CrossEntropySum.apply(hidden, head, labels)  # type: ignore[no-untyped-call]
    return result


class _CrossEntropySum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, head: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        grad = torch.empty_like(hidden)
        total = hidden.new_zeros(())
        for start in range(0, len(labels), CHUNK_TOKENS):
            chunk = slice(start, start + CHUNK_TOKENS)
            wanted = labels[chunk, None]
            log_p = torch.log_softmax(hidden[chunk] @ head.t(), dim=-1)
            total -= log_p.gather(1, wanted).sum()
            p = log_p.exp_()
            p.scatter_add_(1, wanted, p.new_full(wanted.shape, -1.0))
            torch.mm(p, head, out=grad[chunk])
        ctx.save_for_backward(grad)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (grad,) = ctx.saved_tensors
        return grad * grads[0], None, None
