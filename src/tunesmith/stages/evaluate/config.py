"""Settings of evaluation and of gates: the `[gate.NAME]` sections of the project file."""

from __future__ import annotations

from pydantic import Field

from tunesmith.core.section import Section

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
    ("classify", "labels"): f"{_HERE}.states:score_classes",
    ("tag", "tags"): f"{_HERE}.states:score_tags",
    ("reward", "preference"): f"{_HERE}.states:score_rewards",
    ("rerank", "pairs"): f"{_HERE}.states:score_passages",
    ("embed", "pairs"): f"{_HERE}.states:score_vectors",
}
"""(objective, format of the dataset) -> "module:function" of an `Asked` to its `Scored`. What does
not stand here does not go together."""


class EvaluateConfig(Section):
    """Which rows are asked, and for what."""

    objective: str = "sft"
    """The objective of the model's section: it decides what a row is asked for."""
    unseen_training_rows: int = Field(default=0, ge=0)
    """Ask at most so many rows of the training split that the model was not trained on, nor on a
    near duplicate of them; 0 asks every row of the test split. To choose between recipes by the
    test rows would make their score a part of the choice, and no measure of it any more."""


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
    """The tuned model's metric must be at least this; without it there is no floor."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Confidence of the two-sided interval of the difference."""
