from __future__ import annotations

import json
from typing import Any

import peft
import pytest
import safetensors.torch
import torch

from tunesmith.core.errors import DataError
from tunesmith.lm.adapter import merge_adapter
from tunesmith.lm.attach import attached
from tunesmith.lm.load import load_model

IDS = torch.arange(50)[None]
# peft asks transformers for a property that transformers renamed.
pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)


def load(tiny: Any) -> Any:
    return load_model(tiny.base, tiny.blobs).model.double()


def made_by_peft(tiny: Any, folder: Any, **settings: Any) -> tuple[bytes, bytes, torch.Tensor]:
    """An adapter that PEFT made and saved, and the logits of PEFT's model."""
    config = peft.LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj", "down_proj"], **settings)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = peft.get_peft_model(load(tiny), config).double().eval()
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder, save_embedding_layers=False)
    return (
        (folder / "adapter_model.safetensors").read_bytes(),
        (folder / "adapter_config.json").read_bytes(),
        model(IDS).logits,
    )


def state(model: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_untouched(model: Any, before: dict[str, torch.Tensor]) -> None:
    after = model.state_dict()
    assert set(after) == set(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert model.lm_head.weight is model.model.embed_tokens.weight


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_rslora": True},
        {"use_dora": True},
        {"use_dora": True, "use_rslora": True},
        {"layers_to_transform": [1]},
    ],
    ids=str,
)
def test_an_adapter_that_peft_made_is_merged_as_peft_computes_it(
    tiny: Any, tmp_path: Any, settings: dict[str, Any]
) -> None:
    tensors, config, expected = made_by_peft(tiny, tmp_path, **settings)
    model = load(tiny)
    merge_adapter(model, tensors, config)

    torch.testing.assert_close(model(IDS).logits, expected, rtol=0, atol=1e-10)
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("settings", [{}, {"use_dora": True}], ids=str)
def test_an_adapter_stored_in_another_type_is_computed_in_the_models(
    tiny: Any, tmp_path: Any, stored: torch.dtype, settings: dict[str, Any]
) -> None:
    """Defect 29: in float32 here, as PEFT does with the same file; the product is not rounded."""
    tensors, config, _ = made_by_peft(tiny, tmp_path, **settings)
    halved = {name: t.to(stored) for name, t in safetensors.torch.load(tensors).items()}
    data = safetensors.torch.save(halved, metadata={"format": "pt"})
    (tmp_path / "adapter_model.safetensors").write_bytes(data)
    theirs = peft.PeftModel.from_pretrained(load_model(tiny.base, tiny.blobs).model, tmp_path)
    merged = load_model(tiny.base, tiny.blobs).model
    merge_adapter(merged, data, config)
    version = tiny.version(tiny.blobs.put(data), tiny.blobs.put(config))
    beside = attached(load_model(tiny.base, tiny.blobs), version, tiny.blobs).model

    for model in (merged, beside):
        kinds = {tensor.dtype for tensor in [*model.parameters(), *model.buffers()]}
        assert kinds == {torch.float32}
        torch.testing.assert_close(model(IDS).logits, theirs(IDS).logits, rtol=0, atol=1e-4)


LAST = "base_model.model.model.layers.1.self_attn.q_proj"


def rename(tensors: dict[str, torch.Tensor]) -> None:
    for part in ("lora_A.weight", "lora_B.weight", "lora_magnitude_vector"):
        tensors[f"{LAST.replace('.1.', '.7.')}.{part}"] = tensors.pop(f"{LAST}.{part}")


def cut(tensors: dict[str, torch.Tensor]) -> None:
    tensors[f"{LAST}.lora_B.weight"] = tensors[f"{LAST}.lora_B.weight"][1:].contiguous()


def drop(tensors: dict[str, torch.Tensor]) -> None:
    del tensors[f"{LAST}.lora_magnitude_vector"]


def break_off(tensors: dict[str, torch.Tensor]) -> None:
    tensors[f"{LAST}.lora_A.weight"][0, 0] = float("nan")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rename, r"another model: no linear layer .*layers\.7"),
        (cut, r"another model: tensors of other shapes"),
        (drop, "something other than"),
        (break_off, r"merging makes .*layers\.1.* not a number"),
        (dict.clear, "is empty"),
    ],
)
def test_a_failed_merge_changes_nothing(tiny: Any, tmp_path: Any, change: Any, said: str) -> None:
    """Defect 30."""
    tensors, config, _ = made_by_peft(tiny, tmp_path, use_dora=True)
    broken = safetensors.torch.load(tensors)
    change(broken)
    model = load(tiny)
    before = state(model)

    with pytest.raises(DataError, match=said):
        merge_adapter(model, safetensors.torch.save(broken), config)
    assert_untouched(model, before)


OVERLAY = json.dumps({"tunesmith_type": "OVERLAY"}).encode()


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        ("model.layers.7.mlp.up_proj.weight", torch.zeros(96, 64), r"no parameter .*layers\.7"),
        ("model.norm.weight", torch.zeros(65), r"no parameter .* of shape \(65,\)"),
        ("model.norm.weight", torch.full((64,), torch.inf), "infinite"),
    ],
)
def test_a_failed_overlay_changes_nothing(
    tiny: Any, name: str, tensor: torch.Tensor, said: str
) -> None:
    """Defect 30; the head stays tied too."""
    model = load(tiny)
    before = state(model)
    overlay = {"lm_head.weight": torch.zeros(before["lm_head.weight"].shape), name: tensor}

    with pytest.raises(DataError, match=said):
        merge_adapter(model, safetensors.torch.save(overlay), OVERLAY)
    assert_untouched(model, before)


def test_an_overlay_with_a_head_unties_it(tiny: Any) -> None:
    """Defect 26: the embeddings are not written over."""
    model = load(tiny)
    embeddings = model.model.embed_tokens.weight.clone()
    head = torch.ones(embeddings.shape)

    merge_adapter(model, safetensors.torch.save({"lm_head.weight": head}), OVERLAY)

    assert torch.equal(model.model.embed_tokens.weight, embeddings)
    assert torch.equal(model.lm_head.weight, head.double())
    assert model.config.tie_word_embeddings is False
    assert not model.lm_head.weight.requires_grad
