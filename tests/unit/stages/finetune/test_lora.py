from __future__ import annotations

import dataclasses
import json
from typing import Any

import peft
import pytest
import torch

from tunesmith.core.errors import DataError
from tunesmith.lm.adapter import merge_adapter
from tunesmith.lm.load import load_model
from tunesmith.records.model import ModelVersion
from tunesmith.stages.finetune.lora import LoraLinear, adapter_bytes, adapter_config, add_lora

LEAVES = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def tuned(tiny: Any) -> tuple[Any, dict[str, LoraLinear]]:
    """The tiny model with adapters that do something."""
    model = load_model(tiny.base, tiny.blobs).model
    layers = add_lora(model, 4, 6.0, seed=1)
    generator = torch.Generator().manual_seed(2)
    for layer in layers.values():
        layer.lora_b.data.normal_(generator=generator)
    return model, layers


def version(tiny: Any, layers: dict[str, LoraLinear]) -> ModelVersion:
    config = adapter_config(layers, 4, 6.0, "tiny")
    return tiny.version(tiny.blobs.put(adapter_bytes(layers)), tiny.blobs.put(config))


# peft asks transformers for a property that transformers renamed.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_peft_loads_the_adapter_and_agrees(tiny: Any, tmp_path: Any) -> None:
    model, layers = tuned(tiny)
    (tmp_path / "adapter_model.safetensors").write_bytes(adapter_bytes(layers))
    (tmp_path / "adapter_config.json").write_bytes(adapter_config(layers, 4, 6.0, "tiny"))
    stock = load_model(tiny.base, tiny.blobs).model
    ids = torch.arange(50)[None]

    theirs = peft.PeftModel.from_pretrained(stock, str(tmp_path)).eval()

    expected = theirs(ids).logits
    torch.testing.assert_close(model(ids).logits, expected, rtol=1e-4, atol=1e-4)
    untouched = load_model(tiny.base, tiny.blobs).model(ids).logits
    assert (expected - untouched).abs().max() > 0.1
    merged = load_model(tiny.base, tiny.blobs, adapter=version(tiny, layers)).model
    torch.testing.assert_close(merged(ids).logits, expected, rtol=1e-4, atol=1e-4)


def test_every_linear_layer_of_the_decoder_is_adapted_and_no_other(tiny: Any) -> None:
    model, layers = tuned(tiny)

    assert len(layers) == 2 * len(LEAVES)
    assert {name.rpartition(".")[2] for name in layers} == LEAVES
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert len(trained) == 2 * len(layers)
    assert all(name.endswith(("lora_a", "lora_b")) for name in trained)


def test_nothing_changes_before_the_first_step(tiny: Any) -> None:
    model = load_model(tiny.base, tiny.blobs).model
    ids = torch.arange(50)[None]
    before = model(ids).logits
    add_lora(model, 4, 6.0, seed=1)

    assert torch.equal(model(ids).logits, before)


@pytest.mark.parametrize("bias", [False, True])
def test_the_gradients_are_those_of_autograd(bias: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    frozen = torch.nn.Linear(6, 5, bias=bias).double().requires_grad_(False)
    layer = LoraLinear(frozen, 3, 0.7, generator)
    layer.lora_b.data.normal_(generator=generator)
    x = torch.randn(2, 4, 6, dtype=torch.float64, generator=generator, requires_grad=True)

    out = layer(x)
    plain = frozen(x) + 0.7 * x @ layer.lora_a.t() @ layer.lora_b.t()

    torch.testing.assert_close(out, plain, rtol=0, atol=1e-12)
    wanted = (x, layer.lora_a, layer.lora_b)
    for found, expected in zip(
        torch.autograd.grad(out.square().sum(), wanted),
        torch.autograd.grad(plain.square().sum(), wanted),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_an_adapter_of_another_model_is_refused(tiny: Any) -> None:
    _, layers = tuned(tiny)
    strange = {name.replace("layers.1", "layers.7"): layer for name, layer in layers.items()}
    model = load_model(tiny.base, tiny.blobs).model
    with pytest.raises(DataError, match=r"layers\.7"):
        merge_adapter(model, adapter_bytes(strange), adapter_config(strange, 4, 6.0, "tiny"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"peft_type": "LOHA"}, "are not read here"),
        ({"alpha_pattern": {"q_proj": 3}}, "are not read here"),
        ({"use_dora": True}, "something other than .* lora_magnitude_vector"),
        ({"r": 8}, "tensors of other shapes"),
    ],
)
def test_an_adapter_of_another_kind_is_refused(
    tiny: Any, change: dict[str, Any], said: str
) -> None:
    _, layers = tuned(tiny)
    config = json.loads(adapter_config(layers, 4, 6.0, "tiny")) | change
    other = dataclasses.replace(
        version(tiny, layers), adapter_config=tiny.blobs.put(json.dumps(config).encode())
    )
    with pytest.raises(DataError, match=said):
        load_model(tiny.base, tiny.blobs, adapter=other)
