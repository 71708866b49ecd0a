"""What `tunesmith plan` says of datasets and of tuning before they ran for the first time."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

SECTIONS = """
[source.calls]
origin = "file:data/calls.jsonl"
format = "jsonl"
text = "text"
label = "kind"

[dataset.calls]
sources = ["calls"]
base = "tiny"
instruction = "Name the kind."
num_labels = 2
train_per_label = 400
test_per_label = 40
max_tokens = 100
"""
MODEL = """
[model.desk]
base = "tiny"
dataset = "calls"
rank = 4
epochs = 1

[ledger]
per_cpu_hour = "0.02"
"""
NUM = 700


@pytest.fixture
def project(data_project) -> Any:
    """700 calls of two kinds, 70 of which are too long."""
    made = data_project("calls", SECTIONS + MODEL)
    draw = random.Random(3)
    rows = [
        {
            "kind": ("fire", "flood")[number % 2],
            "text": " ".join(
                "".join(draw.choices("abcdefghij", k=5))
                for _ in range(60 if number % 10 == 0 else draw.randint(5, 12))
            ),
        }
        for number in range(NUM)
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (made.folder / "data" / "calls.jsonl").write_text(text)
    return made


def preview(project: Any, *words: str) -> dict[str, Any]:
    found = json.loads(project.tunesmith("plan", "--json", *words))["preview"]
    assert isinstance(found, dict)
    return found


def test_a_preview_is_estimated_from_a_sample_and_holds_when_it_ran(project):
    assert preview(project) == {"datasets": [], "models": [], "unknown": ["calls"]}
    assert "`tunesmith plan --preview` reads them" in " ".join(project.tunesmith("plan").split())
    assert json.loads(project.tunesmith("runs", "--json")) == []

    first = preview(project, "--preview")
    ran = {each["step"] for each in json.loads(project.tunesmith("runs", "--json"))}
    assert "ingest:calls" in ran
    assert not {step for step in ran if step.startswith(("curate", "finetune", "evaluate"))}
    (found,) = first["datasets"]
    assert (found["num_in"], found["num_sampled"]) == (NUM, 400)
    (model,) = first["models"]
    assert model["is_estimate"]
    assert model["wall_s"] > 0
    assert float(model["cost"]["amount"]) > 0
    again = preview(project)  # by now all that it takes is there; the same rows are drawn
    assert again["datasets"] == [found]
    said = " ".join(project.tunesmith("plan").split())
    assert f"an estimate: at most about {found['num_train']} rows to train" in said
    assert "preview of tuning desk, an estimate on an estimated dataset:" in said

    project.edit(MODEL[: MODEL.index("[ledger]")], "\n")
    project.tunesmith("run")
    made = json.loads(project.tunesmith("data", "show", "dataset:calls", "--json"))
    assert made["dropped_by_reason"]["too long"] == 70
    assert abs(found["dropped_by_reason"]["too long"] - 70) < 25
    assert abs(found["num_train"] - made["train"]["num_rows"]) < 30
    each = found["num_train_tokens"] / found["num_train"]
    truly = made["train"]["num_tokens"] / made["train"]["num_rows"]
    assert abs(each - truly) < 2 * found["within"] / found["num_train"]

    with (project.folder / "tunesmith.toml").open("a") as file:
        file.write(MODEL[: MODEL.index("[ledger]")])
    known = preview(project)
    (dataset,) = known["datasets"]
    assert (dataset["num_sampled"], dataset["within"]) == (0, 0)
    assert dataset["num_train_tokens"] == made["train"]["num_tokens"]
    assert dataset["dropped_by_reason"] == made["dropped_by_reason"]
    (model,) = known["models"]
    assert not model["is_estimate"]
    assert model["basis"].startswith(f"{made['train']['num_tokens']} tokens, ")
    assert preview(project)["unknown"] == []


def test_a_preview_drops_the_languages_and_the_quality_that_curation_drops(project):
    words = ("--set", "dataset.calls.languages=['de']")
    (found,) = preview(project, "--preview", *words)["datasets"]

    assert found["num_sampled"] == 400
    assert found["dropped_by_reason"]["language not listed"] > NUM / 2
    assert found["num_train"] < NUM / 4
