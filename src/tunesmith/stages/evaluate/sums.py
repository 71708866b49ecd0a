"""Metrics that are no mean of rows, but made of sums over them: F1, loss of a token, perplexity.

What each row adds to each sum is known, so that a resample is one product of matrices: how often
each row was drawn, times what it adds. Percentile interval over whole rows: Efron and Tibshirani
(1993), chapter 13; of a ratio of sums, tokens that stand in one row stay together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from tunesmith.records.rivals import Estimate
from tunesmith.stages.evaluate.bootstrap import NUM_RESAMPLES, Array, Interval
from tunesmith.stages.evaluate.power import POWER

AT_ONCE = 500
"""Resamples that are held at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sums:
    """What each row of a model adds, and what the metric is of the sums."""

    parts: Array
    """(num_rows, num_parts)"""
    of: Callable[[Array], Array]
    """(num_resamples, num_parts) to (num_resamples,)"""

    @property
    def value(self) -> float:
        """The metric of all rows."""
        return float(self.of(self.parts.sum(axis=0, keepdims=True))[0])


def of_labels(truth: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> Sums:
    """Macro-F1, of rows that have one label each."""
    meant, said = _one_hot(truth, labels), _one_hot(predicted, labels)
    return Sums(parts=np.concatenate([meant * said, meant + said], axis=1), of=_macro)


def of_tags(counts: Sequence[Sequence[int]], meant: Sequence[int] | None = None) -> Sums:
    """F1 of rows with many labels each, by `metrics.counts_by_label`: macro-F1; with `meant`, the
    places of the labels that count, micro-F1 of these."""
    parts = np.asarray(counts, dtype=np.float64)
    if meant is None:
        return Sums(parts=parts, of=_macro)
    num_labels = parts.shape[1] // 2
    hits, seen = parts[:, list(meant)], parts[:, [num_labels + place for place in meant]]
    both = np.stack([2 * hits.sum(axis=1), seen.sum(axis=1)], axis=1)
    return Sums(parts=both, of=_ratio)


def of_tokens(nats: Sequence[float], num_tokens: Sequence[int], *, perplexity: bool) -> Sums:
    """The loss of a token of all rows, in nats, or its exponential, the perplexity."""
    parts = np.array([nats, num_tokens], dtype=np.float64).T
    return Sums(parts=parts, of=_perplexity if perplexity else _ratio)


def of_one(sums: Sums, *, confidence: float, seed: int) -> Estimate:
    """The metric of one model, with its bootstrap interval."""
    resampled = np.concatenate([sums.of(w @ sums.parts) for w in _resamples(len(sums.parts), seed)])
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Estimate(mean=sums.value, low=float(low), high=float(high))


def of_two(before: Sums, after: Sums, *, confidence: float, seed: int) -> tuple[Interval, float]:
    """The metric of `after` minus that of `before`, of the same rows, with its interval; and the
    p-value of a permutation test."""
    num_rows = len(after.parts)
    resampled = np.concatenate(
        [
            after.of(weights @ after.parts) - before.of(weights @ before.parts)
            for weights in _resamples(num_rows, seed)
        ]
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    quantiles = norm.ppf((1 + confidence) / 2) + norm.ppf(POWER)
    difference = after.value - before.value
    interval = Interval(
        difference=difference,
        low=float(low),
        high=float(high),
        detectable=float(quantiles * resampled.std()),
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


def _resamples(num_rows: int, seed: int) -> Iterator[Array]:
    """How often each row was drawn, (AT_ONCE, num_rows), until there are NUM_RESAMPLES."""
    generator = np.random.default_rng(seed)
    chance = np.full(num_rows, 1 / num_rows)
    for _ in range(NUM_RESAMPLES // AT_ONCE):
        yield generator.multinomial(num_rows, chance, size=AT_ONCE).astype(np.float64)


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
