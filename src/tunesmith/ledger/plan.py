"""What a plan is expected to cost: each step that will run, at what its last run used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.core.meter import Usage
from tunesmith.core.plan import Planned
from tunesmith.ledger.cost import price, zero
from tunesmith.records.money import Money, Rates


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One step of a priced plan."""

    step: str
    state: str
    """"hit" or "runs"."""
    reason: str
    """Why it runs; for a hit, which run is used again."""
    wall_s: float | None
    """Expected seconds: 0 for a hit, None when no earlier run tells."""
    cost: Money | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PricedPlan:
    """A plan and what it is expected to take."""

    lines: tuple[Line, ...]
    num_hits: int
    num_unknown: int
    """Steps that will run and never ran before: their cost is not in the sums."""
    wall_s: float
    cost: Money


def price_plan(planned: Sequence[Planned], rates: Rates) -> PricedPlan:
    """`planned`, priced."""
    lines = tuple(_line(step, rates) for step in planned)
    cost = zero(rates.currency)
    for line in lines:
        if line.cost is not None:
            cost = cost + line.cost
    return PricedPlan(
        lines=lines,
        num_hits=sum(line.state == "hit" for line in lines),
        num_unknown=sum(line.wall_s is None for line in lines),
        wall_s=sum(line.wall_s or 0.0 for line in lines),
        cost=cost,
    )


def _line(planned: Planned, rates: Rates) -> Line:
    if planned.hit is not None:
        return Line(
            step=planned.step.name,
            state="hit",
            reason=planned.waived or f"run {planned.hit.id}",
            wall_s=0.0,
            cost=zero(rates.currency),
        )
    usage = Usage(**planned.last.usage) if planned.last and planned.last.usage else None
    return Line(
        step=planned.step.name,
        state="runs",
        reason=planned.reason,
        wall_s=usage.wall_s if usage else None,
        cost=price(usage, rates) if usage else None,
    )
