"""Metrics that are no mean of rows, but made of sums over them: F1, loss of a token, perplexity.

What each row adds to each sum is known, so that a resample is one product of matrices: how often
each row was drawn, times what it adds. Percentile interval over whole rows: Efron and Tibshirani
(1993), chapter 13; of a ratio of sums, tokens that stand in one row stay together.

Macro-F1 is no smooth function of the rows: a label that was not drawn would count as 0. So its rows
are drawn within their true labels. Labels have few rows, and where each of them was right, they
would show no spread: so each label has imagined rows beside its own (a smoothed bootstrap; Efron
and Tibshirani, 1993, chapter 16; `_imagined` says which). Rows of many tags each are resampled by
weights that are never 0, the Bayesian bootstrap (Rubin, Annals of Statistics 9, 1981).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from tunesmith.paired.bootstrap import NUM_RESAMPLES, Array, Interval
from tunesmith.paired.power import quantiles
from tunesmith.records.rivals import Estimate

AT_ONCE = 500
"""Resamples that are held at a time."""
Draw = Callable[[np.random.Generator, int], Array]
"""How often each of so many rows counts, (AT_ONCE, num_rows)."""


def _each_alike(generator: np.random.Generator, num_rows: int) -> Array:
    chance = np.full(num_rows, 1 / num_rows)
    return generator.multinomial(num_rows, chance, size=AT_ONCE).astype(np.float64)


def _each_somewhat(generator: np.random.Generator, num_rows: int) -> Array:
    weights = generator.standard_exponential((AT_ONCE, num_rows))
    shares: Array = num_rows * weights / weights.sum(axis=1, keepdims=True)
    return shares


@dataclass(frozen=True, kw_only=True, eq=False)
class Sums:
    """What each row of a model adds, and what the metric is of the sums."""

    parts: Array
    """(num_rows, num_parts)"""
    of: Callable[[Array], Array]
    """(num_resamples, num_parts) to (num_resamples,)"""
    draw: Draw = _each_alike
    is_macro: bool = False
    """Whether it is macro-F1: TP of each label, then 2 TP + FP + FN of each. It is less of a
    resample than of what was drawn from, by which an interval would end too low; so that reaches as
    far above what was found as below."""
    meant: Array | None = None
    """(num_rows, num_labels), 1 at the label of each row, where rows are drawn within their labels;
    None where they are not."""

    @property
    def value(self) -> float:
        """The metric of all rows."""
        return float(self.of(self.parts.sum(axis=0, keepdims=True))[0])


def of_labels(truth: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> Sums:
    """Macro-F1, of rows that have one label each."""
    meant, said = _one_hot(truth, labels), _one_hot(predicted, labels)
    return Sums(
        parts=np.concatenate([meant * said, meant + said], axis=1),
        of=_macro,
        is_macro=True,
        meant=meant,
    )


def of_tags(counts: Sequence[Sequence[int]], meant: Sequence[int] | None = None) -> Sums:
    """F1 of rows with many labels each, by `metrics.counts_by_label`: macro-F1; with `meant`, the
    places of the labels that count, micro-F1 of these."""
    parts = np.asarray(counts, dtype=np.float64)
    if meant is None:
        return Sums(parts=parts, of=_macro, draw=_each_somewhat, is_macro=True)
    num_labels = parts.shape[1] // 2
    hits, seen = parts[:, list(meant)], parts[:, [num_labels + place for place in meant]]
    both = np.stack([2 * hits.sum(axis=1), seen.sum(axis=1)], axis=1)
    return Sums(parts=both, of=_ratio)


def of_tokens(nats: Sequence[float], num_tokens: Sequence[float], *, perplexity: bool) -> Sums:
    """The loss of a token of all rows, in nats, or its exponential, the perplexity."""
    parts = np.array([nats, num_tokens], dtype=np.float64).T
    return Sums(parts=parts, of=_perplexity if perplexity else _ratio)


def of_seen(*every: Sums) -> tuple[Sums, ...]:
    """The same, of macro-F1 without the labels that these rows neither have nor were given by
    any: of some rows of all a label may have none, and no model could be right about it."""
    if not all(each.is_macro for each in every):
        return every
    seen = [np.split(each.parts.sum(axis=0), 2)[1] > 0 for each in every]
    kept = np.any(seen, axis=0)
    if not kept.any():
        return every
    return tuple(
        replace(
            each,
            parts=each.parts[:, np.tile(kept, 2)],
            meant=None if each.meant is None else each.meant[:, kept],
        )
        for each in every
    )


def of_one(sums: Sums, *, confidence: float, seed: int) -> Estimate:
    """The metric of one model, with its bootstrap interval."""
    value = sums.value
    low, high = _ends(sums, value, _deviations([sums], seed), confidence)
    if sums.is_macro:
        low, high = max(0.0, low), min(1.0, high)
    return Estimate(mean=value, low=low, high=high)


def of_two(before: Sums, after: Sums, *, confidence: float, seed: int) -> tuple[Interval, float]:
    """The metric of `after` minus that of `before`, of the same rows, with its interval; and the
    p-value of a permutation test."""
    num_rows = len(after.parts)
    deviations = _deviations([before, after], seed)
    difference = after.value - before.value
    low, high = _ends(after, difference, deviations, confidence)
    if after.is_macro:
        low, high = max(-1.0, low), min(1.0, high)
    interval = Interval(
        difference=difference,
        low=low,
        high=high,
        detectable=float(quantiles(confidence) * deviations.std()),
    )

    def exchanged(flips: Array) -> Array:
        kept = 1 - flips
        one = kept @ after.parts + flips @ before.parts
        other = kept @ before.parts + flips @ after.parts
        return after.of(one) - before.of(other)

    return interval, permuted(abs(difference), seed, num_rows, exchanged)


def permuted(found: float, seed: int, num_rows: int, of: Callable[[Array], Array]) -> float:
    """The share of exchanges of the two models' names, row by row, that differ as much."""
    generator = np.random.default_rng(seed)
    as_large = 0
    for _ in range(NUM_RESAMPLES // AT_ONCE):
        flips = generator.integers(0, 2, size=(AT_ONCE, num_rows)).astype(np.float64)
        as_large += int((np.abs(of(flips)) >= found - 1e-12).sum())
    return (as_large + 1) / (NUM_RESAMPLES + 1)


def _ends(sums: Sums, found: float, deviations: Array, confidence: float) -> tuple[float, float]:
    """Where the interval of what was found begins and ends."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(deviations, [tail, 1 - tail]).tolist()
    if sums.is_macro:
        high = max(abs(low), abs(high))
        low = -high
    return found + low, found + high


def _deviations(models: Sequence[Sums], seed: int) -> Array:
    """How far the metric of resamples is from that of what they are drawn from, (NUM_RESAMPLES,);
    of two models the difference, the second's minus the first's."""
    first, last = models[0], models[-1]
    parts, draw, whole = [each.parts for each in models], last.draw, np.ones(len(last.parts))
    if last.meant is not None:
        parts, draw, whole = _imagined(models, last.meant)

    def metric(weights: Array) -> Array:
        found = last.of(weights @ parts[-1])
        return found - first.of(weights @ parts[0]) if len(models) > 1 else found

    generator = np.random.default_rng(seed)
    drawn = [metric(draw(generator, len(whole))) for _ in range(NUM_RESAMPLES // AT_ONCE)]
    return np.concatenate(drawn) - metric(whole[None])


def _imagined(models: Sequence[Sums], meant: Array) -> tuple[list[Array], Draw, Array]:
    """What rows add, the imagined ones after the real ones; how they are drawn; and how often each
    would be on average.

    Each label has one imagined row that is right, by each of the models, as often as all rows are;
    and all labels together have four, of which half are right (Agresti and Coull, The American
    Statistician 52, 1998): of two models one for each way that both can come out. A wrong one is
    given the labels that wrong rows were given.
    """
    num_rows, num_labels = meant.shape
    hits = np.array([each.parts[:, :num_labels].sum(axis=1) for each in models]) > 0
    ways = np.array(list(product((False, True), repeat=len(models))))
    as_often = np.array([(way == hits.T).all(axis=1).mean() for way in ways])
    groups = {
        label: found for label, row in enumerate(meant.T) if len(found := np.flatnonzero(row))
    }
    beside = as_often + 4 / (len(groups) * len(ways))
    kinds = [(label, way) for label in groups for way in ways.tolist()]
    parts = []
    for place, each in enumerate(models):
        given = (each.parts[:, num_labels:] - meant)[~hits[place]].sum(axis=0) + 1 / num_labels
        beside_it = [_row_of(label, way[place], given) for label, way in kinds]
        parts.append(np.concatenate([each.parts, beside_it]))
    places, chances = [], []
    for number, rows in enumerate(groups.values()):
        start = num_rows + number * len(ways)
        places.append(np.concatenate([rows, np.arange(start, start + len(ways))]))
        chances.append(np.append(np.ones(len(rows)), beside) / (len(rows) + beside.sum()))
    whole = np.zeros(num_rows + len(kinds))
    for at, chance in zip(places, chances, strict=True):
        whole[at] = (len(at) - len(ways)) * chance

    def draw(generator: np.random.Generator, num_weights: int) -> Array:
        weights = np.zeros((AT_ONCE, num_weights))
        for at, chance in zip(places, chances, strict=True):
            weights[:, at] = generator.multinomial(len(at) - len(ways), chance, size=AT_ONCE)
        return weights

    return parts, draw, whole


def _row_of(label: int, is_right: bool, given: Array) -> Array:
    """What a row of `label` adds, if a wrong one is given other labels as often as `given`."""
    hit, said = np.zeros_like(given), given.copy()
    said[label] = 0
    said /= max(said.sum(), 1e-12)
    if is_right:
        hit[label] = 1
        said = hit.copy()
    said[label] += 1
    return np.concatenate([hit, said])


def _one_hot(names: Sequence[str], labels: Sequence[str]) -> Array:
    columns = {label: column for column, label in enumerate(labels)}
    made = np.zeros((len(names), len(labels)))
    made[np.arange(len(names)), [columns[name] for name in names]] = 1
    return made


def _macro(sums: Array) -> Array:
    hits, seen = np.split(sums, 2, axis=1)
    by_label = np.divide(2 * hits, seen, out=np.zeros_like(hits), where=seen > 0)
    mean: Array = by_label.mean(axis=1)
    return mean


def _ratio(sums: Array) -> Array:
    found: Array = np.divide(sums[:, 0], sums[:, 1], out=np.zeros(len(sums)), where=sums[:, 1] > 0)
    return found


def _perplexity(sums: Array) -> Array:
    found: Array = np.exp(_ratio(sums))
    return found
