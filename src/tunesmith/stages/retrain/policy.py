"""When to retrain: only with labelled rows to add, and only when something changed.

Nothing found is no reason. To tune again on the same rows gives the same model again, so that
without labelled sources to add the advice is to label some, however strong the evidence.

That a detector of input drift alarms says little about losses: over eight natural streams,
retraining on such alarms did no better than never retraining (PROGRESS.md and LEADERBOARD.md of
rajkumar160798/label-free-model-monitoring). So a proposal that rests on them alone says that they
are weak evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.records.signal import Check, Signal

WEAK = "changed inputs alone are weak evidence that the model got worse"
GATED = (
    "the gate decides whether the new model is better than the base and than the released one, "
    "on the same rows"
)
LABEL = (
    "there is no labelled source to add, and the same rows would give the same model: "
    "label a sample of this traffic, then evaluate the model on it"
)


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
    if not changed:
        return _without_change(signals)
    strong = [pair for pair in changed if pair[1].layer != "inputs"]
    why = _say(strong) if strong else f"{_say(changed)}; {WEAK}"
    if not add_sources:
        return Decision(retrain=False, reason=f"{why}; {LABEL}")
    worth = f"there are labelled sources to add ({', '.join(add_sources)}), so it is worth trying"
    return Decision(
        retrain=True,
        reason=f"{why}; {worth}: {GATED}",
        add_sources=tuple(add_sources),
    )


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
