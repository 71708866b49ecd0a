"""Settings of evaluation and of gates: the `[gate.NAME]` sections of the project file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Self

from pydantic import Field, PrivateAttr, field_validator, model_validator

from tunesmith.core.section import Section
from tunesmith.stages.evaluate.task import Task, TaskConfig
from tunesmith.text.rewards import Reward

_HERE = "tunesmith.stages.evaluate"
_TOKENS = f"{_HERE}.likelihood:score"
SCORERS = {
    ("sft", "labels"): f"{_HERE}.labels:score",
    ("sft", "chat"): _TOKENS,
    ("sft", "completion"): _TOKENS,
    ("cpt", "text"): _TOKENS,
    ("distil", "labels"): f"{_HERE}.labels:score",
    ("distil", "chat"): _TOKENS,
    ("distil", "completion"): _TOKENS,
    ("dpo", "preference"): f"{_HERE}.judged:score_pairs",
    ("ipo", "preference"): f"{_HERE}.judged:score_pairs",
    ("orpo", "preference"): f"{_HERE}.judged:score_pairs",
    ("simpo", "preference"): f"{_HERE}.judged:score_pairs",
    ("kto", "feedback"): f"{_HERE}.judged:score_feedback",
    ("grpo", "checked"): f"{_HERE}.rewarded:score",
    ("classify", "labels"): f"{_HERE}.states:score_classes",
    ("tag", "tags"): f"{_HERE}.states:score_tags",
    ("reward", "preference"): f"{_HERE}.states:score_rewards",
    ("rerank", "pairs"): f"{_HERE}.states:score_passages",
    ("embed", "pairs"): f"{_HERE}.states:score_vectors",
}
"""(objective, format of the dataset) -> "module:function" of an `Asked` to its `Scored`. What does
not stand here does not go together."""
_LABELS = ("accuracy", "macro-F1", "micro-F1", "loss", "calibration error", "Brier score")
_RANKS = ("reciprocal rank", "recall@1", "recall@10", "nDCG@10", "loss")
METRICS: Mapping[str, tuple[str, ...]] = {
    f"{_HERE}.labels:score": _LABELS,
    _TOKENS: ("log-likelihood", "loss", "perplexity"),
    f"{_HERE}.judged:score_pairs": ("pair accuracy", "margin", "loss"),
    f"{_HERE}.judged:score_feedback": ("signed log-likelihood",),
    f"{_HERE}.rewarded:score": ("reward",),
    f"{_HERE}.states:score_classes": _LABELS,
    f"{_HERE}.states:score_tags": ("tag accuracy", "macro-F1", "micro-F1", "loss"),
    f"{_HERE}.states:score_rewards": ("pair accuracy", "margin", "loss"),
    f"{_HERE}.states:score_passages": _RANKS,
    f"{_HERE}.states:score_vectors": _RANKS,
}
"""What rules of gates can ask for, by what the rows are asked with; the first one first. Where rows
are ranked, "recall@k", "nDCG@k" and "MRR@k" also for any other k."""


class EvaluateConfig(Section):
    """Which rows are asked, and for what."""

    objective: str = "sft"
    """The objective of the model's section: it decides what a row is asked for."""
    rewards: tuple[Reward, ...] = ()
    """What answers are rewarded for, where they are."""
    max_new_tokens: int = Field(default=0, ge=0)
    """The most tokens of an answer, where answers are made."""
    unseen_training_rows: int = Field(default=0, ge=0)
    """Ask at most so many rows of the training split that the model was not trained on, nor on a
    near duplicate of them; 0 asks every row of the test split. To choose between recipes by the
    test rows would make their score a part of the choice, and no measure of it any more."""


