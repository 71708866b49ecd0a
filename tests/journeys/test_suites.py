"""Checks beyond the task, from the project file to the gate, the report and the card."""

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


def test_a_gate_judges_suites_and_people_see_them(new_project):
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
    project.tunesmith("run")
    shown = json.loads(project.tunesmith("model", "show", "desk@1", "--json"))
    assert [suite["suite"] for suite in shown["suites"]] == ["cases", "forgetting", "noise"]
    assert shown["suites"][0]["figures"][0]["tuned"]["value"] == 1
    assert "suite noise: accuracy: typos" in {rule["rule"] for rule in shown["gate"]["rules"]}
    assert shown["registered"].startswith("NOT registered")


def test_what_was_forgotten_is_on_the_card_and_in_the_report(finished):
    card = finished.tunesmith("model", "card", "desk")
    assert "## Beyond its task" in card
    assert "| loss of a token |" in card
    said = finished.tunesmith("model", "show", "desk@1")
    assert "beyond its task" in said
    assert "suite forgetting: loss of a token, tuned minus base" in said
    asked = json.loads(finished.tunesmith("model", "examples", "desk", "forgetting", "--json"))
    differ = [abs(each["tuned_score"] - each["base_score"]) for each in asked["examples"]]
    assert differ == sorted(differ, reverse=True)
    assert asked["num_examples"] == len(differ) >= 40
    assert "and 38 more" in finished.tunesmith(
        "model", "examples", "desk", "forgetting", "--limit", "2"
    )
    finished.tunesmith("model", "examples", "desk", "forgotten", code=4)
