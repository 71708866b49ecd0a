from __future__ import annotations

import dataclasses
import io
from typing import Any

import pyarrow.parquet as pq
import pytest

from tunesmith.core.errors import DataError
from tunesmith.core.ref import from_plain, to_plain
from tunesmith.lm.load import load_model
from tunesmith.lm.score import score_labels
from tunesmith.records.evaluation import Evaluation
from tunesmith.records.model import ModelVersion
from tunesmith.stages.evaluate.config import EvaluateConfig, GateConfig
from tunesmith.stages.evaluate.run import evaluate_base, evaluate_tuned, judge

ROWS = [
    ("Permission is hereby granted", "mit"),
    ("This program is free software", "gpl-2.0"),
    ("Licensed under the Apache License", "apache-2.0"),
    ("Permission, again", "mit"),
]


def evaluation(tiny: Any, dataset: Any) -> Evaluation:
    return evaluate_base(EvaluateConfig(), tiny.context(), base=tiny.base, dataset=dataset)


def test_an_evaluation_is_what_the_scores_say(tiny: Any) -> None:
    said: list[tuple[float, float, str]] = []
    ctx = tiny.context(progress=lambda *args: said.append(args))
    dataset = tiny.dataset([], ROWS)

    found = evaluate_base(EvaluateConfig(), ctx, base=tiny.base, dataset=dataset)

    scores = score_labels(
        load_model(tiny.base, tiny.blobs),
        dataset.instruction,
        [text for text, _ in ROWS],
        dataset.labels,
    )
    table = pq.read_table(io.BytesIO(tiny.blobs.get(found.predictions)))
    assert table.column_names == [
        "row_id", "label", "predicted", "score", "loss", "log_probability", "probabilities",
    ]  # fmt: skip
    rows = table.to_pylist()
    assert [row["row_id"] for row in rows] == ["test000", "test001", "test002", "test003"]
    assert [row["label"] for row in rows] == [label for _, label in ROWS]
    for row, best, expected in zip(
        rows, scores.argmax(1).tolist(), scores.softmax(1).tolist(), strict=True
    ):
        assert row["predicted"] == dataset.labels[best]
        assert row["probabilities"] == pytest.approx(expected, abs=1e-6)
    right = sum(row["label"] == row["predicted"] for row in rows)
    assert (found.metric, found.value) == ("accuracy", right / 4)
    assert (found.model, found.subject, found.num_rows) == ("tiny", "base", 4)
    assert set(found.per_label_f1) == set(dataset.labels)
    assert said[-1][:2] == (4, 4)
    assert from_plain(Evaluation, to_plain(found)) == found


def test_no_test_rows_is_an_error(tiny: Any) -> None:
    with pytest.raises(DataError, match="no test rows"):
        evaluation(tiny, tiny.dataset(ROWS))


def test_a_tuned_model_is_asked_under_its_own_instruction(tiny: Any) -> None:
    """An adapter that adds nothing and an equal instruction give the base model's numbers."""
    from tunesmith.stages.finetune.lora import adapter_bytes, adapter_config, add_lora

    layers = add_lora(load_model(tiny.base, tiny.blobs).model, 2, 1.0, seed=0)
    dataset = tiny.dataset([], ROWS)
    model = tiny.version(
        tiny.blobs.put(adapter_bytes(layers)),
        tiny.blobs.put(adapter_config(layers, 2, 1.0, "tiny")),
        instruction=dataset.instruction,
        labels=dataset.labels,
    )
    base = evaluation(tiny, dataset)

    def tuned(version: ModelVersion) -> Evaluation:
        return evaluate_tuned(EvaluateConfig(), tiny.context(), model=version, dataset=dataset)

    same = tuned(model)
    other = tuned(dataclasses.replace(model, instruction="Something else entirely, at length."))
    assert same.predictions == base.predictions
    assert (same.model, same.subject) == ("desk", "tuned")
    assert other.predictions != base.predictions


def made_up(tiny: Any, right: int, prefix: str = "r") -> Evaluation:
    """An evaluation of 100 rows of which the first `right` are right."""
    import torch

    from tunesmith.stages.evaluate.labels import of_labels
    from tunesmith.stages.evaluate.predictions import to_parquet

    scores = torch.tensor([[1.0, 0.0] if row < right else [0.0, 1.0] for row in range(100)])
    scored = of_labels(("a", "b"), ["a"] * 100, torch.log_softmax(scores.double(), dim=-1))
    data = to_parquet([f"{prefix}{row}" for row in range(100)], scored)
    return Evaluation(
        model="desk",
        subject="tuned",
        labels=("a", "b"),
        num_rows=100,
        metric="accuracy",
        value=right / 100,
        others={},
        per_label_f1={},
        predictions=tiny.blobs.put(data),
    )


@pytest.mark.parametrize(
    ("base", "tuned", "verdict"),
    [(25, 75, "pass"), (50, 51, "inconclusive"), (75, 25, "fail"), (50, 50, "fail")],
)
def test_a_gate_judges_the_pair(tiny: Any, base: int, tuned: int, verdict: str) -> None:
    config = GateConfig(name="desk", model="desk")
    result = judge(config, tiny.context(), base=made_up(tiny, base), tuned=made_up(tiny, tuned))

    assert result.verdict == verdict
    assert (result.gate, result.model) == ("desk", "desk")
    (comparison,) = result.comparisons
    assert comparison.difference == pytest.approx((tuned - base) / 100)
    assert comparison.low <= comparison.difference <= comparison.high
    assert comparison.num_rows == 100


def test_a_gate_does_not_compare_different_rows(tiny: Any) -> None:
    with pytest.raises(DataError, match="different rows"):
        judge(
            GateConfig(name="desk", model="desk"),
            tiny.context(),
            base=made_up(tiny, 10),
            tuned=made_up(tiny, 90, prefix="s"),
        )
