from __future__ import annotations

import dataclasses
import io
import json
import math
from typing import Any

import pyarrow.parquet as pq
import pytest

from tunesmith.core.errors import DataError, UsageError
from tunesmith.core.ref import from_plain, to_plain
from tunesmith.lm.load import load_model
from tunesmith.lm.score import score_labels
from tunesmith.records.evaluation import Evaluation, GateResult
from tunesmith.records.model import ModelVersion
from tunesmith.records.release import Standing, Standings
from tunesmith.records.suite import Figure, Range, SuiteResult
from tunesmith.stages.evaluate.config import EvaluateConfig, GateConfig, GateRule
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
        "metric Brier score",
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
    [(25, 75, "pass"), (50, 51, "inconclusive"), (75, 25, "fail"), (50, 50, "inconclusive")],
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


def of_tokens(tiny: Any, nats: list[float], counts: list[int]) -> Evaluation:
    from tunesmith.stages.evaluate.predictions import to_parquet
    from tunesmith.stages.evaluate.scorer import Scored

    losses = [one / count for one, count in zip(nats, counts, strict=True)]
    scored = Scored(
        metric="log-likelihood",
        scores=[-loss for loss in losses],
        losses=losses,
        truth=["a"] * len(nats),
        predicted=[""] * len(nats),
        columns={"nats": nats, "num_tokens": counts},
    )
    data = to_parquet([f"r{row}" for row in range(len(nats))], scored)
    whole = sum(nats) / sum(counts)
    return dataclasses.replace(
        made_up(tiny, 0),
        num_rows=len(nats),
        metric="log-likelihood",
        value=-sum(losses) / len(losses),
        others={"loss": whole, "perplexity": math.exp(whole)},
        predictions=tiny.blobs.put(data),
    )


def test_a_gate_asks_for_less_perplexity(tiny: Any) -> None:
    """Short answers are made likelier, long ones less likely: the mean over rows rises, and the
    perplexity of all tokens rises, too, which is worse. A comparison the wrong way round would let
    it pass."""
    counts = [2] * 30 + [100] * 10
    before = of_tokens(tiny, [4.0 * n for n in counts], counts)
    after = of_tokens(tiny, [(3.0 if n == 2 else 4.2) * n for n in counts], counts)
    rules = (
        GateRule(metric="perplexity", against="base"),
        GateRule(metric="loss", against="base", margin=-0.5),
        GateRule(metric="perplexity", at_most=80.0),
    )
    config = GateConfig(name="desk", model="desk", rules=rules)
    found = judge(config, tiny.context(), base=before, tuned=after)

    beats, worse, near, ceiling = found.rules
    assert beats.verdict == "pass"
    assert worse.verdict == "fail"
    assert worse.rule == "perplexity beside base"
    assert near.verdict == "pass"
    assert ceiling.verdict == "pass"
    assert found.verdict == "fail"
    perplexity = found.comparisons[1]
    assert perplexity.tuned == pytest.approx(math.exp((3.0 * 60 + 4.2 * 1000) / 1060))
    assert (perplexity.num_won, perplexity.num_lost) == (30, 10)
    assert "lower is better" in found.failed()


def test_models_that_cut_rows_into_other_tokens_are_not_compared_by_the_token(tiny: Any) -> None:
    before = of_tokens(tiny, [4.0] * 20, [2] * 20)
    after = of_tokens(tiny, [3.0] * 20, [3] * 20)
    rule = GateRule(metric="perplexity", against="base")

    with pytest.raises(DataError, match="into other tokens") as caught:
        judge(
            GateConfig(name="desk", model="desk", rules=(rule,)),
            tiny.context(),
            base=before,
            tuned=after,
        )
    assert "a task" in caught.value.remedy


def test_a_gate_does_not_compare_different_rows(tiny: Any) -> None:
    with pytest.raises(DataError, match="different rows"):
        judge(
            GateConfig(name="desk", model="desk"),
            tiny.context(),
            base=made_up(tiny, 10),
            tuned=made_up(tiny, 90, prefix="s"),
        )


