"""The documents of a model that was really tuned, judged and watched: written, stale after a
change, asked for before it goes into production. Commands run in this process, on a copy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from huggingface_hub import ModelCard
from typer.testing import CliRunner

from tunesmith.cli.main import app
from tunesmith.core import catalog
from tunesmith.core.canonical import canonical_json, sha256
from tunesmith.core.errors import TunesmithError
from tunesmith.documents.facts import fact_base
from tunesmith.project import open_project

SECTIONS = """
[registry]
approvers = ["ann", "bob"]
allow_as = true

[document.desk]
model = "desk"
provider = "The desk"
contact = "desk@example.org"
grams_co2_per_kwh = 300.0
"""
KINDS = {
    "model-card": "md",
    "ml-bom": "json",
    "annex-iv": "md",
    "nist-rmf": "md",
    "training-content": "md",
}


class Desk:
    """A copy of the finished project, and the command line in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "tunesmith.toml"

    def run(self, *words: str) -> tuple[int, Any]:
        """The exit code, and what was printed as JSON or what went wrong."""
        done = CliRunner().invoke(app, [*words, "-p", str(self.folder), "--json"])
        if isinstance(done.exception, TunesmithError):  # `main` prints it and ends with its code
            return done.exception.exit_code, str(done.exception)
        assert done.exception is None, done.output
        return done.exit_code, json.loads(done.stdout)

    def ok(self, *words: str) -> Any:
        code, said = self.run(*words)
        assert code == 0, said
        return said

    def write(self, kind: str, name: str = "") -> Path:
        path = self.folder / (name or f"{kind}.{KINDS[kind]}")
        self.ok("model", "document", kind, "desk@1", "--out", str(path))
        return path

    def standing(self, kind: str) -> dict[str, Any]:
        found = {each["kind"]: each for each in self.ok("model", "documents", "desk@1")}
        assert list(found) == list(KINDS)
        return found[kind]

    def edit(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))


