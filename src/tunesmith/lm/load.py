"""From a record of a base model to something that can be used.

Importing this module is cheap: torch and transformers are imported when weights are loaded.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.core.blobs import Blobs
from tunesmith.core.errors import DataError
from tunesmith.lm.tokenizer import (
    Tokenizer,
    core_of_files,
    tokenizer_of_files,
    tokenizer_of_gguf,
)
from tunesmith.records.model import BaseModel, ModelVersion

if TYPE_CHECKING:
    import tokenizers
    import torch

_GENERATIVE = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
"""How transformers names the architectures that go on with a text."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedModel:
    """A causal language model in memory, in float32, with nothing that needs a gradient."""

    model: Any
    """transformers' model, in evaluation mode; an adapter is merged into its weights."""
    tokenizer: Tokenizer
    context_length: int
    """Tokens, prompt and answer together."""
    num_parameters: int


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedEncoder:
    """A model that gives a state for each token, in memory, in float32, without gradients."""

    model: Any
    """transformers' model without a head, in evaluation mode."""
    tokenizer: tokenizers.Tokenizer
    """Adds the special tokens that the model expects; does not truncate or pad."""
    context_length: int
    """Tokens of a text, special ones too."""
    num_parameters: int


def load_tokenizer(base: BaseModel, blobs: Blobs) -> Tokenizer:
    """The tokenizer of `base`, without its weights.

    Raises:
        DataError: the file is damaged, or of a kind that is not read here.
    """
    path = blobs.path(base.weights)
    if base.format == "gguf":
        from tunesmith.lm.gguf import read_header

        return tokenizer_of_gguf(read_header(path).metadata)
    return tokenizer_of_files(_small_files(path))


def load_core(base: BaseModel, blobs: Blobs) -> tokenizers.Tokenizer:
    """How `base` cuts a text into tokens, without its weights, be it a chat model or an encoder.

    Raises:
        DataError: the file is damaged, or of a kind that is not read here.
    """
    if base.format == "gguf":
        return load_tokenizer(base, blobs).core
    return core_of_files(_small_files(blobs.path(base.weights)))


def is_encoder(base: BaseModel, blobs: Blobs) -> bool:
    """Whether `base` is a folder of a model that was not made to go on with a text, such as BERT.

    Raises:
        DataError: the file is damaged, or it has no config.json.
    """
    if base.format == "gguf":
        return False
    config = _config(base, _small_files(blobs.path(base.weights)))
    made_as = config.get("architectures") or ()
    return bool(made_as) and not any(name.endswith(_GENERATIVE) for name in made_as)


def load_model(
    base: BaseModel,
    blobs: Blobs,
    *,
    adapter: ModelVersion | None = None,
    drawn_from: int | None = None,
) -> LoadedModel:
    """The weights of `base` in float32, with `adapter` merged into them if there is one.

    With `drawn_from`, random weights in their place, drawn from that seed.

    Raises:
        DataError: the file is damaged, of a kind that is not read here, or the adapter is not one
            of this model.
    """
    from tunesmith.lm.build import build, build_random

    path = blobs.path(base.weights)
    if base.format == "gguf":
        from tunesmith.lm.gguf import config_of, read_header, tensors_of

        header = read_header(path)
        config, tokenizer = config_of(header), tokenizer_of_gguf(header.metadata)
        tensors = _as_torch(tensors_of(header))
    else:
        files = _small_files(path)
        config, tokenizer = _config(base, files), tokenizer_of_files(files)
        tensors = _folder_tensors(path)
    model = build(config, dict(tensors)) if drawn_from is None else build_random(config, drawn_from)
    if adapter is not None:
        from tunesmith.lm.adapter import merge_adapter

        merge_adapter(model, blobs.get(adapter.adapter), blobs.get(adapter.adapter_config))
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        context_length=int(model.config.max_position_embeddings),
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
    )


def load_encoder(base: BaseModel, blobs: Blobs) -> LoadedEncoder:
    """The weights and tokenizer of `base`, a folder of an encoder such as BERT or MiniLM.

    Raises:
        DataError: it is not a folder, a file is missing or damaged, or of a kind not read here.
    """
    from tunesmith.lm.build import build_encoder

    if base.format != "folder":
        raise DataError(
            f"base model {base.name!r}: encoders are not read from {base.format.upper()} files",
            remedy="use the model's folder instead",
        )
    path = blobs.path(base.weights)
    files = _small_files(path)
    config = _config(base, files)
    tokenizer = core_of_files(files)
    model = build_encoder(config, dict(_folder_tensors(path)))
    return LoadedEncoder(
        model=model,
        tokenizer=tokenizer,
        context_length=int(model.config.max_position_embeddings),
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
    )


def _config(base: BaseModel, files: Mapping[str, bytes]) -> dict[str, Any]:
    if "config.json" not in files:
        raise DataError(f"base model {base.name!r}: its folder has no config.json")
    config: dict[str, Any] = json.loads(files["config.json"])
    return config


def _as_torch(arrays: Any) -> Iterator[tuple[str, torch.Tensor]]:
    import torch

    for name, array in arrays:
        yield name, torch.from_numpy(array)


def _folder_tensors(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    import safetensors.torch

    with _open(path) as archive:
        for name in archive.namelist():
            if name.endswith(".safetensors"):
                yield from safetensors.torch.load(archive.read(name)).items()


def _small_files(path: Path) -> dict[str, bytes]:
    """The JSON and template files of the zipped folder; nothing is written to the disk."""
    with _open(path) as archive:
        return {
            name: archive.read(name)
            for name in archive.namelist()
            if name.endswith((".json", ".jinja"))
        }


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise DataError(
            "the base model's folder is not a whole zip", remedy="fetch the base model again"
        ) from error
