"""How large a base model is, from the headers of its files: no weight is read."""

from __future__ import annotations

import json
import re
import struct
import zipfile
from collections.abc import Iterator
from math import prod
from pathlib import Path

from tunesmith.core.blobs import Blobs
from tunesmith.core.errors import DataError
from tunesmith.records.model import BaseModel

NOT_A_LAYER = ("token_embd", "embed_tokens", "embeddings.", "lm_head", "output.weight")
"""Parts of the names of the matrices at both ends of a model, in GGUF's and transformers' words."""

EMBEDDINGS = ("token_embd", "embed_tokens", "tok_embeddings", "word_embeddings")
"""Of tokens, in the same words."""


def num_layer_weights(base: BaseModel, blobs: Blobs, below: int | None = None) -> int:
    """Weights of the matrices inside the layers, or inside those `below` one: what nearly all of a
    token's arithmetic is spent on. The embeddings and the output head are left out.

    Raises:
        DataError: the file is damaged, or of a kind that is not read here.
    """
    return sum(
        prod(shape)
        for name, shape in _shapes(base, blobs)
        if len(shape) == 2
        and not any(part in name for part in NOT_A_LAYER)
        and (below is None or 0 <= layer_of(name) < below)
    )


def width(base: BaseModel, blobs: Blobs) -> int:
    """Numbers of a token's state: the shorter side of the matrix of embeddings.

    Raises:
        DataError: the file is damaged, of a kind that is not read here, or has no such matrix.
    """
    for name, shape in _shapes(base, blobs):
        if len(shape) == 2 and any(part in name for part in EMBEDDINGS):
            return min(shape)
    raise DataError(
        f"base model {base.name!r} has no embeddings of tokens",
        remedy="use a language model or an encoder of texts",
    )


def num_layers(base: BaseModel, blobs: Blobs) -> int:
    """Layers of the model, counted by the names of its tensors.

    Raises:
        DataError: the file is damaged, or of a kind that is not read here.
    """
    return 1 + max((layer_of(name) for name, _ in _shapes(base, blobs)), default=-1)


def layer_of(name: str) -> int:
    """The index of the layer that the tensor or module `name` is in; -1 if in none.

    >>> layer_of("model.layers.12.mlp.up_proj.weight"), layer_of("model.norm.weight")
    (12, -1)
    >>> layer_of("bert.encoder.layer.3.output.dense.bias"), layer_of("blk.7.attn_q.weight")
    (3, 7)
    """
    found = re.search(r"(?:^|\.)(?:blk|layers?)\.(\d+)\.", name)
    return int(found[1]) if found else -1


def _shapes(base: BaseModel, blobs: Blobs) -> Iterator[tuple[str, tuple[int, ...]]]:
    path = blobs.path(base.weights)
    return _of_gguf(path) if base.format == "gguf" else _of_folder(path)


def _of_gguf(path: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    from tunesmith.lm.gguf import read_header

    for entry in read_header(path).tensors:
        yield entry.name, entry.shape


def _of_folder(path: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The header of safetensors: eight bytes that give its length, then JSON."""
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".safetensors"):
                    with archive.open(name) as file:
                        (length,) = struct.unpack("<Q", file.read(8))
                        header = json.loads(file.read(length))
                    for tensor, entry in header.items():
                        if tensor != "__metadata__":
                            yield tensor, tuple(entry["shape"])
    except (zipfile.BadZipFile, struct.error, ValueError) as error:
        raise DataError(
            "the base model's folder is not a whole zip of safetensors",
            remedy="fetch the base model again",
        ) from error
