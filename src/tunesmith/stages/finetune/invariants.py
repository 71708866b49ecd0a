"""Measures of what must hold of a run's arithmetic, each on a few rows and in seconds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from tunesmith.stages.finetune.batches import MicroBatch, TrainRow, pack, steps_of_epoch
from tunesmith.stages.finetune.stock import stock_logits, stock_micro_loss

Gradient = Sequence[torch.Tensor | None]
"""Of each trained parameter, in their order; None is zero."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """What is certified: the way in which this run computes."""

    model: Any
    """As it is trained."""
    parameters: Sequence[torch.nn.Parameter]
    """Those that are trained."""
    rows: Sequence[TrainRow]
    loss: Callable[[MicroBatch], torch.Tensor]
    """Sum of the losses of a micro-batch, with a graph."""
    accumulate: Callable[
        [Sequence[TrainRow], Callable[[Sequence[TrainRow]], Iterator[MicroBatch]]], float
    ]
    """accumulate(rows, cut) adds the gradient of the mean loss of `rows`, cut into micro-batches by
    `cut`, to the parameters'; returns that loss."""


def two_rows(rows: Sequence[TrainRow]) -> list[TrainRow]:
    """The shortest row, and the shortest with another number of labels: on rows with the same, a
    mean of means would not show."""
    ordered = sorted(rows, key=lambda row: (len(row.ids), row.row_id))
    first = ordered[0]
    others = [row for row in ordered if row.num_labels != first.num_labels] or ordered[1:]
    return [first, *(others or ordered)[:1]]


def influence(subject: Subject, rows: Sequence[TrainRow]) -> tuple[float, float]:
    """The most that a document bears on the loss of another one of two in one stream, and the least
    that one bears on its own loss.

    It is the derivative by the document's embeddings. Where no gradient reaches these, as all below
    the trained layers is computed without one, it is what the loss moves by when the document's
    tokens are put in another order.
    """
    micro = pack(rows)
    border = micro.documents.lengths[0]
    foreign, own = [], []
    for document in (0, 1):
        mine = (micro.predicting >= border) == bool(document)
        alone = dataclasses.replace(
            micro, predicting=micro.predicting[mine], labels=micro.labels[mine]
        )
        effects = _derivatives(subject, alone) or _changes(subject, alone, border)
        own.append(effects[document])
        foreign.append(effects[1 - document])
    return max(foreign), min(own)


def step_errors(subject: Subject, rows: Sequence[TrainRow], stock: Any) -> tuple[float, float]:
    """How far the loop's mean loss of `rows`, and its gradient, are from what they should be, whole
    or row by row, whichever is further.

    The loss should be torch's cross-entropy of the logits of `stock`, the twin, and the error is
    relative to it; the gradient that of autograd through the twin, and the error is relative to its
    length.
    """
    num_labels = sum(row.num_labels for row in rows)
    expected = sum(_plain_loss(stock, row) for row in rows) / num_labels
    losses = torch.stack([stock_micro_loss(stock, pack([row])) for row in rows])
    gradient = torch.autograd.grad(losses.sum() / num_labels, subject.parameters, allow_unused=True)
    loss_errors, gradient_errors = [], []
    for size in (len(rows), 1):
        loss, found = _accumulated(subject, rows, size)
        loss_errors.append(abs(loss - expected) / expected)
        gradient_errors.append(_distance(found, gradient))
    return max(loss_errors), max(gradient_errors)


def misplaced(rows: Sequence[TrainRow], seed: int, epochs: int = 2) -> int:
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


def _accumulated(subject: Subject, rows: Sequence[TrainRow], size: int) -> tuple[float, Gradient]:
    """The loop's loss and gradient with micro-batches of `size` rows; none is left behind."""

    def cut(rows: Sequence[TrainRow]) -> Iterator[MicroBatch]:
        for start in range(0, len(rows), size):
            yield pack(rows[start : start + size])

    for parameter in subject.parameters:
        parameter.grad = None
    loss = subject.accumulate(rows, cut)
    found = [parameter.grad for parameter in subject.parameters]
    for parameter in subject.parameters:
        parameter.grad = None
    return loss, found


def _derivatives(subject: Subject, micro: MicroBatch) -> list[float]:
    """Largest derivative of the loss by the embeddings of each document; none if these are no part
    of the graph."""
    embedded: list[torch.Tensor] = []

    def catch(_module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        embedded.append(output.detach().requires_grad_())
        return embedded[-1]

    handle = subject.model.get_input_embeddings().register_forward_hook(catch)
    try:
        loss = subject.loss(micro)
    finally:
        handle.remove()
    found = torch.autograd.grad(loss, embedded, allow_unused=True) if embedded else ()
    if not found or any(gradient is None for gradient in found):
        return []
    # One piece from the engine, one for each document from the stock path.
    whole = torch.cat([gradient.reshape(-1, gradient.shape[-1]) for gradient in found])
    parts = torch.split_with_sizes(whole, micro.documents.lengths)
    return [float(part.abs().max()) for part in parts]


def _changes(subject: Subject, micro: MicroBatch, border: int) -> list[float]:
    """What the loss moves by when the tokens of the first or the second document are reversed."""
    effects = []
    with torch.no_grad():
        loss = subject.loss(micro)
        for part in (slice(0, border), slice(border, None)):
            ids = micro.ids.clone()
            ids[part] = ids[part].flip(0)
            effects.append(float((subject.loss(dataclasses.replace(micro, ids=ids)) - loss).abs()))
    return effects


def _plain_loss(stock: Any, row: TrainRow) -> float:
    """By hand: no code but transformers' and torch's, and the labels by their definition."""
    ids = torch.tensor(row.ids)
    first = max(row.num_prompt, 1)
    with torch.no_grad():
        logits = stock_logits(stock, ids)
    return float(cross_entropy(logits[first - 1 : -1].double(), ids[first:], reduction="sum"))


def _distance(found: Gradient, expected: Gradient) -> float:
    """Length of the difference over the length of the second."""
    gap, length, zero = 0.0, 0.0, torch.zeros(())
    for a, b in zip(found, expected, strict=True):
        one, two = zero if a is None else a, zero if b is None else b
        gap += float((one - two).square().sum())
        length += float(two.square().sum())
    return (gap / length) ** 0.5 if length else float("inf")
