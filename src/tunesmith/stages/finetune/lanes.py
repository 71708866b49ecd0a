"""Micro-batches of a step side by side, each on its own share of the threads.

Two passes on one core each take less time than one after the other on both: nothing waits for the
slower half of itself, neither a product nor the many small things between products. Which of them
is done first shows in no result: every lane adds up its own gradients, and they are added in turn.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

import torch

from tunesmith.lm.example import MicroBatch

Item = TypeVar("Item")
LossOf = Callable[[MicroBatch], torch.Tensor]
Heard = Callable[[MicroBatch, float], None]
Gradients = list[torch.Tensor | None]

LANES = 2
"""It does not depend on the machine, so that all of them add up in one order."""
LONG_TOKENS = 1024
"""A longer micro-batch has all threads to itself: two of them would take twice the memory."""


class Lanes:
    """Threads that stay, as what they keep for themselves is costly to make anew."""

    def __init__(self, parameters: Sequence[torch.nn.Parameter], count: int = LANES) -> None:
        """For gradients of `parameters`, of which each of `count` lanes holds its own."""
        self._parameters, self._count = parameters, count
        self._pool = ThreadPoolExecutor(count, "lane")

    def rounds(self, micros: Sequence[MicroBatch]) -> Iterator[list[MicroBatch]]:
        """What is in memory at one moment: a long micro-batch, or one of each lane."""
        alone, others = self._told_apart(micros)
        yield from ([micro] for micro in alone)
        for start in range(0, len(others), self._count):
            yield others[start : start + self._count]

    def backward(
        self,
        loss_of: LossOf,
        micros: Sequence[MicroBatch],
        weight: float = 1.0,
        done: Heard = lambda _micro, _loss: None,
    ) -> float:
        """Add the gradients of the losses of `micros` by `weight`; the sum of those losses.

        `done(micro, loss)` is called in the caller's thread after each. If it raises, what is being
        computed is waited for, nothing else is begun, and some gradients may have been added.
        """
        alone, others = self._told_apart(micros)
        total = 0.0
        for micro in alone:
            loss = loss_of(micro)
            torch.autograd.backward(loss / weight)
            total += loss.item()
            done(micro, loss.item())
        lanes = [
            _Lane(parameters=self._parameters, loss_of=loss_of, micros=each, weight=weight)
            for each in deal(others, [micro.num_tokens for micro in others], self._count)
            if each
        ]
        for sum_of_losses, gradients in self._run(lanes, done):
            total += sum_of_losses
            for parameter, grad in zip(self._parameters, gradients, strict=True):
                parameter.grad = _sum(parameter.grad, grad)
        return total

    def _told_apart(
        self, micros: Sequence[MicroBatch]
    ) -> tuple[list[MicroBatch], list[MicroBatch]]:
        """Those that have all threads to themselves, and the others."""
        if self._count == 1 or len(micros) == 1:
            return list(micros), []
        alone = [micro for micro in micros if micro.num_tokens > LONG_TOKENS]
        return alone, [micro for micro in micros if micro.num_tokens <= LONG_TOKENS]

    def _run(self, lanes: Sequence[_Lane], done: Heard) -> list[tuple[float, Gradients]]:
        """The result of each lane; on one thread they are run one after the other."""
        threads, halted = torch.get_num_threads(), threading.Event()
        if threads == 1 or len(lanes) < 2:
            return [lane.run(done, halted) for lane in lanes]
        heard: queue.SimpleQueue[tuple[MicroBatch, float] | None] = queue.SimpleQueue()

        def on_share(lane: _Lane) -> tuple[float, Gradients]:
            torch.set_num_threads(threads // len(lanes))  # of this thread, and of new ones
            try:
                return lane.run(lambda micro, loss: heard.put((micro, loss)), halted)
            except BaseException:
                halted.set()  # what the others would add is of no use any more
                raise
            finally:
                heard.put(None)

        running = [self._pool.submit(on_share, lane) for lane in lanes]
        try:
            for _ in lanes:
                while (said := heard.get()) is not None:
                    done(*said)
            return [each.result() for each in running]
        finally:
            halted.set()
            wait(running)
            torch.set_num_threads(threads)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Lane:
    """Micro-batches, one after the other."""

    parameters: Sequence[torch.nn.Parameter]
    loss_of: LossOf
    micros: Sequence[MicroBatch]
    weight: float

    def run(self, done: Heard, halted: threading.Event) -> tuple[float, Gradients]:
        """The sum of their losses, and the gradients of those by the weight; after `halted` is set
        none is begun."""
        total = 0.0
        sums: Gradients = [None] * len(self.parameters)
        for micro in self.micros:
            if halted.is_set():
                break
            loss = self.loss_of(micro)
            found = torch.autograd.grad(loss / self.weight, self.parameters, allow_unused=True)
            sums = [_sum(each, grad) for each, grad in zip(sums, found, strict=True)]
            total += loss.item()
            done(micro, loss.item())
        return total, sums


def _sum(whole: torch.Tensor | None, grad: torch.Tensor | None) -> torch.Tensor | None:
    """The first changed in place, where there are both."""
    if whole is None or grad is None:
        return grad.contiguous() if whole is None and grad is not None else whole
    return whole.add_(grad)


def deal(items: Sequence[Item], sizes: Sequence[int], count: int) -> list[list[Item]]:
    """`items` in `count` parts of about the same size, each part in their order.

    The largest first, each to the part that is smallest by then (R. L. Graham, Bounds on
    Multiprocessing Timing Anomalies, 1969); then what evens out the largest and the smallest is
    exchanged, as long as anything does.

    >>> deal("abcd", [5, 4, 4, 3], 2)
    [['a', 'd'], ['b', 'c']]
    """
    parts: list[list[int]] = [[] for _ in range(count)]
    loads = [0] * count

    def put(place: int, number: int) -> None:
        parts[number].append(place)
        loads[number] += sizes[place]

    def take(place: int, number: int) -> int:
        parts[number].remove(place)
        loads[number] -= sizes[place]
        return place

    for place in sorted(range(len(items)), key=lambda place: -sizes[place]):
        put(place, loads.index(min(loads)))
    while items:
        most, least = loads.index(max(loads)), loads.index(min(loads))
        gap = loads[most] - loads[least]
        exchanges = [
            (abs(gap - 2 * (sizes[large] - sizes[small])), large, small)
            for large in parts[most]
            for small in parts[least]
            if 0 < sizes[large] - sizes[small] < gap
        ]
        if not exchanges:
            break
        _, large, small = min(exchanges)
        put(take(large, most), least)
        put(take(small, least), most)
    return [[items[place] for place in sorted(part)] for part in parts]


ONE_BY_ONE = Lanes((), 1)
"""Every micro-batch with all threads, and no gradients but their sum."""
