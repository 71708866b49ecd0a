"""A dataset that is frozen: what is sealed of it then, and shown and handed over later."""

from __future__ import annotations

import hashlib
import json
import signal
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunesmith.core.errors import RunFailed
from tunesmith.documents.frozen import as_frozen
from tunesmith.pipeline import run
from tunesmith.project import open_project

DOCUMENTS = ("card.md", "croissant.json", "training-content.md")
MODEL = """\
[model.calls]
base = "tiny"
dataset = "calls"

"""
SECTIONS = """
[source.calls]
origin = "file:data/calls.jsonl"
format = "jsonl"
text = "text"
label = "kind"
licence = "MIT"
owner = "desk"

[dataset.calls]
sources = ["calls"]
base = "tiny"
instruction = "Name the kind."
num_labels = 2
train_per_label = 8
test_per_label = 2
"""


@pytest.fixture
def project(data_project, calls) -> Any:
    made = data_project("calls", SECTIONS)
    (made.folder / "data" / "calls.jsonl").write_text(calls.text)
    return made


def sealed(folder: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(folder / ".tunesmith" / "tunesmith.db")) as database:
        wanted = "SELECT body FROM evidence WHERE what = 'dataset.sealed' ORDER BY seq"
        return [json.loads(body) for (body,) in database.execute(wanted)]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_is_sealed_is_what_is_checked_out_shown_and_verified(project, tmp_path):
    project.tunesmith("run")
    (entry,) = sealed(project.folder)
    assert (entry["version"], entry["documents"]) == ("calls@1", list(DOCUMENTS))
    out = tmp_path / "out"
    project.tunesmith("data", "checkout", "dataset:calls@1", str(out))
    tables = [f"{name}.parquet" for name in ("dropped", "test", "train")]
    assert sorted(path.name for path in out.iterdir()) == sorted((*DOCUMENTS, *tables))
    for name, blob in zip(entry["documents"], entry["kept"], strict=True):
        assert digest(out / name) == blob["sha256"]
    # The root by hand: what `sha256sum` and `printf` give.
    leaves = ",".join(f'"{name}":"{digest(out / name)}"' for name in tables)
    root = hashlib.sha256(f"{{{leaves}}}".encode()).hexdigest()
    assert root == entry["root"]
    card = (out / "card.md").read_text()
    assert f"Merkle root of its files: `{root}`" in card
    assert card == project.tunesmith("data", "card", "calls").removesuffix("\n")
    for command, name in (("croissant", "croissant.json"), ("sheet", "training-content.md")):
        text = (out / name).read_text()
        assert project.tunesmith("data", command, "calls") == text
        assert project.tunesmith("data", command, "calls@1", "--sealed") == text
    shown = project.tunesmith("data", "show", "dataset:calls")
    assert f"Merkle root of its files: {root}" in shown
    assert f"sealed: card.md {entry['kept'][0]['sha256'][:12]}, croissant.json" in shown
    of = json.loads(project.tunesmith("data", "show", "dataset:calls", "--json"))
    assert (of["root"], list(of["sealed"]["documents"])) == (root, list(DOCUMENTS))

    project.tunesmith("run")
    assert len(sealed(project.folder)) == 1
    assert "all hold" in project.tunesmith("verify")
    kept = entry["kept"][1]["sha256"]
    (project.folder / ".tunesmith" / "blobs" / kept[:2] / kept[2:]).unlink()
    assert kept[:12] in project.process("verify").stderr


def test_a_kill_between_freezing_and_sealing_leaves_it_to_the_next_run(project):
    done = project.process("run", TUNESMITH_FAILPOINT="dataset.documents.stored")
    assert done.returncode == -signal.SIGKILL
    assert sealed(project.folder) == []
    assert "sealed: nothing" in project.tunesmith("data", "show", "dataset:calls")
    assert (
        "nothing was sealed of calls@1"
        in project.process("data", "sheet", "calls@1", "--sealed").stderr
    )
    now = project.tunesmith("data", "card", "calls")
    project.tunesmith("run")
    assert [each["version"] for each in sealed(project.folder)] == ["calls@1"]
    assert project.tunesmith("data", "card", "calls") == now


def test_another_owner_changes_no_row_and_seals_another_version(project):
    project.tunesmith("run")
    project.edit('owner = "desk"', 'owner = "claims"')
    project.tunesmith("run")
    first, second = sealed(project.folder)
    assert (first["version"], second["version"]) == ("calls@1", "calls@2")
    assert first["root"] == second["root"]
    assert "claims" in project.tunesmith("data", "croissant", "calls@2")
    assert "claims" not in project.tunesmith("data", "croissant", "calls@1")


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_dataset_that_cannot_be_sealed_is_said_once(project, monkeypatch, jobs):
    """The model that is tuned on it meets the same, and does not repeat it."""
    project.edit("[dataset.calls]", f"{MODEL}[dataset.calls]")

    def undated(facts):
        return replace(as_frozen(facts), made_at="yesterday")

    monkeypatch.setattr("tunesmith.documents.frozen.as_frozen", undated)
    project.lead_pip(monkeypatch)
    opened = open_project(project.folder)
    opened.runner.together.jobs = jobs
    with closing(opened), pytest.raises(RunFailed) as raised:
        run(opened)
    said = str(raised.value)
    assert said.startswith("1 failed, and "), said
    assert said.count("dateCreated: is no date") == 1
    assert "curate:calls: the description of calls@1 would be no valid" in said
    (not_run,) = [line for line in said.splitlines() if "not run, because" in line]
    assert "not run, because curate:calls failed: " in not_run
    assert "finetune:calls" in not_run
    assert sealed(project.folder) == []
