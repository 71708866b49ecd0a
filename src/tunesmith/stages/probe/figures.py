"""Numbers of a suite with their intervals: shares, means, losses of a token, areas under the curve.

What two models differ by is decided as gates decide it (`tunesmith.paired`): of shares by McNemar's
exact test, of other numbers by the bootstrap over whole examples and a permutation test. One
model's share: Wilson, JASA 22 (1927). Its area under the ROC curve: Newcombe, Statistics in
Medicine 25 (2006) 559-573, method 5. Two models' areas on the same examples: the permutation test
of Venkatraman and Begg (Biometrika 83, 1996), in which ranks are exchanged, as the models' scores
have scales of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import binomtest, norm, rankdata

from tunesmith.paired.bootstrap import Interval, paired_bootstrap
from tunesmith.paired.difference import (
    FEW,
    PERMUTATION,
    no_difference,
    not_beyond,
    of_few,
    of_outcomes,
)
from tunesmith.paired.power import quantiles
from tunesmith.paired.sums import of_one, of_tokens, of_two, permuted
from tunesmith.records.suite import Figure, MadeOf, Range

Array = NDArray[np.float64]
Worse = Literal["higher", "lower"]
NUM_AREAS = 2_000
"""Resamples of an area, each of which is a sort."""
EDGE = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """What each of the same examples has for two models, in one order."""

    before: Sequence[float]
    after: Sequence[float]
    sizes: Sequence[float]
    """Of a ratio how much each counts; of an area 1 for members and 0 for others; else 1."""

    @property
    def of_area(self) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Of each model (the members' scores, the others')."""
        inside = np.asarray(self.sizes) > 0
        first, second = (np.asarray(side, dtype=np.float64) for side in (self.before, self.after))
        return (first[inside], first[~inside]), (second[inside], second[~inside])


def values(made_of: MadeOf, scores: Scores) -> tuple[float, float]:
    """The figure of each model."""
    if made_of == "area":
        first, second = scores.of_area
        return auc(*first), auc(*second)
    whole = sum(scores.sizes)
    return sum(scores.before) / whole, sum(scores.after) / whole


def compared(
    made_of: MadeOf, scores: Scores, *, confidence: float, seed: int
) -> tuple[Interval, str, float]:
    """The figure of the second model minus that of the first, with its interval; which test was
    made of "there is no difference"; and its two-sided p-value. The interval leaves 0 out only if
    p is at most 1 - confidence."""
    before, after = scores.before, scores.after
    if made_of == "share":
        won, lost = (sum(sign * (a - b) > 0 for a, b in zip(after, before, strict=True))
                     for sign in (1, -1))  # fmt: skip
        test, p_value = no_difference(before, after, seed)
        return of_outcomes(won, lost, len(after), confidence), test, p_value
    if made_of == "ratio":
        sums = (of_tokens(each, scores.sizes, perplexity=False) for each in (before, after))
        interval, p_value = of_two(*sums, confidence=confidence, seed=seed)
    elif made_of == "area":
        interval, p_value = _of_areas(scores, confidence, seed)
    else:
        # A drop of a share is from -1 to 1, so two differ by up to 2.
        p_value = no_difference(before, after, seed)[1]
        interval = _of_drops(before, after, confidence, seed)
    return not_beyond(interval, p_value, confidence), PERMUTATION, p_value


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
    within = binomtest(sum(tuned), len(tuned)).proportion_ci(confidence, "wilson")
    scores = Scores(
        before=[float(b) for b in base], after=[float(t) for t in tuned], sizes=[1] * len(tuned)
    )
    figure = _figure(name, "share", scores, (within.low, within.high), confidence, worse, seed=0)
    return replace(figure, limited=limited)


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
        [float(b) - float(a) for b, a in zip(was, is_now, strict=True)]
        for was, is_now in zip(before, after, strict=True)
    )
    alone = of_outcomes(tuned.count(1), tuned.count(-1), len(tuned), confidence)
    scores = Scores(before=base, after=tuned, sizes=[1] * len(tuned))
    return _figure(name, "mean", scores, (alone.low, alone.high), confidence, "higher", seed=seed)


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
    alone = of_one(of_tokens(tuned, counts, perplexity=False), confidence=confidence, seed=seed)
    scores = Scores(before=base, after=tuned, sizes=counts)
    ends = (alone.low, alone.high)
    figure = _figure(name, "ratio", scores, ends, confidence, "higher", seed=seed)
    return replace(figure, limited="difference")


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
    num_members, num_others = map(len, tuned)
    ends = auc_interval(auc(*tuned), num_members, num_others, confidence)
    scores = Scores(
        before=[*base[0], *base[1]],
        after=[*tuned[0], *tuned[1]],
        sizes=[1] * num_members + [0] * num_others,
    )
    return _figure(name, "area", scores, ends, confidence, "higher", seed=seed)


