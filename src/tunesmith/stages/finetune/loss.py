"""Losses and log-probabilities of the labelled tokens, with gradients computed in the forward pass.

The gradient of the hidden states needs two products with the head, that of the head, where it is
trained, one more, and nothing else of the vocabulary's size is kept (as in Liger's fused linear
cross-entropy, arXiv 2410.10989). Unlabelled tokens never reach the head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn.functional import linear

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
        weight = weights[chunk, None]
        log_p, grad = _label_log_probs(logits, labels[chunk, None])
        return -(log_p * weight).sum(), grad if is_plain else grad.mul_(weight)

    return head_loss_sum(hidden, head, chunk_loss)


def head_loss_sum(hidden: torch.Tensor, head: torch.Tensor, chunk_loss: ChunkLoss) -> torch.Tensor:
    """The sum of `chunk_loss` over all rows of `hidden`, some at a time, differentiable by both.

    `hidden` is (num_labels, hidden_size), `head` (vocabulary, hidden_size).
    """
    result: torch.Tensor = _HeadLossSum.apply(hidden, head, chunk_loss)  # type: ignore[no-untyped-call]
    return result


def token_log_probs(hidden: torch.Tensor, head: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """log softmax(head @ row)[label] of each row of `hidden`, in nats: (num_labels,).

    `hidden` is (num_labels, hidden_size), `head` (vocabulary, hidden_size), `labels` (num_labels,)
    int64. The first two get gradients if they need them.
    """
    result: torch.Tensor = _TokenLogProbs.apply(hidden, head, labels, torch.is_grad_enabled())  # type: ignore[no-untyped-call]
    return result


def _label_log_probs(
    logits: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """log p of the labels, a column as they are, and the derivative of -log p by the logits."""
    log_p = torch.log_softmax(logits, dim=-1)
    found = log_p.gather(1, labels)
    p = log_p.exp_()
    return found, p.scatter_add_(1, labels, p.new_full(labels.shape, -1.0))


class _HeadLossSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, head: torch.Tensor, chunk_loss: ChunkLoss
    ) -> torch.Tensor:
        of_hidden, of_head, _ = ctx.needs_input_grad
        grad_hidden = torch.empty_like(hidden) if of_hidden else None
        grad_head = torch.zeros_like(head) if of_head else None
        total = hidden.new_zeros(())
        for chunk in _chunks(len(hidden)):
            loss, grad = chunk_loss(chunk, linear(hidden[chunk], head))
            total += loss
            if grad_hidden is not None:
                grad_hidden[chunk] = grad @ head
            if grad_head is not None:
                grad_head.addmm_(grad.t(), hidden[chunk])
        ctx.save_for_backward(grad_hidden, grad_head)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        made = (None if each is None else each * grads[0] for each in ctx.saved_tensors)
        return *made, None


class _TokenLogProbs(torch.autograd.Function):
    """With a frozen head what is kept is the gradient of each token's own row, which depends on
    that row alone, so that the backward pass only scales it. What a trained head gets is known only
    then: its logits are computed once more."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, head: torch.Tensor, labels: torch.Tensor, is_graded: bool
    ) -> torch.Tensor:
        of_hidden, ctx.of_head, *_ = ctx.needs_input_grad
        is_kept = is_graded and of_hidden and not ctx.of_head
        kept = torch.empty_like(hidden) if is_kept else None
        found = hidden.new_empty(len(labels))
        for chunk in _chunks(len(labels)):
            logits, wanted = linear(hidden[chunk], head), labels[chunk, None]
            if kept is None:
                log_p = torch.log_softmax(logits, dim=-1).gather(1, wanted)
            else:
                log_p, grad = _label_log_probs(logits, wanted)
                kept[chunk] = (grad @ head).neg_()
            found[chunk] = log_p[:, 0]
        ctx.save_for_backward(*((hidden, head, labels) if ctx.of_head else (kept,)))
        return found

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        weights = grads[0][:, None]
        if not ctx.of_head:
            (kept,) = ctx.saved_tensors
            return kept * weights, None, None, None
        hidden, head, labels = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        grad_head = torch.zeros_like(head)
        for chunk in _chunks(len(labels)):
            _, grad = _label_log_probs(linear(hidden[chunk], head), labels[chunk, None])
            grad.mul_(-weights[chunk])
            if grad_hidden is not None:
                grad_hidden[chunk] = grad @ head
            grad_head.addmm_(grad.t(), hidden[chunk])
        return grad_hidden, grad_head, None, None


def _chunks(num_rows: int) -> Iterator[slice]:
    """Some rows at a time."""
    for start in range(0, num_rows, CHUNK_TOKENS):
        yield slice(start, start + CHUNK_TOKENS)
