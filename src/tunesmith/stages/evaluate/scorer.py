"""What a row is asked for, by the objective and the dataset's format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tunesmith.core.kinds import resolve
from tunesmith.core.step import Context
from tunesmith.lm.contents import Said, content_of
from tunesmith.lm.load import LoadedModel, load_tokenizer
from tunesmith.lm.tokenizer import Tokenizer
from tunesmith.records.data import Dataset
from tunesmith.records.model import BaseModel, ModelVersion
from tunesmith.stages.evaluate.config import SCORERS, EvaluateConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """Rows, and the model that is asked."""

    ctx: Context
    base: BaseModel
    model: ModelVersion | None
    """What was tuned; None asks the base model as it came."""
    dataset: Dataset
    rows: pa.Table
    """With `row_id`, `text`, `label` and `content`."""
    config: EvaluateConfig

    @property
    def instruction(self) -> str:
        """The system message: the tuned model's own."""
        return self.model.instruction if self.model else self.dataset.instruction

    def contents(self, kind: type[Said]) -> list[Said]:
        """What each row says; `kind` is that of the dataset's format."""
        return [content_of(text, kind) for text in self.rows["content"].to_pylist()]

    def counting(self, loaded: LoadedModel) -> Tokenizer:
        """The tokenizer whose tokens are counted when something is said of a token: the base
        model's. A model that was given new tokens says the same text in fewer of them, and would
        look worse."""
        if self.model is None or not self.model.new_tokens:
            return loaded.tokenizer
        return load_tokenizer(self.base, self.ctx.blobs)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """How a model did, row by row in their order."""

    metric: str
    """Its value is the mean of `scores`, unless `whole` says it."""
    scores: Sequence[float]
    losses: Sequence[float]
    """What the model was unsure by, lower is better; finer than a score that is right or wrong."""
    truth: Sequence[str]
    """What was to be said, for people to read."""
    predicted: Sequence[str]
    whole: float | None = None
    """The first metric, where it is of all rows together and no mean of theirs."""
    columns: Mapping[str, Any] = field(default_factory=dict)
    """More columns of the predictions."""
    by_row: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """More metrics that are means of what each row has, by name. Gates can ask for them as for the
    first."""
    others: Mapping[str, float] = field(default_factory=dict)
    """More metrics, by name. Gates can ask for "loss", the mean of `losses` or of all tokens, for
    F1, perplexity and calibration error: see `stages.evaluate.measured`."""
    per_label_f1: Mapping[str, float] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The first metric."""
        return sum(self.scores) / len(self.scores) if self.whole is None else self.whole

    def all_others(self) -> dict[str, float]:
        """All metrics but the first, by name."""
        means = {name: sum(rows) / len(rows) for name, rows in self.by_row.items()}
        return {**means, **self.others}


def score(asked: Asked) -> Scored:
    """Ask the model what rows of that format are asked for under its objective."""
    place = SCORERS[asked.config.objective, asked.dataset.format]
    function: Callable[[Asked], Scored] = resolve(place)
    return function(asked)
