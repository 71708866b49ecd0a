"""A model version as a folder that MLflow reads: an MLmodel file, the version's record and its
bytes by their digests. With the base model's weights in it, MLflow loads it and asks it."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tunesmith
from tunesmith.core.blobs import Blobs, FolderBlobs
from tunesmith.core.canonical import canonical_json, parse
from tunesmith.core.ref import Blob, find, from_plain
from tunesmith.lm.engine import Engine, Message, Sampling
from tunesmith.records.model import TASKS, ModelVersion

RECORD = "model.json"
DATA = "data"
MAX_TOKENS = 512
"""Longest answer that MLflow gets, unless its `params` say otherwise."""


def write_model(
    model: ModelVersion, version: str, digest: str, blobs: Blobs, folder: Path, *, with_base: bool
) -> None:
    """Write the version called `version` (e.g. "desk@2"), whose record has `digest`."""
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    data = folder / DATA
    data.mkdir(parents=True)
    (data / RECORD).write_bytes(canonical_json(model))
    for blob in _bytes(model, with_base):
        target = data / "blobs" / blob.sha256[:2] / blob.sha256[2:]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(blobs.path(blob), target)
    described = Model(artifact_path="model")
    described.add_flavor(
        "tunesmith",
        version=version,
        sha256=digest,
        base=model.base.origin,
        base_sha256=model.base.weights.sha256,
        licence=model.base.licence,
        data=DATA,
    )
    if with_base and model.objective not in TASKS:
        described.add_flavor(
            "python_function",
            loader_module=__name__,
            data=DATA,
            python_version=platform.python_version(),
        )
        text = Schema([ColSpec("string")])
        length = ParamSchema([ParamSpec("max_tokens", "long", MAX_TOKENS)])
        described.signature = ModelSignature(inputs=text, outputs=text, params=length)
    described.save(str(folder / "MLmodel"))
    requirements = f"tunesmith[tune]=={tunesmith.__version__}\n"
    (folder / "requirements.txt").write_text(requirements, encoding="utf-8")


def _bytes(model: ModelVersion, with_base: bool) -> Iterator[Blob]:
    for blob in find(model, Blob):
        if with_base or blob != model.base.weights:
            yield blob


class Answers:
    """What MLflow calls a model: texts in, texts out."""

    def __init__(self, engine: Engine, instruction: str) -> None:
        self._engine = engine
        self._instruction = instruction

    def predict(self, model_input: Any, params: Any = None) -> list[str]:
        """The greedy answer to each text; of a table, to its first column."""
        texts = model_input.iloc[:, 0] if hasattr(model_input, "iloc") else model_input
        most = int((params or {}).get("max_tokens", MAX_TOKENS))
        return [self._answer(str(text), most) for text in texts]

    def _answer(self, text: str, most: int) -> str:
        from tunesmith.stages.serve.asked import as_tuned

        asked = as_tuned([Message(role="user", content=text)], self._instruction)
        pieces = self._engine.generate(asked, Sampling(max_tokens=most))
        return "".join(piece.text for piece in pieces)


def _load_pyfunc(data_path: str) -> Answers:
    """What MLflow calls to load the folder; every digest is checked first."""
    from tunesmith.lm.generate import torch_engines

    folder = Path(data_path)
    record = parse((folder / RECORD).read_bytes())
    model = from_plain(ModelVersion, record)
    blobs = FolderBlobs(folder / "blobs")
    for blob in find(model, Blob):
        blobs.check(blob, deep=True)
    (engine,) = torch_engines([model], blobs)
    return Answers(engine, model.instruction)
