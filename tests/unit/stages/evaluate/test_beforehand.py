from __future__ import annotations

import dataclasses
import io
import math
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tunesmith.core.errors import ConfigError
from tunesmith.core.ref import Blob
from tunesmith.paired.macro import detectable_macro_f1
from tunesmith.records.data import Dataset, Split
from tunesmith.records.evaluation import Evaluation, Slice, Slices
from tunesmith.stages.evaluate.beforehand import Known, what_gate_could_show
from tunesmith.stages.evaluate.compare import Asking, compare_as, floor_interval
from tunesmith.stages.evaluate.config import GateConfig, GateRule, SliceConfig
from tunesmith.stages.evaluate.direction import require_metrics
from tunesmith.stages.evaluate.predictions import to_parquet
from tunesmith.stages.evaluate.scorer import Scored

COUNTS = {"a": 60, "b": 30, "c": 10}
TRUTH = [label for label, count in COUNTS.items() for _ in range(count)]
LONG = SliceConfig(min_chars=50)


def parquet(tiny: Any, columns: dict[str, Any]) -> Blob:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    blob: Blob = tiny.blobs.put(sink.getvalue())
    return blob


@pytest.fixture
def dataset(tiny: Any) -> Dataset:
    rows = parquet(tiny, {"row_id": [f"r{n}" for n in range(100)], "label": TRUTH})
    split = Split(rows=rows, num_rows=100, num_tokens=0)
    made: Dataset = dataclasses.replace(tiny.dataset([]), test=split)
    return made


def gate(*rules: GateRule) -> GateConfig:
    return GateConfig(name="g", model="desk", rules=rules)


def evaluation(tiny: Any, scored: Scored, **changes: Any) -> Evaluation:
    ids = [f"r{n}" for n in range(len(scored.scores))]
    mean = sum(scored.scores) / len(scored.scores)
    fields: dict[str, Any] = {
        "model": "m", "subject": "base", "labels": (), "num_rows": len(ids),
        "metric": scored.metric,
        "value": mean, "others": scored.all_others(), "per_label_f1": {},
        "predictions": tiny.blobs.put(to_parquet(ids, scored)),
    }  # fmt: skip
    return Evaluation(**fields | changes)


def test_macro_f1_is_simulated_from_the_labels_of_the_rows(tiny: Any, dataset: Dataset) -> None:
    known = Known(blobs=tiny.blobs)
    _, said = what_gate_could_show(
        gate(GateRule(metric="macro-F1", at_least=0)), dataset, None, known=known
    )
    usual = 100 * detectable_macro_f1([60, 30, 10], 0.95, 0.2)
    assert said.startswith(
        "100 test rows by macro-F1, 95% confidence, 80 % power: a difference of "
    )
    assert f"{usual:.1f} points can be shown between models that differ on a fifth" in said
    assert "3 labels, models right on 70% of the rows, which is assumed" in said


def test_macro_f1_is_of_the_rows_of_a_slice_and_as_right_as_the_base_model(
    tiny: Any, dataset: Dataset
) -> None:
    right = [float(n % 2) for n in range(100)]
    scored = Scored(
        metric="accuracy", scores=right, losses=right, truth=TRUTH,
        predicted=[t if r else "c" for t, r in zip(TRUTH, right, strict=True)],
        others={"macro-F1": 0.5},
    )  # fmt: skip
    base = evaluation(tiny, scored, labels=tuple(COUNTS))
    cut = Slice(task="", said=LONG.said, row_ids=tuple(f"r{n}" for n in range(50, 100)))
    rule = GateRule(metric="macro-F1", at_least=0, slice=LONG)
    known = Known(blobs=tiny.blobs, bases={"": base})
    _, said = what_gate_could_show(gate(rule), dataset, Slices(slices=(cut,)), known=known)

    usual = 100 * detectable_macro_f1([10, 30, 10], 0.95, 0.2, 0.5)
    assert f"{usual:.1f} points" in said
    assert "models right on 50% of the rows, as the base model is" in said


