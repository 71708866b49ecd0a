"""Several models over one base: each answers as it does alone, and PEFT is the oracle of one."""

from __future__ import annotations

import dataclasses
import json
import threading
from pathlib import Path
from typing import Any

import peft
import pytest
import safetensors.torch
import torch

from tunesmith.core.errors import DataError
from tunesmith.lm.attach import AdaptedLinear, attached, can_attach, load_version
from tunesmith.lm.chat_template import with_instruction
from tunesmith.lm.engine import Message, Sampling
from tunesmith.lm.generate import TorchEngine, torch_engines
from tunesmith.lm.load import LoadedModel, load_model
from tunesmith.lm.score import _score, score_labels, score_row
from tunesmith.records.model import ModelVersion

ASKED = (Message(role="user", content="This program is free software"),)
IDS = torch.arange(50)[None]
LABELS = ("gpl-2.0", "gpl-2.0-plus", "mit")
# peft asks transformers for a property that transformers renamed.
pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)


def version(tiny: Any, folder: Path, seed: int, **settings: Any) -> tuple[ModelVersion, Any]:
    """A model that PEFT adapted at random, and PEFT's own."""
    fields = {name: settings.pop(name) for name in ("labels", "base") if name in settings}
    config = peft.LoraConfig(r=3, lora_alpha=5, target_modules="all-linear", **settings)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        theirs = peft.get_peft_model(load_model(tiny.base, tiny.blobs).model, config).eval()
        for name, parameter in theirs.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.4)
            if "magnitude" in name:
                parameter.data *= 1 + 0.2 * torch.rand_like(parameter)
    theirs.save_pretrained(folder / str(seed), save_embedding_layers=False)
    made = tiny.version(
        tiny.blobs.put(folder / str(seed) / "adapter_model.safetensors"),
        tiny.blobs.put(folder / str(seed) / "adapter_config.json"),
        name=f"model-{seed}",
        **fields,
    )
    return made, theirs


def overlay(tiny: Any, **changes: Any) -> ModelVersion:
    head = load_model(tiny.base, tiny.blobs).model.lm_head.weight.flip(0).contiguous()
    return tiny.version(
        tiny.blobs.put(safetensors.torch.save({"lm_head.weight": head})),
        tiny.blobs.put(json.dumps({"tunesmith_type": "OVERLAY"}).encode()),
        method="head",
        **changes,
    )


def said(engine: TorchEngine, seed: int = 0, **settings: Any) -> list[str]:
    sampling = Sampling(max_tokens=24, seed=seed, **settings)
    return [piece.text for piece in engine.generate(ASKED, sampling)]


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}, {"use_dora": True}], ids=str)
def test_an_attached_adapter_computes_as_in_peft(
    tiny: Any, tmp_path: Path, settings: dict[str, Any]
) -> None:
    made, theirs = version(tiny, tmp_path, 1, **settings)
    base = load_model(tiny.base, tiny.blobs)
    plain = base.model(IDS).logits
    found = attached(base, made, tiny.blobs).model
    torch.testing.assert_close(found(IDS).logits, theirs(IDS).logits, rtol=0, atol=2e-4)
    merged = load_model(tiny.base, tiny.blobs, adapter=made).model
    torch.testing.assert_close(found(IDS).logits, merged(IDS).logits, rtol=0, atol=2e-4)
    assert (found(IDS).logits - plain).abs().max() > 0.1
    assert torch.equal(base.model(IDS).logits, plain)


def test_a_bias_of_the_base_is_not_stretched(tiny: Any, tmp_path: Path) -> None:
    """As DoRA has it: the lengths are those of the weights."""
    made, _ = version(tiny, tmp_path, 1, use_dora=True)
    base = load_model(tiny.base, tiny.blobs)
    found = attached(base, made, tiny.blobs).model
    layer = found.model.layers[0].mlp.up_proj
    x = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    without = layer(x)
    bias = torch.nn.Parameter(torch.arange(96.0), requires_grad=False)
    layer.frozen.bias = bias
    torch.testing.assert_close(layer(x), without + bias, rtol=1e-5, atol=1e-4)