class SliceConfig(Section):
    """Some of the rows that are asked; with several conditions those for which all hold."""

    source: str = ""
    """Those of this source."""
    label: str = ""
    """Those with this label."""
    field: str = ""
    """Those that have `value` in this field of the source's record, or of the task's row."""
    value: str = ""
    """What the field says; of numbers and the like, as JSON writes it."""
    min_chars: int = Field(default=0, ge=0)
    """Those whose text has at least so many characters."""
    max_chars: int = Field(default=0, ge=0)
    """Those whose text has at most so many characters; 0 is without an end."""

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if bool(self.field) != bool(self.value):
            raise ValueError('field and value go together: { field = "language", value = "de" }')
        if self.max_chars and self.max_chars < self.min_chars:
            raise ValueError("max_chars is less than min_chars")
        if not (self.source or self.label or self.field or self.min_chars or self.max_chars):
            raise ValueError('a slice says which rows, such as { source = "tickets" }')
        return self

    @property
    def said(self) -> str:
        """For people, and as its name."""
        parts = [f"{name} = {getattr(self, name)}" for name in ("source", "label")]
        parts = [part for part in parts if not part.endswith(" = ")]
        if self.field:
            parts.append(f"{self.field} = {self.value}")
        if self.min_chars and self.max_chars:
            parts.append(f"{self.min_chars} to {self.max_chars} characters")
        elif self.min_chars or self.max_chars:
            end = "at least" if self.min_chars else "at most"
            parts.append(f"{end} {self.min_chars or self.max_chars} characters")
        return ", ".join(parts)


class Sliced(Section):
    """A slice, and the rows that it is of."""

    task: str = ""
    """Name of the task whose own rows they are; without one the dataset's test rows."""
    dataset: str = ""
    """Name of the other dataset whose test rows that task asks, if it does."""
    asked: TaskConfig | None = None
    """That task, where the rows are of a file of its own and the slice is by their label."""
    slice: SliceConfig


class SlicesConfig(Section):
    """The slices that a gate's rules ask for."""

    slices: tuple[Sliced, ...]


class PairsConfig(Section):
    """What of a judge bears on its verdicts."""

    task: TaskConfig
    """What the models were asked."""
    question: str
    """What the judge is asked of each pair of answers."""
    versus: str
    """Whose answers stand beside the tuned model's: "base", or a version."""
    own_base: bool = False
    """Whether the judge may be the base model of an answer."""


class GateRule(Section):
    """One thing that a model must show: a `[[gate.NAME.rules]]` table."""

    task: str = ""
    """Name of one of the gate's tasks, which the metric is of; without one it is of the evaluation
    of the model's objective."""
    slice: SliceConfig | None = None
    """On which of the rows alone, such as { source = "tickets" }; without it on all."""
    metric: str = ""
    """Which metric; without one the evaluation's first. Of labels "macro-F1" is another; of search
    "recall@5", "nDCG@5" or "MRR@5", with any number; of a task
    with a judge "win rate, judged by a model", which needs a measured rule beside it."""
    against: str = ""
    """What the model is compared with on the same rows: "base"; an alias such as "production",
    which means the version that it points at when the model is judged; or "released", which means
    production, else candidate. Without it the rule is a floor or a ceiling."""
    at_least: float | None = None
    """Of a floor: the metric must be at least this, also at the lower end of its interval."""
    at_most: float | None = None
    """Of a ceiling, where less of a metric is better ("perplexity", "loss", "calibration error",
    "Brier score", and what a task says): it must be at most this, also at the upper end."""
    margin: float = 0.0
    """Of a comparison: the model must be better than the other by more than this, also at the worse
    end of the interval: above it, or below it where less of the metric is better. Below zero it may
    be worse by less than so much."""
    confidence: float | None = Field(default=None, gt=0.5, lt=1)
    """Confidence of the two-sided interval; without one the gate's."""

    @model_validator(mode="after")
    def _floor_or_comparison(self) -> GateRule:
        if self.at_least is not None and self.at_most is not None:
            raise ValueError("a metric is better when higher (at_least) or when lower (at_most)")
        if self.against and self.at_least is not None:
            raise ValueError("at_least is of a floor, and margin of a comparison (against)")
        if self.against and self.at_most is not None:
            raise ValueError("at_most is of a ceiling, and margin of a comparison (against)")
        if not self.against and self.at_least is None and self.at_most is None:
            raise ValueError(
                "a rule is a floor (at_least), a ceiling (at_most) or a comparison (against)"
            )
        if not self.against and self.margin:
            raise ValueError("margin is of a comparison: say against what")
        return self


