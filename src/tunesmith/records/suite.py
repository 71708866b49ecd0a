"""What a suite of checks found of a tuned model beyond its task, and how limits judge it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
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


MadeOf = Literal["share", "mean", "ratio", "area", ""]
"""What a figure is of what its examples have each: the share of those that have 1; their mean; the
sum over the sum of their sizes; the area under the ROC curve of those of size 1 against those of
size 0. Empty where it is of no sample of examples, so that nothing can be tested."""


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
    made_of: MadeOf = ""
    test: str = ""
    """How `p_value` was found: "McNemar's exact test" or "permutation test"; empty where there is
    none."""
    p_value: float | None = None
    """Two-sided: how often chance alone would make so large a difference."""
    detectable: float | None = None
    """Smallest difference that so many examples could be expected to show (80 % power), by how far
    these spread."""

    @property
    def tested(self) -> str:
        """For people: the test of the difference, and what could have been shown. Records of before
        there were tests have none."""
        if self.p_value is None or self.detectable is None:
            return "no test"
        return f"{self.test}: p = {self.p_value:.3g}; could show {self.detectable:.3f}"

    def outcome(self, suite: str, limit: float, versus: str = "") -> RuleResult:
        """Whether the figure keeps to `limit`, at the bad end of its interval too; with `versus`,
        what stands under `base`, a limit of the difference from that."""
        is_of_one = self.limited == "tuned" and not versus
        found = self.tuned if is_of_one else self.difference
        worst, best = (
            (found.high, found.low) if self.worse == "higher" else (-found.low, -found.high)
        )
        bound = limit if self.worse == "higher" else -limit
        verdict: Verdict = "pass" if worst <= bound else "fail" if best > bound else "inconclusive"
        sign = "" if is_of_one else "+"
        end, word = ("upper", "most") if self.worse == "higher" else ("lower", "least")
        of = "" if is_of_one else f", tuned minus {versus or 'base'}"
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


UNASKED = "it could not be asked: "
"""What the note begins with that says why a suite could not be asked at all."""


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

    def require_asked(self) -> None:
        """The model could be asked.

        Raises:
            UsageError: it could not; a suite that nobody can answer is none.
        """
        for note in self.notes:
            if note.startswith(UNASKED):
                raise UsageError(
                    f"suite {self.suite!r} of {self.model}: {note}",
                    remedy="shorten what it asks, or ask what the model has",
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class SuiteBeside:
    """What one suite found of one model beside another version, on the examples that both were
    asked. What a figure calls `base` is the other version's."""

    suite: str
    kind: str
    model: str
    against: str
    """What the suite's section says: an alias, or "released"."""
    version: str
    """What stood there, e.g. "desk@1"."""
    figures: tuple[Figure, ...]
    """Those that a test can be made of."""
    num_left_out: int = 0
    """Examples that only one of them was asked, or that the other was tuned on."""
    not_compared: Mapping[str, str] = field(default_factory=dict)
    """Figures that the suite has of the model and that could not be compared, with the reason."""

    @property
    def unsaid(self) -> list[str]:
        """For people: each reason, behind the figures that it is of."""
        of: dict[str, list[str]] = {}
        for name, reason in self.not_compared.items():
            of.setdefault(reason, []).append(name)
        return [f"not compared: {', '.join(names)}: {reason}" for reason, names in of.items()]


@dataclass(frozen=True, kw_only=True, slots=True)
class SuiteLimits:
    """What a suite's figures must keep to, by their names."""

    suite: str
    limits: Mapping[str, float] = field(default_factory=dict)
    against: str = ""
    """The alias that they are of the difference from; empty for those of the figures alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Those of several suites, in an order that is told beside."""

    of: tuple[SuiteLimits, ...] = ()


def not_kept(rules: Iterable[RuleResult]) -> list[str]:
    """Which limits are not kept, or may not be, for people."""
    return [
        f"{rule.rule}: {rule.observed}, wanted {rule.required}" for rule in rules if not rule.passed
    ]


def beside_outcomes(found: SuiteBeside | None, limits: SuiteLimits) -> tuple[RuleResult, ...]:
    """How each limit of the difference from the version under an alias came out; with `found` None,
    as no other version stands there, each passes; of a figure that could not be compared, it is
    inconclusive.

    Raises:
        UsageError: a limit is of no figure of the suite.
    """
    if found is not None:
        known = {figure.name: figure for figure in found.figures}
        every = [*known, *found.not_compared]
        _require_figures(limits.suite, "limits_against", limits.limits, every)
        return tuple(
            known[name].outcome(found.suite, limit, found.version)
            if name in known
            else RuleResult(
                rule=f"suite {found.suite}: {name}, tuned minus {found.version}",
                observed=f"not compared: {found.not_compared[name]}",
                required=f"{limit:+.4f}",
                passed=False,
                verdict="inconclusive",
            )
            for name, limit in limits.limits.items()
        )
    return tuple(
        RuleResult(
            rule=f"suite {limits.suite}: {name}, tuned minus {limits.against}",
            observed=f"no other version is {limits.against} yet",
            required=f"{limit:+.4f}, once there is one",
            passed=True,
            verdict="pass",
        )
        for name, limit in limits.limits.items()
    )


def outcomes(result: SuiteResult, limits: SuiteLimits) -> tuple[RuleResult, ...]:
    """How each limit came out, in the order of the suite's figures.

    Raises:
        UsageError: a limit is of no figure of the suite.
    """
    known = {figure.name: figure for figure in result.figures}
    _require_figures(result.suite, "limits", limits.limits, known)
    return tuple(
        figure.outcome(result.suite, limits.limits[name])
        for name, figure in known.items()
        if name in limits.limits
    )


def _require_figures(
    suite: str, key: str, limits: Mapping[str, float], known: Collection[str]
) -> None:
    for name in limits:
        if name not in known:
            raise UsageError(
                f"suite.{suite}.{key}: there is no figure {name!r}",
                remedy=f"there is: {', '.join(known)}",
            )
