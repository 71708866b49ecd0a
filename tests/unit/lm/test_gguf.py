from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
import pytest
import torch
import transformers

from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.errors import DataError
from tunesmith.lm.gguf import config_of, read_header, tensors_of
from tunesmith.lm.load import load_model, load_tokenizer
from tunesmith.lm.size import num_layers
from tunesmith.records.model import BaseModel

if TYPE_CHECKING:
    from pathlib import Path

NAMES = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)


def interleave(weight: np.ndarray, num_heads: int) -> np.ndarray:
    """What llama.cpp's converter does to the query and key weights of a Llama."""
    split = weight.reshape(num_heads, 2, weight.shape[0] // num_heads // 2, *weight.shape[1:])
    return split.swapaxes(1, 2).reshape(weight.shape)


def write_gguf(path: Path, model: Any, folder: Path, kind: gguf.GGMLQuantizationType) -> None:
    """`model` as a GGUF file; its matrices quantised as `kind`."""
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    saved = json.loads((folder / "tokenizer.json").read_text())
    vocab = saved["model"]["vocab"]
    tokens = sorted(vocab, key=vocab.__getitem__)
    special = {token["content"] for token in saved["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in saved["model"]["merges"]])
    writer.add_bos_token_id(vocab["<|im_start|>"])
    writer.add_eos_token_id(vocab["<|im_end|>"])
    template = json.loads((folder / "tokenizer_config.json").read_text())["chat_template"]
    writer.add_chat_template(template)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        array = tensor.numpy()
        leaf = name.split(".")[-2]
        if leaf in heads:
            array = interleave(array, heads[leaf])
        written = NAMES.get_name(name, try_suffixes=(".weight",))
        if array.ndim == 2 and kind != gguf.GGMLQuantizationType.F32:
            writer.add_tensor(written, gguf.quants.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(written, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def stock(tiny_folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32)


def base_of(path: Path, blobs: FolderBlobs) -> BaseModel:
    return BaseModel(
        name="tiny", origin="file", licence="x", weights=blobs.put(path), format="gguf"
    )


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "Q4_1"])
def test_a_model_read_from_gguf_is_the_one_that_was_written(
    tmp_path: Path, tiny_folder: Path, stock: Any, kind: str
) -> None:
    quantisation = gguf.GGMLQuantizationType[kind]
    write_gguf(tmp_path / "tiny.gguf", stock, tiny_folder, quantisation)
    blobs = FolderBlobs(tmp_path / "blobs")
    base = base_of(tmp_path / "tiny.gguf", blobs)

    loaded = load_model(base, blobs)

    expected = stock.state_dict()
    for name, tensor in loaded.model.state_dict().items():
        wanted = expected[name].numpy()
        if wanted.ndim == 2 and kind != "F32":
            # Rows of a head are moved whole, and quantised in blocks along the row.
            blocks = gguf.quants.quantize(wanted, quantisation)
            wanted = gguf.quants.dequantize(blocks, quantisation)
        np.testing.assert_array_equal(tensor.numpy(), wanted, err_msg=name)
    assert loaded.context_length == stock.config.max_position_embeddings
    assert loaded.num_parameters == sum(p.numel() for p in stock.parameters())
    assert not loaded.model.training
    tokens = torch.tensor([load_tokenizer(base, blobs).encode("Name the licence, 2007.")])
    if kind == "F32":
        torch.testing.assert_close(loaded.model(tokens).logits, stock(tokens).logits)


def test_a_damaged_file_is_refused_wherever_it_ends(
    tmp_path: Path, tiny_folder: Path, stock: Any
) -> None:
    whole = tmp_path / "whole.gguf"
    write_gguf(whole, stock, tiny_folder, gguf.GGMLQuantizationType.Q8_0)
    data = whole.read_bytes()
    broken = tmp_path / "broken.gguf"
    for end in [1, 4, 23, 100, *range(1000, len(data) - 64, 7001)]:
        broken.write_bytes(data[:end])
        with pytest.raises(DataError):
            list(tensors_of(read_header(broken)))
    broken.write_bytes(b"GGML" + data[4:])
    with pytest.raises(DataError, match="does not start with GGUF"):
        read_header(broken)


@pytest.mark.parametrize("scaled", [False, True])
def test_what_would_be_read_wrongly_is_refused(tmp_path: Path, scaled: bool) -> None:
    writer = gguf.GGUFWriter(tmp_path / "other.gguf", "llama" if scaled else "mamba")
    if scaled:
        writer.add_embedding_length(8)
        writer.add_head_count(2)
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_token_list(["a"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    with pytest.raises(DataError, match="rotary" if scaled else "mamba"):
        config_of(read_header(tmp_path / "other.gguf"))


def test_random_weights_take_the_place_of_all_that_a_file_holds(
    tiny_folder: Path, stock: Any, tmp_path: Path
) -> None:
    path = tmp_path / "tiny.gguf"
    write_gguf(path, stock, tiny_folder, gguf.GGMLQuantizationType.F32)
    blobs = FolderBlobs(tmp_path / "blobs")
    base = base_of(path, blobs)
    read = load_model(base, blobs).model.state_dict()
    drawn = load_model(base, blobs, drawn_from=1).model.state_dict()

    assert {n: t.shape for n, t in drawn.items()} == {n: t.shape for n, t in read.items()}
    same = {name for name, tensor in drawn.items() if tensor.allclose(read[name], atol=1e-3)}
    assert all("norm" in name for name in same)
    assert num_layers(base, blobs) == stock.config.num_hidden_layers