def standing(tiny: Any, evaluation: Evaluation, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """What `judge` is given where desk@1, tuned on rows `seen`, is in production."""
    curve = tiny.blobs.put(json.dumps({"row_ids": seen}).encode())
    model = dataclasses.replace(tiny.version(tiny.blobs.put(b""), tiny.blobs.put(b"")), curve=curve)
    stands = Standing(against="production", version="desk@1", model=model)
    return {"rivals": (evaluation,), "standings": Standings(standings=(stands,))}


@pytest.mark.parametrize(
    ("production", "margin", "verdict"),
    [
        (75, 0.0, "pass"),
        (89, 0.0, "inconclusive"),
        (90, 0.0, "inconclusive"),  # never differs, which few rows do not show to be equality
        (90, -0.1, "pass"),
        (99, -0.1, "inconclusive"),
        (100, 0.0, "fail"),
    ],
)
def test_a_gate_compares_with_what_is_in_production(
    tiny: Any, production: int, margin: float, verdict: str
) -> None:
    rule = GateRule(against="production", margin=margin)
    config = GateConfig(name="desk", model="desk", rules=(rule,))
    base, tuned = made_up(tiny, 20), made_up(tiny, 90)

    result = judge(
        config, tiny.context(), base=base, tuned=tuned, **standing(tiny, made_up(tiny, production))
    )

    assert (result.verdict, result.admits) == (verdict, verdict == "pass")
    assert result.rules[0].passed
    assert result.rules[1].rule == "accuracy beside production (desk@1)"
    found = result.comparisons[1]
    assert (found.versus, found.base, found.tuned) == ("desk@1", production / 100, 0.9)
    assert (found.num_won, found.num_lost) == (max(0, 90 - production), max(0, production - 90))
    assert result.inputs["tuned"] == tuned.predictions.sha256
    assert from_plain(GateResult, to_plain(result)) == result


def test_rows_that_the_other_model_was_tuned_on_are_left_out(tiny: Any) -> None:
    """It has learnt rows 0 to 39 by heart; on the others it is wrong half the time."""
    config = GateConfig(name="desk", model="desk", rules=(GateRule(against="production"),))
    heart = tuple(f"r{row}" for row in range(40))

    result = judge(
        config,
        tiny.context(),
        base=made_up(tiny, 20),
        tuned=made_up(tiny, 90),
        **standing(tiny, made_up(tiny, 70), heart),
    )

    found = result.comparisons[1]
    assert (found.num_rows, found.num_left_out) == (60, 40)
    assert (found.base, found.tuned) == (0.5, 50 / 60)
    everything = tuple(f"r{row}" for row in range(100))
    with pytest.raises(DataError, match="no row"):
        judge(
            config,
            tiny.context(),
            base=made_up(tiny, 20),
            tuned=made_up(tiny, 90),
            **standing(tiny, made_up(tiny, 70), everything),
        )


def test_where_nothing_is_in_production_the_rule_holds_and_says_so(tiny: Any) -> None:
    config = GateConfig(name="desk", model="desk", rules=(GateRule(against="production"),))
    result = judge(config, tiny.context(), base=made_up(tiny, 20), tuned=made_up(tiny, 90))

    assert result.verdict == "pass"
    assert result.rules[1].observed == "no other version is production yet"
    assert len(result.comparisons) == 1


def test_what_becomes_of_inconclusive_is_a_setting(tiny: Any) -> None:
    config = GateConfig(name="desk", model="desk", inconclusive="pass")
    result = judge(config, tiny.context(), base=made_up(tiny, 50), tuned=made_up(tiny, 51))
    worse = judge(config, tiny.context(), base=made_up(tiny, 75), tuned=made_up(tiny, 25))

    assert (result.verdict, result.admits) == ("inconclusive", True)
    assert (worse.verdict, worse.admits) == ("fail", False)


def test_a_floor_has_the_interval_of_wilson(tiny: Any) -> None:
    """By hand of 90 right of 100: (p + z2/2n +- z sqrt(p(1-p)/n + z2/4n2)) / (1 + z2/n)."""
    rules = (GateRule(at_least=0.82), GateRule(at_least=0.83), GateRule(at_least=0.95))
    config = GateConfig(name="desk", model="desk", rules=rules)
    result = judge(config, tiny.context(), base=made_up(tiny, 20), tuned=made_up(tiny, 90))

    assert [rule.verdict for rule in result.rules[1:]] == ["pass", "inconclusive", "fail"]
    assert result.rules[1].observed == "0.9000 (0.8256 to 0.9448 at 95% confidence)"


def test_a_rule_of_a_metric_that_is_not_there_says_which_are(tiny: Any) -> None:
    config = GateConfig(name="g", model="desk", rules=(GateRule(metric="BLEU", against="base"),))
    with pytest.raises(UsageError, match="BLEU") as caught:
        judge(config, tiny.context(), base=made_up(tiny, 20), tuned=made_up(tiny, 90))
    assert "accuracy" in caught.value.remedy


def test_limits_of_suites_are_rules_of_the_gate(tiny: Any) -> None:
    dataset = tiny.dataset([], ROWS)
    base = evaluation(tiny, dataset)
    tuned = dataclasses.replace(base, subject="tuned")
    found = Range(value=0.2, low=0.1, high=0.3)
    figure = Figure(
        name="orders obeyed", base=0.2, tuned=found, difference=found, num_rows=9,
        confidence=0.95, worse="higher",
    )  # fmt: skip
    suite = SuiteResult(
        suite="orders", kind="injection", model="desk", figures=(figure,),
        examples=base.predictions, num_examples=9,
    )  # fmt: skip

    def verdict(limit: float) -> GateResult:
        limits = {"orders": {"orders obeyed": limit}}
        config = GateConfig(model="desk", beats_base_by=-1.0, suites=("orders",), limits=limits)
        return judge(config, tiny.context(), base=base, tuned=tuned, suites=(suite,))

    said = verdict(0.05)
    assert said.verdict == "fail"
    assert said.rules[-1].rule == "suite orders: orders obeyed"
    assert said.inputs["suite orders"] == base.predictions.sha256
    assert verdict(0.25).rules[-1].said == "inconclusive"
    assert verdict(0.3).verdict == "pass"
