"""A priced plan as text."""

from __future__ import annotations

from tunesmith.cli.render import seconds, table
from tunesmith.ledger.cost import display
from tunesmith.ledger.plan import Line, PricedPlan


def plan_lines(plan: PricedPlan) -> list[str]:
    """A table of the steps, and the sums."""
    rows = [[line.step, line.state, _expected(line), line.reason] for line in plan.lines]
    total = len(plan.lines)
    summary = (
        f"{total - plan.num_hits} of {total} steps would run; expected {seconds(plan.wall_s)}, "
        f"{display(plan.cost)}"
    )
    if plan.num_unknown:
        summary += f"; {plan.num_unknown} never ran, so what they take is not known yet"
    return [*table(rows, ["step", "state", "expected", "why"]), "", summary]


def _expected(line: Line) -> str:
    if line.state == "hit":
        return "-"
    if line.wall_s is None or line.cost is None:
        return "not known"
    return f"{seconds(line.wall_s)}, {display(line.cost)}"