class GateConfig(Section):
    """What a tuned model must show before it may be released."""

    name: str = ""
    """Name of the gate: what follows `gate.` in the section's heading."""
    model: str
    """Name of the model that is judged."""
    alias: str = "candidate"
    """Alias that a model gets that passes."""
    beats_base_by: float = 0.0
    """The tuned model's metric (of labels their accuracy, as a share) must exceed the base model's
    by more than this, even at the lower end of the confidence interval."""
    at_least: float | None = None
    """The tuned model's metric must be at least this; without it there is no floor. What was found
    decides, whatever its interval; a floor among `rules` asks for more."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Confidence of the two-sided interval of the difference."""
    rules: tuple[GateRule, ...] = ()
    """More rules, each a table `[[gate.NAME.rules]]` with metric, against, at_least, at_most or
    margin, confidence, task, and slice (source, label, field and value, min_chars, max_chars)."""
    suites: tuple[str, ...] = ()
    """Suites of the model whose limits are rules of this gate, too: names of `[suite.NAME]`
    sections, and "forgetting", which each model has that goes on with a text."""
    limits: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Limits of figures of those suites, by suite, where they are not those of its section, by
    which a run only warns: `{ noise = { "accuracy: typos" = 0.6 } }`."""
    documents: tuple[str, ...] = ()
    """Kinds of documents ("model-card", "ml-bom", "annex-iv", "nist-rmf", "training-content") of
    which no required field may be missing that can be known before the gate judges. What its own
    verdict and what comes after it will say is not asked for."""
    tasks: tuple[str, ...] = ()
    """Files of tasks (TOML, in the project's folder) that the base and the tuned model are asked,
    too; rules say what must come of them."""
    audit: bool = True
    """Whether the tuned weights are audited, and what is found counts as rules: not finite, other
    modules than declared, an update or a rare word that does far more than others of its kind.
    Where a person has looked at what was found and knows why, false lets the model be judged."""
    inconclusive: Literal["fail", "pass"] = "fail"
    """What becomes of a model of which the rows do not decide: "fail" releases nothing and ends
    with code 3; "pass" releases it, and the verdict stays inconclusive."""

    _read: tuple[Task, ...] = PrivateAttr(default=())

    def with_tasks(self, tasks: Sequence[Task]) -> Self:
        """The gate with what its tasks' files say."""
        changed = self.model_copy()
        changed._read = tuple(tasks)
        return changed

    def given(self) -> tuple[Task, ...]:
        """Its tasks as their files were when the project was opened."""
        return self._read

    def slices(self) -> tuple[Sliced, ...]:
        """The slices that its rules ask for, each once."""
        own = {
            task.config.name: task.config for task in self._read if not task.config.is_of_test_rows
        }
        found = {
            (at, rule.slice.said): Sliced(
                task=at,
                dataset=own[at].other if at else "",
                asked=own[at] if at and own[at].has_own_rows and rule.slice.label else None,
                slice=rule.slice,
            )
            for rule in self.rules
            if rule.slice is not None
            for at in [rule.task if rule.task in own else ""]
        }
        return tuple(found.values())

    @field_validator("alias")
    @classmethod
    def _alias_is_a_name(cls, alias: str) -> str:
        if alias in ("", "base", "released"):
            raise ValueError(
                'an alias is a name such as "candidate"; rules mean others by this word'
            )
        return alias

    def others(self) -> tuple[str, ...]:
        """What the model is compared with beside its base: aliases, and "released"."""
        return tuple(dict.fromkeys(r.against for r in self.rules if r.against not in ("", "base")))
