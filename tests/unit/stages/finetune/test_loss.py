from __future__ import annotations

import torch

from tunesmith.stages.finetune import loss as loss_module
from tunesmith.stages.finetune.loss import cross_entropy_sum


def test_value_and_gradient_are_those_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(300, 16, dtype=torch.float64, generator=generator, requires_grad=True)
    head = torch.randn(50, 16, dtype=torch.float64, generator=generator)
    labels = torch.randint(0, 50, (300,), generator=generator)
    assert len(labels) > 2 * loss_module.CHUNK_TOKENS  # several chunks and a part of one

    found = cross_entropy_sum(hidden, head, labels)
    (grad,) = torch.autograd.grad(found / 7, hidden)

    expected = torch.nn.functional.cross_entropy(hidden @ head.t(), labels, reduction="sum")
    (wanted,) = torch.autograd.grad(expected / 7, hidden)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(grad, wanted, rtol=0, atol=1e-12)


def test_large_logits_do_not_overflow() -> None:
    hidden = torch.full((1, 2), 1e4, requires_grad=True)
    found = cross_entropy_sum(hidden, torch.tensor([[1.0, 1.0], [-1.0, -1.0]]), torch.tensor([0]))

    assert found.item() == 0.0
