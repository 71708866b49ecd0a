"""What a set of test rows could show, said before anything is asked of it."""

from __future__ import annotations

import math
from statistics import NormalDist

POWER = 0.8
"""How often what is called detectable is found."""
BOUNDED = frozenset({"labels", "preference", "tags", "pairs", "checked"})
"""Formats of which a row scores 0 to 1, so that it is known beforehand how far rows can differ."""
BOUNDED_METRICS = frozenset(
    (
        "accuracy", "normalised accuracy", "pair accuracy", "tag accuracy", "reciprocal rank",
        "recall@1", "recall@10", "nDCG@10", "reward", "exact match", "normalised match", "token F1",
        "ROUGE-1", "ROUGE-2", "ROUGE-L", "chrF",
    )
)  # fmt: skip
"""Metrics that are the mean of what rows score from 0 to 1."""
NO_MEANS = frozenset(("macro-F1", "micro-F1", "calibration error", "loss", "perplexity"))
"""Metrics that are, or may be, no mean of rows."""
SHARE = 0.2
"""The share of rows on which two models are taken to differ, where nothing is known of them yet."""


def detectable(num_rows: int, confidence: float, share: float) -> float:
    """The smallest difference in a share of right rows that is shown four times out of five.

    Two models that differ on `share` of the rows; normal approximation of McNemar's test, and a row
    more, which the exact test asks for (continuity correction: Edwards, Psychometrika 13, 1948). Of
    scores between 0 and 1 it is at most this, as no difference is further from 0 than 1.

    >>> round(detectable(96, 0.95, 0.2), 3), detectable(4, 0.95, 1.0)
    (0.138, 1.0)
    """
    quantiles = NormalDist().inv_cdf((1 + confidence) / 2) + NormalDist().inv_cdf(POWER)
    if math.isinf(share):  # of nothing known: in standard deviations of the differences
        return quantiles / math.sqrt(num_rows)
    return min(1.0, quantiles * math.sqrt(share / num_rows) + 1 / num_rows)


def what_could_show(data_format: str, num_rows: int, confidence: float) -> str:
    """The smallest difference that `num_rows` test rows could be expected to show, for people."""
    unknown = "" if data_format in BOUNDED else f"rows of format {data_format!r}"
    return could_show(f"{num_rows} test rows", num_rows, confidence, unknown)


def could_show(which: str, num_rows: int, confidence: float, unknown: str = "") -> str:
    """The same of any rows, called `which`; `unknown` is what is not between 0 and 1: then in units
    of how far the rows' differences spread, which only the run can say."""
    if not num_rows:
        return f"{which}: nothing can be shown on no row"
    said = f"{which}, {confidence:.0%} confidence, 80 % power"
    if unknown:
        spreads = detectable(num_rows, confidence, math.inf)
        return (
            f"{said}: a difference of {spreads:.2f} standard deviations of the rows' differences "
            f"can be shown; how large one is of {unknown} the report says"
        )
    usual, most = (100 * detectable(num_rows, confidence, share) for share in (SHARE, 1.0))
    return (
        f"{said}: a difference of {usual:.1f} points can be shown between models that differ on a "
        f"fifth of the rows, one of {most:.1f} points whatever they differ on"
    )
