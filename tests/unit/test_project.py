"""A service of several released models, and what its traces say of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient

from tunesmith.core import catalog
from tunesmith.core.canonical import fingerprint
from tunesmith.core.errors import ConfigError, NotFound, SignatureError, UsageError
from tunesmith.core.ref import Blob, find
from tunesmith.core.step import Step
from tunesmith.endpoint import endpoint
from tunesmith.lm.load import load_model
from tunesmith.pipeline import watch_served
from tunesmith.project import Project, open_project
from tunesmith.project_file import FILE, read
from tunesmith.records.evaluation import GateResult
from tunesmith.registry.signing import sign_release
from tunesmith.signing.keys import new_pair, read_private
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.trained import prepare, trained_bytes, trained_config
from tunesmith.stages.release.config import ReleaseConfig

PROJECT = """
[project]
name = "desks"
[source.notices]
origin = "pypi:notices==1.0"
files = ["*"]
label = "key"
[base.tiny]
origin = "pypi:tiny==1.0"
file = "model"
[dataset.d]
sources = ["notices"]
base = "tiny"
instruction = "Name it."
[model.desk]
base = "tiny"
dataset = "d"
[model.clerk]
base = "tiny"
dataset = "d"
[model.other]
base = "tiny"
dataset = "d"
[service.front]
models = ["desk", "clerk"]
[monitor.other]
model = "other"
dataset = "d"
"""


def adapted(tiny: Any, name: str, seed: int) -> Any:
    """A version of the tiny model whose adapter is drawn at random."""
    config = ModelConfig(name=name, base="tiny", dataset="d", rank=4)
    trained = prepare(load_model(tiny.base, tiny.blobs).model, config, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in trained.parameters:
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    settings = tiny.blobs.put(trained_config(trained, config, tiny.base))
    return tiny.version(tiny.blobs.put(trained_bytes(trained)), settings, name=name)


def release(project: Project, tiny: Any, version: Any) -> None:
    """By the real step, on a gate that passed."""
    dataset = dataclasses.replace(tiny.dataset([("a", "mit")]), name="d")
    for blob in [*find(version, Blob), *find(dataset, Blob)]:
        project.runner.blobs.put(tiny.blobs.path(blob), blob.media_type)
    gate = GateResult(
        gate=version.name, model=version.name, verdict="pass", rules=(), comparisons=()
    )
    project.run(
        Step(
            name=f"release:{version.name}",
            kind="release@1",
            config=ReleaseConfig(name=version.name),
            inputs={"model": version, "dataset": dataset, "gate": gate},
        )
    )
    made = project.runs()[-1]
    with project.runner.database.write() as connection:
        digest = fingerprint(version)
        catalog.record_version(connection, "model", version.name, digest, made.id)


@pytest.fixture
def project(tiny: Any, tmp_path: Path) -> Iterator[Project]:
    """Two released models of one base, and one that nothing serves."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / FILE).write_text(PROJECT)
    opened = open_project(folder)
    for seed, name in enumerate(["desk", "clerk"]):
        release(opened, tiny, adapted(tiny, name, seed))
    yield opened
    opened.close()


def test_a_service_answers_with_each_of_its_models_and_traces_which(project: Project) -> None:
    app = endpoint(project, project.file.service["front"], None)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        listed = [model["id"] for model in client.get("/v1/models").json()["data"]]
        assert listed == ["desk@1", "clerk@1"]
        said = {}
        for name in listed:
            asked = {
                "model": name,
                "max_tokens": 200,
                "messages": [{"role": "user", "content": f"for {name}"}],
                "stop": ["e"],
            }
            answer = client.post("/v1/chat/completions", json=asked).json()
            said[name] = answer["choices"][0]["message"]["content"]
            assert answer["choices"][0]["finish_reason"] == "stop"
    assert said["desk@1"] != said["clerk@1"]
    for name in ("desk", "clerk"):
        assert project.traces("front", name) == [(f"for {name}@1", said[f"{name}@1"])]


def test_a_service_answers_only_with_what_is_signed(project: Project, tmp_path: Path) -> None:
    new_pair(tmp_path / "k.pem", "p256", None)
    key = read_private(tmp_path / "k.pem", None, project.folder)
    path = project.folder / FILE
    path.write_text(f'{path.read_text()}[registry]\npublic_key = "../k.pem.pub"\n')
    project.file = read(project.folder)[0]
    config = project.file.service["front"]
    sign_release(project, project.in_use("desk")[0], key)
    with pytest.raises(SignatureError, match=r"clerk@1 .*is not signed with the key"):
        endpoint(project, config, None)
    sign_release(project, project.in_use("clerk")[0], key)
    assert endpoint(project, config, None)


def test_a_model_that_the_service_does_not_serve_has_no_traces(project: Project) -> None:
    with pytest.raises(UsageError, match="front serves desk, clerk, not other"):
        watch_served(project, "other", "front")
    with pytest.raises(NotFound, match="answered nothing with clerk@1"):
        project.traces("front", "clerk")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('models = ["desk", "clerk"]', 'models = ["desk", "clark"]', "did you mean 'clerk'"),
        ('models = ["desk", "clerk"]', 'model = "desk"', "did you mean 'models'"),
    ],
)
def test_a_service_of_models_that_are_not_there_is_refused(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    (tmp_path / FILE).write_text(PROJECT.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        read(tmp_path)
    assert said in f"{caught.value} {caught.value.remedy}"
