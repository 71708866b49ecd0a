"""A gate that asks for documents: it fails while a field is missing that could be known, says which
and where to state it, and passes once that is stated; nothing is tuned again. Commands run in this
process, on a copy of a project whose model was really tuned."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunesmith.cli.main import app
from tunesmith.core.errors import TunesmithError
from tunesmith.project import open_project

GATE = '[gate.desk]\nmodel = "desk"\n'
STATED = """
[document.desk]
model = "desk"
languages = ["en"]
grams_co2_per_kwh = 300.0
provider = "The desk"
licence = "CC0-1.0"
intended_purpose = "Names the licence of a notice."
out_of_scope = "Legal advice."
limitations = "Knows four licences."
oversight = "A lawyer reads each."
instructions = "Ask it for the licence of a notice."
fairness = "No people are in the rows."
metrics_rationale = "Each notice has one licence."
hardware_used = "A laptop."
"""
CONTACT = 'contact = "desk@example.org"\n'


class Desk:
    """A copy of the finished project, and the command line in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "tunesmith.toml"

    def run(self, *words: str) -> tuple[int, str]:
        """The exit code, and what was printed, or what went wrong."""
        done = CliRunner().invoke(app, [*words, "-p", str(self.folder)])
        if isinstance(done.exception, TunesmithError):  # `main` prints it and ends with its code
            return done.exception.exit_code, str(done.exception)
        assert done.exception is None, done.output
        return done.exit_code, done.output

    def ok(self, *words: str) -> Any:
        code, said = self.run(*words, "--json")
        assert code == 0, said
        return json.loads(said[said.index("{") :] if words[0] == "run" else said)

    def edit(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))

    def asks(self, *kinds: str) -> None:
        self.edit(GATE, f"{GATE}documents = {json.dumps(kinds)}\n")

    def num_runs(self) -> dict[str, int]:
        """How often each step has run."""
        project = open_project(self.folder)
        try:
            steps = [run.step for run in project.runs()]
        finally:
            project.close()
        return {step: steps.count(step) for step in steps}

    def plan(self) -> dict[str, str]:
        return {line["step"]: line["state"] for line in self.ok("plan")["lines"]}


@pytest.fixture
def desk(finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    finished.lead_pip(monkeypatch)
    shutil.copytree(finished.folder, tmp_path / "desk")
    return Desk(tmp_path / "desk")


def test_a_missing_field_fails_the_gate_and_a_statement_lets_it_pass(desk: Desk) -> None:
    before = desk.num_runs()
    desk.asks("model-card")
    desk.file.write_text(desk.file.read_text() + STATED)

    code, said = desk.run("plan")
    assert code == 0
    assert "it will fail as it is set now: model-card lacks Model Card Contact, which" in " ".join(
        said.split()
    )
    code, said = desk.run("run")
    assert code == 3
    assert "gate desk says fail for desk: document model-card: 1 of 23 fields missing: " in said
    assert "Model Card Contact, required every field that can be known before" in said
    assert "the provider states it: `contact` in [document.desk]" in said
    assert "tunes nothing again" in said
    assert "model mistakes" not in said  # it was not the rows

    code, said = desk.run("model", "show", "desk@1")
    assert "NOT met: document model-card: 1 of 23 fields missing: Model Card Contact" in said
    assert "model-card lacks Model Card Contact: the provider states it: `contact`" in said
    assert desk.plan()["gate:desk"] == "hit"  # nothing was stated since: it has been judged

    desk.edit("[document.desk]\n", f"[document.desk]\n{CONTACT}")
    plan = desk.plan()
    assert plan["gate:desk"] != "hit"
    assert plan["finetune:desk"] == plan["evaluate:desk"] == "hit"
    gate = desk.ok("run")["models"]["desk"]["gate"]
    assert gate["verdict"] == "pass"
    (rule,) = [rule for rule in gate["rules"] if rule["rule"] == "document model-card"]
    assert (rule["observed"], rule["verdict"]) == ("all 23 fields filled", "pass")
    assert set(desk.plan().values()) == {"hit"}  # its own verdict makes it no other

    after = desk.num_runs()
    again = {step for step in after if after[step] != before.get(step)}
    assert again == {"gate:desk", "release:desk"}


def test_another_statement_is_judged_anew_and_the_report_has_both(desk: Desk, tmp_path) -> None:
    desk.asks("model-card")
    desk.file.write_text(
        desk.file.read_text() + STATED.replace("[document.desk]\n", "[document.desk]\n" + CONTACT)
    )
    first = desk.ok("run")["models"]["desk"]["gate"]["documents"]
    desk.edit("Knows four licences.", "Knows four licences, of notices.")
    assert desk.plan()["gate:desk"] != "hit"
    second = desk.ok("run")["models"]["desk"]["gate"]["documents"]
    (was,), (now,) = first, second
    differ = {key for key in now["stated"] if now["stated"][key] != was["stated"][key]}
    assert differ == {"declared.limitations"}

    key, out = tmp_path / "desk.pem", tmp_path / "report"
    assert CliRunner().invoke(app, ["key", "new", "--out", str(key)]).exit_code == 0
    desk.ok("model", "report", "desk@1", "--out", str(out), "--key", str(key))
    found = json.loads((out / "report.json").read_text())["predicate"]
    assert found["documents"] == second
    assert "document model-card" in {rule["rule"] for rule in found["rules"]}
    assert found["thresholds"]["settings"]["documents"] == ["model-card"]


def test_every_field_that_only_people_know_is_named_where_nothing_is_stated(desk: Desk) -> None:
    """Without any [document] section, of each kind at once; what the gate says is not asked for."""
    kinds = ("model-card", "ml-bom", "annex-iv", "nist-rmf", "training-content")
    desk.asks(*kinds)
    desk.edit("rank = 4", "rank = 3")  # tuned anew: its audit and suites are first run here
    code, said = desk.run("run")
    assert code == 3
    assert desk.plan()["gate:desk"] == "hit"  # all that could be known was known when it judged
    _, said = desk.run("model", "show", "desk@2")
    flat = " ".join(said.split())
    for kind in kinds:
        assert f"NOT met: document {kind}: " in flat
    assert "annex-iv lacks provider: the provider states it: `provider` in [document.desk]" in flat
    assert "nist-rmf lacks GOVERN 2.2" in flat
    assert "annex-iv lacks what is watched" not in flat  # there is a monitor
    assert "annex-iv lacks what was tried against it" not in flat  # there is an audit
    for later in ("test reports", "signature of the newest report", "what was found", "MAP 1.5"):
        assert f"lacks {later}" not in flat


@pytest.mark.parametrize(
    ("kinds", "near"), [('["annex-4"]', "annex-iv"), ('["model_card"]', "model-card")]
)
def test_a_kind_that_there_is_not_is_told_the_nearest(desk: Desk, kinds: str, near: str) -> None:
    desk.edit(GATE, f"{GATE}documents = {kinds}\n")
    code, said = desk.run("plan")
    assert code == 2
    assert "gate.desk.documents: there is no kind of document" in said
    assert f"did you mean {near!r}?" in said


def test_an_answer_that_nobody_asks_is_refused_before_the_gate_judges(desk: Desk) -> None:
    desk.asks("nist-rmf", "training-content")
    desk.file.write_text(
        desk.file.read_text() + STATED + 'answers = { "Measures takn:" = "none" }\n'
    )
    before = desk.num_runs()
    code, said = desk.run("run")
    assert (code, "did you mean 'Measures taken:'?" in said) == (2, True)
    assert desk.num_runs()["gate:desk"] == before["gate:desk"]
