"""Signals -> proposal. Whoever reads it decides; the pipeline prices it and acts on it."""

from __future__ import annotations

from tunesmith.core.step import Context
from tunesmith.records.signal import Proposal, Signal
from tunesmith.stages.retrain.config import RetrainConfig
from tunesmith.stages.retrain.policy import decide


def propose(config: RetrainConfig, ctx: Context, *, signals: tuple[Signal, ...]) -> Proposal:
    """Whether the model should be tuned again, and with which sources added."""
    ctx.progress(0, 1, f"weighing {len(signals)} signals")
    decision = decide(signals, config.add_sources)
    return Proposal(
        model=config.model,
        retrain=decision.retrain,
        reason=decision.reason,
        add_sources=decision.add_sources,
        signals=signals,
    )