def test_the_weights_of_a_base_are_in_memory_once(tiny: Any, tmp_path: Path) -> None:
    models = [version(tiny, tmp_path, seed)[0] for seed in (1, 2, 3)]
    bases: dict[str, LoadedModel] = {}
    found = [load_version(model, tiny.blobs, bases).model for model in models]
    (base,) = bases.values()
    own = {parameter.data_ptr() for parameter in base.model.parameters()}
    for model in found:
        assert {parameter.data_ptr() for parameter in model.parameters()} == own
        assert sum(isinstance(part, AdaptedLinear) for part in model.modules()) == 14
    assert not any(isinstance(part, AdaptedLinear) for part in base.model.modules())


def test_each_answers_as_it_does_alone_also_at_once(tiny: Any, tmp_path: Path) -> None:
    """To the bit, drawn answers too: nothing of one adapter is in another's answer. The last one
    has a head of its own."""
    models = [version(tiny, tmp_path, seed)[0] for seed in (1, 2)]
    models += [version(tiny, tmp_path, 3, use_dora=True)[0], overlay(tiny)]
    alone = [said(*torch_engines([model], tiny.blobs), temperature=1.0) for model in models]
    assert len({tuple(each) for each in alone}) == len(models)
    engines = torch_engines(models, tiny.blobs)
    found: list[tuple[int, list[str]]] = []

    def ask(place: int) -> None:
        found.append((place, said(engines[place], temperature=1.0)))

    threads = [threading.Thread(target=ask, args=(place,)) for place in [*range(len(models))] * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(threads)
    assert all(answer == alone[place] for place, answer in found)


def test_labels_are_served_as_they_are_evaluated_to_the_last_bit(tiny: Any, tmp_path: Path) -> None:
    made, _ = version(tiny, tmp_path, 1, labels=LABELS)
    other, _ = version(tiny, tmp_path, 2, labels=LABELS)
    evaluated = load_version(made, tiny.blobs)
    score_labels(evaluated, "Name the licence.", ["a text"], LABELS)
    served = torch_engines([other, made], tiny.blobs)[1]
    row = score_row(evaluated, with_instruction(ASKED, "Name the licence."), LABELS)
    assert torch.equal(_score(evaluated.model, [row]), _score(served._loaded.model, [row]))


def test_what_cannot_be_attached_is_loaded_apart(tiny: Any, readers: Any, tmp_path: Path) -> None:
    made, _ = version(tiny, tmp_path, 1)
    assert can_attach(made, tiny.blobs)
    whole = overlay(tiny)
    assert not can_attach(whole, tiny.blobs)
    bases: dict[str, LoadedModel] = {}
    model = load_version(whole, tiny.blobs, bases).model
    assert bases == {}
    expected = load_model(tiny.base, tiny.blobs, adapter=whole).model
    assert torch.equal(model(IDS).logits, expected(IDS).logits)
    elsewhere = dataclasses.replace(made, base=readers.zipped(tiny.folder))
    found = [load_version(each, tiny.blobs, bases).model for each in (made, elsewhere)]
    assert len(bases) == 2  # another file is another base
    one, two = (model.get_input_embeddings().weight.data_ptr() for model in found)
    assert one != two


def test_a_broken_adapter_is_refused(tiny: Any, tmp_path: Path) -> None:
    made, _ = version(tiny, tmp_path, 1)
    state = safetensors.torch.load(tiny.blobs.get(made.adapter))
    next(iter(state.values()))[0, 0] = float("inf")
    broken = dataclasses.replace(made, adapter=tiny.blobs.put(safetensors.torch.save(state)))
    with pytest.raises(DataError, match="adapter of model-1 is infinite"):
        load_version(broken, tiny.blobs)
