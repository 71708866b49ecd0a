from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any

import peft
import pytest
import torch
import transformers

from tunesmith.core.errors import ConfigError
from tunesmith.lm.adapter import merge_adapter
from tunesmith.lm.attention import attend_by_document
from tunesmith.lm.build import build
from tunesmith.lm.example import Example, MicroBatch, pack
from tunesmith.lm.load import load_model
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.loop import accumulate
from tunesmith.stages.finetune.objectives.answers import Answers
from tunesmith.stages.finetune.optimiser import make_optimiser
from tunesmith.stages.finetune.trained import Trained, prepare, trained_bytes, trained_config

IDS = torch.arange(50)[None]
TEXTS = [
    ("Permission is hereby granted.", "mit"),
    ("This program is free software.", "gpl-2.0-plus"),
    ("Licensed under the Apache License", "apache-2.0"),
    ("", "mit"),
]
NORM = "model.norm.weight"
EMBEDDINGS = "model.embed_tokens.weight"
CASES: list[dict[str, Any]] = [
    {"method": "lora"},
    {"method": "lora", "layers": 1},
    {"method": "dora"},
    {"method": "dora", "layers": 1},
    {"method": "full"},
    {"method": "full", "layers": 1},
    {"method": "full", "layers": 2},
    {"method": "head"},
]

LossBy = Callable[[Any], Callable[[MicroBatch], torch.Tensor]]
Tune = Callable[..., Trained]


def name_of(case: dict[str, Any]) -> str:
    return "-".join(str(value) for value in case.values())


methods = pytest.mark.parametrize("settings", CASES, ids=name_of)
methods_of_peft = pytest.mark.parametrize("settings", CASES[:4], ids=name_of)
methods_of_ours = pytest.mark.parametrize("settings", CASES[4:], ids=name_of)


@pytest.fixture
def rows(read: Callable[..., list[Example]]) -> list[Example]:
    return read(TEXTS)


def make_config(settings: dict[str, Any]) -> ModelConfig:
    rate = 1e-2 if settings["method"] in ("lora", "dora") else 1e-3
    return ModelConfig(base="b", dataset="d", batch_rows=4, learning_rate=rate, **settings)


def load(tiny: Any, tied: bool = True) -> Any:
    """The tiny model in float64, or one like it whose head is a matrix of its own."""
    model = load_model(tiny.base, tiny.blobs).model
    if not tied:
        tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        tensors["lm_head.weight"] = tensors["lm_head.weight"].flip(0)
        model = build(model.config.to_dict() | {"tie_word_embeddings": False}, tensors)
    return model.double().requires_grad_(True)  # as transformers makes them


@pytest.fixture
def tune(rows: list[Example], objective: Answers, loss_by: LossBy) -> Tune:
    """What is trained, after some steps of the real loss on all rows."""

    def tuned(model: Any, settings: dict[str, Any], steps: int = 3) -> Trained:
        attend_by_document(model)
        config = make_config(settings)
        trained = prepare(model, config, seed=1)
        optimiser = make_optimiser(trained.parameters, config)
        for _ in range(steps):
            accumulate(objective, loss_by(model), rows)
            optimiser.step()
            optimiser.zero_grad()
        return trained

    return tuned


def hashes(model: Any) -> dict[str, str]:
    """A digest of every parameter by its name in the untouched model."""
    return {
        name.replace(".frozen.", "."): hashlib.sha256(p.detach().numpy().tobytes()).hexdigest()
        for name, p in model.named_parameters(remove_duplicate=False)
    }


def expected_names(settings: dict[str, Any], tied: bool) -> set[str]:
    """What the overlay of a model of two layers should hold."""
    leaves = [f"self_attn.{x}_proj" for x in "qkvo"] + [
        f"mlp.{x}_proj" for x in ("gate", "up", "down")
    ]
    leaves += ["input_layernorm", "post_attention_layernorm"]
    layers = settings.get("layers", 0)
    if settings["method"] == "head":
        return {"lm_head.weight"}
    names = {f"model.layers.{i}.{x}.weight" for i in range(2 - (layers or 2), 2) for x in leaves}
    edges = {EMBEDDINGS} if tied else {EMBEDDINGS, "lm_head.weight"}
    return names | {NORM} | (set() if layers else edges)


@methods
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_what_is_trained_moves_and_nothing_else_does(
    tiny: Any, tune: Tune, settings: dict[str, Any], tied: bool
) -> None:
    """Defect 32."""
    model = load(tiny, tied)
    before = hashes(model)
    trained = tune(model, settings)
    after = hashes(model)

    needing = [p for p in model.parameters() if p.requires_grad]
    assert {id(p) for p in trained.parameters} == {id(p) for p in needing}
    moved = {name for name in before if after[name] != before[name]}
    if trained.adapters:
        assert moved == set()
    else:
        names = expected_names(settings, tied)
        assert set(trained.overlay) == names
        shared = {"lm_head.weight"} if tied and EMBEDDINGS in names else set()
        assert moved == names | shared


