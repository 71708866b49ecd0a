"""What a plan is expected to cost, from what earlier runs used; and afterwards, how right it was.

A step's seconds and its cost are taken to vary by factors, not by amounts: of their logarithms the
mean and the spread are estimated from the newest runs, and the next run lies within the interval in
nine cases of ten (Student's t prediction interval: Hahn and Meeker, Statistical Intervals, 1991).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from tunesmith.core.catalog import Run
from tunesmith.core.meter import Usage
from tunesmith.core.plan import Planned
from tunesmith.ledger.cost import on_grid, price, zero
from tunesmith.records.money import Money, Rates

MAYBE = "may run"
NUM_RUNS = 10
"""How many earlier runs of a step bear on what the next one is expected to use: the newest."""
_T_95 = tuple(
    map(Decimal, ["6.314", "2.920", "2.353", "2.132", "2.015", "1.943", "1.895", "1.860", "1.833"])
)  # fmt: skip
"""The 95 % quantiles of Student's t with 1, 2, ... degrees of freedom."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One step of a priced plan."""

    step: str
    state: str
    """"hit", "runs", or "may run": if what runs before it comes out otherwise than it did."""
    reason: str
    """Why it runs; for a hit, which run is used again."""
    wall_s: float | None
    """Expected seconds: 0 for a hit, None when no earlier run tells."""
    cost: Money | None
    low_s: float | None = None
    """In nine runs of ten, the seconds are between this..."""
    high_s: float | None = None
    """... and this; None where fewer than two earlier runs tell."""
    cost_low: Money | None = None
    cost_high: Money | None = None
    num_runs: int = 0
    """Earlier runs of the step that it was learnt from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PricedPlan:
    """A plan and what it is expected to take."""

    lines: tuple[Line, ...]
    num_hits: int
    num_maybe: int
    """Steps that run only if others come out otherwise."""
    num_unknown: int
    """Steps that will run and never ran before: their cost is not in the sums."""
    wall_s: float
    """If all of them run."""
    cost: Money
    sure_wall_s: float
    """Without those that may run."""
    sure_cost: Money


@dataclass(frozen=True, kw_only=True, slots=True)
class LookedBack:
    """What a step was expected to use before it ran, and what it used."""

    expected: Line
    wall_s: float
    cost: Money

    @property
    def is_inside(self) -> bool | None:
        """Whether the seconds were within the interval; None where there was none."""
        low, high = self.expected.low_s, self.expected.high_s
        return None if low is None or high is None else low <= self.wall_s <= high


def price_plan(planned: Sequence[Planned], rates: Rates, runs: Iterable[Run] = ()) -> PricedPlan:
    """`planned`, priced. `runs` are all earlier ones, oldest first; without them the last one of
    each step tells."""
    history = _by_step(runs)
    lines = tuple(_line(each, rates, history) for each in planned)
    sure = [line for line in lines if line.state != MAYBE]
    return PricedPlan(
        lines=lines,
        num_hits=sum(line.state == "hit" for line in lines),
        num_maybe=len(lines) - len(sure),
        num_unknown=sum(line.wall_s is None for line in lines),
        wall_s=sum(line.wall_s or 0.0 for line in lines),
        cost=_sum(lines, rates.currency),
        sure_wall_s=sum(line.wall_s or 0.0 for line in sure),
        sure_cost=_sum(sure, rates.currency),
    )


def look_back(runs: Sequence[Run], since: int, rates: Rates) -> tuple[LookedBack, ...]:
    """Of each run after the one with the id `since` that succeeded: what the runs before that let
    expect, and what it used. `runs` are all, oldest first."""
    history = _by_step(run for run in runs if run.id <= since)
    return tuple(
        LookedBack(
            expected=_expected(run.step, "runs", "", history.get(run.step, []), rates),
            wall_s=run.usage["wall_s"],
            cost=price(Usage(**run.usage), rates),
        )
        for run in runs
        if run.id > since and run.status == "succeeded" and run.usage
    )


def interval(values: Sequence[Decimal]) -> tuple[Decimal, Decimal | None, Decimal | None]:
    """What the next of `values` (oldest first, at least one) is expected to be, and in nine cases
    of ten at least and at most; None where one value alone tells.

    >>> [round(x, 2) for x in interval([Decimal(10), Decimal(20), Decimal(10), Decimal(20)])]
    [Decimal('14.14'), Decimal('4.94'), Decimal('40.53')]
    >>> interval([Decimal(3)])
    (Decimal('3'), None, None)
    """
    newest = values[-NUM_RUNS:]
    if len(newest) == 1:
        return newest[0], None, None
    if min(newest) <= 0:  # too little to be measured: it has no logarithm
        return sum(newest) / Decimal(len(newest)), min(newest), max(newest)
    logs = [value.ln() for value in newest]
    num = Decimal(len(logs))
    mean = sum(logs) / num
    spread = (sum((each - mean) ** 2 for each in logs) / (num - 1)).sqrt()
    half = _T_95[len(logs) - 2] * spread * (1 + 1 / num).sqrt()
    return mean.exp(), (mean - half).exp(), (mean + half).exp()


def _sum(lines: Iterable[Line], currency: str) -> Money:
    cost = zero(currency)
    for line in lines:
        if line.cost is not None:
            cost = cost + line.cost
    return cost


def _by_step(runs: Iterable[Run]) -> dict[str, list[Usage]]:
    history: dict[str, list[Usage]] = {}
    for run in runs:
        if run.status == "succeeded" and run.usage:
            history.setdefault(run.step, []).append(Usage(**run.usage))
    return history


def _line(planned: Planned, rates: Rates, history: dict[str, list[Usage]]) -> Line:
    name = planned.step.name
    if planned.hit is not None:
        return Line(
            step=name,
            state="hit",
            reason=planned.waived or f"run {planned.hit.id}",
            wall_s=0.0,
            cost=zero(rates.currency),
        )
    last = planned.last.usage if planned.last else None
    used = history.get(name) or [Usage(**last)] if last else []
    state = "runs" if planned.as_before is None else MAYBE
    return _expected(name, state, planned.reason, used, rates)


def _expected(step: str, state: str, reason: str, used: Sequence[Usage], rates: Rates) -> Line:
    if not used:
        return Line(step=step, state=state, reason=reason, wall_s=None, cost=None)
    wall_s, low_s, high_s = interval([Decimal(str(each.wall_s)) for each in used])
    cost, low, high = interval([price(each, rates).amount for each in used])

    def money(amount: Decimal) -> Money:
        return Money(amount=on_grid(amount), currency=rates.currency)

    return Line(
        step=step,
        state=state,
        reason=reason,
        wall_s=float(wall_s),
        cost=money(cost),
        low_s=None if low_s is None else float(low_s),
        high_s=None if high_s is None else float(high_s),
        cost_low=None if low is None else money(low),
        cost_high=None if high is None else money(high),
        num_runs=min(len(used), NUM_RUNS),
    )
