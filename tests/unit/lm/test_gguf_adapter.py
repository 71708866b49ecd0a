from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from safetensors.torch import save

from tunesmith.core.errors import DataError
from tunesmith.lm.adapter import merge_adapter
from tunesmith.lm.gguf_adapter import merge_gguf_adapter, write_adapter
from tunesmith.lm.load import load_model

QUERY = "base_model.model.model.layers.1.self_attn.q_proj"
DOWN = "base_model.model.model.layers.0.mlp.down_proj"
HEAD = "base_model.model.lm_head"
CONFIG = {"peft_type": "LORA", "r": 4, "lora_alpha": 6, "use_rslora": True}


def pair(module: str, out: int, into: int, rank: int = 4) -> dict[str, torch.Tensor]:
    """Random tensors of one layer's adapter."""
    generator = torch.Generator().manual_seed(out + into)
    return {
        f"{module}.lora_A.weight": torch.randn(rank, into, generator=generator),
        f"{module}.lora_B.weight": torch.randn(out, rank, generator=generator),
    }


@pytest.mark.parametrize("stabilised", [True, False])
def test_it_merges_to_what_peft_does(tiny: Any, tmp_path: Path, stabilised: bool) -> None:
    """llama.cpp scales by alpha / rank; a rank-stabilised factor is folded into alpha."""
    tensors = save(pair(QUERY, 64, 64) | pair(DOWN, 64, 96))
    config = json.dumps(CONFIG | {"use_rslora": stabilised}).encode()
    expected, found = (load_model(tiny.base, tiny.blobs).model for _ in range(2))
    merge_adapter(expected, tensors, config)
    path = tmp_path / "a.gguf"

    write_adapter(path, found.config, tensors, config, "desk")
    merge_gguf_adapter(found, path)

    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], tensor, atol=1e-5, rtol=1e-5)
    reader = gguf.GGUFReader(path)
    assert reader.get_field("general.type").contents() == "adapter"  # type: ignore[union-attr]
    assert reader.get_field("adapter.type").contents() == "lora"  # type: ignore[union-attr]
    alpha = reader.get_field("adapter.lora.alpha").contents()  # type: ignore[union-attr]
    assert alpha == pytest.approx(12.0 if stabilised else 6.0)
    shapes = {tensor.name: list(tensor.shape) for tensor in reader.tensors}
    assert shapes["blk.0.ffn_down.weight.lora_a"] == [96, 4]
    assert shapes["blk.0.ffn_down.weight.lora_b"] == [4, 64]
    assert len(shapes) == 4


@pytest.mark.parametrize(
    "tensors",
    [
        pair(HEAD, 376, 64),  # defect 26: the head is the embedding matrix
        pair(QUERY, 64, 64) | pair(DOWN, 64, 96, rank=2),
        {**pair(QUERY, 64, 64), f"{QUERY}.lora_magnitude_vector": torch.ones(64)},
        {},
    ],
)
def test_what_llama_cpp_would_take_otherwise_is_refused(
    tiny: Any, tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    config = load_model(tiny.base, tiny.blobs).model.config
    with pytest.raises(DataError, match="of one rank, of the decoder's layers"):
        write_adapter(tmp_path / "a.gguf", config, save(tensors), json.dumps(CONFIG).encode(), "x")
