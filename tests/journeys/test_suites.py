"""Checks beyond the task, from the project file to the gate."""

from __future__ import annotations

import json

SUITES = """
[suite.noise]
model = "desk"
kind = "robustness"
num_rows = 4
limits = { "accuracy: typos" = 1.01 }

[suite.cases]
model = "desk"
kind = "behaviour"
file = "checks/cases.jsonl"

[ledger]
"""
CASE = '{"test": "blanks", "type": "invariance", "input": "mit", "variants": ["mit"]}\n'


def test_a_gate_judges_suites(new_project):
    project = new_project()
    project.edit("at_least = 0.0", 'at_least = 0.0\nsuites = ["noise"]')
    project.edit("[ledger]\n", SUITES)
    missing = project.process("run")
    assert missing.returncode == 4, missing.stderr
    assert "there is no checks/cases.jsonl" in missing.stderr
    assert "> finetune:desk" not in missing.stderr

    (project.folder / "checks").mkdir()
    (project.folder / "checks" / "cases.jsonl").write_text(CASE)
    failed = project.process("run")
    assert failed.returncode == 3, failed.stderr
    assert "> suite:desk/forgetting" in failed.stderr
    assert "! suite:desk/noise: suite noise: accuracy: typos" in failed.stderr
    assert "suite noise: accuracy: typos" in failed.stderr.splitlines()[-2]

    # A limit is applied to what was found: nothing is asked again. What a file says is in a key.
    project.edit("1.01", "-0.01")
    (project.folder / "checks" / "cases.jsonl").write_text(CASE.replace("mit", "gpl"))
    lines = json.loads(project.tunesmith("plan", "--json"))["lines"]
    assert {each["step"] for each in lines if each["state"] == "runs"} == {
        "suite:desk/cases",
        "gate:desk",
        "release:desk",
    }

    # Other words of those who know, by the ids that the examples have; what is wrong in them is
    # said before anything is asked.
    examples = json.loads(project.tunesmith("model", "examples", "desk", "noise", "--json"))
    asked = {each["row_id"]: each["asked"] for each in examples["examples"]}
    project.edit("num_rows = 4\n", 'num_rows = 4\nparaphrases = "checks/other words.jsonl"\n')
    file = project.folder / "checks" / "other words.jsonl"
    file.write_text('{"id": "a", "text": "b", "paraphrase": "c"}\n')
    wrong = project.process("run")
    assert (wrong.returncode, "must name one row" in wrong.stderr) == (1, True), wrong.stderr
    assert "> suite:desk/noise" not in wrong.stderr
    lines = [{"id": row_id, "paraphrase": f"{asked[row_id]} or so"} for row_id in sorted(asked)]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines[:3]))
    project.tunesmith("run")
    shown = json.loads(project.tunesmith("model", "show", "desk@1", "--json"))
    (noise,) = (each for each in shown["suites"] if each["suite"] == "noise")
    found = {figure["name"]: figure["num_rows"] for figure in noise["figures"]}
    assert found["accuracy lost: paraphrases"] == found["answers that stay: paraphrases"] == 3
    assert found["answers that stay: typos"] == 4
