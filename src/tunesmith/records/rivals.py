"""What rival recipes of one model came to: reports, derived afresh from runs and never stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.records.evaluation import Comparison
from tunesmith.records.money import Money


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A mean over rows and its confidence interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Spent:
    """What a run took, or would take."""

    wall_s: float
    cost: Money


@dataclass(frozen=True, kw_only=True, slots=True)
class Transferred:
    """One variant of a model on the test rows, and what tuning it took."""

    variant: str
    num_trainable: int
    num_steps: int
    num_trained_tokens: int
    spent: Spent
    metrics: Mapping[str, float]
    """By name, the one that gates compare first."""
    versus_own: Comparison | None
    """This variant's metric minus that of the model's own recipe; none for that recipe itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TransferReport:
    """A model beside what it would be without its base, without tuning, or with its trunk frozen;
    all tuned ones for the same steps on the same rows."""

    model: str
    num_rows: int
    """Test rows."""
    variants: tuple[Transferred, ...]
    """The untuned base, the model's own recipe, and its rivals."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piloted:
    """One recipe, tried on a share of the training rows."""

    recipe: str
    changes: Mapping[str, Any]
    """What it changes in the model's section; the values of `--set model.NAME.KEY=VALUE`."""
    leave_out: tuple[str, ...]
    """What must be taken out of the section, because the recipe's method does not read it."""
    num_trainable: int
    num_steps: int
    loss: Estimate
    """On rows that it did not see; of labels their negative log-likelihood in nats."""
    metric: Estimate
    """What gates compare."""
    spent: Spent
    """By the pilot's tuning."""
    whole: Spent
    """By tuning on all training rows: what the pilot took, and the tokens that it left out at the
    speed that it went."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pilot:
    """Rival recipes of one model, tried on the same few rows and asked about the same others."""

    model: str
    share_of_rows: float
    num_trained_rows: int
    num_asked_rows: int
    metric: str
    confidence: float
    recipes: tuple[Piloted, ...]
    """By their loss, the lowest first."""
    front: tuple[str, ...]
    """Recipes that no other beats on loss without costing more, or on cost without losing more."""
    best: str
    """The recipe whose loss is lower than any other's beyond the intervals; empty if none is."""


def front(recipes: Sequence[Piloted]) -> tuple[str, ...]:
    """The Pareto front of mean loss and the cost of the whole run, the cheapest first."""

    def beaten(one: Piloted) -> bool:
        mine = (one.loss.mean, one.whole.cost.amount)
        theirs = ((each.loss.mean, each.whole.cost.amount) for each in recipes)
        return any(a <= mine[0] and b <= mine[1] and (a, b) != mine for a, b in theirs)

    kept = sorted((r for r in recipes if not beaten(r)), key=lambda r: r.whole.cost.amount)
    return tuple(each.recipe for each in kept)


def clear_best(recipes: Sequence[Piloted]) -> str:
    """The recipe whose interval of the loss lies below all others'; empty if they overlap.

    That asks for more than a paired test would, as it should where many are compared at once.
    """
    first = min(recipes, key=lambda each: each.loss.high)
    others = (each.loss.low for each in recipes if each is not first)
    return first.recipe if all(first.loss.high < low for low in others) else ""
