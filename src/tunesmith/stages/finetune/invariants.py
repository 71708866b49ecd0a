"""Measures of what must hold of a run's arithmetic, each on a few rows and in seconds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tunesmith.lm.example import Example, MicroBatch, pack
from tunesmith.lm.prefixes import share_prefixes
from tunesmith.stages.finetune.batches import steps_of_epoch
from tunesmith.stages.finetune.loop import accumulate
from tunesmith.stages.finetune.objectives.objective import Hidden, Objective

Gradient = Sequence[torch.Tensor | None]
"""Of each trained parameter, in their order; None is zero."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """What is certified: the way in which this run computes."""

    model: Any
    """As it is trained."""
    parameters: Sequence[torch.nn.Parameter]
    """Those that are trained."""
    rows: Sequence[Example]
    objective: Objective
    hidden: Hidden
    loss: Callable[[MicroBatch], torch.Tensor]
    """Sum of the losses of a micro-batch, with a graph."""
    token_ids: frozenset[int] = frozenset()
    """New tokens, of which rows of the embeddings are trained."""


def influence(subject: Subject, rows: Sequence[Example]) -> tuple[float, float]:
    """The most that a row bears on the states of another one of two in one stream, and the least
    that one bears on its own.

    It is the derivative, by the row's embeddings, of a sum of the states with fixed weights. Where
    no gradient reaches the embeddings, as all below the trained layers is computed without one, it
    is what that sum moves by when the row's tokens are put in another order.
    """
    micro = pack(rows)
    foreign, own = [], []
    for number in (0, 1):
        effects = _derivatives(subject, micro, number) or _changes(subject, micro, number)
        own.append(effects[number])
        foreign.append(effects[1 - number])
    return max(foreign), min(own)


def step_errors(subject: Subject, rows: Sequence[Example], stock: Any) -> tuple[float, float]:
    """How far the loop's mean loss of `rows`, and its gradient, are from what they should be, whole
    or, where the objective allows it, row by row, whichever is further.

    They should be the objective's own plain ones, by autograd through `stock`, the twin, whose
    denominator is not that of the loop. The error of the loss is relative to it, that of the
    gradient to its length.
    """
    mean = subject.objective.plain_mean(stock, rows)
    expected = float(mean.detach())
    gradient = torch.autograd.grad(mean, subject.parameters, allow_unused=True)
    loss_errors, gradient_errors = [], []
    for size in {len(rows)} if subject.objective.whole_step else {len(rows), 1}:
        loss, found = _accumulated(subject, rows, size)
        loss_errors.append(abs(loss - expected) / (abs(expected) or 1.0))
        gradient_errors.append(_distance(found, gradient))
    return max(loss_errors), max(gradient_errors)


def misplaced(rows: Sequence[Example], seed: int, epochs: int = 2) -> int:
    """Rows that stand elsewhere, are missing or are too many in the order of an epoch when the file
    was in another order."""
    generator = torch.Generator().manual_seed(seed)
    shuffled = [rows[place] for place in torch.randperm(len(rows), generator=generator).tolist()]
    count = 0
    for epoch in range(epochs):
        (one,) = steps_of_epoch(rows, seed, epoch, len(rows))
        (two,) = steps_of_epoch(shuffled, seed, epoch, len(rows))
        count += sum(a.row_id != b.row_id for a, b in zip(one, two, strict=True))
        count += len({row.row_id for row in rows} ^ {row.row_id for row in one})
    return count


def _accumulated(subject: Subject, rows: Sequence[Example], size: int) -> tuple[float, Gradient]:
    """The loop's loss and gradient, the objective's cut made `size` rows at a time; none is left
    behind."""

    def cut(rows: Sequence[Example]) -> Iterator[MicroBatch]:
        for start in range(0, len(rows), size):
            yield from subject.objective.cut(rows[start : start + size])

    for parameter in subject.parameters:
        parameter.grad = None
    loss = accumulate(subject.objective, subject.loss, rows, cut=cut)
    found = [parameter.grad for parameter in subject.parameters]
    for parameter in subject.parameters:
        parameter.grad = None
    return loss, found


def _projection(states: torch.Tensor, micro: MicroBatch, number: int) -> torch.Tensor:
    """A sum, with fixed weights, of the states of one row of the stream."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(states.shape, generator=generator, dtype=states.dtype)
    mine = torch.repeat_interleave(torch.arange(len(micro.sizes)), torch.tensor(micro.sizes))
    return ((states * weights)[mine == number]).sum()


def _derivatives(subject: Subject, micro: MicroBatch, number: int) -> list[float]:
    """Largest derivative of a row's states by the embeddings of each row; none if these are no part
    of the graph."""
    embedded: list[torch.Tensor] = []

    def catch(_module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        embedded.append(output.detach().requires_grad_())
        return embedded[-1]

    handle = subject.model.get_input_embeddings().register_forward_hook(catch)
    try:
        total = _projection(subject.hidden(micro), micro, number)
    finally:
        handle.remove()
    if not (embedded and total.requires_grad):
        return []
    found = torch.autograd.grad(total, embedded, allow_unused=True)
    if all(gradient is None for gradient in found):
        return []
    if len(found) == 1:  # one piece from the engine
        (whole,) = found
        assert whole is not None
        by_token = whole.reshape(-1, whole.shape[-1]).abs().amax(dim=1)
        shared = share_prefixes(micro) if len(by_token) < micro.num_tokens else None
        places = torch.arange(micro.num_tokens) if shared is None else shared.places
        parts = torch.split_with_sizes(places, micro.sizes)
        # What two rows begin with alike is each one's own.
        return [
            float(by_token[part if row == number else _without(part, parts[number])].amax())
            for row, part in enumerate(parts)
        ]
    # One for each document from the stock path, in the order of the rows.
    pieces = iter(found)
    effects = []
    for example in micro.examples:
        mine = [next(pieces) for _ in example.documents()]
        effects.append(max(0.0 if g is None else float(g.abs().max()) for g in mine))
    return effects


def _without(places: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    return places[~torch.isin(places, others)]


def _changes(subject: Subject, micro: MicroBatch, number: int) -> list[float]:
    """What a row's states move by when the tokens of each row are reversed."""
    effects = []
    with torch.no_grad():
        total = _projection(subject.hidden(micro), micro, number)
        for other in range(len(micro.examples)):
            turned = pack(
                [
                    _reversed(each) if place == other else each
                    for place, each in enumerate(micro.examples)
                ]
            )
            moved = _projection(subject.hidden(turned), turned, number) - total
            effects.append(float(moved.abs()))
    return effects


def _reversed(example: Example) -> Example:
    answers = [dataclasses.replace(each, ids=each.ids[::-1]) for each in example.answers]
    return dataclasses.replace(example, prompt=example.prompt[::-1], answers=tuple(answers))


def _distance(found: Gradient, expected: Gradient) -> float:
    """Length of the difference over the length of the second."""
    gap, length, zero = 0.0, 0.0, torch.zeros(())
    for a, b in zip(found, expected, strict=True):
        one, two = zero if a is None else a, zero if b is None else b
        gap += float((one - two).square().sum())
        length += float(two.square().sum())
    return (gap / length) ** 0.5 if length else float("inf")
