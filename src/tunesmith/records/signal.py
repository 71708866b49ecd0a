"""What monitoring found, and what retraining proposes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["changed", "unchanged", "need_more"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One comparison of traffic with the reference.

    `effect` is the estimate, `low` its lower confidence bound, `tolerance` what is accepted, all in
    the unit that `statistic` names. "unchanged" means: an effect of `detectable` or more would
    have been seen with 80 % power.
    """

    name: str
    layer: Literal["inputs", "outputs", "risk"]
    statistic: str
    verdict: Verdict
    effect: float
    low: float
    tolerance: float
    detectable: float
    p_value: float
    num_reference: int
    num_traffic: int
    num_needed: int
    """Rows of traffic still needed before "unchanged" can be said; 0 otherwise."""
    details: tuple[str, ...]
    """For people: which words, which lengths."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Signal:
    """What one monitor found in one stream of traffic."""

    monitor: str
    traffic: str
    verdict: Verdict
    checks: tuple[Check, ...]
    false_alarm_rate: float
    """Bound on the probability of "changed" when nothing changed, over all checks together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """Whether to retrain, and on what."""

    model: str
    retrain: bool
    reason: str
    add_sources: tuple[str, ...]
    """Data assets to add to the dataset; empty when nothing is to change."""
    signals: tuple[Signal, ...]