def _figure(
    name: str,
    made_of: MadeOf,
    scores: Scores,
    alone: tuple[float, float],
    confidence: float,
    worse: Worse,
    *,
    seed: int,
) -> Figure:
    """`alone` is where the tuned model's own interval begins and ends."""
    first, second = values(made_of, scores)
    interval, test, p_value = compared(made_of, scores, confidence=confidence, seed=seed)
    return Figure(
        name=name,
        base=first,
        tuned=Range(value=second, low=float(alone[0]), high=float(alone[1])),
        difference=Range(value=second - first, low=interval.low, high=interval.high),
        num_rows=len(scores.after),
        confidence=confidence,
        worse=worse,
        made_of=made_of,
        test=test,
        p_value=p_value,
        detectable=interval.detectable,
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


def _of_drops(
    before: Sequence[float], after: Sequence[float], confidence: float, seed: int
) -> Interval:
    """Of two drops of a share: honest also where few rows differ, as of scores between 0 and 1."""
    rows = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    found = paired_bootstrap(before, after, confidence=confidence, seed=seed)
    if (rows != 0).sum() < FEW:
        low, high = of_few(rows / 2, confidence)
        found = replace(found, low=2 * low, high=2 * high)
    # With one imagined row for each model, as in `of_outcomes`: rows that never differ do not tell
    # any two models apart.
    spread = np.sqrt(np.append(rows, (-2.0, 2.0)).var() / len(rows))
    return replace(found, detectable=float(min(2.0, quantiles(confidence) * spread)))


def _of_areas(scores: Scores, confidence: float, seed: int) -> tuple[Interval, float]:
    first, second = scores.of_area
    num_members, num_others = map(len, second)
    generator = np.random.default_rng(seed)
    gaps = []
    for _ in range(NUM_AREAS):
        members = generator.integers(0, num_members, num_members)
        others = generator.integers(0, num_others, num_others)
        gaps.append(
            auc(second[0][members], second[1][others]) - auc(first[0][members], first[1][others])
        )
    tail = (1 - confidence) / 2
    low, high = np.quantile(gaps, [tail, 1 - tail])
    difference = auc(*second) - auc(*first)
    ranks = [rankdata(np.concatenate(side)) for side in (first, second)]
    p_value = permuted(
        abs(difference),
        seed,
        num_members + num_others,
        _area_of_exchanged(ranks[0], ranks[1], num_members),
    )
    # No two models' areas are told apart by less than a pair that changes its order.
    least = 1 / (num_members * num_others)
    interval = Interval(
        difference=difference,
        low=float(low),
        high=float(high),
        detectable=float(min(1.0, max(least, quantiles(confidence) * float(np.std(gaps))))),
    )
    return interval, p_value


def _area_of_exchanged(before: Array, after: Array, num_members: int) -> Callable[[Array], Array]:
    num_others = len(after) - num_members

    def areas(flips: Array) -> Array:
        kept = 1 - flips
        one, other = (
            rankdata(kept * a + flips * b, axis=1)[:, :num_members].sum(axis=1)
            for a, b in ((after, before), (before, after))
        )
        gaps: Array = (one - other) / (num_members * num_others)
        return gaps

    return areas
