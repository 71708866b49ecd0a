"""Reading GGUF files: metadata, configuration and de-quantised weights.

The header is walked with `struct` (the `gguf` package's reader makes an array of every one of the
hundred thousand strings, which takes seconds); blocks are de-quantised by the `gguf` package.
The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

from tunesmith.core.errors import DataError

SCALARS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
STRING, ARRAY = 8, 9
PLAIN: dict[int, np.dtype[Any]] = {0: np.dtype("<f4"), 1: np.dtype("<f2")}
MAX_COUNT = 1 << 24
"""More entries than this is a damaged header, not a model."""

MODEL_TYPES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
"""GGUF architecture -> transformers model type."""
PARTS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""Name of a tensor in a GGUF block -> name in a transformers layer."""
TOPS = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorEntry:
    """Where one tensor lies in the file."""

    name: str
    shape: tuple[int, ...]
    """Slowest dimension first, as numpy has it."""
    kind: int
    """ggml's type of its blocks."""
    offset: int
    """From the start of the data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GgufHeader:
    """All of a GGUF file but its tensors."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: tuple[TensorEntry, ...]
    data_start: int


def read_header(path: Path) -> GgufHeader:
    """The header of the GGUF file at `path`.

    Raises:
        DataError: it is not a whole GGUF file of version 2 or 3.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _parse(path, _Cursor(data))
    except (struct.error, UnicodeDecodeError, ValueError, KeyError) as error:
        raise DataError(
            f"{path.name[:16]} is not a whole GGUF file: {error}",
            remedy="fetch the base model again",
        ) from error


def config_of(header: GgufHeader) -> dict[str, Any]:
    """The transformers configuration that the metadata describes.

    Raises:
        DataError: the architecture is not known here.
    """
    metadata = header.metadata
    architecture = str(metadata["general.architecture"])
    if architecture not in MODEL_TYPES:
        raise DataError(
            f"GGUF files of architecture {architecture!r} are not read here",
            remedy=f"use one of {', '.join(sorted(MODEL_TYPES))}, or the model's folder",
        )

    def value(name: str, default: Any = None) -> Any:
        return metadata.get(f"{architecture}.{name}", default)

    num_heads = value("attention.head_count")
    hidden_size = value("embedding_length")
    names = {entry.name for entry in header.tensors}
    return {
        "model_type": MODEL_TYPES[architecture],
        "max_position_embeddings": value("context_length"),
        "num_hidden_layers": value("block_count"),
        "intermediate_size": value("feed_forward_length"),
        "hidden_size": hidden_size,
        "num_attention_heads": num_heads,
        "num_key_value_heads": value("attention.head_count_kv", num_heads),
        "head_dim": value("attention.key_length", hidden_size // num_heads),
        "rms_norm_eps": value("attention.layer_norm_rms_epsilon"),
        "rope_parameters": _rope(header, value),
        "vocab_size": len(metadata["tokenizer.ggml.tokens"]),
        "tie_word_embeddings": "output.weight" not in names,
        "attention_bias": "blk.0.attn_q.bias" in names,
        "bos_token_id": metadata.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": metadata.get("tokenizer.ggml.eos_token_id"),
        "pad_token_id": metadata.get("tokenizer.ggml.padding_token_id"),
    }


def tensors_of(header: GgufHeader) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Each tensor under its transformers name, de-quantised to float32.

    Raises:
        DataError: a tensor has no place in the model, or lies outside the file.
    """
    metadata = header.metadata
    architecture = metadata["general.architecture"]
    num_heads = metadata[f"{architecture}.attention.head_count"]
    num_kv_heads = metadata.get(f"{architecture}.attention.head_count_kv", num_heads)
    heads = rotary_heads(MODEL_TYPES[architecture], num_heads, num_kv_heads)
    data = np.memmap(header.path, mode="r", dtype=np.uint8)
    for entry in header.tensors:
        if entry.name == "rope_freqs.weight":
            continue  # what config_of says in words
        part = entry.name.split(".")[-2]
        array = _dequantise(data, header.data_start, entry)
        yield _transformers_name(entry.name), deinterleaved(array, heads.get(part, 0))


def rotary_heads(model_type: str, num_heads: int, num_kv_heads: int) -> dict[str, int]:
    """Parts whose rows llama.cpp wants interleaved, and the number of their heads."""
    return {"attn_q": num_heads, "attn_k": num_kv_heads} if model_type == "llama" else {}


