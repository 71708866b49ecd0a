"""A LoRA adapter as a GGUF file, as llama.cpp's `convert_lora_to_gguf.py` lays it out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import safetensors.torch
import torch

from tunesmith.core.errors import DataError
from tunesmith.lm.adapter import PREFIX, scaling_of
from tunesmith.lm.gguf import PARTS, deinterleaved, interleaved
from tunesmith.lm.gguf_write import architecture_of, gguf_name, heads_of

LOW, HIGH = ".lora_a", ".lora_b"


def write_adapter(path: Path, model_config: Any, tensors: bytes, config: bytes, name: str) -> None:
    """Write PEFT's `tensors` (adapter_model.safetensors) in float32 to `path`.

    `model_config` is transformers' configuration of the base model, `config` PEFT's
    adapter_config.json. llama.cpp scales by alpha / rank whatever the file was tuned with, so that
    alpha is written with which this comes to the factor of the tuning.

    Raises:
        DataError: the adapter is not LoRA on the linear layers of the decoder alone.
    """
    state = safetensors.torch.load(tensors)
    modules = sorted(key.removesuffix(".lora_A.weight") for key in state if ".lora_A." in key)
    ranks = {state[f"{module}.lora_A.weight"].shape[0] for module in modules}
    written = [gguf_name(f"{module.removeprefix(PREFIX)}.weight") for module in modules]
    blocks = all(each.startswith("blk.") for each in written)
    if len(ranks) != 1 or 2 * len(modules) != len(state) or not blocks:
        raise DataError(
            "a GGUF adapter holds pairs of lora_a and lora_b of one rank, of the decoder's layers",
            remedy='export the model as "gguf", or as "adapter"',
        )
    heads = heads_of(model_config)
    writer = gguf.GGUFWriter(path, architecture_of(model_config))
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_name(name)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, scaling_of(json.loads(config)) * ranks.pop())
    for module, tensor in zip(modules, written, strict=True):
        low = state[f"{module}.lora_A.weight"].float().numpy()
        high = state[f"{module}.lora_B.weight"].float().numpy()
        writer.add_tensor(tensor + LOW, low)
        writer.add_tensor(tensor + HIGH, interleaved(high, heads.get(tensor.split(".")[-2], 0)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def merge_gguf_adapter(model: Any, path: Path) -> None:
    """Add the adapter in the GGUF file at `path` to the weights of `model`, as llama.cpp does."""
    reader = gguf.GGUFReader(path)
    field = reader.get_field(gguf.Keys.Adapter.LORA_ALPHA)
    assert field is not None
    alpha = float(field.contents())
    found = {tensor.name: tensor.data for tensor in reader.tensors}
    heads = heads_of(model.config)
    with torch.no_grad():
        for name in found:
            if not name.endswith(LOW):
                continue
            stem = name.removesuffix(LOW)
            _, layer, part, _ = stem.split(".")
            high = deinterleaved(found[stem + HIGH], heads.get(part, 0))
            low = torch.tensor(found[name])
            linear = model.get_submodule(f"model.layers.{layer}.{PARTS[part]}")
            linear.weight += alpha / low.shape[0] * (torch.tensor(high) @ low)
