"""Numbers of a suite with their intervals: shares, means, losses of a token, areas under the curve.

A share: Wilson, JASA 22 (1927). A difference of shares on the same rows: Agresti and Min,
Statistics in Medicine 24 (2005), half a row added to each of the four cells. A mean and a loss of a
token: percentile bootstrap, Efron and Tibshirani (1993), chapter 13, over whole examples. An area
under the ROC curve: Newcombe, Statistics in Medicine 25 (2006) 559-573, method 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import binomtest, norm, rankdata

from tunesmith.records.suite import Figure, Range

Array = NDArray[np.float64]
Worse = Literal["higher", "lower"]
NUM_RESAMPLES = 10_000
AT_ONCE = 500
"""Resamples that are held at a time."""
NUM_AREAS = 2_000
"""Resamples of an area, each of which is a sort."""
EDGE = 1e-9


def share(
    name: str,
    base: Sequence[bool],
    tuned: Sequence[bool],
    *,
    confidence: float,
    worse: Worse,
    limited: Literal["tuned", "difference"] = "tuned",
) -> Figure:
    """The share of examples of which something is so, of both models."""
    won = sum(t and not b for b, t in zip(base, tuned, strict=True))
    lost = sum(b and not t for b, t in zip(base, tuned, strict=True))
    low, high = _difference_of_shares(won, lost, len(tuned), confidence)
    within = binomtest(sum(tuned), len(tuned)).proportion_ci(confidence, "wilson")
    return Figure(
        name=name,
        base=sum(base) / len(base),
        tuned=Range(value=sum(tuned) / len(tuned), low=float(within.low), high=float(within.high)),
        difference=Range(value=(won - lost) / len(tuned), low=low, high=high),
        num_rows=len(tuned),
        confidence=confidence,
        worse=worse,
        limited=limited,
    )


def drop(
    name: str,
    before: tuple[Sequence[bool], Sequence[bool]],
    after: tuple[Sequence[bool], Sequence[bool]],
    *,
    confidence: float,
    seed: int,
) -> Figure:
    """By how much a share falls from `before` to `after`, each of (base, tuned), row by row."""
    base, tuned = (
        np.asarray(b, dtype=np.float64) - np.asarray(a, dtype=np.float64)
        for b, a in zip(before, after, strict=True)
    )
    low, high = _difference_of_shares(
        int((tuned > 0).sum()), int((tuned < 0).sum()), len(tuned), confidence
    )
    between = _interval(
        [(tuned - base) @ w / len(w) for w in _weights(len(tuned), seed)], confidence
    )
    return Figure(
        name=name,
        base=float(base.mean()),
        tuned=Range(value=float(tuned.mean()), low=low, high=high),
        difference=Range(
            value=float((tuned - base).mean()), low=float(between[0]), high=float(between[1])
        ),
        num_rows=len(tuned),
        confidence=confidence,
        worse="higher",
    )


def ratio(
    name: str,
    base: Sequence[float],
    tuned: Sequence[float],
    counts: Sequence[int],
    *,
    confidence: float,
    seed: int,
) -> Figure:
    """The sum of `base` and of `tuned` over the sum of `counts`: what each token costs, where each
    example has a sum and a number of tokens. Examples are resampled, not tokens, which hang
    together."""
    rows = np.array([base, tuned], dtype=np.float64)
    sizes = np.asarray(counts, dtype=np.float64)
    found = np.concatenate(
        [(rows @ w) / (sizes @ w) for w in _weights(len(sizes), seed)], axis=1
    )  # (2, NUM_RESAMPLES)
    values = rows.sum(axis=1) / sizes.sum()
    low, high = _interval([found[1]], confidence)
    below, above = _interval([found[1] - found[0]], confidence)
    return Figure(
        name=name,
        base=float(values[0]),
        tuned=Range(value=float(values[1]), low=low, high=high),
        difference=Range(value=float(values[1] - values[0]), low=below, high=above),
        num_rows=len(sizes),
        confidence=confidence,
        worse="higher",
        limited="difference",
    )


def area(
    name: str,
    base: tuple[Sequence[float], Sequence[float]],
    tuned: tuple[Sequence[float], Sequence[float]],
    *,
    confidence: float,
    seed: int,
) -> Figure:
    """The area under the ROC curve by which a score tells members from others, each model's scores
    as (of the members, of the others), in the same order for both models."""
    of_base, of_tuned = auc(*base), auc(*tuned)
    low, high = auc_interval(of_tuned, len(tuned[0]), len(tuned[1]), confidence)
    generator = np.random.default_rng(seed)
    sides = [np.asarray(side, dtype=np.float64) for side in (*base, *tuned)]
    gaps = []
    for _ in range(NUM_AREAS):
        members = generator.integers(0, len(sides[0]), len(sides[0]))
        others = generator.integers(0, len(sides[1]), len(sides[1]))
        gaps.append(
            auc(sides[2][members], sides[3][others]) - auc(sides[0][members], sides[1][others])
        )
    below, above = _interval([np.array(gaps)], confidence)
    return Figure(
        name=name,
        base=of_base,
        tuned=Range(value=of_tuned, low=low, high=high),
        difference=Range(value=of_tuned - of_base, low=below, high=above),
        num_rows=len(tuned[0]) + len(tuned[1]),
        confidence=confidence,
        worse="higher",
    )


def auc(members: Sequence[float] | Array, others: Sequence[float] | Array) -> float:
    """How often a member scores higher than another; equal scores count half (Mann and Whitney).

    >>> auc([3.0, 2.0], [1.0, 2.0])
    0.875
    """
    ranks = rankdata(np.concatenate([members, others]))
    won = ranks[: len(members)].sum() - len(members) * (len(members) + 1) / 2
    return float(won / (len(members) * len(others)))


def auc_interval(
    found: float, num_members: int, num_others: int, confidence: float
) -> tuple[float, float]:
    """Newcombe's method 5: the areas from which `found` is no further than chance would have it. It
    has a width also where the two kinds are told apart without a mistake."""
    z = norm.ppf((1 + confidence) / 2)
    n = (num_members + num_others) / 2

    def beyond(true: float) -> float:
        spread = 2 * n - 1 - (3 * n - 3) / ((2 - true) * (1 + true))
        variance = true * (1 - true) * spread / (num_members * num_others)
        return float((found - true) ** 2 - z**2 * variance)

    # At 0 and at 1 nothing varies, so a search that began there would end there.
    low = 0.0 if found <= 0 else brentq(beyond, 0.0, min(found, 1 - EDGE))
    high = 1.0 if found >= 1 else brentq(beyond, max(found, EDGE), 1.0)
    return float(low), float(high)


def _difference_of_shares(
    won: int, lost: int, num_rows: int, confidence: float
) -> tuple[float, float]:
    rows, plus, minus = num_rows + 2, won + 0.5, lost + 0.5
    middle = (plus - minus) / rows
    spread = np.sqrt((plus + minus) / rows - middle**2) / np.sqrt(rows)
    half = norm.ppf((1 + confidence) / 2) * spread
    return float(max(-1.0, middle - half)), float(min(1.0, middle + half))


def _weights(num_rows: int, seed: int) -> Iterator[Array]:
    """How often each row was drawn, (num_rows, AT_ONCE), until there are NUM_RESAMPLES."""
    generator = np.random.default_rng(seed)
    chance = np.full(num_rows, 1 / num_rows)
    for _ in range(NUM_RESAMPLES // AT_ONCE):
        yield generator.multinomial(num_rows, chance, size=AT_ONCE).astype(np.float64).T


def _interval(parts: Sequence[Array], confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(parts), [tail, 1 - tail])
    return float(low), float(high)
