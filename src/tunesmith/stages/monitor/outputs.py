"""Are the later answers spread over the labels as the first answers were?

Answers are compared with answers of the same stream, never with the labels of the train split:
those are capped per label, so that they say nothing of how often each label is asked about. What
is seen is therefore a change since the service began, for whatever reason: other questions, or
another model version that answers them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2_contingency

from tunesmith.stages.monitor.judge import POWER, Finding, deviation, z_of

SMALLEST_EXPECTED = 5.0
"""Cells with a smaller expected count are pooled: the chi-square distribution fails them."""
OTHER = "(no label)"
NUM_SHOWN = 5
MOST_REFERENCE = 500
"""The reference grows to this many answers and then stays, so that a slow change is not lost."""

Array = NDArray[np.float64]


def split_answers(
    requests: Sequence[tuple[str, str]], limit: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The first and the later answers of (text, answer) `requests`, which are in order of time.

    Within each side a pair counts once, however often it was asked. The first half of such pairs
    is the reference, up to MOST_REFERENCE of them; of the later ones the latest `limit` are kept.
    A request without an answer is left out.
    """
    answered = [(text, answer.strip()) for text, answer in requests if answer]
    most = min(MOST_REFERENCE, limit)
    later = Counter(answered)
    first: dict[tuple[str, str], None] = {}
    cut = 0
    while len(first) < min(most, len(later)):
        pair = answered[cut]
        first.setdefault(pair)
        later[pair] -= 1
        if not later[pair]:
            del later[pair]
        cut += 1
    latest = list(dict.fromkeys(reversed(answered[cut:])))[:limit]
    return tuple(answer for _, answer in first), tuple(answer for _, answer in latest)


def compare_outputs(
    reference: Sequence[str],
    answers: Sequence[str],
    *,
    labels: Sequence[str],
    alpha: float,
    tolerance: float,
    acceptable: float,
    most_reference: int,
) -> Finding:
    """Total variation between the `reference`, the first answers, and the later `answers`.

    Answers that are no label count as one more cell. The p-value is that of the G-test. The
    reference grows with the answers, half and half, to `most_reference`.
    """
    known = set(labels)
    cells = [*sorted(known), OTHER]
    ours = _counts(reference, known, cells)
    theirs = _counts(answers, known, cells)
    m, n = len(reference), len(answers)
    effect, low, p_value = 0.0, 0.0, 1.0
    shares = (ours + theirs) / max(m + n, 1)

    def detectable(rows: int) -> float:
        first = max(m, min(rows, most_reference))
        noise = _noise(shares, first, shares, rows)
        return tolerance + noise + (z_of(alpha) + z_of(1 - POWER)) * deviation(rows, first)

    if m and n:
        before, now = ours / m, theirs / n
        effect = float(np.abs(now - before).sum() / 2)
        noise = _noise(before, m, now, n)
        low = max(effect - noise - z_of(alpha) * deviation(n, m), 0.0)
        p_value = _g_test(ours, theirs)
    return Finding(
        name="outputs",
        layer="outputs",
        statistic="total variation of the labels",
        effect=effect,
        low=low,
        p_value=p_value,
        tolerance=tolerance,
        acceptable=acceptable,
        largest=1.0,
        detectable=detectable,
        num_reference=m,
        num_traffic=n,
        details=_details(cells, ours, theirs),
        most_reference=most_reference,
    )


def _noise(first: Array, m: int, second: Array, n: int) -> float:
    """What chance alone adds to an observed total variation, at most.

    A normal difference with deviation s is in absolute value at most s * sqrt(2 / pi) larger on
    average than the absolute value of its mean, whatever that is.
    """
    deviations = np.sqrt(first * (1 - first) / m + second * (1 - second) / n)
    return float(deviations.sum() * np.sqrt(2 / np.pi) / 2)


def _g_test(ours: Array, theirs: Array) -> float:
    table = np.stack([ours, theirs])
    expected = table.sum(axis=0) * table.sum(axis=1).min() / table.sum()
    rare = expected < SMALLEST_EXPECTED
    if rare.any():
        pooled = table[:, rare].sum(axis=1, keepdims=True)
        table = np.concatenate([table[:, ~rare], pooled], axis=1)
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return 1.0
    return float(chi2_contingency(table, correction=False, lambda_="log-likelihood").pvalue)


def _counts(labels: Sequence[str], known: set[str], cells: Sequence[str]) -> Array:
    found = Counter(label if label in known else OTHER for label in labels)
    return np.array([found[cell] for cell in cells], dtype=np.float64)


def _details(cells: Sequence[str], ours: Array, theirs: Array) -> tuple[str, ...]:
    if not (ours.sum() and theirs.sum()):
        return ()
    before, now = ours / ours.sum(), theirs / theirs.sum()
    order = sorted(range(len(cells)), key=lambda i: (-abs(now[i] - before[i]), cells[i]))
    return tuple(
        f"{cells[i]}: {now[i]:.0%} of the later answers, {before[i]:.0%} of the first"
        for i in order[:NUM_SHOWN]
        if now[i] != before[i]
    )
