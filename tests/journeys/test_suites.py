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
