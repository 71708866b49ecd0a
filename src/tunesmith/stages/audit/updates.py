"""What tuning added to each matrix of the base model, and which of them is out of line."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from tunesmith.lm.adapter import Adapted
from tunesmith.records.audit import Update

NUMBER = re.compile(r"\.\d+\.")
NEGLIGIBLE = 1e-6
"""Of the largest singular value: less is rounding."""
NORMAL = 1.4826
"""A standard deviation by the median of the distances from the median, of a normal distribution."""
LEAST_SPREAD = math.log(1.25)
"""A robust standard deviation is taken to be at least this: of updates that are all alike none is
out of line for a few per cent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How large a matrix is."""

    spectral: float
    frobenius: float
    rank: int = 0


def of_adapter(model: Any, layers: Mapping[str, Adapted]) -> list[Update]:
    """The updates of an adapter, which is not in `model`, by module."""
    found = []
    for name, adapted in layers.items():
        weight = model.get_submodule(name).weight
        if adapted.magnitude is None:
            size = low_rank_size(adapted)
        else:  # the lengths of the rows change too, so the update is of full rank
            size = size_of(adapted.merged(weight) - weight)
        found.append(_update(name, size, size_of(weight)))
    return scored(found)


def of_overlay(model: Any, state: Mapping[str, torch.Tensor]) -> list[Update]:
    """The updates of weights that replace those of `model`, by parameter; matrices alone."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    found = []
    for name, tensor in state.items():
        old = parameters.get(name)
        if old is not None and old.dim() == 2 and old.shape == tensor.shape:
            size = size_of(tensor.to(old.dtype) - old)
            found.append(_update(name, size, size_of(old)))
    return scored(found)


def low_rank_size(adapted: Adapted) -> Size:
    """The size of `scaling * B @ A`, exactly, from two thin QR factorisations."""
    high = torch.linalg.qr(adapted.high.double()).R
    low = torch.linalg.qr(adapted.low.double().T).R
    values = abs(adapted.scaling) * torch.linalg.svdvals(high @ low.T)
    largest = float(values[0])
    return Size(
        spectral=largest,
        frobenius=float(torch.linalg.vector_norm(values)),
        rank=int((values > NEGLIGIBLE * largest).sum()) if largest else 0,
    )


def size_of(matrix: torch.Tensor) -> Size:
    """The size of a matrix: its largest singular value by subspace iteration from a fixed start
    (Halko, Martinsson and Tropp, arXiv 0909.4061, algorithm 4.4), within a per cent and below."""
    generator = torch.Generator().manual_seed(0)
    matrix = matrix.detach().float()
    basis = torch.randn(matrix.shape[1], min(4, *matrix.shape), generator=generator)
    for _ in range(8):
        left = torch.linalg.qr(matrix @ basis).Q
        basis = torch.linalg.qr(matrix.T @ left).Q
    return Size(
        spectral=float(torch.linalg.svdvals(matrix @ basis)[0]),
        frobenius=float(torch.linalg.matrix_norm(matrix)),
    )


def scored(updates: Sequence[Update]) -> list[Update]:
    """`updates`, each beside those of its kind in other layers.

    With x the logarithm of `spectral_ratio`, an update's residual is x less the median x of its
    kind without itself. Its score is the residual by the robust standard deviation of all
    residuals, the median of their sizes times 1.4826 (Iglewicz and Hoaglin, "How to Detect and
    Handle Outliers", 1993, have the score; that each is left out of its own median is ours, as
    small models have few layers).
    """
    kinds: dict[str, list[Update]] = {}
    for update in updates:
        kinds.setdefault(NUMBER.sub(".*.", f".{update.name}."), []).append(update)
    residuals: dict[str, float] = {}
    for alike in kinds.values():
        for update in alike:
            others = [_log(each) for each in alike if each is not update]
            if others:
                residuals[update.name] = _log(update) - statistics.median(others)
    spread = NORMAL * statistics.median(map(abs, residuals.values())) if residuals else 0.0
    spread = max(spread, LEAST_SPREAD)
    return [
        replace(
            update,
            score=residuals[update.name] / spread,
            times=math.exp(min(residuals[update.name], 700.0)),
        )
        if update.name in residuals
        else update
        for update in updates
    ]


def _update(name: str, size: Size, of_weight: Size) -> Update:
    return Update(
        name=name,
        spectral=size.spectral,
        frobenius=size.frobenius,
        spectral_ratio=size.spectral / max(of_weight.spectral, torch.finfo(torch.float32).tiny),
        frobenius_ratio=size.frobenius / max(of_weight.frobenius, torch.finfo(torch.float32).tiny),
        rank=size.rank,
        score=0.0,
        times=1.0,
    )


def _log(update: Update) -> float:
    return math.log(max(update.spectral_ratio, NEGLIGIBLE**2))
