"""Micro-batches side by side, each computed on its own share of the threads.

Two passes on one core each take less time than one after the other on both: nothing waits for the
slower half of itself, neither a product nor the many small things between products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import torch

from tunesmith.lm.example import MicroBatch

Result = TypeVar("Result")

LANES = 2
"""Micro-batches at one moment. It does not depend on the machine, so that gradients are added up in
one order on all of them."""
LONG_TOKENS = 1024
"""A longer micro-batch has all threads to itself: two of them would take twice the memory."""


class Lanes:
    """Threads that stay, as what they keep for themselves is costly to make anew."""

    def __init__(self, parameters: Sequence[torch.nn.Parameter], count: int = LANES) -> None:
        """For gradients of `parameters`, of which each of `count` lanes holds its own."""
        self._parameters, self._count = parameters, count
        self._pool = ThreadPoolExecutor(count, "lane")

    def rounds(self, micros: Sequence[MicroBatch]) -> Iterator[list[MicroBatch]]:
        """`micros` as they are computed: long ones one by one, then the others side by side."""
        is_long = [micro.num_tokens > LONG_TOKENS for micro in micros]
        yield from ([micro] for micro, alone in zip(micros, is_long, strict=True) if alone)
        others = [micro for micro, alone in zip(micros, is_long, strict=True) if not alone]
        for start in range(0, len(others), self._count):
            yield others[start : start + self._count]

    def backward(
        self,
        loss_of: Callable[[MicroBatch], torch.Tensor],
        micros: Sequence[MicroBatch],
        weight: float = 1.0,
    ) -> list[float]:
        """Add the gradients of the losses of one round by `weight`, in their order; the losses."""
        if len(micros) == 1:
            loss = loss_of(micros[0])
            torch.autograd.backward(loss / weight)
            return [loss.item()]

        def gradient(micro: MicroBatch) -> tuple[float, Sequence[torch.Tensor | None]]:
            loss = loss_of(micro)
            found = torch.autograd.grad(loss / weight, self._parameters, allow_unused=True)
            return loss.item(), found

        passed = self._side_by_side(gradient, micros)
        for _, found in passed:
            for parameter, grad in zip(self._parameters, found, strict=True):
                if parameter.grad is not None and grad is not None:
                    parameter.grad.add_(grad)
                elif grad is not None:
                    parameter.grad = grad.contiguous()
        return [loss for loss, _ in passed]

    def _side_by_side(
        self, compute: Callable[[MicroBatch], Result], micros: Sequence[MicroBatch]
    ) -> list[Result]:
        threads = torch.get_num_threads()
        if threads == 1:
            return [compute(micro) for micro in micros]

        def on_share(micro: MicroBatch) -> Result:
            torch.set_num_threads(max(1, threads // len(micros)))  # of this thread and of new ones
            return compute(micro)

        running = [self._pool.submit(on_share, micro) for micro in micros]
        try:
            return [each.result() for each in running]
        finally:
            wait(running)  # also if one failed: they read what the caller may change next
            torch.set_num_threads(threads)


ONE_BY_ONE = Lanes((), 1)
"""Every micro-batch with all threads, and no gradient but the sum."""
