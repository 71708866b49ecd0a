from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers
from gguf import GGMLQuantizationType as Kind
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.core.errors import DataError
from tunesmith.lm.build import build
from tunesmith.lm.gguf import config_of, deinterleaved, interleaved, read_header, tensors_of
from tunesmith.lm.gguf_write import gguf_name, heads_of, kind_of, write_model

VOCAB = 48
TOKENIZER = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.tokens": [f"t{number}" for number in range(VOCAB)],
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.add_bos_token": False,
}
LLAMA = transformers.LlamaConfig
QWEN2 = transformers.Qwen2Config
QWEN3 = transformers.Qwen3Config


def random_model(config: type[Any] = LLAMA, *, tied: bool = True, ffn: int = 96) -> Any:
    """A random two-layer model of one of the architectures; biases and norms are random too."""
    settings = config(
        vocab_size=VOCAB,
        hidden_size=64,
        intermediate_size=ffn,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=128,
        tie_word_embeddings=tied,
        rope_parameters={"rope_type": "default", "rope_theta": 54321.0},
        rms_norm_eps=1e-5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(settings)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval().requires_grad_(False)


def reread(path: Path) -> Any:
    """The model in the file, by our own reader."""
    header = read_header(path)
    tensors = {name: torch.from_numpy(array) for name, array in tensors_of(header)}
    return build(config_of(header), tensors)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("config", [LLAMA, QWEN2, QWEN3])
def test_float32_comes_back_bit_by_bit(tmp_path: Path, config: Any, tied: bool) -> None:
    """Tied and untied heads alike (defect 26)."""
    model = random_model(config, tied=tied)
    seen = []
    path = tmp_path / "m.gguf"
    write_model(
        path, model, TOKENIZER, name="m", quantisation="f32", done=lambda *of: seen.append(of)
    )

    again = reread(path)

    expected = model.state_dict()
    found = again.state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name
    ids = torch.arange(40)[None]
    assert torch.equal(again(ids).logits, model(ids).logits)
    assert again.config.rope_parameters["rope_theta"] == 54321.0
    assert again.config.max_position_embeddings == 128
    assert seen[-1] == (len(seen), len(seen))


def test_a_head_that_was_untied_since_is_written(tmp_path: Path) -> None:
    """Defect 26: the configuration says tied, the weights are not."""
    model = random_model(tied=True)
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight + 1, requires_grad=False)
    write_model(tmp_path / "m.gguf", model, TOKENIZER, name="m", quantisation="f32")

    ids = torch.arange(10)[None]
    assert torch.equal(reread(tmp_path / "m.gguf")(ids).logits, model(ids).logits)


@pytest.mark.parametrize(("quantisation", "levels"), [("f16", 2**11), ("q8_0", 254), ("q4_0", 14)])
def test_what_is_lost_is_half_a_level(tmp_path: Path, quantisation: str, levels: int) -> None:
    model = random_model(tied=False)
    write_model(tmp_path / "m.gguf", model, TOKENIZER, name="m", quantisation=quantisation)

    found = reread(tmp_path / "m.gguf").state_dict()

    for name, tensor in model.state_dict().items():
        error = (found[name] - tensor).abs()
        if tensor.dim() == 1:
            assert float(error.max()) == 0, "norms stay float32"
            continue
        blocks = tensor.reshape(-1, 32).abs().amax(dim=1)
        finer = 254 if quantisation == "q4_0" and name == "lm_head.weight" else levels
        # A level of q4_0 is an eighth of the largest; the other end of the scale loses up to one.
        bound = blocks * (2 if finer == 14 else 1) / finer * 1.2
        assert bool((error.reshape(-1, 32).amax(dim=1) <= bound + 1e-6).all()), name
        assert float(error.max()) > 0