def interleaved(array: npt.NDArray[np.float32], num_heads: int) -> npt.NDArray[np.float32]:
    """The rows of each head as llama.cpp rotates them: the two halves in turn; none for 0 heads."""
    if not num_heads:
        return array
    halves = array.reshape(num_heads, 2, -1, *array.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(array.shape)


def deinterleaved(array: npt.NDArray[np.float32], num_heads: int) -> npt.NDArray[np.float32]:
    """What `interleaved` was given."""
    if not num_heads:
        return array
    pairs = array.reshape(num_heads, -1, 2, *array.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(array.shape)


def _rope(header: GgufHeader, value: Any) -> dict[str, Any]:
    scaling = value("rope.scaling.type", "none")
    if scaling != "none" or any(e.name == "rope_freqs.weight" for e in header.tensors):
        raise DataError(
            "the GGUF file scales its rotary positions, which is not read here",
            remedy="use the model's folder instead",
        )
    return {"rope_type": "default", "rope_theta": float(value("rope.freq_base", 10_000.0))}


def _transformers_name(name: str) -> str:
    stem, _, suffix = name.rpartition(".")
    if stem in TOPS:
        return f"{TOPS[stem]}.{suffix}"
    block, _, part = stem.rpartition(".")
    if block.startswith("blk.") and part in PARTS:
        return f"model.layers.{block[4:]}.{PARTS[part]}.{suffix}"
    raise DataError(
        f"the GGUF file has a tensor {name!r} that has no place in the model",
        remedy="use the model's folder instead",
    )


def _dequantise(
    data: npt.NDArray[np.uint8], data_start: int, entry: TensorEntry
) -> npt.NDArray[np.float32]:
    count = prod(entry.shape)
    start = data_start + entry.offset
    if entry.kind in PLAIN:
        num_bytes = count * PLAIN[entry.kind].itemsize
    else:
        kind = gguf.GGMLQuantizationType(entry.kind)
        block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        num_bytes = count // block * block_bytes
    if start + num_bytes > len(data):
        raise DataError(
            f"the GGUF file ends before its tensor {entry.name!r}",
            remedy="fetch the base model again",
        )
    raw = data[start : start + num_bytes]
    if entry.kind in PLAIN:
        return raw.view(PLAIN[entry.kind]).astype(np.float32).reshape(entry.shape)
    rows = raw.reshape(*entry.shape[:-1], num_bytes // prod(entry.shape[:-1]))
    values = np.asarray(gguf.quants.dequantize(rows, kind), dtype=np.float32)
    return values.reshape(entry.shape)


def _parse(path: Path, cursor: _Cursor) -> GgufHeader:
    if cursor.take(4) != b"GGUF":
        raise ValueError("it does not start with GGUF")
    version = cursor.scalar("I")
    if version not in (2, 3):
        raise ValueError(f"it is of version {version}")
    num_tensors, num_entries = cursor.count(), cursor.count()
    metadata: dict[str, Any] = {}
    for _ in range(num_entries):
        key = cursor.text()
        metadata[key] = cursor.value(cursor.scalar("I"))
    tensors = tuple(cursor.tensor() for _ in range(num_tensors))
    alignment = metadata.get("general.alignment", 32)
    start = -(-cursor.position // alignment) * alignment
    return GgufHeader(path=path, metadata=metadata, tensors=tensors, data_start=start)


class _Cursor:
    """A place in the header that moves on as it is read."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.position = 0

    def take(self, num_bytes: int) -> bytes:
        found = self._data[self.position : self.position + num_bytes]
        if len(found) < num_bytes:
            raise ValueError("it ends too early")
        self.position += num_bytes
        return found

    def scalar(self, form: str) -> Any:
        (found,) = struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))
        return found

    def count(self) -> int:
        found = int(self.scalar("Q"))
        if found > MAX_COUNT:
            raise ValueError(f"it counts {found} entries")
        return found

    def text(self) -> str:
        return self.take(self.scalar("Q")).decode()

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            inner, count = self.scalar("I"), self.count()
            if inner == STRING:
                return [self.text() for _ in range(count)]
            form = f"<{count}{SCALARS[inner]}"
            return list(struct.unpack(form, self.take(struct.calcsize(form))))
        return self.scalar(SCALARS[kind])

    def tensor(self) -> TensorEntry:
        name = self.text()
        num_dimensions = self.scalar("I")
        dimensions = [self.scalar("Q") for _ in range(min(num_dimensions, 8))]
        return TensorEntry(
            name=name,
            shape=tuple(reversed(dimensions)),
            kind=self.scalar("I"),
            offset=self.scalar("Q"),
        )
