"""An encoder as one ONNX file, written by PyTorch and read by ONNX Runtime."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tunesmith.core.errors import DataError, MissingExtra, UsageError
from tunesmith.lm.attention import ENCODERS
from tunesmith.lm.load import LoadedHead
from tunesmith.stages.export.head_folder import (
    Head,
    has_types,
    input_names,
    own_ids,
    parted,
    write_settings,
)
from tunesmith.stages.export.states import Document, Reader, padded

ONNX = "model.onnx"
LIBRARIES = ("onnx", "onnxscript", "onnxruntime")
MAX_BYTES = 2**31 - 1
"""Of a protobuf message, which the file is."""
EXAMPLE = (2, 8)
"""Documents and tokens that the model is traced with; both are free in the file."""


def require_onnx() -> None:
    """Raise MissingExtra unless all that writes and reads the file is installed."""
    for name in LIBRARIES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise MissingExtra(name, "onnx") from error


def require_encoder(loaded: LoadedHead) -> None:
    """Refuse what is not written as ONNX.

    Raises:
        UsageError: the model is not one of the encoders.
        DataError: it is too large for one file.
    """
    kind = loaded.model.config.model_type
    if kind not in ENCODERS:
        raise UsageError(
            f"only encoders ({', '.join(ENCODERS)}) are written as ONNX, not {kind!r} models",
            remedy='export it as "merged", or tune an encoder',
        )
    if 4 * loaded.num_parameters > MAX_BYTES:
        raise DataError(
            f"{loaded.num_parameters} parameters are more than one ONNX file can hold",
            remedy='export it as "merged"',
        )


def write_onnx(folder: Path, loaded: LoadedHead) -> None:
    """Write model.onnx, configuration and tokenizer to `folder`.

    The file takes `input_names(model)`, (batch, length), int64, and gives "logits" or, of a model
    that makes vectors, "sentence_embedding".

    Raises:
        MissingExtra: what writes it is not installed.
        UsageError: the model is not an encoder.
        DataError: it is too large.
    """
    require_onnx()
    require_encoder(loaded)
    import onnx

    write_settings(folder, loaded)
    names = input_names(loaded.model)
    documents = [Document(said=(), ids=(1,) * EXAMPLE[1], types=()) for _ in range(EXAMPLE[0])]
    arguments = padded(documents, 0, has_types=has_types(loaded.model))
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)  # it tells which other libraries it could have used
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own deprecated calls, and shared axis names
            program = torch.onnx.export(
                Head(loaded.model, loaded.task).eval(),
                tuple(arguments[name] for name in names),
                input_names=names,
                output_names=["sentence_embedding" if loaded.task == "embed" else "logits"],
                dynamic_shapes=tuple({0: "batch", 1: "length"} for _ in names),
                dynamo=True,
                verbose=False,
            )
    finally:
        quiet.setLevel(level)
    assert program is not None
    made = program.model_proto
    _without_traces(made)
    onnx.checker.check_model(made)
    (folder / ONNX).write_bytes(made.SerializeToString(deterministic=True))


def reload_onnx(folder: Path, loaded: LoadedHead, instruction: str) -> Reader:
    """What ONNX Runtime makes of the file; of `loaded` only what it is for is used."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        str(folder / ONNX), options, providers=["CPUExecutionProvider"]
    )
    names = [argument.name for argument in session.get_inputs()]
    pad = int(loaded.model.config.pad_token_id or 0)

    def run(documents: Sequence[Document]) -> list[torch.Tensor]:
        given = padded(documents, pad, has_types="token_type_ids" in names)
        (found,) = session.run(None, {name: given[name].numpy() for name in names})
        return parted(torch.from_numpy(found), documents)

    return Reader(ids=own_ids(folder, loaded, instruction), run=run)


def _without_traces(made: Any) -> None:
    """Leave out where in the exporter's and our code each node came from: paths of this machine."""
    for graph in (made, made.graph, *made.functions):
        del graph.metadata_props[:]
        graph.doc_string = ""
    for nodes in (made.graph.node, *(function.node for function in made.functions)):
        for node in nodes:
            del node.metadata_props[:]
            node.doc_string = ""
    graph = made.graph
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del value.metadata_props[:]
        value.doc_string = ""
