"""A model version as a ModelKit: its files, and the Kitfile that `kit pack` reads.

Fields as in KitOps's reference of the Kitfile, manifestVersion 1.0.0.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tunesmith.core.canonical import fingerprint
from tunesmith.core.copies import Copy, put_on_record
from tunesmith.core.errors import GateFailed
from tunesmith.core.new_folder import new_folder, require_free
from tunesmith.core.ref import Blob, to_plain
from tunesmith.project import Project
from tunesmith.records.data import Dataset
from tunesmith.records.model import ModelVersion
from tunesmith.records.release import Release
from tunesmith.registry.choice import choose
from tunesmith.registry.signing import require_signed_if_asked
from tunesmith.registry.standing import released_version

ADAPTERS = ("lora", "dora")
"""Methods whose result PEFT loads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kit:
    """What was written."""

    version: str
    folder: str
    files: tuple[str, ...]
    why: str
    """Why it is that version."""
    warnings: tuple[str, ...]
    """What whoever gets it should know of the version."""


def write_kit(project: Project, wanted: str, folder: Path) -> Kit:
    """Write the files of a version (see `choose`), base weights too, and a Kitfile to `folder`; all
    or none.

    Of its dataset the record is in it, with digest, licences and counts: no rows leave.

    Raises:
        UsageError, NotFound, Conflict: see `choose`.
        SignatureError: it is not what was signed, where a public key is set.
        Conflict: `folder` is there and is not empty; or somebody is being forgotten.
    """
    chosen = choose(project, wanted)
    version, named, model = chosen.name, chosen.version, chosen.model
    require_signed_if_asked(project, model, version)
    try:
        release: Release | None = released_version(project, version).release
    except GateFailed:  # it can be packed, and says that it did not pass
        release = None
    require_free(folder, "--out")
    left = Copy(
        form="ModelKit",
        of=(f"model {version}",),
        digests=(named.digest,),
        has="weights",
        where=str(folder.resolve()),
        warnings=chosen.warnings,
    )
    put_on_record(project.runner.database, project.runner.actor, left)
    with new_folder(folder, "--out") as place:
        write = _Writer(project, place)
        paths = _write_model(write, model)
        docs = _write_docs(write, model, release)
        dataset = write.json(f"datasets/{chosen.dataset.name}.json", chosen.dataset)
        kitfile = {
            "manifestVersion": "1.0.0",
            "package": {
                "name": named.name,
                "version": str(named.number),
                "description": f"{version} of project {project.file.project.name}",
            },
            "model": {
                **_model(model, named.number, paths, named.digest, release),
                **_licence(project, model.name),
            },
            "datasets": [_described(chosen.dataset, dataset)],
            "docs": docs,
        }
        text = yaml.safe_dump(kitfile, sort_keys=False, allow_unicode=True, width=100)
        (place / "Kitfile").write_text(text, encoding="utf-8")
    return Kit(
        version=version,
        folder=str(folder),
        files=("Kitfile", *write.written),
        why=chosen.why,
        warnings=chosen.warnings,
    )


class _Writer:
    """Files below a folder."""

    def __init__(self, project: Project, place: Path) -> None:
        self._blobs = project.runner.blobs
        self._place = place
        self.written: list[str] = []

    def blob(self, path: str, blob: Blob) -> str:
        """Copy a blob's bytes; the path."""
        self._blobs.check(blob, deep=True)
        shutil.copyfile(self._blobs.path(blob), self._new(path))
        return path

    def json(self, path: str, record: Any) -> str:
        """Write a record; the path."""
        text = json.dumps(to_plain(record), indent=2, ensure_ascii=False) + "\n"
        self._new(path).write_text(text, encoding="utf-8")
        return path

    def _new(self, path: str) -> Path:
        self.written.append(path)
        target = self._place / path
        target.parent.mkdir(exist_ok=True)
        return target


def _write_model(write: _Writer, model: ModelVersion) -> tuple[str, str, str]:
    """Paths of what was tuned, of its settings, and of the base model's weights."""
    peft = model.method in ADAPTERS
    weights = "adapter_model.safetensors" if peft else "tuned.safetensors"
    config = "adapter_config.json" if peft else "tuned.json"
    base = "model.gguf" if model.base.format == "gguf" else "model.zip"
    return (
        write.blob(f"model/{weights}", model.adapter),
        write.blob(f"model/{config}", model.adapter_config),
        write.blob(f"base/{base}", model.base.weights),
    )


def _write_docs(
    write: _Writer, model: ModelVersion, release: Release | None
) -> list[dict[str, str]]:
    docs = [
        {
            "path": write.blob("docs/certificate.json", model.certificate),
            "description": "What was shown of the tuning run",
        },
        {
            "path": write.blob("docs/curve.jsonl", model.curve),
            "description": "Loss, tokens and row ids of each step",
        },
    ]
    if release is not None:
        card = write.blob("docs/README.md", release.card)
        docs.append({"path": card, "description": "The model card"})
        gate = write.json("docs/gate.json", release.gate)
        docs.append({"path": gate, "description": "What the gate asked, and what it found"})
    return docs


def _model(
    model: ModelVersion,
    number: int,
    paths: tuple[str, str, str],
    digest: str,
    release: Release | None,
) -> dict[str, Any]:
    tuned, config, base = paths
    return {
        "name": model.name,
        "path": tuned,
        "framework": "peft" if model.method in ADAPTERS else "transformers",
        "version": str(number),
        "description": f"Tuned with {model.method} on {model.base.origin}",
        "parts": [
            {"name": "base", "path": base, "type": "base weights", "license": model.base.licence},
            {"name": "config", "path": config, "type": "config"},
        ],
        "parameters": {
            "sha256": digest,
            "base": model.base.origin,
            "base_sha256": model.base.weights.sha256,
            "method": model.method,
            "objective": model.objective,
            "instruction": model.instruction,
            "labels": list(model.labels),
            "trained_tokens": model.num_trained_tokens,
            "gate": release.gate.verdict if release else "not passed",
        },
    }


def _licence(project: Project, model: str) -> dict[str, str]:
    """That of the tuned model, where somebody states it; the base's is said of the base's part."""
    stated = [each.licence for each in project.file.document.values() if each.model == model]
    return {"license": stated[0]} if any(stated) else {}


def _described(dataset: Dataset, path: str) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "path": path,
        "license": ", ".join(dataset.licences),
        "description": "What it was tuned on: the record, without the rows",
        "parameters": {
            "sha256": fingerprint(dataset),
            "training_rows": dataset.train.num_rows,
            "test_rows": dataset.test.num_rows,
        },
    }
