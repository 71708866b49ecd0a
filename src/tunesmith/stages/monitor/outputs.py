"""Are the answers spread over the labels as the labels of the reference are?"""

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

Array = NDArray[np.float64]


def compare_outputs(
    reference: Sequence[str],
    answers: Sequence[str],
    *,
    labels: Sequence[str],
    alpha: float,
    tolerance: float,
    acceptable: float,
) -> Finding:
    """Total variation between the labels of the `reference` and the `answers`.

    Answers that are no label count as one more cell. The p-value is that of the G-test.
    """
    known = set(labels)
    cells = [*sorted(known), OTHER]
    ours = _counts(reference, known, cells)
    theirs = _counts(answers, known, cells)
    m, n = len(reference), len(answers)
    effect, low, p_value = 0.0, 0.0, 1.0
    shares = (ours + theirs) / max(m + n, 1)
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
        detectable=lambda rows: (
            tolerance
            + _noise(shares, m, shares, rows)
            + (z_of(alpha) + z_of(1 - POWER)) * deviation(rows, m)
        ),
        num_reference=m,
        num_traffic=n,
        details=_details(cells, ours, theirs),
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
        f"{cells[i]}: {now[i]:.0%} of answers, {before[i]:.0%} of the reference"
        for i in order[:NUM_SHOWN]
        if now[i] != before[i]
    )
