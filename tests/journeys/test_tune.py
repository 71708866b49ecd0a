"""Rival recipes of a model, as a user compares them."""

from __future__ import annotations

import json


def test_transfer_and_pilot(new_project):
    project = new_project()
    report = json.loads(project.tunesmith("tune", "--transfer-report", "--json"))
    base, own, head, random = report["variants"]
    assert base["num_steps"] == 0
    assert own["num_steps"] == head["num_steps"] == random["num_steps"] > 0
    assert own["num_trained_tokens"] == head["num_trained_tokens"] == random["num_trained_tokens"]
    assert float(own["spent"]["cost"]["amount"]) > 0
    assert own["versus_own"] is None
    assert random["versus_own"]["num_rows"] == report["num_rows"]

    again = project.process("tune", "--transfer-report")
    assert again.returncode == 0, again.stderr
    assert ">" not in {line[0] for line in again.stderr.splitlines()}
    assert "frozen trunk, trained head" in again.stdout
    assert "ransfer saved" in again.stdout

    pilot = json.loads(project.tunesmith("tune", "--pilot", "--json"))
    recipes = {each["recipe"]: each for each in pilot["recipes"]}
    assert set(recipes) == {"own", "slower", "faster", "head", "top", "full"}
    assert min(each["num_steps"] for each in recipes.values()) >= 4
    assert all(each["whole"]["wall_s"] > each["spent"]["wall_s"] for each in recipes.values())
    assert set(pilot["front"]) <= set(recipes)

    shown = project.tunesmith("tune", "--pilot")
    assert "--set model.desk.method=head" in shown
    assert "with rank taken out of [model.desk]" in shown

    # Rivals are runs like any other: in the evidence, in the ledger, and in nobody's way.
    assert json.loads(project.tunesmith("verify", "--json"))["problems"] == []
    book = json.loads(project.tunesmith("ledger", "register", "--json"))
    rivals = [entry for entry in book["entries"] if "~" in entry["step"]]
    assert len(rivals) == 4 + 12
    assert {entry["treatment"] for entry in rivals} == {"expense"}

    refused = project.process("tune", "--pilot", "--show-batch")
    assert "choose one of --show-batch, --pilot" in refused.stderr
