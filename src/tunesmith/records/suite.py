"""What a suite of checks found of a tuned model beyond its task, and how limits judge it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Literal

from tunesmith.core.errors import UsageError
from tunesmith.core.ref import Blob
from tunesmith.records.evaluation import RuleResult, Verdict

POWER = 0.8
"""How often as many rows as are said to be needed would settle it."""
FORGETTING = "forgetting"
"""The kind of suite that each model which goes on with a text has, asked for or not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """A number that was found, and its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One number of a suite, of the base model and of the tuned one, on the same examples."""

    name: str
    base: float
    tuned: Range
    difference: Range
    """Tuned minus base, paired."""
    num_rows: int
    """Examples that it rests on."""
    confidence: float
    """Of both intervals, two-sided."""
    worse: Literal["higher", "lower"]
    """Which way is bad."""
    limited: Literal["tuned", "difference"] = "tuned"
    """Which of the two a limit is of."""

    def outcome(self, suite: str, limit: float) -> RuleResult:
        """Whether the figure keeps to `limit`, at the bad end of its interval too."""
        found = self.tuned if self.limited == "tuned" else self.difference
        worst, best = (
            (found.high, found.low) if self.worse == "higher" else (-found.low, -found.high)
        )
        bound = limit if self.worse == "higher" else -limit
        verdict: Verdict = "pass" if worst <= bound else "fail" if best > bound else "inconclusive"
        sign = "" if self.limited == "tuned" else "+"
        end, word = ("upper", "most") if self.worse == "higher" else ("lower", "least")
        of = "" if self.limited == "tuned" else ", tuned minus base"
        return RuleResult(
            rule=f"suite {suite}: {self.name}{of}",
            observed=f"{found.value:{sign}.4f} ({found.low:{sign}.4f} to {found.high:{sign}.4f} "
            f"at {self.confidence:.0%} confidence)",
            required=f"at {word} {limit:{sign}.4f} at the {end} end",
            passed=verdict == "pass",
            verdict=verdict,
            num_rows_needed=self._needed(found, limit) if verdict == "inconclusive" else 0,
        )

    def _needed(self, found: Range, limit: float) -> int:
        """About how many rows would settle it, if what was found is so; 0 where none would."""
        gap = abs(found.value - limit)
        quantile = NormalDist().inv_cdf((1 + self.confidence) / 2)
        half = (found.high - found.low) / 2 * (1 + NormalDist().inv_cdf(POWER) / quantile)
        rows = self.num_rows * (half / gap) ** 2 if gap > 1e-9 else 0.0
        return max(self.num_rows + 1, math.ceil(rows)) if rows else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class SuiteResult:
    """What one suite found of one model.

    `examples` is Parquet, one line for each thing that was asked, with `row_id` (of the row, or
    its name where it is none), `check` (which part of the suite), `source` (where what is asked is
    from, if its file says so), `asked`, `base` and `tuned` (what they said, or what was measured),
    `base_score` and `tuned_score` (what the example adds to the figure).
    """

    suite: str
    """Its name, e.g. "forgetting"."""
    kind: str
    model: str
    figures: tuple[Figure, ...]
    examples: Blob
    num_examples: int
    notes: tuple[str, ...] = ()
    """What could not be asked, and why, and what came of each source; a sentence each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SuiteLimits:
    """What a suite's figures must keep to, by their names."""

    suite: str
    limits: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Those of several suites, in an order that is told beside."""

    of: tuple[SuiteLimits, ...] = ()


def warnings(result: SuiteResult, limits: SuiteLimits) -> list[str]:
    """Where a result is beyond its limits, or may be, for people.

    Raises:
        UsageError: a limit is of no figure of the suite.
    """
    return [
        f"{rule.rule}: {rule.observed}, wanted {rule.required}"
        for rule in outcomes(result, limits)
        if not rule.passed
    ]


def outcomes(result: SuiteResult, limits: SuiteLimits) -> tuple[RuleResult, ...]:
    """How each limit came out, in the order of the suite's figures.

    Raises:
        UsageError: a limit is of no figure of the suite.
    """
    known = {figure.name: figure for figure in result.figures}
    for name in limits.limits:
        if name not in known:
            raise UsageError(
                f"suite.{result.suite}.limits: there is no figure {name!r}",
                remedy=f"there is: {', '.join(known)}",
            )
    return tuple(
        figure.outcome(result.suite, limits.limits[name])
        for name, figure in known.items()
        if name in limits.limits
    )
