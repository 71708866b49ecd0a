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


BESIDE = """
[suite.noise]
model = "desk"
kind = "robustness"
num_rows = 4
against = "released"
limits_against = { "answers that stay: typos" = -1.0 }

[ledger]
"""


def test_a_suite_is_compared_with_the_version_that_was_released(new_project):
    project = new_project()
    project.edit("at_least = 0.0", 'at_least = 0.0\nsuites = ["noise"]')
    project.edit("[ledger]\n", BESIDE)
    first = project.process("run")
    assert first.returncode == 0, first.stderr
    assert "suite:desk/noise is on record; at most 4 test rows under each change" in first.stderr
    shown = json.loads(project.tunesmith("model", "show", "desk@1", "--json"))
    rules = {rule["rule"]: rule for rule in shown["gate"]["rules"]}
    rule = rules["suite noise: answers that stay: typos, tuned minus released"]
    assert rule["observed"] == "no other version is released yet"
    planned = project.tunesmith("plan")
    assert "suite:desk/noise: at most 4 test rows under each change, 95% confidence" in planned
    assert "suite:desk/forgetting: 40 texts" in planned
    assert "as they did for the last version" in planned

    # Said before it was found, limits and all.
    entries = json.loads(project.tunesmith("audit", "log", "--limit", "1000", "--json"))
    (noise, tuned) = (
        next(entry for entry in entries if entry["what"] == what and name in json.dumps(entry))
        for what, name in (("suite.registered", "noise"), ("run.finished", "finetune:desk"))
    )
    assert noise["seq"] < tuned["seq"]
    assert noise["body"]["limits_against"]["limits"] == {"answers that stay: typos": -1.0}

    # Another version: the released one is asked nothing that it has said already.
    project.edit("rank = 4", "rank = 2")
    second = project.process("run")
    assert second.returncode == 0, second.stderr
    assert "= suite:desk/noise/desk@1: unchanged" in second.stderr
    said = project.tunesmith("model", "show", "desk@2")
    assert "noise beside desk@1 (released)" in said
    assert "McNemar's exact test: p = " in said
    shown = json.loads(project.tunesmith("model", "show", "desk@2", "--json"))
    rules = {rule["rule"]: rule for rule in shown["gate"]["rules"]}
    rule = rules["suite noise: answers that stay: typos, tuned minus desk@1"]
    assert rule["verdict"] == "pass"
    (beside,) = shown["besides"]
    assert (beside["version"], beside["num_left_out"]) == ("desk@1", 0)
    assert {figure["num_rows"] for figure in beside["figures"]} <= {1, 2, 3, 4}

    # Nothing is new: nothing runs, though desk@2 stands there now.
    lines = json.loads(project.tunesmith("plan", "--json"))["lines"]
    assert {each["state"] for each in lines} == {"hit"}
