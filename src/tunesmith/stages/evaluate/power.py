"""What a set of test rows could show, said before anything is asked of it."""

from __future__ import annotations

import math
from statistics import NormalDist

POWER = 0.8
"""How often what is called detectable is found."""
RIGHT_OR_WRONG = frozenset({"labels", "preference"})
"""Formats whose rows are each right or wrong, so that the spread is known beforehand."""
SHARE = 0.2
"""The share of rows on which two models are taken to differ, where nothing is known of them yet."""


def detectable(num_rows: int, confidence: float, share: float) -> float:
    """The smallest difference in a share of right rows that is shown four times out of five.

    Two models that differ on `share` of the rows; normal approximation of McNemar's test.

    >>> round(detectable(96, 0.95, 0.2), 3), detectable(4, 0.95, 1.0)
    (0.128, 1.0)
    """
    quantiles = NormalDist().inv_cdf((1 + confidence) / 2) + NormalDist().inv_cdf(POWER)
    return min(1.0, quantiles * math.sqrt(share / num_rows))


def what_could_show(data_format: str, num_rows: int, confidence: float) -> str:
    """The smallest difference that `num_rows` test rows could be expected to show, for people."""
    unknown = "" if data_format in RIGHT_OR_WRONG else f"rows of format {data_format!r}"
    return could_show(f"{num_rows} test rows", num_rows, confidence, unknown)


def could_show(which: str, num_rows: int, confidence: float, unknown: str = "") -> str:
    """The same of any rows, called `which`; `unknown` is what is not right or wrong, if it is."""
    if not num_rows:
        return f"{which}: nothing can be shown on no row"
    said = f"{which}, {confidence:.0%} confidence, 80 % power"
    if unknown:
        return (
            f"{said}: how far {unknown} differ is not known beforehand; the report says what they "
            "could show"
        )
    usual, most = (100 * detectable(num_rows, confidence, share) for share in (SHARE, 1.0))
    return (
        f"{said}: a difference of {usual:.1f} points can be shown between models that differ on a "
        f"fifth of the rows, one of {most:.1f} points whatever they differ on"
    )
