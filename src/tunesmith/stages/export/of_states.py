"""Exports of models that read states: a class, tags, a number or a vector of a text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tunesmith.core.errors import GateFailed, UsageError
from tunesmith.core.step import Context
from tunesmith.lm.load import LoadedHead, load_tuned_head
from tunesmith.records.data import Dataset
from tunesmith.records.export import Parity
from tunesmith.records.model import ModelVersion
from tunesmith.stages.export.adapter import ADAPTER, ADAPTER_CONFIG, write_adapter_files
from tunesmith.stages.export.config import ExportConfig
from tunesmith.stages.export.head_folder import (
    reload_head_folder,
    running,
    set_padding,
    write_head_folder,
)
from tunesmith.stages.export.onnx_file import reload_onnx, require_onnx, write_onnx
from tunesmith.stages.export.parity import REQUIRED_OF_STATES
from tunesmith.stages.export.states import (
    Reader,
    alone_and_padded,
    compare_outputs,
    documents_of,
    held_out_rows,
    misses_of_states,
    tuned_outputs,
)


def require_states_format(config: ExportConfig, model: ModelVersion) -> None:
    """Refuse a format that does not fit what the model is for.

    Raises:
        UsageError: it does not.
        MissingExtra: what writes it is not installed.
    """
    if config.format not in REQUIRED_OF_STATES:
        fits = " or ".join(f'"{name}"' for name in REQUIRED_OF_STATES)
        raise UsageError(
            f'a model tuned to {model.objective} is not written as "{config.format}", which is for '
            "models that answer in text",
            remedy=f"export it as {fits}",
        )
    if config.format == "onnx":
        require_onnx()


def export_states(
    config: ExportConfig, ctx: Context, folder: Path, model: ModelVersion, dataset: Dataset
) -> Parity:
    """Write `model` to `folder`, load it again and compare the two.

    Raises:
        GateFailed: they differ.
        UsageError, DataError: the model cannot be written in this format.
    """
    ctx.progress(0, 0, "loading the tuned model")
    tuned = load_tuned_head(model, ctx.blobs)
    path = ctx.blobs.path(dataset.test.rows)
    rows = held_out_rows(path, dataset.format, tuned, config.num_prompts, model.instruction)
    ctx.progress(0, 0, f"writing {config.format}")
    match config.format:
        case "adapter":
            write_adapter_files(folder, ctx.blobs, model)
        case "merged":
            write_head_folder(folder, tuned)
        case _:
            write_onnx(folder, tuned)
    ctx.progress(0, 0, "asking the tuned model")
    expected = tuned_outputs(tuned, rows)
    ctx.progress(0, 0, "loading what was written")
    again = _load_again(config, ctx, folder, model, tuned)
    documents = documents_of(rows)
    parity = compare_outputs(
        tuned.task,
        rows,
        expected,
        alone_and_padded(
            again, rows, lambda done: ctx.progress(done, len(rows), "asking what was written")
        ),
        [tuple(again.ids(document)) == document.ids for document in documents],
        REQUIRED_OF_STATES[config.format],
    )
    if parity.verdict != "pass":
        raise GateFailed(
            f"the {config.format} export of {model.name} is not the model that was tuned: "
            f"{misses_of_states(parity)}",
            remedy="nothing was kept; use another format",
        )
    return parity


def _load_again(
    config: ExportConfig, ctx: Context, folder: Path, model: ModelVersion, tuned: LoadedHead
) -> Reader:
    """What reads texts when the files in `folder` are loaded, an adapter on a fresh base model,
    with the base model's own tokenizer."""
    match config.format:
        case "merged":
            return reload_head_folder(folder, tuned, model.instruction)
        case "onnx":
            return reload_onnx(folder, tuned, model.instruction)
    written = replace(
        model,
        adapter=ctx.blobs.put(folder / ADAPTER),
        adapter_config=ctx.blobs.put(folder / ADAPTER_CONFIG),
    )
    loaded = load_tuned_head(written, ctx.blobs)
    set_padding(loaded)
    return Reader(ids=lambda document: document.ids, run=running(loaded.model, loaded.task))
