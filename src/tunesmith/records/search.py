"""What a search over recipes came to: a report, derived afresh from runs and never stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tunesmith.records.rivals import Estimate, Spent

Ended = Literal["all tried", "budget", "interrupted"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rung:
    """A share of the training rows on which recipes are compared."""

    share_of_rows: float
    num_trained_rows: int
    num_asked_rows: int
    """Other training rows, the same for each recipe on this rung; 0 if none got here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reached:
    """What a recipe showed on one rung."""

    loss: Estimate
    """On rows that it did not see; of labels their negative log-likelihood in nats."""
    metric: Estimate
    """What gates compare."""
    num_steps: int
    spent: Spent
    """By tuning on the rung's rows and by asking, over all attempts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One recipe, tried on the lowest rung, and on higher ones while it was among the best."""

    number: int
    """From 1, in the order of trying; 1 is the model's own recipe."""
    recipe: str
    """Name of the recipe; what follows "finetune:" in the names of its runs, but for the rung."""
    settings: Mapping[str, Any]
    """The dials of the search that its method reads."""
    changes: Mapping[str, Any]
    """What it changes in the model's section; the values of `--set model.NAME.KEY=VALUE`."""
    leave_out: tuple[str, ...]
    """What must be taken out of the section, because the recipe's method does not read it."""
    reached: tuple[Reached, ...] = ()
    """By rung, the lowest first."""
    num_trainable: int = 0
    whole: Spent | None = None
    """By tuning on all training rows, from the highest rung that it reached; none if it failed on
    the lowest."""
    fault: str = ""
    """Why it failed on the rung after those that it reached; empty if it did not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """Recipes of one model beside one another. No test row was used."""

    model: str
    metric: str
    confidence: float
    num_wanted: int
    """Trials that were asked for."""
    ended: Ended
    rungs: tuple[Rung, ...]
    trials: tuple[Trial, ...]
    """Those that reached the highest rung first, and of these the lowest loss."""
    spent: Spent
    """By all trials together, also by what failed or was interrupted."""
    front: tuple[int, ...]
    """Numbers of the trials that no other beats on loss without costing more, nor on cost without
    losing more: the cheapest first."""
    leader: int
    """Number of the trial with the lowest loss on the highest rung that any reached."""
    level: tuple[int, ...]
    """Numbers of the trials that the leader's interval of the loss does not lie below."""


def ranked(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Trials by the highest rung that they reached, and by their loss there."""

    def place(trial: Trial) -> tuple[float, float, int]:
        last = trial.reached[-1].loss.mean if trial.reached else 0.0
        return -len(trial.reached), last, trial.number

    return tuple(sorted(trials, key=place))


def front(trials: Sequence[Trial]) -> tuple[int, ...]:
    """The Pareto front of mean loss and the cost of the whole run, the cheapest first.

    Losses are compared on the highest rung that both reached: more rows alone make a loss lower.
    """
    known = {trial.number: trial.whole.cost.amount for trial in trials if trial.whole is not None}
    tried = [trial for trial in trials if trial.number in known]

    def beats(one: Trial, other: Trial) -> bool:
        mine, its = on_common_rung(one, other)
        a, b = (mine.mean, known[one.number]), (its.mean, known[other.number])
        return a[0] <= b[0] and a[1] <= b[1] and a != b

    kept = [each.number for each in tried if not any(beats(other, each) for other in tried)]
    return tuple(sorted(kept, key=known.__getitem__))


def level_with(leader: Trial, trials: Sequence[Trial]) -> tuple[int, ...]:
    """Numbers of other recipes whose interval the leader's does not lie below, on the highest rung
    that both reached.

    That asks for more than a paired test would, as it should where many are compared at once.
    """
    return tuple(
        sorted(
            trial.number
            for trial in trials
            if trial.reached and trial.settings != leader.settings and _overlap(leader, trial)
        )
    )


def on_common_rung(one: Trial, other: Trial) -> tuple[Estimate, Estimate]:
    """The losses of two trials on the highest rung that both reached, so on the same rows."""
    rung = min(len(one.reached), len(other.reached)) - 1
    return one.reached[rung].loss, other.reached[rung].loss


def _overlap(leader: Trial, trial: Trial) -> bool:
    mine, its = on_common_rung(leader, trial)
    return mine.high >= its.low
