"""From a record of a base model to something that can be used.

Importing this module is cheap: torch and transformers are imported when weights are loaded.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.core.blobs import Blobs
from tunesmith.core.errors import DataError
from tunesmith.lm.tokenizer import (
    Tokenizer,
    tokenizer_of_files,
    tokenizer_of_gguf,
    with_tokens,
)
from tunesmith.records.model import BaseModel, ModelVersion, Task

if TYPE_CHECKING:
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
class LoadedHead:
    """A model that says something of the states of a text, in memory, in float32, with nothing that
    needs a gradient."""

    model: Any
    """transformers' class for the task, in evaluation mode, without dropout; for vectors the model
    without a head. An adapter is merged into its weights."""
    tokenizer: Tokenizer
    task: Task
    labels: tuple[str, ...]
    """The classes or tags, in the order of the model's outputs."""
    is_encoder: bool
    """Whether it reads both ways: then two texts are told apart by special tokens, and not put into
    a conversation."""
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
    new_tokens: Sequence[str] = (),
) -> LoadedModel:
    """The weights of `base` in float32, with `adapter` merged into them if there is one.

    With `drawn_from`, random weights in their place, drawn from that seed. With `new_tokens`, a
    larger vocabulary (see `lm.grow`); an adapter brings its own.

    Raises:
        DataError: the file is damaged, of a kind that is not read here, or the adapter is not one
            of this model; a new token cannot be added.
    """
    from tunesmith.lm.build import build, build_random

    config, tokenizer, tensors = _parts(base, blobs.path(base.weights))
    model = build(config, dict(tensors)) if drawn_from is None else build_random(config, drawn_from)
    plain = LoadedModel(
        model=model,
        tokenizer=tokenizer,
        context_length=int(model.config.max_position_embeddings),
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
    )
    loaded = grown(plain, adapter.new_tokens if adapter else new_tokens)
    if adapter is not None:
        from tunesmith.lm.adapter import merge_adapter

        merge_adapter(model, blobs.get(adapter.adapter), blobs.get(adapter.adapter_config))
    return loaded


def grown(loaded: LoadedModel, new_tokens: Sequence[str]) -> LoadedModel:
    """`loaded` with `new_tokens` in its tokenizer and, in place, rows for them in its model.

    Raises:
        DataError: one of them cannot be added.
    """
    if not new_tokens:
        return loaded
    from tunesmith.lm.grow import add_rows

    old, model = loaded.tokenizer, loaded.model
    tokenizer = with_tokens(old, new_tokens)
    add_rows(model, {tokenizer.id_of(token): old.encode(token) for token in new_tokens})
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    return replace(loaded, tokenizer=tokenizer, num_parameters=num_parameters)


def load_head(
    base: BaseModel,
    blobs: Blobs,
    task: Task,
    labels: Sequence[str] = (),
    *,
    adapter: ModelVersion | None = None,
    seed: int = 0,
    drawn_from: int | None = None,
) -> LoadedHead:
    """The weights of `base` under the head that transformers has for `task`, with `adapter` merged
    into them if there is one.

    `labels` are the classes or tags. What `base` lacks of the head is drawn from `seed`; with
    `drawn_from`, all weights are random, drawn from that seed.

    Raises:
        DataError: the file is damaged, of a kind that is not read here or that cannot do the task,
            or the adapter is not one of this model.
    """
    from tunesmith.lm.attention import reads_both_ways
    from tunesmith.lm.build_head import build_head

    path = blobs.path(base.weights)
    config, tokenizer, tensors = _parts(base, path)
    if task == "embed" and base.format == "folder":
        config = {**config, "sentence_pooling": sentence_pooling(_small_files(path))}
    weights = dict(tensors) if drawn_from is None else None
    model = build_head(config, weights, task, labels, seed if drawn_from is None else drawn_from)
    if adapter is not None:
        from tunesmith.lm.adapter import merge_adapter

        merge_adapter(model, blobs.get(adapter.adapter), blobs.get(adapter.adapter_config))
    return LoadedHead(
        model=model,
        tokenizer=tokenizer,
        task=task,
        labels=tuple(labels),
        is_encoder=reads_both_ways(model.config),
        context_length=int(model.config.max_position_embeddings),
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
    )


def load_tuned_head(version: ModelVersion, blobs: Blobs) -> LoadedHead:
    """A model version whose objective is one of the tasks, as it was tuned.

    Raises:
        DataError: as `load_head`.
    """
    task: Task = version.objective  # type: ignore[assignment]
    return load_head(version.base, blobs, task, version.labels, adapter=version)


def sentence_pooling(files: Mapping[str, bytes]) -> str:
    """How the folder of a sentence-transformers model makes one vector of the states of a text:
    "mean" or "cls"; "mean" where the folder does not say.

    Raises:
        DataError: in another way, or with layers of its own on top.
    """
    modules = json.loads(files.get("modules.json", b"[]"))
    kinds = {module["type"].rpartition(".")[2]: module["path"] for module in modules}
    settings = json.loads(files.get(f"{kinds.get('Pooling', '')}/config.json", b"{}"))
    modes = settings.get("pooling_mode") or [
        key.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token")
        for key, is_on in settings.items()
        if key.startswith("pooling_mode_") and is_on
    ]
    named = [modes] if isinstance(modes, str) else modes or ["mean"]
    strange = sorted(kinds.keys() - {"Transformer", "Pooling", "Normalize"})
    if strange or len(named) != 1 or named[0] not in ("mean", "cls"):
        raise DataError(
            f"the base model makes vectors by {', '.join([*named, *strange])}, which is not done "
            "here",
            remedy="use a base model that pools by the mean or the first token, with no layer on "
            "top",
        )
    return str(named[0])


def _parts(
    base: BaseModel, path: Path
) -> tuple[dict[str, Any], Tokenizer, Iterator[tuple[str, torch.Tensor]]]:
    """The configuration, the tokenizer and the weights that lie at `path`."""
    if base.format == "gguf":
        from tunesmith.lm.gguf import config_of, read_header, tensors_of

        header = read_header(path)
        tensors = _as_torch(tensors_of(header))
        return config_of(header), tokenizer_of_gguf(header.metadata), tensors
    files = _small_files(path)
    return _config(base, files), tokenizer_of_files(files), _folder_tensors(path)


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
