"""Are the texts longer or shorter? Kolmogorov-Smirnov on the number of words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from tunesmith.stages.monitor.judge import POWER, Finding, deviation, z_of

EXACT_ROWS = 500
"""Up to this many rows on the larger side the exact p-value is used; it is conservative in ties."""

_TAIL = np.logspace(-12, 0, 2000)


def compare_lengths(
    reference: Sequence[str],
    traffic: Sequence[str],
    *,
    alpha: float,
    tolerance: float,
    acceptable: float,
) -> Finding:
    """The largest difference between the two distribution functions of the length in words."""
    ours, theirs = _num_words(reference), _num_words(traffic)
    m, n = len(ours), len(theirs)
    effect, p_value, margin = 0.0, 1.0, 1.0
    details: tuple[str, ...] = ()
    if m and n:
        method = "exact" if max(m, n) <= EXACT_ROWS else "asymp"
        found = ks_2samp(ours, theirs, method=method)
        effect, p_value = float(found.statistic), float(found.pvalue)
        margin = joint_margin(n, m, alpha)
        details = (f"words in a text: {_summary(theirs)}; in the reference {_summary(ours)}",)
    return Finding(
        name="length",
        layer="inputs",
        statistic="Kolmogorov-Smirnov D of the number of words",
        effect=effect,
        low=max(effect - margin, 0.0),
        p_value=p_value,
        tolerance=tolerance,
        acceptable=acceptable,
        largest=1.0,
        detectable=lambda rows: (
            tolerance + joint_margin(rows, m, alpha) + z_of(1 - POWER) * deviation(rows, m)
        ),
        num_reference=m,
        num_traffic=n,
        details=details,
    )


def joint_margin(n: int, m: int, alpha: float) -> float:
    """How far D of two independent samples of `n` and `m` can exceed the true D, at error `alpha`.

    Each empirical distribution function is off by more than t with probability at most
    2 exp(-2 n t^2) (Dvoretzky, Kiefer and Wolfowitz 1956, with the constant of Massart 1990). The
    two errors are independent, so that their sum is dominated by the sum of two independent
    variables with these tails; it is smaller than the sum of the two separate bounds.
    """
    first = np.sqrt(np.log(2 / _TAIL) / (2 * n))
    low, high = 0.0, float(first[0]) + float(np.sqrt(np.log(2 / _TAIL[0]) / (2 * m)))
    for _ in range(40):
        middle = (low + high) / 2
        rest = np.maximum(middle - first, 0.0)
        tail = np.minimum(1.0, 2 * np.exp(-2 * m * rest**2))
        exceeded = float(_TAIL[0] + np.trapezoid(tail, _TAIL))
        low, high = (middle, high) if exceeded > alpha else (low, middle)
    return high


def _num_words(texts: Sequence[str]) -> NDArray[np.int64]:
    return np.array([len(text.split()) for text in texts], dtype=np.int64)


def _summary(lengths: NDArray[np.int64]) -> str:
    first, median, third = np.percentile(lengths, [25, 50, 75])
    return f"median {median:g}, quartiles {first:g} and {third:g}"
