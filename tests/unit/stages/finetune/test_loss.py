from __future__ import annotations

from typing import Any

import pytest
import torch

from tunesmith.stages.finetune import loss as loss_module
from tunesmith.stages.finetune.loss import cross_entropy_sum, token_log_probs


def test_value_and_gradient_are_those_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(300, 16, dtype=torch.float64, generator=generator, requires_grad=True)
    head = torch.randn(50, 16, dtype=torch.float64, generator=generator)
    labels = torch.randint(0, 50, (300,), generator=generator)
    assert len(labels) > 2 * loss_module.CHUNK_TOKENS  # several chunks and a part of one

    found = cross_entropy_sum(hidden, head, labels, torch.ones(300))
    (grad,) = torch.autograd.grad(found / 7, hidden)

    expected = torch.nn.functional.cross_entropy(hidden @ head.t(), labels, reduction="sum")
    (wanted,) = torch.autograd.grad(expected / 7, hidden)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(grad, wanted, rtol=0, atol=1e-12)


def test_large_logits_do_not_overflow() -> None:
    hidden = torch.full((1, 2), 1e4, requires_grad=True)
    head = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    found = cross_entropy_sum(hidden, head, torch.tensor([0]), torch.ones(1))

    assert found.item() == 0.0


@pytest.mark.parametrize("trained", ["hidden", "head", "both"])
def test_what_needs_a_gradient_gets_that_of_autograd(trained: str) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(300, 16, dtype=torch.float64, generator=generator)
    head = torch.randn(50, 16, dtype=torch.float64, generator=generator)
    labels = torch.randint(0, 50, (300,), generator=generator)
    needing = {"hidden": [hidden], "head": [head], "both": [hidden, head]}[trained]
    for tensor in needing:
        tensor.requires_grad_(True)

    losses = torch.nn.functional.cross_entropy(hidden @ head.t(), labels, reduction="none")
    for weights in (torch.ones(300), torch.tensor([2.0, 0.5, 0.0, 1.0, 3.25]).repeat(60)):
        found = cross_entropy_sum(hidden, head, labels, weights)
        grads = torch.autograd.grad(found / 7, needing)

        expected = losses @ weights.double()
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
        wanted = torch.autograd.grad(expected / 7, needing, retain_graph=True)
        for one, other in zip(grads, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_a_weight_of_two_is_twice_and_of_none_is_not_there() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(4, 16, dtype=torch.float64, generator=generator, requires_grad=True)
    head = torch.randn(50, 16, dtype=torch.float64, generator=generator, requires_grad=True)
    labels = torch.tensor([3, 49, 7, 7])
    found = cross_entropy_sum(hidden, head, labels, torch.tensor([2.0, 0.0, 1.0, 0.5]))
    repeated = torch.tensor([0, 0, 0, 0, 2, 2, 3])  # all of them twice, so that a half is one
    expected = cross_entropy_sum(hidden[repeated], head, labels[repeated], torch.ones(7)) / 2

    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    grads = torch.autograd.grad(found, (hidden, head))
    wanted = torch.autograd.grad(expected, (hidden, head))
    torch.testing.assert_close(grads, wanted, rtol=0, atol=1e-12)
    assert not grads[0][1].any()


def test_the_gradients_are_those_of_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_module, "CHUNK_TOKENS", 2)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(5, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    head = torch.randn(4, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    labels = torch.tensor([0, 3, 1, 1, 2])

    for weights in (torch.ones(5), torch.tensor([2.0, 0.5, 0.0, 1.0, 0.25])):
        assert torch.autograd.gradcheck(
            lambda h, w, weights=weights: cross_entropy_sum(h, w, labels, weights), (hidden, head)
        )


def test_a_matrix_of_both_uses_gets_the_sum_of_their_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(20, 8, dtype=torch.float64, generator=generator, requires_grad=True)
    ids, labels = torch.randint(0, 20, (2, 30), generator=generator)

    def grad(loss: Any) -> torch.Tensor:
        hidden = torch.tanh(torch.nn.functional.embedding(ids, shared))
        return torch.autograd.grad(loss(hidden), shared)[0]

    found = grad(lambda hidden: cross_entropy_sum(hidden, shared, labels, torch.ones(30)))
    expected = grad(
        lambda hidden: torch.nn.functional.cross_entropy(
            hidden @ shared.t(), labels, reduction="sum"
        )
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("trained", ["hidden", "head", "both"])
def test_log_probabilities_of_tokens_and_their_gradients_are_those_of_autograd(
    trained: str,
) -> None:
    """Several chunks and a part of one, each token with a weight of its own, some negative."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(300, 16, dtype=torch.float64, generator=generator)
    head = torch.randn(50, 16, dtype=torch.float64, generator=generator)
    labels = torch.randint(0, 50, (300,), generator=generator)
    weights = torch.randn(300, dtype=torch.float64, generator=generator)
    assert len(labels) > 2 * loss_module.CHUNK_TOKENS
    needing = {"hidden": [hidden], "head": [head], "both": [hidden, head]}[trained]
    for tensor in needing:
        tensor.requires_grad_(True)

    def of(log_p: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad((log_p * weights).sum().exp(), needing)

    found = token_log_probs(hidden, head, labels)
    expected = torch.log_softmax(hidden @ head.t(), dim=-1).gather(1, labels[:, None])[:, 0]

    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for one, other in zip(of(found), of(expected), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    with torch.no_grad():
        assert not token_log_probs(hidden, head, labels).requires_grad
        torch.testing.assert_close(token_log_probs(hidden, head, labels), expected.detach())


@pytest.mark.parametrize("is_head_trained", [False, True])
def test_gradients_of_log_probabilities_are_those_of_finite_differences(
    monkeypatch: pytest.MonkeyPatch, is_head_trained: bool
) -> None:
    monkeypatch.setattr(loss_module, "CHUNK_TOKENS", 2)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(5, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    head = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    head.requires_grad_(is_head_trained)
    labels = torch.tensor([0, 3, 1, 1, 2])

    assert torch.autograd.gradcheck(lambda h, w: token_log_probs(h, w, labels), (hidden, head))


def test_what_is_kept_of_a_frozen_head_is_not_of_the_size_of_the_vocabulary() -> None:
    hidden = torch.randn(300, 8, requires_grad=True)
    head = torch.randn(1000, 8)
    kept: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        token_log_probs(hidden, head, torch.zeros(300, dtype=torch.int64))

    assert kept == [300 * 8]
