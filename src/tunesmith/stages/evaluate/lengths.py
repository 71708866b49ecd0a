"""The win rate that would be found if both answers of each pair were equally long.

Length-controlled win rate: Dubois et al., arXiv 2404.04475. A logistic regression of who won, ties
as half, on the difference in length, and the chance that it says at no difference. The slope has a
normal prior, as it has no other end where the longer answer always won (scale 2.5: Gelman et al.,
Annals of Applied Statistics 2, 2008). Of one pair of models there is no term for the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tunesmith.paired.bootstrap import Array
from tunesmith.records.pairwise import AtEqualLength

ENOUGH = 10
"""Below so many pairs won, or lost, for each of the two coefficients, a logistic regression is not
to be relied on (Peduzzi et al., Journal of Clinical Epidemiology 49, 1996)."""
NUM_RESAMPLES = 2_000
PRIOR_SD = 2.5
_STEPS = 25


def at_equal_length(
    outcomes: Sequence[int], lengths: Sequence[tuple[int, int]], *, confidence: float, seed: int
) -> AtEqualLength | None:
    """The win rate at equal length, with its bootstrap interval over pairs; None of too few pairs
    won or lost, or where all answers have the same difference in length.

    `outcomes` are 1, 0 or -1; `lengths` those of the model's answer and of the other's.
    """
    won = np.array([(1 + outcome) / 2 for outcome in outcomes])
    longer = np.array([mine - other for mine, other in lengths], dtype=np.float64)
    decided = min(outcomes.count(1), outcomes.count(-1))
    if decided < ENOUGH * 2 or not longer.std():
        return None
    covariate = np.tanh(longer / longer.std())
    generator = np.random.default_rng(seed)
    chance = np.full(len(won), 1 / len(won))
    weights = generator.multinomial(len(won), chance, size=NUM_RESAMPLES).astype(np.float64)
    found = _chances(np.ones((1, len(won))), won, covariate)[0]
    tail = (1 - confidence) / 2
    low, high = np.quantile(_chances(weights, won, covariate), [tail, 1 - tail])
    return AtEqualLength(value=float(found), low=float(low), high=float(high))


def _chances(weights: Array, won: Array, covariate: Array) -> Array:
    """(resamples,): the chance to win where `covariate` (pairs,) is 0, of pairs that count
    `weights` (resamples, pairs) times; by Newton's method, all resamples at once."""
    level, slope = np.zeros(len(weights)), np.zeros(len(weights))
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-(level[:, None] + slope[:, None] * covariate)))
        off = weights * (won - chance)
        spread = weights * chance * (1 - chance)
        by_level = off.sum(axis=1)
        by_slope = off @ covariate - slope / PRIOR_SD**2
        a, b = spread.sum(axis=1), spread @ covariate
        c = spread @ covariate**2 + 1 / PRIOR_SD**2
        size = a * c - b**2
        level += (c * by_level - b * by_slope) / size
        slope += (a * by_slope - b * by_level) / size
    found: Array = 1 / (1 + np.exp(-level))
    return found
