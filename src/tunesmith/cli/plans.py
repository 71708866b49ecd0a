"""A priced plan as text, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tunesmith.cli.render import seconds, table
from tunesmith.ledger.cost import display
from tunesmith.ledger.plan import Line, LookedBack, PricedPlan

if TYPE_CHECKING:
    from tunesmith.expected.preview import Previews


def plan_lines(plan: PricedPlan) -> list[str]:
    """A table of the steps, and the sums."""
    rows = [[line.step, line.state, _expected(line), line.reason] for line in plan.lines]
    total = len(plan.lines)
    sure = total - plan.num_hits - plan.num_maybe
    summary = f"{sure} of {total} steps would run"
    if plan.num_maybe:
        summary += (
            f", and {plan.num_maybe} more if those come out otherwise; expected "
            f"{seconds(plan.sure_wall_s)}, {display(plan.sure_cost)}, or"
        )
    else:
        summary += "; expected"
    summary += f" {seconds(plan.wall_s)}, {display(plan.cost)}"
    if plan.num_unknown:
        summary += f"; {plan.num_unknown} never ran, so what they take is not known yet"
    return [*table(rows, ["step", "state", "expected", "why"]), "", summary]


def preview_lines(previews: Previews) -> Iterator[str]:
    """What of datasets and tuning is known, or estimated, before they ran for the first time."""
    for each in previews.datasets:
        dropped = ", ".join(f"{count} {reason}" for reason, count in each.dropped_by_reason.items())
        if not each.num_sampled:
            yield (
                f"preview of dataset {each.dataset}, as it was cut: {each.num_train} rows to train "
                f"({each.num_train_tokens} tokens), {each.num_test} to test; dropped: "
                f"{dropped or 'none'}"
            )
            continue
        yield (
            f"preview of dataset {each.dataset}, an estimate: at most about {each.num_train} rows "
            f"to train ({each.num_train_tokens} tokens, within {each.within}), {each.num_test} to "
            f"test; dropped on their own account: {dropped or 'none'} of {each.num_in}; from "
            f"{each.num_sampled} rows that were drawn, before duplicates, rows with personal data, "
            "what reviewers left out and rows that do not belong on a side are dropped"
        )
    for model in previews.models:
        of = "an estimate on an estimated dataset" if model.is_estimate else "an estimate"
        yield (
            f"preview of tuning {model.model}, {of}: {seconds(model.wall_s)}, "
            f"{display(model.cost)} ({model.basis})"
        )
    if previews.unknown:
        yield (
            f"how large {', '.join(previews.unknown)} would be is not known before sources and "
            "base models are read: `tunesmith plan --preview` reads them, and tunes nothing"
        )


def looked_back_lines(found: Sequence[LookedBack]) -> list[str]:
    """How long the steps took that an earlier run had let expect something of; none without."""
    known = [each for each in found if each.expected.wall_s is not None]
    if not known:
        return []
    says = {True: "inside", False: "OUTSIDE", None: "-"}
    rows = [
        [
            each.expected.step,
            _expected(each.expected),
            f"{seconds(each.wall_s)}, {display(each.cost)}",
            says[each.is_inside],
        ]
        for each in known
    ]
    headings = ["ran again", "expected", "took", "interval"]
    return [*(f"  {row}" for row in table(rows, headings)), ""]


def _expected(line: Line) -> str:
    if line.state == "hit":
        return "-"
    if line.wall_s is None or line.cost is None:
        return "not known"
    time, money = seconds(line.wall_s), display(line.cost)
    if line.low_s is not None and line.high_s is not None:
        time += f" ({seconds(line.low_s)} to {seconds(line.high_s)})"
    if line.cost_low is not None and line.cost_high is not None:
        money += f" ({display(line.cost_low)} to {display(line.cost_high)})"
    return f"{time}, {money}"
