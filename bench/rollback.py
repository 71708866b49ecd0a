"""`tunesmith model rollback` as people call it; a section of `mlops.py`.

A project with releases of one model, whose weights are made up and whose records, runs, evidence
and aliases are real; all that a rollback reads.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tunesmith.core import catalog, lifecycle
from tunesmith.core.canonical import canonical_json, fingerprint
from tunesmith.core.publish import Publisher
from tunesmith.core.runner import Runner
from tunesmith.core.step import Step
from tunesmith.project import open_project
from tunesmith.records.data import Dataset, Split
from tunesmith.records.evaluation import Comparison, GateResult, RuleResult
from tunesmith.records.model import BaseModel, ModelVersion
from tunesmith.stages.release.config import ReleaseConfig

PROJECT = """\
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
"""


@contextmanager
def released(folder: Path, num_versions: int) -> Iterator[Runner]:
    """A project with so many releases, each of which was in production, the last one still is."""
    (folder / "tunesmith.toml").write_text(PROJECT)
    project = open_project(folder)
    try:
        for number in range(1, num_versions + 1):
            _release(project.runner, number)
        yield project.runner
    finally:
        project.close()


@dataclass(frozen=True, kw_only=True)
class Back:
    """One rollback."""

    whole_s: float
    """From the command to its end."""
    moved_s: float
    """Of that, from the look at where the alias is to the move with its evidence on the disk."""


def roll_back(folder: Path, to: int) -> Back:
    """Call it, and see that the alias is at version `to`."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "tunesmith", "model", "rollback", "desk", "--why", "bench",
         "--project", str(folder), "--json"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    whole_s = time.perf_counter() - started
    said = json.loads(done.stdout)
    assert said["version"] == f"desk@{to}", said
    return Back(whole_s=whole_s, moved_s=said["wall_s"])


def _release(runner: Runner, number: int) -> None:
    model, dataset, gate = _records(runner, number)
    output = runner.blobs.put(canonical_json(model), "application/json")
    values = {"key": fingerprint(model), "step": "finetune:desk", "kind": "finetune@1",
              "identity": "{}", "owner": "bench", "actor": "bench"}  # fmt: skip
    with runner.database.write() as connection:
        run_id = catalog.insert_run(connection, values, lease_s=60)
        catalog.record_blobs(connection, run_id, [output])
        catalog.record_version(connection, "model", "desk", output.sha256, run_id)
        publisher = Publisher(database=runner.database, actor="bench")
        publisher.end(connection, run_id, status="succeeded", output=output.sha256)
    given = {"model": model, "dataset": dataset, "gate": gate}
    config = ReleaseConfig(name="desk")
    runner.run(Step(name="release:desk", kind="release@1", config=config, inputs=given))
    with runner.database.write() as connection:
        run = catalog.last_success(connection, step="release:desk")
        assert run is not None
        assert run.output is not None
        move = {"kind": "model", "name": "desk", "alias": "production", "reason": "bench",
                "digest": run.output.sha256, "run_id": run.id, "actor": "bench"}  # fmt: skip
        lifecycle.move_alias(connection, move)


def _records(runner: Runner, number: int) -> tuple[ModelVersion, Dataset, GateResult]:
    blob = runner.blobs.put(f"weights {number}".encode())
    base = BaseModel(name="small", origin="o", licence="MIT", weights=blob, format="gguf")
    model = ModelVersion(
        name="desk", base=base, objective="sft", method="lora", adapter=blob, adapter_config=blob,
        instruction="Name it.", labels=("a", "b"), certificate=blob, curve=blob, num_steps=number,
        num_trained_tokens=1, num_labelled_tokens=1, num_trainable=1, num_parameters=1,
        first_loss=2.0, last_loss=1.0,
    )  # fmt: skip
    split = Split(rows=blob, num_rows=9, num_tokens=9)
    dataset = Dataset(
        name="d", instruction="Name it.", labels=("a", "b"), train=split, test=split, dropped=blob,
        num_in=18, num_dropped=0, dropped_by_reason={}, num_components=18, card=blob, licences=(),
    )  # fmt: skip
    comparison = Comparison(
        metric="accuracy", base=0.5, tuned=0.9, difference=0.4, low=0.2, high=0.6, confidence=0.95,
        num_rows=9, num_resamples=10, detectable=0.2,
    )  # fmt: skip
    rule = RuleResult(rule="beats", observed="x", required="y", passed=True)
    gate = GateResult(
        gate="desk", model="desk", verdict="pass", rules=(rule,), comparisons=(comparison,)
    )
    return model, dataset, gate
