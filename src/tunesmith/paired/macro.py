"""What rows of labels could show of macro-F1, simulated before a model is asked.

Macro-F1 is no mean of rows: a label of five rows moves it as much as one of five hundred. So two
models are drawn that are as good as each other on each label, and differ on a share of its rows;
how far apart their macro-F1 comes out by chance says how far apart two must be.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from tunesmith.paired.bootstrap import Array
from tunesmith.paired.power import quantiles

NUM_DRAWS = 2_000
MANY_LABELS = 30
"""Of more labels fewer draws are made: each costs the labels squared."""
LEAST_DRAWS = 300
"""A standard deviation of so many is right to 4 %."""
ACCURACY = 0.7
"""The share of rows that two models are taken to be right on, where nothing is known of them."""


def detectable_macro_f1(
    counts: Sequence[int], confidence: float, share: float, accuracy: float = ACCURACY
) -> float:
    """The smallest difference in macro-F1 that is shown about four times out of five.

    `counts` are the rows of each label. Two models are right on `accuracy` of them, as near to it
    as models can be that differ on `share` of them; rows that they get wrong are given the other
    labels as often as these occur. Seeded, so that the same rows give the same figure.
    """
    return _simulated(tuple(counts), confidence, share, accuracy)


@functools.lru_cache(maxsize=64)  # a plan and the run that follows ask the same, rule by rule
def _simulated(counts: tuple[int, ...], confidence: float, share: float, accuracy: float) -> float:
    generator = np.random.default_rng(0)
    rows = np.array([count for count in counts if count], dtype=np.int64)
    right = min(max(accuracy, share / 2), 1 - share / 2) - share / 2
    ways = [right, share / 2, share / 2, max(0.0, 1 - share - right)]  # both, one, other, none
    num_labels = len(rows)
    few = int(NUM_DRAWS * (MANY_LABELS / num_labels) ** 2) if num_labels else NUM_DRAWS
    num_draws = min(NUM_DRAWS, max(LEAST_DRAWS, few))
    hits = np.zeros((2, num_draws, num_labels))
    said = np.zeros((2, num_draws, num_labels))
    for label, count in enumerate(rows.tolist()):
        both, one, other, _none = generator.multinomial(count, ways, size=num_draws).T
        elsewhere = np.where(np.arange(num_labels) == label, 0, rows).astype(np.float64)
        for model, right in enumerate((both + one, both + other)):
            hits[model, :, label] += right
            said[model, :, label] += right
            if elsewhere.any():
                wrong = count - right
                said[model] += generator.multinomial(wrong, elsewhere / elsewhere.sum())
    gaps = _macro(hits[0], said[0] + rows) - _macro(hits[1], said[1] + rows)
    return float(min(1.0, quantiles(confidence) * gaps.std()))


def _macro(hits: Array, seen: Array) -> Array:
    found: Array = (2 * hits / np.maximum(seen, 1)).mean(axis=1)
    return found
