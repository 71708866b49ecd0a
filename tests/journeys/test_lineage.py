"""A row's way down to a model, and a person who is forgotten, in a project that ran to its end."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tunesmith.core.errors import NotFound, UsageError
from tunesmith.documents.croissant import FILE
from tunesmith.lineage.versions import checkout, dataset_facts, find, said_now
from tunesmith.project import open_project

spec = importlib.util.spec_from_file_location("clinic", Path(__file__).with_name("clinic.py"))
assert spec is not None
assert spec.loader is not None
clinic = importlib.util.module_from_spec(spec)
spec.loader.exec_module(clinic)


@pytest.fixture(scope="module")
def once(tmp_path_factory, project_text, mini_environment, miniature):
    """A project that ran to its end, and served two requests. Only to look at."""
    folder = tmp_path_factory.mktemp("clinic")
    clinic.write(folder, project_text)
    made = miniature(folder=folder, environment=mini_environment)
    made.tunesmith("run")
    with sqlite3.connect(folder / ".tunesmith" / "tunesmith.db") as database:
        for text in (clinic.SAID, "Somebody else asks when you open."):
            database.execute(
                "INSERT INTO traces (at, service, model, source, traffic, text, answer,"
                " num_prompt_tokens, num_answer_tokens, wall_s, finish_reason)"
                " VALUES ('2026-01-01T00:00:00.000Z', 'desk', 'desk@1', 'served', 'served', ?,"
                " 'injury', 1, 1, 0.1, 'stop')",
                (f"Patient says: {text}",),
            )
    database.close()
    return made


def test_a_row_is_traced_down_to_the_model_that_was_tuned_on_it(once):
    found = json.loads(once.tunesmith("data", "trace", "Came back. Seen for", "--json"))
    assert (found["member"], found["number"]) == ("visits.jsonl", 31)
    holders = {(each["kind"], each["name"]): each["how"] for each in found["holders"]}
    assert holders["source", "visits@1"] == "1 row"
    sides = holders["dataset", "triage@1"]
    if sides == "1 row to train":
        assert holders["model", "desk@1"] == "tuned on it"
        assert ("release", "release:desk") in holders
    else:
        assert sides == "1 row to test"
        assert holders["evaluation", "evaluate:desk"] == "asked about it"


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated")
@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index")
def test_what_was_checked_out_is_loaded_by_what_is_said_of_it(once, tmp_path):
    import mlcroissant  # slow to import

    said = json.loads(once.tunesmith("data", "croissant", "triage@1"))
    folder = tmp_path / "triage-1"
    with closing(open_project(once.folder)) as project:
        checkout(project, "triage", folder)
        held = find(project, "triage")
    assert json.loads((folder / "croissant.json").read_text()) == said
    assert said["identifier"] == f"sha256:{held.version.digest}"
    for file in said["distribution"]:
        data = (folder / file["contentUrl"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == file["sha256"]
        assert file["contentSize"] == f"{len(data)} B"
    read = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
    for side in ("train", "test"):
        rows = list(read.records(side))
        split = getattr(held.record, side)
        assert len(rows) == split.num_rows
        assert {row[f"{side}/label"].decode() for row in rows} <= set(clinic.LABELS)
        assert sum(row[f"{side}/num_tokens"] for row in rows) == split.num_tokens
    assert [creator.name for creator in read.metadata.creators] == ["clinic"]
    (source,) = said["prov:wasDerivedFrom"]
    with closing(open_project(once.folder)) as project:
        assert source["identifier"] == f"sha256:{find(project, 'visits@1').version.digest}"


def test_rows_of_a_dataset_are_counted_by_the_licence_of_their_source(once):
    found = json.loads(once.tunesmith("data", "diff", "triage@1", "triage", "--json"))
    num_rows = found["after"]["num_rows"]
    assert found["licences"] == [{"of": "internal", "before": num_rows, "after": num_rows}]
    assert (found["num_changed"], found["pii"]) == (0, [])


def test_the_sheet_names_the_model_and_its_base_and_says_what_is_open(once):
    text = once.tunesmith("data", "sheet", "triage@1")
    assert "- **Versioned model name(s):** desk@1" in text
    assert "- **Model dependencies:** tiny (pypi:" in text
    assert "- **Provider name and contact details:** not stated" in text
    assert "whom the field 'patient' names" in text
    done = once.process("data", "sheet", "triage@1")
    assert "what is on record has changed since training-content.md was sealed" in done.stderr
    then = once.process("data", "sheet", "triage@1", "--sealed")
    assert "- **Versioned model name(s):** not stated" in then.stdout
    assert then.stderr == once.process("data", "croissant", "triage@1").stderr == ""
    with closing(open_project(once.folder)) as project:
        for ref, error, words in (
            ("visits", NotFound, "there is no version of a dataset 'visits'.*there is: triage"),
            ("triage@7", NotFound, "there is no version dataset:triage@7"),
            ("triage@", UsageError, "is no version"),
        ):
            with pytest.raises(error) as caught:
                dataset_facts(project, ref)
            assert re.search(words, " ".join(str(caught.value).split()))


def test_forgetting_is_planned_priced_and_carried_out(once, tmp_path):
    plan = json.loads(once.tunesmith("data", "forget", clinic.PATIENT, "--plan", "--json"))
    (remedy,) = plan["remedies"]
    assert (remedy["model"], remedy["verdict"]) == ("desk", "retrain")
    assert remedy["versions"] == ["desk@1"]
    assert float(remedy["cost"]["amount"]) > 0
    # As `tunesmith plan` prices the same steps: at what their last runs used.
    runs = {run["step"]: run for run in json.loads(once.tunesmith("runs", "--json"))}
    assert remedy["wall_s"] == pytest.approx(
        sum(runs[step]["usage"]["wall_s"] for step in remedy["steps"])
    )
    assert "finetune:desk" in remedy["steps"]
    assert {h["kind"] for h in plan["holders"]} >= {"source", "dataset", "model", "index"}
    assert plan["num_traces"] == 1

    folder = tmp_path / "copy"
    shutil.copytree(once.folder, folder)
    copy = type(once)(folder=folder, environment=once.environment)
    given = [str(tmp_path / name) for name in ("gguf", "kit", "rows", "log.jsonl", "runs.jsonl")]
    copy.tunesmith("model", "export", "desk", "--format", "adapter", "--out", given[0])
    copy.tunesmith("export", "modelkit", "desk@1", "--out", given[1])
    copy.tunesmith("data", "checkout", "triage@1", given[2])
    copy.tunesmith("audit", "export", "--out", given[3])
    copy.tunesmith("export", "openlineage", "--to", given[4])
    copy.tunesmith("export", "mlflow", "--to", f"sqlite:///{tmp_path / 'ml.db'}")
    made = json.loads(copy.tunesmith("data", "forget", clinic.PATIENT, "--json"))
    assert made["found"] == []
    assert [each.partition(" since ")[0] for each in made["copies"][-7:]] == [
        f"model desk@1 as adapter, in {given[0]}",
        f"model desk@1 as ModelKit, in {given[1]}",
        f"dataset triage@1 as tables that were checked out, in {given[2]}",
        f"an export of the evidence, in {given[3]}",
        f"OpenLineage events, in {given[4]}",
        f"model desk@1 as MLflow's model, in {tmp_path / 'ml.db'}",
        f"MLflow's runs, in {tmp_path / 'ml.db'}",
    ]
    assert set(made["rewritten"]) == {
        "source visits@2",
        "source letters@2",
        "dataset triage@2",
        "index letters@2",
    }
    with closing(open_project(folder)) as project:
        with pytest.raises(NotFound, match="triage@1 was erased"):
            said_now(project, "triage@1", FILE)
        assert json.loads(said_now(project, "triage@2", FILE).text)["version"] == "2.0.0"
        erased = [dataset_facts(project, ref).is_erased for ref in ("triage@1", "triage@2")]
        assert erased == [True, False]
    kinds = " ".join(made["purged"].values())
    assert "land:visits" in kinds
    assert "curate:triage" in kinds
    report = json.loads(copy.tunesmith("verify", "--json"))
    assert (report["problems"], report["num_erased"]) == ([], len(made["purged"]))
    cached = {each.name for each in (folder / ".tunesmith" / "work" / "cache").glob("*")}
    assert cached <= {"files.json"}, "no rows as tokens; digests of files, by their names"
    asked = json.loads(copy.tunesmith("plan", "--json"))["lines"]
    states = {line["step"]: line["state"] for line in asked}
    assert (states["curate:triage"], states["finetune:desk"]) == ("hit", "runs")

    # The old version serves on; no new copy of it can be shown to be the same model, and the one
    # that was made before is not given again.
    for form in ("merged", "adapter"):
        late = copy.process("model", "export", "desk", "--format", form, "--out", given[0] + form)
        assert late.returncode == 5, late.stderr
        assert "rows of triage, on which it was tuned" in " ".join(late.stderr.split())
        assert not Path(given[0] + form).exists()
    kit = json.loads(
        copy.tunesmith("export", "modelkit", "desk@1", "--out", f"{given[1]}2", "--json")
    )
    assert "rows that desk@1 was tuned on were erased since" in kit["warnings"][-1]