def test_of_too_few_rows_macro_f1_is_not_said_to_be_shown(tiny: Any, dataset: Dataset) -> None:
    """Rows 80 to 99 are ten of two labels each; models that differ on a fifth of them are not 29
    points apart, as their spread would ask for."""
    cut = Slice(task="", said=LONG.said, row_ids=tuple(f"r{n}" for n in range(80, 100)))
    rule = GateRule(metric="macro-F1", at_least=0, slice=LONG)
    _, said = what_gate_could_show(
        gate(rule), dataset, Slices(slices=(cut,)), known=Known(blobs=tiny.blobs)
    )
    most = 100 * detectable_macro_f1([10, 10], 0.95, 1.0)
    assert f"a difference of {most:.1f} points can be shown whatever two models differ on" in said
    assert "of models that differ on a fifth of the rows these are too few to say it" in said


def test_of_likelihoods_the_base_model_says_how_far_rows_spread(
    tiny: Any, dataset: Dataset
) -> None:
    texts = dataclasses.replace(dataset, format="chat")
    rules = [GateRule(metric=name, against="base") for name in ("perplexity", "log-likelihood")]
    first, perplexity, likelihood = what_gate_could_show(gate(*rules), texts, None)
    assert "0.28 nats can be shown, if differences spread by 1 nat from" in first
    assert "perplexity by a factor of 1.32 can be shown" in perplexity
    assert "assumed, as no model was asked yet" in likelihood

    nats = [20.0 + 10 * (n % 2) for n in range(100)]  # 2 or 3 a token, so 0.5 from their mean
    scored = Scored(
        metric="log-likelihood", scores=[-each / 10 for each in nats], losses=nats,
        truth=["x"] * 100, predicted=["10 tokens"] * 100,
        columns={"nats": nats, "num_tokens": [10] * 100},
        others={"loss": 2.5, "perplexity": math.exp(2.5)},
    )  # fmt: skip
    known = Known(blobs=tiny.blobs, bases={"": evaluation(tiny, scored)})
    first, perplexity, likelihood = what_gate_could_show(gate(*rules), texts, None, known=known)

    def number(said: str) -> float:
        return float(said.split("a difference of ")[1].split(" ")[0])

    assert number(first) == number(likelihood) == pytest.approx(2.8 * 0.05, rel=0.1)
    assert number(perplexity) == pytest.approx(2.8 * 0.05 * math.exp(2.5), rel=0.1)
    assert "go together by a half" in perplexity


def test_recall_of_any_number_follows_from_the_ranks(tiny: Any) -> None:
    def ranked(ranks: list[int], subject: str) -> Evaluation:
        scores = [1 / rank for rank in ranks]
        scored = Scored(
            metric="reciprocal rank", scores=scores, losses=scores,
            truth=["x"] * len(ranks), predicted=["y"] * len(ranks),
        )  # fmt: skip
        return evaluation(tiny, scored, subject=subject)

    base, tuned = ranked([49, 6, 3, 1], "base"), ranked([5, 5, 3, 1], "tuned")
    found = compare_as(base, tuned, tiny.blobs, Asking(confidence=0.95, seed=1, metric="recall@5"))
    assert (found.base, found.tuned, found.test) == (0.5, 1.0, "McNemar's exact test")
    floor, _ = floor_interval(base, tiny.blobs, metric="MRR@3", confidence=0.95, seed=1)
    assert floor.mean == pytest.approx((1 / 3 + 1) / 4)
    gain, _ = floor_interval(base, tiny.blobs, metric="nDCG@49", confidence=0.95, seed=1)
    assert gain.mean == pytest.approx(sum(1 / math.log2(1 + r) for r in (49, 6, 3, 1)) / 4)


def test_rules_can_name_any_number_where_rows_are_ranked() -> None:
    rule = GateRule(metric="recall@7", at_least=0.5)
    require_metrics(gate(rule), (), "embed", "pairs")
    for strange in ("recall@0", "recall@07", "precision@5"):
        with pytest.raises(ConfigError, match="metric"):
            require_metrics(gate(GateRule(metric=strange, at_least=0)), (), "embed", "pairs")
    with pytest.raises(ConfigError, match="metric"):
        require_metrics(gate(rule), (), "sft", "labels")
