"""A project whose model has versions and releases: weights that can be loaded, in a real store; how
they were tuned and judged is made up."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tunesmith.core import catalog
from tunesmith.core.canonical import canonical_json, fingerprint
from tunesmith.core.publish import Publisher
from tunesmith.core.ref import Blob, to_plain
from tunesmith.core.step import Step
from tunesmith.project import Project, open_project
from tunesmith.project_file import FILE, read
from tunesmith.records.data import Dataset, Split
from tunesmith.records.evaluation import Comparison, GateResult, RuleResult
from tunesmith.records.model import BaseModel, ModelVersion
from tunesmith.records.release import Release
from tunesmith.stages.release.config import ReleaseConfig

PROJECT = """
[project]
name = "desk"
[source.notices]
origin = "pypi:notices==1.0"
files = ["*"]
label = "key"
[base.small]
origin = "pypi:small==1.0"
file = "model"
[dataset.d]
sources = ["notices"]
base = "small"
instruction = "Name it."
[model.desk]
base = "small"
dataset = "d"
[gate.desk]
model = "desk"
[registry]
approvers = ["bob", "ann"]
allow_as = true
"""


@dataclass
class Desk:
    """The project, and how to get another version into it."""

    project: Project
    weights: bytes
    """Of the base model: a folder in a zip."""
    shape: tuple[int, ...]
    """Of its embeddings, which a version has others of."""

    def set(self, old: str, new: str) -> None:
        """Change the project file."""
        path = self.project.folder / FILE
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        self.project.file = read(self.project.folder)[0]

    def release(
        self,
        *,
        beside: str = "",
        by: str = "ann",
        passes: bool = True,
        of: int = 0,
        is_judged: bool = True,
    ) -> str:
        """Tune another version, or the one numbered `of`; judge it beside the base, and a version
        if one is named; release it if it passes. One that is not judged is released all the same,
        as no project does it."""
        runner = self.project.runner
        runner.actor = by
        number = of or 1 + sum(version.kind == "model" for version in self.project.versions())
        blob = runner.blobs.put(f"about {number}".encode())
        weights = runner.blobs.put(self.weights)
        base = BaseModel(name="small", origin="o", licence="MIT", weights=weights, format="folder")
        model = ModelVersion(
            name="desk",
            base=base,
            objective="sft",
            method="full",
            adapter=runner.blobs.put(self._head(number)),
            adapter_config=runner.blobs.put(json.dumps({"tunesmith_type": "OVERLAY"}).encode()),
            instruction="Name it.",
            labels=("a", "b"),
            certificate=blob,
            curve=blob,
            num_steps=number,
            num_trained_tokens=1,
            num_labelled_tokens=1,
            num_trainable=1,
            num_parameters=1,
            first_loss=2.0,
            last_loss=1.0,
        )
        train, test = (
            Split(rows=runner.blobs.put(f"{side} {number}".encode()), num_rows=9, num_tokens=9)
            for side in ("train", "test")
        )
        dataset = Dataset(
            name="d",
            instruction="Name it.",
            labels=("a", "b"),
            train=train,
            test=test,
            dropped=blob,
            num_in=18,
            num_dropped=0,
            dropped_by_reason={},
            num_components=18,
            card=blob,
            licences=(),
        )
        self._tuned(model, dataset)
        one = Comparison(
            metric="accuracy",
            base=0.5,
            tuned=0.9,
            difference=0.4,
            low=0.2,
            high=0.6,
            confidence=0.95,
            num_rows=9,
            num_resamples=10,
            detectable=0.2,
        )
        gate = GateResult(
            gate="desk",
            model="desk",
            verdict="pass" if passes else "fail",
            rules=(RuleResult(rule="beats", observed="x", required="y", passed=passes),),
            comparisons=(one, *([replace(one, versus=beside)] if beside else [])),
        )
        if is_judged:
            self._judged(model, gate)
        if passes:
            given = {"model": model, "dataset": dataset, "gate": gate}
            released = runner.run(
                Step(
                    name="release:desk",
                    kind="release@1",
                    config=ReleaseConfig(name="desk"),
                    inputs=given,
                )
            )
            assert isinstance(released, Release)
        return f"desk@{number}"

    def _head(self, number: int) -> bytes:
        """What a version was tuned to say, at random."""
        import safetensors.torch
        import torch

        drawn = torch.randn(self.shape, generator=torch.Generator().manual_seed(number))
        return safetensors.torch.save({"lm_head.weight": drawn})

    def _tuned(self, model: ModelVersion, dataset: Dataset) -> None:
        """What a run of tuning leaves in the catalogue."""
        cut = self.project.runner.blobs.put(canonical_json(dataset), "application/json")
        self._ran("finetune", {"inputs": {"dataset": [cut.sha256]}}, model)

    def _judged(self, model: ModelVersion, gate: GateResult) -> None:
        """What runs of evaluation and of the gate leave there, the gate as it is set now."""
        asked = {"inputs": {"model": [fingerprint(model)], "dataset": ["0" * 64]}}
        tuned = self._ran("evaluate-tuned", asked, {"of": fingerprint(model)})
        config = to_plain(self.project.file.gate["desk"])
        self._ran("gate", {"config": config, "inputs": {"tuned": [tuned.sha256]}}, gate)

    def _ran(self, kind: str, identity: dict[str, Any], record: Any) -> Blob:
        """What one successful run leaves in the catalogue."""
        runner = self.project.runner
        output = runner.blobs.put(canonical_json(record), "application/json")
        values = {
            "key": fingerprint(record),
            "step": f"{kind}:desk",
            "kind": f"{kind}@1",
            "identity": canonical_json(identity).decode(),
            "owner": "here",
            "actor": runner.actor,
        }
        with runner.database.write() as connection:
            run_id = catalog.insert_run(connection, values, lease_s=60)
            catalog.record_blobs(connection, run_id, [output])
            if kind == "finetune":
                catalog.record_version(connection, "model", "desk", output.sha256, run_id)
            publisher = Publisher(database=runner.database, actor=runner.actor)
            assert publisher.end(connection, run_id, status="succeeded", output=output.sha256)
        return output


@pytest.fixture(scope="session")
def weights(tiny_folder: Path) -> bytes:
    """The tiny model in a zip."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for path in sorted(tiny_folder.iterdir()):
            archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes())
    return sink.getvalue()


@pytest.fixture(scope="session")
def shape(tiny_folder: Path) -> tuple[int, ...]:
    """Of its embeddings."""
    from safetensors import safe_open

    with safe_open(tiny_folder / "model.safetensors", "pt") as file:
        return tuple(file.get_slice("model.embed_tokens.weight").get_shape())


@pytest.fixture
def desk(tmp_path: Path, weights: bytes, shape: tuple[int, ...]) -> Iterator[Desk]:
    """A project without versions; ann acts."""
    (tmp_path / FILE).write_text(PROJECT)
    project = open_project(tmp_path)
    project.runner.actor = "ann"
    yield Desk(project, weights, shape)
    project.close()
