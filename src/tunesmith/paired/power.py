"""What a set of test rows could show, said before anything is asked of it."""

from __future__ import annotations

import math
from statistics import NormalDist

from tunesmith.records.evaluation import AT_RANK

POWER = 0.8
"""How often what is called detectable is found."""
BOUNDED = frozenset({"labels", "preference", "tags", "pairs", "checked"})
"""Formats of which a row scores 0 to 1, so that it is known beforehand how far rows can differ."""
BOUNDED_METRICS = frozenset(
    (
        "accuracy", "normalised accuracy", "pair accuracy", "tag accuracy", "reciprocal rank",
        "recall@1", "recall@10", "nDCG@10", "reward", "exact match", "normalised match", "token F1",
        "ROUGE-1", "ROUGE-2", "ROUGE-L", "caseless match",
    )
)  # fmt: skip
"""Metrics that are the mean of what rows score from 0 to 1."""
MACRO_F1 = "macro-F1"
NO_MEANS = frozenset(
    (MACRO_F1, "micro-F1", "calibration error", "loss", "perplexity", "BLEU", "chrF")
)
"""Metrics that are, or may be, no mean of rows."""
IN_NATS = frozenset(("log-likelihood", "signed log-likelihood", "loss"))
"""Metrics that are nats of a token: no bound, but a scale on which a spread can be assumed."""
OF_TEXTS = ("chat", "completion", "text")
"""Formats that are scored by their log-likelihood, if nothing else is asked for."""
SHARE = 0.2
"""The share of rows on which two models are taken to differ, where nothing is known of them yet."""
NATS = 1.0
"""How far differences of rows are taken to spread, in nats, where no model was asked yet."""


def is_bounded(metric: str) -> bool:
    """Whether a metric is the mean of what rows score from 0 to 1."""
    return metric in BOUNDED_METRICS or AT_RANK.fullmatch(metric) is not None


def detectable(num_rows: int, confidence: float, share: float) -> float:
    """The smallest difference in a share of right rows that is shown four times out of five.

    Two models that differ on `share` of the rows; normal approximation of McNemar's test, and a row
    more, which the exact test asks for (continuity correction: Edwards, Psychometrika 13, 1948). Of
    scores between 0 and 1 it is at most this, as no difference is further from 0 than 1.

    >>> round(detectable(96, 0.95, 0.2), 3), detectable(4, 0.95, 1.0)
    (0.138, 1.0)
    """
    reach = quantiles(confidence)
    if math.isinf(share):  # of nothing known: in standard deviations of the differences
        return reach / math.sqrt(num_rows)
    return min(1.0, reach * math.sqrt(share / num_rows) + 1 / num_rows)


def what_could_show(data_format: str, num_rows: int, confidence: float) -> str:
    """The smallest difference that `num_rows` test rows could be expected to show, for people."""
    which = f"{num_rows} test rows"
    if data_format in OF_TEXTS:
        return in_nats(which, "log-likelihood", num_rows, confidence)
    unknown = "" if data_format in BOUNDED else f"rows of format {data_format!r}"
    return could_show(which, num_rows, confidence, unknown)


def could_show(which: str, num_rows: int, confidence: float, unknown: str = "") -> str:
    """The same of any rows, called `which`; `unknown` is what is not between 0 and 1: then in units
    of how far the rows' differences spread, which only the run can say."""
    if not num_rows:
        return f"{which}: nothing can be shown on no row"
    if unknown:
        spreads = detectable(num_rows, confidence, math.inf)
        return (
            f"{head(which, confidence)}: a difference of {spreads:.2f} standard deviations of the "
            f"rows' differences can be shown; how large one is of {unknown} the report says"
        )
    usual, most = (detectable(num_rows, confidence, share) for share in (SHARE, 1.0))
    return in_points(which, usual, most, confidence)


def in_points(
    which: str, usual: float | None, most: float, confidence: float, given: str = ""
) -> str:
    """The same, where what can be shown is known: `usual` of models that differ on `SHARE` of the
    rows, None where the rows are too few to say it; `most` of ones that differ on all."""
    if usual is None:
        return (
            f"{head(which, confidence)}: a difference of {100 * most:.1f} points can be shown "
            "whatever two models differ on; of models that differ on a fifth of the rows these are "
            f"too few to say it{given}"
        )
    return (
        f"{head(which, confidence)}: a difference of {100 * usual:.1f} points can be shown "
        f"between models that differ on a fifth of the rows, one of {100 * most:.1f} points "
        f"whatever they differ on{given}"
    )


def in_nats(which: str, metric: str, num_rows: int, confidence: float, spread: float = NATS) -> str:
    """The same of nats of a token, and of perplexity, before any model was asked."""
    if not num_rows:
        return could_show(which, num_rows, confidence)
    nats = spread * detectable(num_rows, confidence, math.inf)
    said = f"{nats:.2g} nats"
    if metric == "perplexity":
        said = f"perplexity by a factor of {math.exp(nats):.3g}"
    by = "1 nat" if spread == 1 else f"{spread:g} nats"
    return (
        f"{head(which, confidence)}: a difference of {said} can be shown, if differences spread "
        f"by {by} from row to row, which is assumed, as no model was asked yet"
    )


def by_what_one_has(which: str, low: float, high: float, confidence: float) -> str:
    """The same of a metric that the base model has, somewhere from `low` to `high`.

    As far as a metric of one model may be chance, so far may the difference of two whose rows go
    together by a half: the variance of a difference is then that of one.
    """
    shown = from_interval(low, high, confidence)
    return (
        f"{head(which, confidence)}: a difference of {shown:.3g} can be shown, by how far the "
        "base model's rows spread, if its scores and the tuned model's go together by a half "
        "(correlation)"
    )


def from_interval(low: float, high: float, confidence: float) -> float:
    """The smallest difference that is shown four times out of five, where chance alone moves one
    model's metric from `low` to `high`, as by `by_what_one_has`."""
    return (high - low) / 2 * quantiles(confidence) / NormalDist().inv_cdf((1 + confidence) / 2)


def head(which: str, confidence: float) -> str:
    """How every such sentence begins: the rows, called `which`, and how sure it is to be."""
    return f"{which}, {100 * confidence:g}% confidence, 80 % power"


def quantiles(confidence: float) -> float:
    """How many of its own standard deviations a difference has to be from 0, to be shown four times
    out of five."""
    return NormalDist().inv_cdf((1 + confidence) / 2) + NormalDist().inv_cdf(POWER)
