"""Writing a model as one GGUF file: the inverse of `lm.gguf`.

Matrices are quantised, norms and biases stay float32. Which matrix is quantised how follows
llama.cpp's `llama-quantize`: rows that do not fill whole blocks are kept in float16, and at four
bits the output head is finer than the rest (there Q6_K, or Q8_0 where its rows do not fit Q6_K;
here always Q8_0, because the `gguf` package cannot make Q6_K).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind

from tunesmith.core.errors import DataError
from tunesmith.lm.gguf import MODEL_TYPES, PARTS, TOPS, interleaved, rotary_heads

ARCHITECTURES = {model_type: architecture for architecture, model_type in MODEL_TYPES.items()}
"""transformers model type -> GGUF architecture."""
_PARTS = {part: name for name, part in PARTS.items()}
_TOPS = {top: name for name, top in TOPS.items()}
KINDS = {"f32": Kind.F32, "f16": Kind.F16, "q8_0": Kind.Q8_0, "q4_0": Kind.Q4_0}
"""What matrices can be made of -> ggml's type."""
FILE_TYPES = {
    "f32": gguf.LlamaFileType.ALL_F32,
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "q4_0": gguf.LlamaFileType.MOSTLY_Q4_0,
}


def write_model(
    path: Path,
    model: Any,
    tokenizer: Mapping[str, Any],
    *,
    name: str,
    quantisation: str,
    done: Callable[[int, int], None] = lambda _tensors, _total: None,
) -> None:
    """Write transformers' `model`, in float32, and the metadata of its tokenizer to `path`.

    One tensor at a time is quantised and in memory. `done(tensors, total)` is called after each.

    Raises:
        DataError: the model has something that is not known to be written exactly.
    """
    config = model.config
    writer = gguf.GGUFWriter(path, architecture_of(config))
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(name)
    writer.add_file_type(FILE_TYPES[quantisation])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _add_config(writer, config)
    for key, value in tokenizer.items():
        _add(writer, key, value)
    tied = is_tied(model)
    heads = heads_of(config)
    tensors = [
        (gguf_name(name), tensor, kind_of(gguf_name(name), tensor.shape, quantisation, tied))
        for name, tensor in model.state_dict().items()
        if not (tied and name == "lm_head.weight")
    ]
    for written, tensor, kind in tensors:
        shape = gguf.quant_shape_to_byte_shape(tensor.shape, kind) if _blocks(kind) else None
        dtype = np.dtype(np.uint8 if shape else "<f2" if kind == Kind.F16 else "<f4")
        shape = shape or tuple(tensor.shape)
        num_bytes = int(np.prod(shape)) * dtype.itemsize
        writer.add_tensor_info(written, shape, dtype, num_bytes, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for index, (written, tensor, kind) in enumerate(tensors):
        array = interleaved(tensor.detach().numpy(), heads.get(written.split(".")[-2], 0))
        writer.write_tensor_data(gguf.quants.quantize(array, kind))
        done(index + 1, len(tensors))
    writer.close()


def architecture_of(config: Any) -> str:
    """GGUF's name of the architecture of a transformers configuration.

    Raises:
        DataError: it is not written here.
    """
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    rope = config.rope_parameters["rope_type"] if config.model_type in ARCHITECTURES else ""
    if rope != "default" or kinds != {"full_attention"} or config.hidden_act != "silu":
        raise DataError(
            f"this model of type {config.model_type!r} cannot be written as GGUF here: its "
            "architecture, rotary positions, attention or activation is not known to be exact",
            remedy='export it as "merged", and convert the folder with llama.cpp',
        )
    return ARCHITECTURES[config.model_type]


def gguf_name(name: str) -> str:
    """GGUF's name of a tensor of transformers.

    >>> gguf_name("model.layers.3.mlp.up_proj.weight")
    'blk.3.ffn_up.weight'

    Raises:
        DataError: GGUF has no place for it.
    """
    stem, _, suffix = name.rpartition(".")
    if stem in _TOPS:
        return f"{_TOPS[stem]}.{suffix}"
    layer, _, part = stem.removeprefix("model.layers.").partition(".")
    if stem.startswith("model.layers.") and part in _PARTS:
        return f"blk.{layer}.{_PARTS[part]}.{suffix}"
    raise DataError(f"the model has a tensor {name!r} that GGUF has no place for")


def kind_of(name: str, shape: tuple[int, ...], quantisation: str, tied: bool) -> Kind:
    """Of what the tensor `name` of `shape` is made."""
    if len(shape) < 2 or quantisation == "f32":
        return Kind.F32
    kind = KINDS[quantisation]
    if kind == Kind.Q4_0 and name == ("token_embd.weight" if tied else "output.weight"):
        kind = Kind.Q8_0
    if _blocks(kind) and shape[-1] % gguf.GGML_QUANT_SIZES[kind][0]:
        return Kind.F16
    return kind


def is_tied(model: Any) -> bool:
    """Whether the output head is the embedding matrix itself, whatever the configuration says."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    return bool(head.weight.data_ptr() == embedding.weight.data_ptr())


def heads_of(config: Any) -> dict[str, int]:
    """`rotary_heads` of a transformers configuration."""
    return rotary_heads(config.model_type, config.num_attention_heads, config.num_key_value_heads)


def _blocks(kind: Kind) -> bool:
    return kind not in (Kind.F32, Kind.F16)


def _add_config(writer: gguf.GGUFWriter, config: Any) -> None:
    head_dim = getattr(config, "head_dim", None) or (
        config.hidden_size // config.num_attention_heads
    )
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    """One entry; whole numbers are unsigned, as all of the tokenizer's are."""
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case list() if value:
            writer.add_array(key, value)
        case _:
            raise DataError(f"the GGUF entry {key!r} cannot be copied")
