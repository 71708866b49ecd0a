from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tunesmith.core.errors import ConfigError
from tunesmith.core.kinds import resolve
from tunesmith.records.rows import FORMATS
from tunesmith.stages.evaluate.config import EvaluateConfig
from tunesmith.stages.evaluate.run import evaluate_base
from tunesmith.stages.evaluate.scorer import SCORERS


def test_every_objective_can_be_evaluated_on_formats_that_there_are() -> None:
    from tunesmith.stages.finetune.objectives.objective import OBJECTIVES

    assert {objective for objective, _ in SCORERS} == set(OBJECTIVES)
    assert {form for _, form in SCORERS} <= set(FORMATS)
    assert all(callable(resolve(path)) for path in SCORERS.values())


def test_rows_of_another_format_are_refused_with_what_would_do(tiny: Any) -> None:
    dataset = dataclasses.replace(tiny.dataset([], [("a", "mit")]), format="pairs")

    with pytest.raises(ConfigError, match="does not learn from rows of format 'pairs'") as caught:
        evaluate_base(EvaluateConfig(), tiny.context(), base=tiny.base, dataset=dataset)
    assert "labels" in caught.value.remedy
