"""When to retrain. Nothing found is no reason, and changed inputs alone are a weak one.

That a detector of input drift alarms says little about losses: over eight natural streams,
retraining on such alarms did no better than never retraining (PROGRESS.md and LEADERBOARD.md of
rajkumar160798/label-free-model-monitoring). So changed inputs lead to a retraining only where
labelled rows can be added, which the gate then judges; without them, the advice is to label some.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.records.signal import Check, Signal

WEAK = "changed inputs alone are weak evidence that the model got worse"
GATED = "the gate decides whether the new model is better"


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Whether to retrain, why, and on what more."""

    retrain: bool
    reason: str
    add_sources: tuple[str, ...] = ()


def decide(signals: Sequence[Signal], add_sources: Sequence[str]) -> Decision:
    """What `signals` justify, when `add_sources` could be added to the dataset."""
    if not signals:
        return Decision(retrain=False, reason="nothing was monitored, so there is no reason to")
    changed = [
        (signal, check)
        for signal in signals
        for check in signal.checks
        if check.verdict == "changed"
    ]
    if strong := [pair for pair in changed if pair[1].layer != "inputs"]:
        return Decision(
            retrain=True,
            reason=f"{_say(strong)}; {GATED}",
            add_sources=tuple(add_sources),
        )
    if changed and add_sources:
        return Decision(
            retrain=True,
            reason=f"{_say(changed)}; {WEAK}, but there are labelled sources to add "
            f"({', '.join(add_sources)}), so it is worth trying: {GATED}",
            add_sources=tuple(add_sources),
        )
    if changed:
        return Decision(
            retrain=False,
            reason=f"{_say(changed)}; {WEAK}, and there is no labelled source to add: "
            "label a sample of this traffic, then evaluate the model on it",
        )
    return _without_change(signals)


def _without_change(signals: Sequence[Signal]) -> Decision:
    waiting = {
        signal.traffic: max(check.num_needed for check in signal.checks)
        for signal in signals
        if signal.verdict == "need_more"
    }
    if waiting:
        rows = ", ".join(f"{number} more rows of {name}" for name, number in waiting.items())
        return Decision(retrain=False, reason=f"wait: too few rows to tell; {rows} are needed")
    return Decision(
        retrain=False, reason=f"nothing changed in {', '.join(s.traffic for s in signals)}"
    )


def _say(found: Sequence[tuple[Signal, Check]]) -> str:
    parts = [
        f"{check.name} of {signal.traffic} changed "
        f"({check.statistic} {check.effect:.2f}, at least {check.low:.2f}; "
        f"accepted {check.tolerance:g})"
        for signal, check in found
    ]
    return "; ".join(parts)
