"""Rival recipes of a model as text: what transfer was worth, and what a pilot found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tunesmith.cli.render import difference, metric, percent, seconds, table, wrapped
from tunesmith.ledger.cost import display

if TYPE_CHECKING:
    from tunesmith.records.rivals import Estimate, Pilot, Spent, TransferReport


def transfer_lines(report: TransferReport) -> list[str]:
    """A table of the variants, and what it comes to."""
    rows = [
        [
            each.variant,
            each.num_trainable,
            each.num_steps,
            spent(each.spent) if each.num_steps else "-",
            *(metric(name, value) for name, value in each.metrics.items()),
            difference(each.versus_own) if each.versus_own else "-",
        ]
        for each in report.variants
    ]
    headings = [
        "variant",
        "parameters",
        "steps",
        "tuning took",
        *report.variants[0].metrics,
        "against own",
    ]
    return [
        f"{report.model} on {report.num_rows} test rows; the tuned ones saw the same rows in the "
        "same steps",
        "",
        *table(rows, headings),
        "",
        *wrapped(_saved(report)),
        *wrapped(
            "One run each: the intervals say what other rows might have changed, not what another "
            "seed might. Each other method had one common learning rate, which is no search; "
            "`tunesmith tune --pilot` compares some."
        ),
    ]


def pilot_lines(pilot: Pilot) -> list[str]:
    """A table of the recipes, the Pareto front, and how to choose one."""
    from tunesmith.records.evaluation import is_share

    rows = [
        [
            "*" if each.recipe in pilot.front else "",
            each.recipe,
            each.num_trainable,
            interval(each.loss, "{:.3f}"),
            interval(each.metric, "{:.0%}" if is_share(pilot.metric) else "{:.3f}"),
            spent(each.spent),
            spent(each.whole),
        ]
        for each in pilot.recipes
    ]
    headings = ["", "recipe", "parameters", "loss", pilot.metric, "pilot took", "whole run"]
    steps = max(each.num_steps for each in pilot.recipes)
    return [
        *wrapped(
            f"{pilot.model}: each recipe took {steps} steps on {pilot.num_trained_rows} training "
            f"rows ({percent(pilot.share_of_rows)}) and was asked about {pilot.num_asked_rows} "
            "other training rows; no test row was used"
        ),
        "",
        *table(rows, headings),
        "",
        *wrapped(
            f"loss: on a row that it did not see, with its {100 * pilot.confidence:g} % interval. "
            "whole run: what the pilot took, and the other tokens at its speed. "
            "*: nothing else here is at once better and cheaper."
        ),
        "",
        *wrapped(_verdict(pilot)),
        "",
        "to choose one:",
        *[
            f"  {each.recipe}: {how_to_choose(pilot.model, each.changes, each.leave_out)}"
            for each in pilot.recipes
        ],
    ]


def _saved(report: TransferReport) -> str:
    random = report.variants[-1]
    against = random.versus_own
    assert against is not None
    steps = f"the same {random.num_steps} steps"
    if against.high < 0:
        return (
            f"Transfer saved what {steps} cannot teach random weights: they reach "
            f"{metric(against.metric, against.tuned)}, {difference(against)} against the model's "
            "own recipe."
        )
    if against.low > 0:
        return f"Transfer saved nothing: from random weights {steps} do better."
    return (
        f"These rows do not show that transfer saved anything: after {steps}, random weights are "
        f"{difference(against)} from the model's own recipe, which may be chance."
    )


def _verdict(pilot: Pilot) -> str:
    if pilot.best:
        return f"{pilot.best} has a lower loss than every other recipe, beyond the intervals."
    return (
        "No recipe is the best: their intervals overlap. Take the cheapest that is marked, or "
        "pilot again with more rows of data."
    )


def how_to_choose(model: str, changes: Mapping[str, Any], leave_out: Sequence[str]) -> str:
    """What to type to make a model's recipe this one, and what to take out of the project file."""
    if not changes:
        return "nothing to set: it is the model's recipe"
    flags = " ".join(f"--set model.{model}.{key}={value}" for key, value in changes.items())
    if not leave_out:
        return flags
    keys = " and ".join(leave_out)
    return f"{flags}, with {keys} taken out of [model.{model}]"


def interval(estimate: Estimate, form: str) -> str:
    """A mean and its interval, e.g. "0.500 (0.400 to 0.600)"."""
    mean, low, high = (form.format(x) for x in (estimate.mean, estimate.low, estimate.high))
    return f"{mean} ({low} to {high})"


def spent(took: Spent) -> str:
    """A duration and an amount."""
    return f"{seconds(took.wall_s)}, {display(took.cost)}"
