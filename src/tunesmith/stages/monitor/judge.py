"""The three verdicts: changed, unchanged beyond a stated size, or not enough rows to tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import norm

from tunesmith.records.signal import Check, Verdict

POWER = 0.8
MOST_ROWS = 1_000_000
"""Where the search for a sufficient number of rows ends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What one check measured, before it is judged. All sizes are in the unit of `statistic`."""

    name: str
    layer: Literal["inputs", "outputs", "risk"]
    statistic: str
    effect: float
    low: float
    """Lower bound of the effect, at confidence 1 - alpha."""
    p_value: float
    tolerance: float
    acceptable: float
    largest: float
    """The largest effect that there can be."""
    detectable: Callable[[int], float]
    """Effect that a given number of traffic rows, against this reference, shows with 80 % power."""
    num_reference: int
    num_traffic: int
    details: tuple[str, ...]
    most_reference: int = 0
    """Where the reference is the first half of the stream: the size at which it stops growing."""


def judge(finding: Finding, alpha: float) -> Check:
    """The verdict on `finding` at error rate `alpha`.

    "changed" needs both: an effect whose lower bound exceeds what is tolerated, and a p-value
    below alpha. "unchanged" needs an effect of the acceptable size to have been detectable, and no
    significant effect above the tolerance: where one is seen but its lower bound is still within
    the tolerance, more rows are asked for, as many as would show an effect of its size.
    """
    detectable = _detectable(finding, finding.num_traffic)
    significant = finding.p_value < alpha and finding.effect > finding.tolerance
    wanted = min(finding.acceptable, finding.effect) if significant else finding.acceptable
    num_needed = 0
    details = finding.details
    verdict: Verdict
    if significant and finding.low > finding.tolerance:
        verdict = "changed"
    elif detectable <= wanted and not significant:
        verdict = "unchanged"
    else:
        verdict = "need_more"
        enough = _rows_needed(finding, wanted)
        growth = min(enough, finding.most_reference) - finding.num_reference
        num_needed = enough - finding.num_traffic + max(growth, 0)
        if significant:
            details += (f"something changed (p = {finding.p_value:.1g}), perhaps within tolerance",)
        if enough == MOST_ROWS:
            details += (
                f"a reference of {max(finding.num_reference, finding.most_reference)} rows is "
                f"too small to show {wanted:.2g}, whatever the traffic: a larger "
                f"{'acceptable size' if finding.most_reference else 'train split'} is needed",
            )
    return Check(
        name=finding.name,
        layer=finding.layer,
        statistic=finding.statistic,
        verdict=verdict,
        effect=round(finding.effect, 6),
        low=round(finding.low, 6),
        tolerance=finding.tolerance,
        detectable=round(detectable, 6),
        p_value=float(finding.p_value),
        num_reference=finding.num_reference,
        num_traffic=finding.num_traffic,
        num_needed=num_needed,
        details=details,
    )


def overall(verdicts: tuple[Verdict, ...]) -> Verdict:
    """One change is a change; without any, one check that cannot tell leaves it open."""
    if "changed" in verdicts:
        return "changed"
    return "need_more" if "need_more" in verdicts else "unchanged"


def z_of(alpha: float) -> float:
    """The one-sided normal quantile at error rate `alpha`."""
    return float(norm.isf(alpha))


def deviation(first: int, second: int) -> float:
    """Standard deviation of a difference of two proportions, at worst (both one half)."""
    return float(np.sqrt(0.25 / first + 0.25 / second))


def _detectable(finding: Finding, num_traffic: int) -> float:
    if num_traffic < 1 or finding.num_reference < 1:
        return finding.largest
    return min(finding.detectable(num_traffic), finding.largest)


def _rows_needed(finding: Finding, wanted: float) -> int:
    low, high = finding.num_traffic, max(2 * finding.num_traffic, 2)
    while high < MOST_ROWS and _detectable(finding, high) > wanted:
        low, high = high, 2 * high
    if high >= MOST_ROWS:
        return MOST_ROWS
    while high - low > 1:
        middle = (low + high) // 2
        if _detectable(finding, middle) > wanted:
            low = middle
        else:
            high = middle
    return high
