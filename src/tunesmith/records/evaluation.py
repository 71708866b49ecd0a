"""Evaluations and what gates say of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tunesmith.core.ref import Blob
from tunesmith.records.document import BeforeGate
from tunesmith.records.pairwise import WinRate

WIN_RATE = "win rate, judged by a model"
"""The metric of pairs that a model judged. Its name says so, as it is shown in many places."""
SHARES = frozenset(
    (
        "accuracy", "normalised accuracy", "macro-F1", "micro-F1", "calibration error",
        "pair accuracy", "tag accuracy", "tag F1", "recall@1", "recall@10", "nDCG@10",
        "exact match", "normalised match", "token F1", "ROUGE-1", "ROUGE-2", "ROUGE-L", "chrF",
        "BLEU", "caseless match", "answers that ended", WIN_RATE,
    )
)  # fmt: skip
"""Metrics that are shares of something; the others have a scale of their own."""
AT_RANK = re.compile(r"(recall|nDCG|MRR)@([1-9][0-9]{0,3})")
"""Names of metrics of the first so many of a ranking, whatever that number is."""
RANKED = "reciprocal rank"
"""The metric whose rows say where the right passage stands, so that those of any number follow."""
LOWER_IS_BETTER = frozenset(("perplexity", "loss", "calibration error", "Brier score"))
"""Metrics of which less is better; of every other one more is, but for those that a task says."""


def is_share(metric: str) -> bool:
    """Whether a metric is a share of something.

    >>> is_share("recall@5"), is_share("perplexity")
    (True, False)
    """
    return metric in SHARES or AT_RANK.fullmatch(metric) is not None


Verdict = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """Metrics of one model on rows of one dataset.

    `predictions` is Parquet with `row_id`, `label` (what was to be said), `predicted`, `score`
    (what the row adds to the metric) and `loss` (what the model was unsure by, lower is better); of
    labels also `log_probability` (of the predicted one, normalised over the label set) and
    `probabilities` (list of float32 in the order of `labels`). Further metrics that rows have each
    are columns `metric NAME`. Of metrics that are made of sums over the rows: `nats` and
    `num_tokens` (what all tokens of a row's answers cost), `tag_counts` (of each label the right
    tags, then of each label those that are meant and those that are said, together).
    """

    model: str
    """Model name; "base" weights and "tuned" ones are told apart by `subject`."""
    subject: Literal["base", "tuned"]
    labels: tuple[str, ...]
    num_rows: int
    metric: str
    """What gates compare, e.g. "accuracy"."""
    value: float
    """The metric: the mean of the rows' scores."""
    others: Mapping[str, float]
    """More metrics by name, e.g. "macro-F1"."""
    per_label_f1: Mapping[str, float]
    """Of labels; else empty."""
    predictions: Blob
    task: str = ""
    """Name of the task that was asked; empty for what the model's objective asks."""
    task_version: str = ""
    lower_is_better: tuple[str, ...] = ()
    """Of the metrics that are a task's own, those of which less is better."""

    def metrics(self) -> dict[str, float]:
        """All of them, the one that gates compare first."""
        return {self.metric: self.value, **self.others}

    def falls(self, metric: str) -> bool:
        """Whether less of `metric` is better."""
        return metric in LOWER_IS_BETTER or metric in self.lower_is_better


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A tuned model minus its base, or another model, on the same rows, with the interval of their
    difference: it holds 0 where the test does not exclude it.

    Of pairs that a model judged, each side is its own win rate, ties as half.
    """

    metric: str
    base: float
    tuned: float
    difference: float
    low: float
    high: float
    confidence: float
    num_rows: int
    num_resamples: int
    detectable: float
    """Smallest difference that this many rows could be expected to show (80 % power)."""
    versus: str = "base"
    """What stands under `base`: "base", or a model version such as "desk@1"."""
    test: str = ""
    """How `p_value` was found: "McNemar's exact test", "permutation test" or "exact sign
    test"."""
    p_value: float = 1.0
    """Two-sided: how often chance alone would make so large a difference."""
    num_won: int = 0
    """Rows on which the tuned model did better."""
    num_lost: int = 0
    """Rows on which it did worse."""
    num_left_out: int = 0
    """Rows that were not compared, as the other model was tuned on them."""
    task: str = ""
    """Name of the task that was asked; empty for what the model's objective asks."""
    slice: str = ""
    """Which of the rows; empty for all."""
    lower_is_better: bool = False
    """Whether less of the metric is better, so that a difference below zero is an improvement."""

    @property
    def is_of_all(self) -> bool:
        """Whether it is of all test rows, and of what the model's objective asks."""
        return not self.task and not self.slice

    @property
    def is_judged(self) -> bool:
        """Whether it rests on what a model held of the answers, and nothing was measured."""
        return self.metric == WIN_RATE

    @property
    def rows_said(self) -> str:
        """Which rows, for people, after their number."""
        of_task = f" of task {self.task}" if self.task else ""
        of_slice = f" of {self.slice}" if self.slice else ""
        return f"rows{of_task}{of_slice}" if of_task or of_slice else "of the rows"


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskRows:
    """The rows of a task's own file, as they were when it was read."""

    task: str
    """The task's name."""
    text: str
    """JSON Lines."""

    @property
    def num_rows(self) -> int:
        """Lines that are not blank."""
        return sum(bool(line.strip()) for line in self.text.split("\n"))


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnRows:
    """The rows of several tasks' own files."""

    files: tuple[TaskRows, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Apart:
    """That no row which a task asks is a training row of a dataset, resembles one, or stands in
    one."""

    asked: str
    """Name of the dataset whose test rows a task asks, or of the task whose own rows."""
    trained: str
    """Name of the one that the model is tuned on."""
    num_asked: int
    num_trained: int
    words: float
    """The share of common words, where a row is short, from which two rows are alike."""
    runs: float
    """The share of common runs of five words, where none is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """Which rows a slice has."""

    task: str
    """The task whose own rows they are; empty for the dataset's test rows."""
    said: str
    """Which rows, for people; its name."""
    row_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Slices:
    """The slices that a gate's rules ask for."""

    slices: tuple[Slice, ...]

    def of(self, task: str, said: str) -> Slice | None:
        """The slice of that name of a task's own rows, or else of the test rows."""
        named = {(each.task, each.said): each for each in self.slices}
        return named.get((task, said)) or named.get(("", said))


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleResult:
    """One rule of a gate and how it came out."""

    rule: str
    observed: str
    required: str
    passed: bool
    verdict: Verdict | None = None
    """None in records of before 0.1: then `passed` is all that is known."""
    num_rows_needed: int = 0
    """Of an inconclusive rule: about how many rows would settle it; 0 where none would."""

    @property
    def said(self) -> Verdict:
        """The verdict, of old records too."""
        return self.verdict or ("pass" if self.passed else "fail")


@dataclass(frozen=True, kw_only=True, slots=True)
class GateResult:
    """The verdict of one gate on one model."""

    gate: str
    model: str
    verdict: Verdict
    rules: tuple[RuleResult, ...]
    comparisons: tuple[Comparison, ...]
    """The first is with the base; those of tasks with the base follow, then those of rules."""
    inconclusive: Literal["pass", "fail"] = "fail"
    """What the gate's settings make of an inconclusive verdict."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """What was judged: the digest of each model's answers, by "base", "tuned", "desk@1"."""
    win_rates: tuple[WinRate, ...] = ()
    """What models that judge held of the answers to tasks."""
    documents: tuple[BeforeGate, ...] = ()
    """What the documents that it asks for could say."""

    @property
    def admits(self) -> bool:
        """Whether the model may be released."""
        return self.verdict == "pass" or (
            self.verdict == "inconclusive" and self.inconclusive == "pass"
        )

    def failed(self) -> str:
        """Each rule that was not met, with what was observed and what is required."""
        return "; ".join(
            f"{rule.rule}: {rule.observed}, required {rule.required}"
            for rule in self.rules
            if not rule.passed
        )
