"""Write a tuned model for other software, and keep it only if it is still the same model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tunesmith.core.errors import GateFailed, UsageError
from tunesmith.core.step import Context
from tunesmith.lm.build import build
from tunesmith.lm.chat_template import end_of_turn, stop_ids
from tunesmith.lm.gguf import config_of, read_header, tensors_of
from tunesmith.lm.gguf_adapter import merge_gguf_adapter, write_adapter
from tunesmith.lm.gguf_tokenizer import declared_stops, gguf_metadata
from tunesmith.lm.gguf_write import write_model
from tunesmith.lm.load import LoadedModel, load_model
from tunesmith.lm.tokenizer import Tokenizer, tokenizer_of_gguf
from tunesmith.records.data import Dataset
from tunesmith.records.export import Export, Parity
from tunesmith.records.model import TASKS, ModelVersion
from tunesmith.signing.opened import checked_copies
from tunesmith.stages.export.adapter import ADAPTER, ADAPTER_CONFIG, write_adapter_files
from tunesmith.stages.export.config import ExportConfig
from tunesmith.stages.export.folder import reload_folder, write_folder, write_tokenizer
from tunesmith.stages.export.modelfile import modelfile
from tunesmith.stages.export.of_states import export_states, require_states_format
from tunesmith.stages.export.parity import (
    REQUIRED,
    Subject,
    compare,
    misses,
    observe,
)
from tunesmith.stages.export.questions import asking, held_out

GGUF = "model.gguf"
GGUF_ADAPTER = "adapter.gguf"
MEDIA_TYPES = {".json": "application/json", "": "text/plain"}


def export(config: ExportConfig, ctx: Context, *, model: ModelVersion, dataset: Dataset) -> Export:
    """`model` in the format of `config`, loaded again from its bytes and compared with itself.

    Raises:
        GateFailed: what was loaded again is not the model that was tuned; nothing is kept.
        UsageError: the model has no adapter of the kind that the format holds.
        DataError: the model cannot be written in this format exactly.
    """
    is_reader = model.objective in TASKS
    if is_reader:
        require_states_format(config, model)
    elif config.format == "onnx":
        raise UsageError(
            "only encoders that classify, tag, rank, reward or embed are written as ONNX, and "
            f"{model.name} answers in text",
            remedy='export it as "merged" or "gguf"',
        )
    require_adapter(config, ctx.blobs.get(model.adapter_config), is_reader=is_reader)
    if config.format == "gguf-adapter" and model.new_tokens:
        raise UsageError(
            f"{model.name} was given {len(model.new_tokens)} new tokens, and an adapter of "
            "llama.cpp has no place for their embeddings",
            remedy='export it as "gguf"',
        )
    folder = ctx.workdir / "export"
    folder.mkdir()
    make = export_states if is_reader else _export_causal
    with checked_copies(ctx.blobs) as copies:
        parity = make(config, replace(ctx, blobs=copies), folder, model, dataset)
    files = {
        path.relative_to(folder).as_posix(): ctx.blobs.put(
            path, MEDIA_TYPES.get(path.suffix, "application/octet-stream")
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return Export(
        name=model.name,
        format=config.format,
        quantisation=config.quantisation,
        files=files,
        parity=parity,
    )


def _export_causal(
    config: ExportConfig, ctx: Context, folder: Path, model: ModelVersion, dataset: Dataset
) -> Parity:
    """Write a model that answers in text to `folder`, load it again and compare the two."""
    ctx.progress(0, 0, "loading the tuned model")
    tuned = load_model(model.base, ctx.blobs, adapter=model)
    tokenizer = tuned.tokenizer
    questions = held_out(
        ctx.blobs.path(dataset.test.rows),
        tokenizer,
        model.instruction,
        config.num_prompts,
        tuned.context_length,
        dataset.format,
    )

    ctx.progress(0, 0, f"writing {config.format} {config.quantisation}")
    write(config, ctx, folder, model, tuned)

    def asked(note: str) -> Callable[[int], None]:
        return lambda done: ctx.progress(done, len(questions), note)

    subject = _subject(tuned.model, tokenizer, stop_ids(tokenizer))
    expected = observe(subject, questions, asked("asking the tuned model"))
    del tuned, subject  # one model at a time is in memory
    ctx.progress(0, 0, "loading what was written")
    again = load_again(config, ctx, folder, model)
    parity = compare(
        expected,
        observe(again, questions, asked("asking what was written")),
        stops_at_turn=end_of_turn(tokenizer) in again.stops,
        required=REQUIRED[config.quantisation],
    )
    if parity.verdict != "pass":
        raise GateFailed(
            f"the {config.format} export ({config.quantisation}) of {model.name} is not the model "
            f"that was tuned: {misses(parity)}",
            remedy="nothing was kept; use a finer quantisation, or another format",
        )
    return parity


def require_adapter(config: ExportConfig, adapter_config: bytes, *, is_reader: bool) -> None:
    """Refuse to export something else as an adapter.

    Raises:
        UsageError: the model was not tuned as a LoRA adapter (or DoRA, for PEFT's format).
    """
    settings = json.loads(adapter_config)
    kind = settings.get("peft_type")
    if config.format == "adapter" and kind != "LORA":
        raise UsageError(
            f"what was tuned is {kind or 'the weights themselves'}, not a LoRA or DoRA adapter",
            remedy=f'export it as "merged" or "{"onnx" if is_reader else "gguf"}"',
        )
    if config.format == "gguf-adapter" and (kind != "LORA" or settings.get("use_dora")):
        raise UsageError(
            "llama.cpp's adapters are plain LoRA, which this model's is not",
            remedy='export it as "gguf"',
        )


def write(
    config: ExportConfig, ctx: Context, folder: Path, model: ModelVersion, tuned: LoadedModel
) -> None:
    """Write the files of one format to `folder`; `tuned` is the model with its adapter merged."""
    tensors, settings = ctx.blobs.get(model.adapter), ctx.blobs.get(model.adapter_config)
    match config.format:
        case "adapter":
            write_adapter_files(folder, ctx.blobs, model)
            if model.new_tokens:
                write_tokenizer(folder, tuned.tokenizer, tuned.context_length)
        case "merged":
            write_folder(folder, tuned)
        case "gguf-adapter":
            write_adapter(folder / GGUF_ADAPTER, tuned.model.config, tensors, settings, model.name)
        case "gguf":
            text = modelfile(tuned.tokenizer, model.instruction)
            (folder / "Modelfile").write_text(text, encoding="utf-8")
            is_gguf = model.base.format == "gguf"
            known = read_header(ctx.blobs.path(model.base.weights)).metadata if is_gguf else None
            write_model(
                folder / GGUF,
                tuned.model,
                gguf_metadata(tuned.tokenizer, tuned.model.config.vocab_size, known),
                name=model.name,
                quantisation=config.quantisation,
                done=lambda done, total: ctx.progress(done, total, "writing the tensors"),
            )


def load_again(config: ExportConfig, ctx: Context, folder: Path, model: ModelVersion) -> Subject:
    """What answers when the files in `folder` are loaded, an adapter on a fresh base model."""
    match config.format:
        case "merged":
            return reload_folder(folder)
        case "gguf":
            header = read_header(folder / GGUF)
            is_asked = "tokenizer.chat_template" in header.metadata
            tokenizer = tokenizer_of_gguf(header.metadata, is_asked=is_asked)
            stops = declared_stops(header.metadata)
            tensors = {name: torch.from_numpy(array) for name, array in tensors_of(header)}
            built = build(config_of(header), tensors)
            return _subject(built, tokenizer, stops)
        case "adapter":
            written = replace(
                model,
                adapter=ctx.blobs.put(folder / ADAPTER),
                adapter_config=ctx.blobs.put(folder / ADAPTER_CONFIG),
            )
            loaded = load_model(model.base, ctx.blobs, adapter=written)
        case "gguf-adapter":
            loaded = load_model(model.base, ctx.blobs)
            merge_gguf_adapter(loaded.model, folder / GGUF_ADAPTER)
    tokenizer = loaded.tokenizer
    return _subject(loaded.model, tokenizer, stop_ids(tokenizer))


def _subject(model: Any, tokenizer: Tokenizer, stops: frozenset[int]) -> Subject:
    return Subject(model=model, prompt=asking(tokenizer), stops=stops)
