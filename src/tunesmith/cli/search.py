"""A search over recipes as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.cli.render import metric, percent, table, wrapped
from tunesmith.cli.rivals import how_to_choose, interval, spent

if TYPE_CHECKING:
    from tunesmith.records.search import Search, Trial

COLUMNS = {
    "method": "method",
    "layers": "layers",
    "rank": "rank",
    "learning_rate": "rate",
    "epochs": "epochs",
    "batch_rows": "batch",
}
"""Settings of a recipe, and their headings."""


def search_lines(search: Search) -> list[str]:
    """A table of the trials, the Pareto front, and how to choose one."""
    headings = ["", "trial", *COLUMNS.values(), "rows", "loss", search.metric, "took", "whole run"]
    failed = [each for each in search.trials if each.fault]
    chosen = [
        trial
        for trial in search.trials
        if trial.number in search.front or trial.number == search.leader
    ]
    return [
        *wrapped(_tried(search)),
        "",
        *table([_row(search, trial) for trial in search.trials], headings),
        "",
        *wrapped(
            "rows: the most that it was tuned on; losses are to be compared at the same number. "
            f"loss: on a row that it did not see, with its {100 * search.confidence:g} % interval. "
            "took: tuning and asking. whole run: the last try, and the other tokens at its speed. "
            "*: no other is at once better, on the most rows that both were tuned on, and cheaper."
        ),
        *[line for each in failed for line in wrapped(f"trial {each.number}: {each.fault}")],
        "",
        *wrapped(_verdict(search)),
        *wrapped(_ended(search)),
        "",
        "to choose one:",
        *[
            f"  {trial.number}: {how_to_choose(search.model, trial.changes, trial.leave_out)}"
            for trial in chosen
        ],
    ]


def _row(search: Search, trial: Trial) -> list[object]:
    settings = [str(trial.settings.get(key, "-")) for key in COLUMNS]
    if trial.settings.get("layers") == 0:
        settings[1] = "all"
    marked = ["*" if trial.number in search.front else "", trial.number, *settings]
    if trial.whole is None:
        return [*marked, "-", "failed", "-", "-", "-"]
    last = trial.reached[-1]
    return [
        *marked,
        str(search.rungs[len(trial.reached) - 1].num_trained_rows),
        interval(last.loss, "{:.3f}"),
        metric(search.metric, last.metric.mean),
        spent(last.spent),
        spent(trial.whole),
    ]


def _tried(search: Search) -> str:
    first, *more = search.rungs
    rows = f"{first.num_trained_rows} training rows ({percent(first.share_of_rows)})"
    further = " and ".join(str(rung.num_trained_rows) for rung in more)
    went_on = f", the best third of them on {further}" if more else ""
    asked = max(rung.num_asked_rows for rung in search.rungs)
    return (
        f"{search.model}: {len(search.trials)} recipes were tried on {rows}{went_on}, and asked "
        f"about up to {asked} other training rows; no test row was used. Together they took "
        f"{spent(search.spent)}. Trial 1 is the model's own recipe."
    )


def _verdict(search: Search) -> str:
    leader = search.trials[0]
    loss = interval(leader.reached[-1].loss, "{:.3f}")
    found = f"Trial {leader.number} has the lowest loss on the most rows, {loss}"
    if len(search.trials) == 1:
        return f"{found}; it is the only one."
    if not search.level:
        return f"{found}: lower than that of every other recipe, beyond the intervals."
    others = ", ".join(map(str, search.level))
    return (
        f"{found}, but it is not shown to be the best: its interval does not lie below that of "
        f"{'trial' if len(search.level) == 1 else 'trials'} {others}. Take the cheapest that is "
        "marked, or search again with more rows of data. The lowest of many losses is partly luck: "
        "the test rows will say what it is worth."
    )


def _ended(search: Search) -> str:
    match search.ended:
        case "budget":
            return (
                f"It ended before {search.num_wanted} trials were done: it would have cost more "
                "than ledger.budget_per_run. Raise that, and the same command goes on."
            )
        case "interrupted":
            return (
                f"It was interrupted before {search.num_wanted} trials were done; the same "
                "command goes on."
            )
    return "The same command for more trials goes on from here."