@pytest.fixture
def desk(finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    finished.lead_pip(monkeypatch)
    shutil.copytree(finished.folder, tmp_path / "desk")
    made = Desk(tmp_path / "desk")
    made.file.write_text(made.file.read_text() + SECTIONS)
    return made


def test_every_document_is_written_valid_and_on_record(desk: Desk) -> None:
    for kind in KINDS:
        path = desk.write(kind)
        found = desk.standing(kind)
        assert (found["file"], found["changed"]) == (path.name, [])
        assert found["written_at"]
        assert 0 < found["score"] < 1
    bom = (desk.folder / "ml-bom.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bom) is None
    card = ModelCard((desk.folder / "model-card.md").read_text())
    assert card.data.license is None  # nobody stated one, and the base's is the base's
    assert card.data.to_dict()["co2_eq_emissions"]["emissions"] > 0
    for kind in ("annex-iv", "nist-rmf", "training-content"):  # the other form is as recent
        data = json.loads(desk.write(kind, f"{kind}.json").read_text())
        assert (data["document"], data["version"]) == (kind, "desk@1")
        assert len(data["croissant"]["sha256"]) == 64
        assert desk.standing(kind)["changed"] == []
    annex = (desk.folder / "annex-iv.md").read_text()
    assert "- **what was found** (recorded: run " in annex  # the monitor's signals
    assert "MISSING: the provider states it: `intended_purpose`" in annex

    said = json.loads(bom)["metadata"]["component"]
    weights = desk.ok("model", "list")[0]["version"]["digest"]
    assert {"name": "tunesmith:record.sha256", "value": weights} in said["properties"]
    assert desk.ok("verify")["problems"] == []


def test_a_limit_that_is_not_kept_is_called_failed_and_makes_documents_stale(desk: Desk) -> None:
    for kind in KINDS:
        desk.write(kind)
    limit = '[suite.forgetting]\nmodel = "desk"\nkind = "forgetting"\nlimits = { "%s" = -9.0 }\n'
    project = open_project(desk.folder)
    try:
        (forgot,) = fact_base(project, "desk@1").value("checks.forgetting")
    finally:
        project.close()
    figure = forgot["figures"][0]["name"]
    desk.file.write_text(desk.file.read_text() + limit % figure)
    stale = {kind for kind in KINDS if "checks.forgetting" in desk.standing(kind)["changed"]}
    assert stale == {"model-card", "ml-bom", "annex-iv", "nist-rmf"}
    card = ModelCard(desk.write("model-card", "again.md").read_text())
    assert f"FAILED: suite forgetting: {figure}" in card.text
    nist = desk.write("nist-rmf", "again-nist.md").read_text()
    assert "FAILED: forgetting" in nist
    bom = desk.write("ml-bom", "again.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bom) is None
    assert "FAILED: suite forgetting" in bom
    assert desk.standing("nist-rmf")["changed"] == []


def test_what_becomes_of_a_version_makes_its_card_and_its_bill_stale(desk: Desk) -> None:
    for kind in KINDS:
        desk.write(kind)
    desk.ok("model", "deprecate", "desk@1", "--why", "a secret reason")
    stale = {kind for kind in KINDS if "release.status" in desk.standing(kind)["changed"]}
    assert stale == {"model-card", "ml-bom"}
    bom = json.loads(desk.write("ml-bom", "again.cdx.json").read_text())
    card = desk.write("model-card", "again.md").read_text()
    (said,) = (
        each["value"]
        for each in bom["metadata"]["component"]["properties"]
        if each["name"] == "tunesmith:status"
    )
    assert f"- **Status:** {said}\n" in card
    assert said.startswith("deprecated since 20")
    assert "; candidate since 20" in said
    assert "secret" not in card
    assert desk.standing("model-card")["changed"] == []
    metrics = bom["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]
    within = {
        each["type"]
        for each in metrics["performanceMetrics"]
        if "confidenceInterval" in each and each["slice"].startswith("test split")
    }
    assert {"accuracy", "macro-F1", "calibration error"} <= within


def test_an_export_has_the_card_of_now_which_is_on_record_as_written(desk: Desk) -> None:
    """... and grows old as any other."""
    desk.edit("[document.desk]", '[document.desk]\nbase_model = "example/tiny"')
    made = desk.ok("model", "export", "desk", "--format", "merged", "--out", str(desk.folder / "m"))
    text = (desk.folder / "m" / "README.md").read_text()
    card = ModelCard(text)
    assert (card.data.base_model, card.data.library_name) == ("example/tiny", "transformers")
    assert "- **Developed by:** The desk *(declared)*" in text
    assert sha256(text.encode()) == made["card"]
    found = desk.standing("model-card")
    assert (found["file"], found["changed"]) == ("README.md", [])
    desk.ok("model", "deprecate", "desk@1", "--why", "old")
    assert desk.standing("model-card")["changed"] == ["release.status"]
    again = desk.ok(
        "model", "export", "desk", "--format", "merged", "--out", str(desk.folder / "n")
    )
    assert again["export"] == made["export"]
    assert again["card"] != made["card"]
    assert desk.standing("model-card")["changed"] == []
    desk.edit('base_model = "example/tiny"', 'base_model = "tiny"')
    code, said = desk.run("model", "list")
    assert (code, "document.desk.base_model" in said) == (2, True), said


def test_a_suite_that_broke_is_said_to_have(desk: Desk) -> None:
    """The newest run of it failed, after one that went well."""
    project = open_project(desk.folder)
    try:
        good = next(run for run in project.runs() if run.step == "suite:desk/forgetting")
        with project.runner.database.write() as connection:
            values = {
                "key": "0" * 64,
                "step": good.step,
                "kind": good.kind,
                "identity": canonical_json(good.identity).decode(),
                "owner": "here",
                "actor": "ann",
            }
            run_id = catalog.insert_run(connection, values, lease_s=60)
            catalog.close_run(
                connection, run_id, status="failed", error="DataError: row 7 says: my name is Ann"
            )
        base = fact_base(project, "desk@1")
    finally:
        project.close()
    assert "checks.forgetting" not in base.facts
    (broken,) = base.value("checks.not_run")
    assert (broken["verdict"], broken["why"]) == ("could not be run", "DataError")
    text = desk.write("annex-iv", "broken.md").read_text()
    assert "suite forgetting: COULD NOT BE RUN (DataError)" in text
    assert "my name is Ann" not in text


def test_facts_say_what_the_store_says_and_where(desk: Desk) -> None:
    project = open_project(desk.folder)
    try:
        base = fact_base(project, "desk@1")
        again = fact_base(project, "desk@1")
        runs = {run.step: run for run in project.runs()}
    finally:
        project.close()
    assert base == again
    tuned, gate = runs["finetune:desk"], runs["gate:desk"]
    steps = base.facts["model.num_steps"]
    assert steps.value > 0
    assert steps.where.startswith(f"run {tuned.id} (finetune:desk), record sha256 ")
    assert steps.at == tuned.finished_at
    assert base.value("tuning.usage") == tuned.usage
    assert base.value("tuning.settings") == tuned.identity["config"]
    (report,) = base.value("gate.reports")
    assert (report["run"], report["at"], report["by"]) == (gate.id, gate.finished_at, gate.actor)
    assert report["registered"] is True
    assert report["signed"] == []
    assert {each["traffic"] for each in base.value("monitor.signals")} == {"heldout", "tags"}
    assert base.facts["monitors"].where == "tunesmith.toml, [monitor.desk]"
    (forgot,) = base.value("checks.forgetting")
    assert (forgot["run"], forgot["name"]) == (runs["suite:desk/forgetting"].id, "forgetting")
    assert forgot["limits_of"] == "tunesmith.toml"
    assert {rule["said"] for rule in forgot["limits"]} == {forgot["verdict"]}
    (audit,) = base.value("checks.audit")
    assert audit["digest"] == runs["audit:desk"].output.sha256
    assert [rule["said"] for rule in audit["limits"]] == ["pass"] * 5
    found = base.value("evaluation.tuned")
    assert found["low"] <= found["value"] <= found["high"]
    provider = base.facts["declared.provider"]
    assert (provider.origin, provider.at) == ("declared", "")  # nobody has put it on record yet
    croissant = base.value("dataset.croissant")
    out = desk.folder / "small"
    desk.ok("data", "checkout", "small@1", str(out))
    assert croissant["sha256"] == sha256((out / "croissant.json").read_bytes())


def test_a_document_is_stale_when_a_fact_changes_that_it_says(desk: Desk) -> None:
    card, annex = desk.write("model-card"), desk.write("annex-iv")
    assert "*(declared)*" in card.read_text()
    desk.edit('provider = "The desk"', 'provider = "The new desk"')
    assert desk.standing("model-card")["changed"] == ["declared.provider"]
    assert desk.standing("annex-iv")["changed"] == ["declared.provider"]
    assert desk.standing("nist-rmf")["changed"] == []  # it was not written

    desk.write("model-card")  # over the one that was written here
    assert "The new desk" in card.read_text()
    assert desk.standing("model-card")["changed"] == []
    desk.ok("model", "promote", "desk@1", "--why", "ready", "--as", "ann")
    assert desk.standing("model-card")["changed"] == []  # it does not say who asked
    assert desk.standing("annex-iv")["changed"] == ["declared.provider", "release.changes"]
    assert annex.is_file()


def test_statements_are_dated_by_the_evidence_once_a_document_says_them(desk: Desk) -> None:
    text = desk.write("annex-iv").read_text()
    (row,) = [line for line in text.splitlines() if line.startswith("| declared.provider ")]
    assert "(evidence " in row
    assert row.rstrip(" |").endswith("Z")


def test_what_another_models_monitor_found_is_not_said(desk: Desk) -> None:
    desk.edit(
        '[monitor.desk]\nmodel = "desk"',
        '[model.other]\nbase = "tiny"\ndataset = "small"\n\n[monitor.desk]\nmodel = "other"',
    )
    project = open_project(desk.folder)
    try:
        base = fact_base(project, "desk@1")
    finally:
        project.close()
    assert {"monitors", "monitor.signals", "retrain.proposal"} & set(base.facts) == set()


def test_a_gates_report_is_signed_once_somebody_signed_it(desk: Desk, tmp_path: Path) -> None:
    assert "NOT SIGNED" in desk.write("annex-iv").read_text()
    key = tmp_path / "desk.pem"
    made = CliRunner().invoke(app, ["key", "new", "--out", str(key)])
    assert made.exit_code == 0, made.output
    out = str(tmp_path / "report")
    desk.ok("model", "report", "desk@1", "--out", out, "--key", str(key), "--as", "ann")

    assert set(desk.standing("annex-iv")["changed"]) == {"gate.reports", "gate.signed"}
    text = desk.write("annex-iv").read_text()
    assert "NOT SIGNED" not in text
    assert "| yes | ann, 20" in text
    assert "signature of the newest report** (recorded" in text


def test_a_file_that_somebody_edited_is_not_overwritten(desk: Desk) -> None:
    path = desk.write("annex-iv")
    path.write_text(path.read_text() + "signed by hand")
    code, said = desk.run("model", "document", "annex-iv", "desk@1", "--out", str(path))
    assert code == 5
    assert "not as it was written here" in said
    assert path.read_text().endswith("signed by hand")


def test_an_incomplete_document_keeps_a_version_out_of_production(desk: Desk) -> None:
    ask = ("model", "promote", "desk@1", "--why", "ready", "--as", "ann")
    desk.edit(
        'model = "desk"\nprovider', 'model = "desk"\nrequired = { annex-iv = 0.99 }\nprovider'
    )
    code, said = desk.run(*ask)
    assert code == 3
    assert "annex-iv is 5" in said  # per cent
    assert "`intended_purpose` in [document.desk]" in said
    assert "tunesmith model documents desk@1" in said

    desk.edit("annex-iv = 0.99", "annex-iv = 0.5, model-card = 0.5")
    asked = desk.ok(*ask)
    assert asked["body"]["documents"]["required"] == {"annex-iv": 0.5, "model-card": 0.5}
    assert asked["body"]["documents"]["scores"]["annex-iv"] >= 0.5

    desk.edit("annex-iv = 0.5", "annex-iv = 0.95")  # it is looked at again
    code, said = desk.run("model", "approve", "desk@1", "--why", "yes", "--as", "bob")
    assert (code, "95% is required" in said) == (3, True)
    desk.edit("annex-iv = 0.95", "annex-iv = 0.5")
    assert (
        desk.ok("model", "approve", "desk@1", "--why", "yes", "--as", "bob")["version"] == "desk@1"
    )


def test_without_rows_a_metric_has_no_interval(desk: Desk) -> None:
    """The rows were removed because of somebody who was forgotten: the metric stays."""
    project = open_project(desk.folder)
    try:
        (run,) = (run for run in project.runs() if run.step == "evaluate:desk")
        predictions = project.load(run).predictions
        project.runner.blobs.path(predictions).unlink()
        found = fact_base(project, "desk@1").value("evaluation.tuned")
    finally:
        project.close()
    assert "low" not in found
    assert found["metric"] == "accuracy"


BAD: dict[str, tuple[tuple[str, ...], int, str]] = {
    "kind": (("model", "document", "modelcard", "desk@1"), 2, "did you mean 'model-card'?"),
    "version": (("model", "document", "annex-iv", "desk@7"), 4, "there is: desk@1"),
    "no number": (("model", "document", "annex-iv", "desk"), 2, "write MODEL@NUMBER"),
    "ending": (("model", "document", "ml-bom", "desk@1", "--out", "x.md"), 2, ".json"),
    "no ending": (("model", "document", "annex-iv", "desk@1", "--out", "x"), 2, ".md or .json"),
    "folder": (("model", "document", "annex-iv", "desk@1", "--out", "no/x.md"), 4, "no folder"),
    "listed version": (("model", "documents", "nobody@1"), 4, "there is: desk@1"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_commands_say_what_to_do(desk: Desk, name: str) -> None:
    words, wanted, hint = BAD[name]
    code, said = desk.run(*words)
    assert (code, hint in said) == (wanted, True), said


SETTINGS: dict[str, tuple[str, str, str]] = {
    "model": ('model = "desk"\nprovider', 'model = "dsek"\nprovider', "did you mean 'desk'?"),
    "share": ("provider =", "required = { annex-iv = 1.5 }\nprovider =", "required.annex-iv"),
    "document": ("provider =", "required = { annex = 0.5 }\nprovider =", "required"),
    "subcategory": ("provider =", 'nist = { "GOVERN 9" = "x" }\nprovider =', "nist"),
    "lines": ('"The desk"', '"""a\nb"""', "one line"),
    "two": ("[document.desk]", '[document.other]\nmodel = "desk"\n\n[document.desk]', "already"),
    "key": ("provider =", 'purpose = "x"\nprovider =', "purpose"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_bad_settings_are_named(desk: Desk, name: str) -> None:
    old, new, hint = SETTINGS[name]
    desk.edit(old, new)
    code, said = desk.run("model", "documents", "desk@1")
    assert (code, hint in said) == (2, True), said


ANSWERS = {
    'answers = { "Measures took:" = "x" }': "did you mean 'Measures taken:'?",
    'nist = { "GOVERN 1.9" = "x" }': "did you mean 'GOVERN 1.",
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_to_a_question_that_is_not_asked_is_refused(desk: Desk, answer: str) -> None:
    desk.edit("provider =", f"{answer}\nprovider =")
    for words in (("document", "model-card", "desk@1"), ("documents", "desk@1")):
        code, said = desk.run("model", *words)
        assert (code, ANSWERS[answer] in said) == (2, True), said


def test_statements_are_read_from_the_project_file_alone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH__DOCUMENT__DESK__PROVIDER", "Somebody else")
    code, said = desk.run("model", "documents", "desk@1")
    assert (code, "read from the project file alone" in said) == (2, True), said


def test_a_version_that_another_project_made_tells_its_own(desk: Desk, finished: Any) -> None:
    """Without a section: documents are compiled, and name what nobody stated."""
    project = open_project(finished.folder)
    try:
        base = fact_base(project, "desk@1")
    finally:
        project.close()
    assert base.section == "desk"
    assert not any(key.startswith("declared.") for key in base.facts)