@pytest.mark.parametrize("method", ["lora", "dora"])
@pytest.mark.parametrize("layers", [0, 1])
def test_every_b_is_touched_by_the_first_step(
    tiny: Any, tune: Tune, method: str, layers: int
) -> None:
    """Defect 31."""
    trained = tune(load(tiny), {"method": method, "layers": layers}, steps=1)

    assert len(trained.adapters) == 7 * (layers or 2)
    assert all(bool(layer.lora_b.all()) for layer in trained.adapters.values())


@methods
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_what_is_saved_and_merged_is_what_was_trained(
    tiny: Any, tune: Tune, settings: dict[str, Any], tied: bool, tmp_path: Any
) -> None:
    """Defects 26 and 28: merge, save, load with stock transformers; the logits stay."""
    tuned = load(tiny, tied)
    trained = tune(tuned, settings)
    tuned.config._attn_implementation = "sdpa"
    merged = load(tiny, tied)
    untouched = merged(IDS).logits

    config = trained_config(trained, make_config(settings), tiny.base)
    merge_adapter(merged, trained_bytes(trained), config)

    expected = tuned(IDS).logits
    assert (expected - untouched).abs().max() > 1e-3
    torch.testing.assert_close(merged(IDS).logits, expected, rtol=0, atol=1e-10)
    merged.save_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float64)
    torch.testing.assert_close(again.eval()(IDS).logits, expected, rtol=0, atol=1e-10)


@methods
def test_no_gradient_goes_below_the_lowest_trained_layer(
    tiny: Any, rows: list[Example], loss_by: LossBy, settings: dict[str, Any]
) -> None:
    model = load(tiny)
    attend_by_document(model)
    trained = prepare(model, make_config(settings), seed=1)
    entering: dict[int, torch.Tensor] = {}
    for index, part in enumerate([*model.model.layers, model.model.norm]):
        part.register_forward_pre_hook(
            lambda _part, args, kwargs, index=index: entering.update(
                {index: args[0] if args else kwargs["hidden_states"]}
            ),
            with_kwargs=True,
        )

    loss = loss_by(model)(pack(rows))

    layers = settings.get("layers", 0)
    lowest = 2 if settings["method"] == "head" else 2 - (layers or 2)
    assert trained.lowest_layer == lowest
    all_of_it = settings == {"method": "full"}  # the embeddings too
    assert [entering[index].grad_fn is None for index in range(3)] == [
        index <= lowest and not all_of_it for index in range(3)
    ]
    assert loss.grad_fn is not None


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@methods_of_ours
def test_the_gradients_are_those_of_transformers(
    tiny: Any, rows: list[Example], loss_by: LossBy, settings: dict[str, Any], tied: bool
) -> None:
    """A tied matrix gets the gradient of both uses."""
    model = load(tiny, tied)
    attend_by_document(model)
    parameters = prepare(model, make_config(settings), seed=1).parameters
    found = torch.autograd.grad(loss_by(model)(pack(rows)), parameters)

    model.config._attn_implementation = "sdpa"
    loss = torch.zeros((), dtype=torch.float64)
    for row in rows:
        (answer,) = row.answers
        ids = torch.tensor([row.prompt + answer.ids])
        logits = model(ids).logits[0, len(row.prompt) - 1 : -1]
        labels = torch.tensor(answer.ids)
        loss = loss + torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
    for one, other in zip(found, torch.autograd.grad(loss, parameters), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


# peft asks transformers for a property that transformers renamed.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@methods_of_peft
def test_peft_loads_what_is_saved_onto_the_same_layers(
    tiny: Any, tune: Tune, settings: dict[str, Any], tmp_path: Any
) -> None:
    tuned = load(tiny)
    trained = tune(tuned, settings)
    tuned.config._attn_implementation = "sdpa"
    (tmp_path / "adapter_model.safetensors").write_bytes(trained_bytes(trained))
    config = trained_config(trained, make_config(settings), tiny.base)
    (tmp_path / "adapter_config.json").write_bytes(config)

    theirs = peft.PeftModel.from_pretrained(load(tiny), str(tmp_path)).eval()

    torch.testing.assert_close(theirs(IDS).logits, tuned(IDS).logits, rtol=0, atol=1e-10)
    wrapped = {name for name, part in theirs.named_modules() if hasattr(part, "lora_A")}
    assert wrapped == {f"base_model.model.{name}" for name in trained.adapters}


@pytest.mark.parametrize("method", ["lora", "dora"])
@pytest.mark.parametrize("rank", [1, 4, 9])
def test_adapters_are_scaled_by_alpha_over_the_root_of_the_rank(
    tiny: Any, method: str, rank: int
) -> None:
    settings = {"method": method, "rank": rank, "alpha": 6.0}
    trained = prepare(load(tiny), make_config(settings), seed=1)

    assert {layer.scaling for layer in trained.adapters.values()} == {6.0 / math.sqrt(rank)}


def test_more_layers_than_there_are_is_an_error(tiny: Any) -> None:
    config = ModelConfig(name="desk", base="b", dataset="d", layers=3)
    with pytest.raises(ConfigError, match=r"model\.desk\.layers: the base model has 2 layers"):
        prepare(load(tiny), config, seed=1)