def test_the_gguf_package_reads_the_metadata(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write_model(path, random_model(), TOKENIZER, name="desk", quantisation="q8_0")
    reader = gguf.GGUFReader(path)

    def value(key: str) -> Any:
        field = reader.get_field(key)
        assert field is not None, key
        return field.contents()

    assert value("general.architecture") == "llama"
    assert value("general.type") == "model"
    assert value("general.name") == "desk"
    assert value("general.file_type") == 7
    assert value("llama.rope.dimension_count") == 16
    assert value("llama.attention.head_count_kv") == 2
    assert value("tokenizer.ggml.tokens") == TOKENIZER["tokenizer.ggml.tokens"]
    assert value("tokenizer.ggml.add_bos_token") is False
    kinds = {tensor.name: tensor.tensor_type for tensor in reader.tensors}
    assert kinds["blk.1.ffn_down.weight"] == Kind.Q8_0
    assert kinds["blk.1.ffn_norm.weight"] == Kind.F32
    assert "output.weight" not in kinds


def test_names_are_those_of_llama_cpp() -> None:
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)
    for name in random_model(QWEN3, tied=False).state_dict():
        if "_norm" not in name or "layernorm" in name:
            assert gguf_name(name) == names.get_name(name, try_suffixes=(".weight",))
    with pytest.raises(DataError, match="no place"):
        gguf_name("model.layers.0.self_attn.sinks.weight")


@pytest.mark.parametrize(
    ("name", "shape", "quantisation", "tied", "kind"),
    [
        ("blk.0.ffn_up.weight", (8, 64), "q4_0", True, Kind.Q4_0),
        ("blk.0.ffn_up.weight", (8, 40), "q4_0", True, Kind.F16),
        ("blk.0.ffn_up.weight", (8, 40), "q8_0", True, Kind.F16),
        ("blk.0.attn_q.bias", (64,), "q8_0", True, Kind.F32),
        ("token_embd.weight", (48, 64), "q4_0", True, Kind.Q8_0),
        ("token_embd.weight", (48, 64), "q4_0", False, Kind.Q4_0),
        ("output.weight", (48, 64), "q4_0", False, Kind.Q8_0),
    ],
)
def test_what_does_not_fit_falls_back(
    name: str, shape: tuple[int, ...], quantisation: str, tied: bool, kind: Kind
) -> None:
    assert kind_of(name, shape, quantisation, tied) == kind


def test_odd_rows_are_written_in_half_precision(tmp_path: Path) -> None:
    model = random_model(ffn=40)
    write_model(tmp_path / "m.gguf", model, TOKENIZER, name="m", quantisation="q4_0")

    found = reread(tmp_path / "m.gguf").state_dict()
    down = model.state_dict()["model.layers.0.mlp.down_proj.weight"]
    assert torch.equal(found["model.layers.0.mlp.down_proj.weight"], down.half().float())


@given(num_heads=st.integers(1, 5), half=st.integers(1, 4), width=st.integers(0, 3))
def test_interleaving_can_be_undone(num_heads: int, half: int, width: int) -> None:
    shape = (num_heads * 2 * half, *([width] if width else []))
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    once = interleaved(array, num_heads)
    assert np.array_equal(deinterleaved(once, num_heads), array)
    # Within a head, row 2i is the old row i, and row 2i + 1 is its partner in the second half.
    assert np.array_equal(once[0], array[0])
    assert np.array_equal(once[1], array[half])


def test_only_llama_is_interleaved() -> None:
    assert heads_of(random_model().config) == {"attn_q": 4, "attn_k": 2}
    assert heads_of(random_model(QWEN2).config) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}},
        {"hidden_act": "gelu"},
        {"layer_types": ["full_attention", "sliding_attention"]},
        {"model_type": "gpt2"},
    ],
)
def test_what_would_be_written_wrongly_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    model = random_model(QWEN2)
    for name, value in change.items():
        if name == "model_type":
            type(model.config).model_type, before = value, type(model.config).model_type
        else:
            setattr(model.config, name, value)
    try:
        with pytest.raises(DataError, match="cannot be written as GGUF"):
            write_model(tmp_path / "m.gguf", model, TOKENIZER, name="m", quantisation="f32")
    finally:
        if "model_type" in change:
            type(model.config).model_type = before
