"""The life of three model versions: one goes into production, a better one replaces it and is
taken back again, and a worse one gets nowhere. In miniature commands run in this process, as they
start faster; marked slow, it is the licence desk with its real model and texts."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from huggingface_hub import ModelCard
from typer.testing import CliRunner

from tunesmith.core.canonical import sha256
from tunesmith.core.errors import TunesmithError
from tunesmith.project import open_project
from tunesmith.registry.standing import released_version

TAIL = """
[source.calls]
origin = "file:calls.jsonl"
format = "jsonl"
text = "text"
label = "kind"

[dataset.calls]
sources = ["calls"]
base = "tiny"
instruction = "Sort."
num_labels = 2
train_per_label = 20
test_per_label = 20

[gate.desk]
model = "desk"
beats_base_by = -0.3

[[gate.desk.rules]]
at_least = 0.2

[[gate.desk.rules]]
against = "production"

[registry]
approvers = ["boss", "ann"]
allow_as = true

[service.desk]
models = ["desk"]

[ledger]
per_cpu_hour = "0.02"

[model.desk]
base = "tiny"
dataset = "calls"
method = "full"
"""
POOR = "learning_rate = 1e-7\nepochs = 1\n"
GOOD = "learning_rate = 5e-3\nepochs = 6\n"
WORSE = "learning_rate = 2e-7\nepochs = 1\n"
LETTERS = {"fire": "abcdefgh", "flood": "stuvwxyz"}


def calls() -> str:
    """Two kinds of calls whose words have no letter in common: easy to tell apart, once learnt."""
    draw = random.Random(1)

    def text(letters: str) -> str:
        return " ".join("".join(draw.choices(letters, k=4)) for _ in range(6))

    rows = [
        {"kind": kind, "text": text(letters)}
        for kind, letters in LETTERS.items()
        for _ in range(45)
    ]
    return "\n".join(json.dumps(row) for row in rows) + "\n"


class Desk:
    """desk("model", "list") -> exit code, and what was printed as JSON or what went wrong."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "tunesmith.toml"

    def __call__(self, *words: str, recipe: str = "") -> tuple[int, Any]:
        from tunesmith.cli.main import app

        if recipe:
            head, mark, _ = self.path.read_text().partition('method = "full"\n')
            self.path.write_text(head + mark + recipe)
        done = CliRunner().invoke(app, [*words, "-p", str(self.folder), "--json"])
        error = done.exception
        if isinstance(error, TunesmithError):  # `main` prints it and ends with its code
            return error.exit_code, str(error)
        assert error is None, done.output
        return done.exit_code, json.loads(done.stdout)

    def weights(self, version: str) -> Path:
        """The file of what a version was tuned to."""
        project = open_project(self.folder)
        try:
            model = released_version(project, version).release.model
            return project.runner.blobs.path(model.adapter)
        finally:
            project.close()


@pytest.fixture
def desk(data_project: Callable[[str, str], Any], monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A project with calls of two kinds."""
    project = data_project("calls", TAIL)
    project.lead_pip(monkeypatch)
    (project.folder / "calls.jsonl").write_text(calls())
    return Desk(project.folder)


def test_a_better_model_goes_into_production_and_back_and_a_worse_one_nowhere(
    desk: Desk, tmp_path: Path
) -> None:
    def ok(*words: str, recipe: str = "") -> Any:
        code, said = desk(*words, recipe=recipe)
        assert code == 0, said
        return said

    def put(version: str) -> Any:
        ok("model", "promote", version, "--why", "better", "--as", "ann")
        code, said = desk("model", "approve", version, "--why", "fine", "--as", "ann")
        assert (code, "another has to approve" in said) == (1, True)
        return ok("model", "approve", version, "--why", "agreed", "--as", "boss")

    def states() -> dict[str, str]:
        return {each["name"]: each["state"] for each in ok("model", "list")}

    # The first: as good as the base, which is all that is asked; nothing is in production yet.
    first = ok("run", recipe=POOR)["models"]["desk"]["gate"]
    assert [rule["verdict"] for rule in first["rules"]] == ["pass"] * 6  # three of them audits
    assert first["rules"][2]["observed"] == "no other version is production yet"
    assert put("desk@1")["before"] == ""

    # A better one is compared with the base and with desk@1, on the same rows.
    better = ok("run", recipe=GOOD)["models"]["desk"]["gate"]
    beside = {each["versus"]: each for each in better["comparisons"]}
    assert set(beside) == {"base", "desk@1"}
    assert beside["desk@1"]["low"] > 0
    assert beside["desk@1"]["p_value"] < 0.01
    assert states() == {"desk@1": "production", "desk@2": "candidate"}

    # The way back is tried first, with the weights that were really tuned: a bit is another.
    weights = desk.weights("desk@1")
    kept = weights.read_bytes()
    weights.chmod(0o600)
    weights.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    ok("model", "promote", "desk@2", "--why", "better", "--as", "ann")
    approval = ("model", "approve", "desk@2", "--why", "agreed", "--as", "boss")
    code, said = desk(*approval)
    assert (code, "desk@1 cannot be gone back to: blob" in said) == (3, True)
    assert states()["desk@1"] == "production"
    weights.write_bytes(kept)
    moved = ok(*approval)
    assert moved["before"] == "desk@1"
    assert moved["way_back"] == "rehearsed, to desk@1; read, every byte; loaded, and it answered"
    assert states() == {"desk@1": "made", "desk@2": "production"}
    plan = {line["step"]: line["state"] for line in ok("plan")["lines"]}
    assert "evaluate:desk/desk@1" in plan
    assert set(plan.values()) == {"hit"}  # its gate is judged once, wherever it stands since

    # A worse one is no better than the base, so it would have passed; but not beside desk@2.
    code, said = desk("run", recipe=WORSE)
    assert code == 3
    assert "accuracy beside production (desk@2)" in said
    assert states() == {"desk@1": "made", "desk@2": "production", "desk@3": "made"}
    code, said = desk("model", "promote", "desk@3", "--why", "newer", "--as", "ann")
    assert (code, "never passed its gate" in said) == (3, True)

    # And back, in one row.
    moved = ok("model", "rollback", "desk", "--why", "complaints")
    assert (moved["version"], moved["before"]) == ("desk@1", "desk@2")
    assert moved["wall_s"] > 0
    assert states()["desk@1"] == "production"

    shown = ok("model", "show", "desk@2")
    assert shown["registered"].startswith("registered: what the gate asks is evidence")
    told = ["report sealed", "asked", "approved", "rolled back"]
    assert [each["what"] for each in shown["entry"]["changes"]] == told
    assert ok("model", "show", "desk@production")["entry"]["name"] == "desk@1"
    stood = [(each["version"], each["why"]) for each in ok("model", "history", "desk")]
    assert stood[-1] == ("desk@1", "rolled back: complaints")
    compared = ok("model", "compare", "desk@1", "desk@2")["comparison"]
    assert compared["num_won"] == beside["desk@1"]["num_won"]
    exports_the_version_that_is_meant(desk, ok, tmp_path)
    assert ok("verify")["problems"] == []
    (holding,) = ok("ledger", "register")["holdings"]
    assert holding["available_since"]


def test_what_the_gate_says_now_decides_when_asked_and_when_approved(desk: Desk) -> None:
    """A gate that became stricter, or is gone, is not got round by a verdict of before."""
    from tunesmith.cli.main import app

    def ok(*words: str, recipe: str = "") -> Any:
        code, said = desk(*words, recipe=recipe)
        assert code == 0, said
        return said

    def set_to(old: str, new: str) -> None:
        text = desk.path.read_text()
        assert old in text
        desk.path.write_text(text.replace(old, new))

    def refused(verb: str, words: str, code: int = 3) -> None:
        by = {"promote": "ann", "approve": "boss"}[verb]
        got, said = desk("model", verb, "desk@1", "--why", "x", "--as", by)
        assert (got, words in said) == (code, True), said

    ok("run", recipe=POOR)
    ok("model", "promote", "desk@1", "--why", "good enough", "--as", "ann")

    # Stricter, and not run: the verdict is by other rules.
    set_to("at_least = 0.2", "at_least = 1.5")
    refused("approve", "has changed since it judged desk@1: rules.1.at_least: 0.2 -> 1.5")
    ok("model", "reject", "desk@1", "--why", "judge it first", "--as", "boss")
    refused("promote", "run the project first (`tunesmith run`)")

    # Run: it fails, which the report says, and so do both.
    set_to("[registry]", '[[gate.desk.rules]]\nagainst = "prodution"\n\n[registry]')
    plan = CliRunner().invoke(app, ["plan", "-p", str(desk.folder)]).stdout
    assert "alias 'prodution'" in " ".join(plan.split())
    set_to('[[gate.desk.rules]]\nagainst = "prodution"\n\n', "")
    assert desk("run")[0] == 3
    assert ok("model", "show", "desk@1")["gate"]["verdict"] == "fail"
    refused("promote", "gate desk says fail of desk@1 (run ")

    # As before: the verdict of then is used again, by `run` too.
    set_to("at_least = 1.5", "at_least = 0.2")
    assert ok("run")["models"]["desk"]["gate"]["verdict"] == "pass"
    ok("model", "promote", "desk@1", "--why", "good enough", "--as", "ann")
    set_to("at_least = 0.2", "at_least = 1.5")
    assert desk("run")[0] == 3
    refused("approve", "gate desk says fail of desk@1 (run ")

    # Gone: nothing says that it is good enough.
    text = desk.path.read_text()
    gate = text[text.index("[gate.desk]") : text.index("[registry]")]
    set_to(gate, "")
    refused("approve", "no gate judges desk any more")
    set_to("[registry]", gate.replace("1.5", "0.2") + "[registry]")
    assert ok("model", "approve", "desk@1", "--why", "x", "--as", "boss")["version"] == "desk@1"

    # The way back is not held up by a gate that is gone.
    set_to(gate.replace("1.5", "0.2"), "")
    code, said = desk("model", "rollback", "desk", "--why", "complaints")
    assert (code, "there is no version before desk@1" in said) == (4, True), said


def exports_the_version_that_is_meant(
    desk: Callable[..., tuple[int, Any]], ok: Callable[..., Any], tmp_path: Path
) -> None:
    """desk@1 is in production again, desk@2 is the candidate, and desk@3 is the newest and the one
    that the project file is set to, whose gate failed."""

    def export(version: str, name: str, form: str = "merged") -> Any:
        out = str(tmp_path / name)
        return ok("model", "export", version, "--format", form, "--out", out)

    def weights(made: Any) -> str:
        digest: str = made["export"]["files"]["model.safetensors"]["sha256"]
        assert sha256((Path(made["folder"]) / "model.safetensors").read_bytes()) == digest
        return digest

    def card(made: Any) -> str:
        data = (Path(made["folder"]) / "README.md").read_bytes()
        assert sha256(data) == made["card"]
        return data.decode()

    meant = export("desk", "meant")
    assert (meant["version"], meant["why"]) == ("desk@1", "it is 'production'")
    assert meant["warnings"] == []
    assert "- **Status:** candidate until 20" in card(meant)
    assert "production again since 20" in card(meant)
    assert "# Model Card for desk@1" in card(meant)
    last = export("desk@3", "last")
    (warning,) = last["warnings"]
    assert warning.startswith("gate desk says fail of desk@3: accuracy beside production (desk@2)")
    ok("model", "deprecate", "desk@2", "--why", "complaints")
    middle = export("desk@candidate", "middle")
    assert middle["version"] == "desk@2"
    assert [" is deprecated since " in each for each in middle["warnings"]] == [True]
    assert "- **Status:** deprecated since 20" in card(middle)
    made = [meant, last, middle]
    assert len({weights(each) for each in made}) == 3
    assert {each["export"]["parity"]["verdict"] for each in made} == {"pass"}

    # Each is used again as it was; what was said against it is on record with where it went.
    runs = len(ok("runs", "--limit", "1000"))
    again = export("desk@1", "again")
    assert (weights(again), again["why"]) == (weights(meant), "as named")
    assert len(ok("runs", "--limit", "1000")) == runs
    left = [e["body"] for e in evidence_of(ok, tmp_path) if e["what"] == "copy.left"]
    assert [(body["of"], body.get("warnings", [])) for body in left] == [
        (["model desk@1"], []),
        (["model desk@3"], last["warnings"]),
        (["model desk@2"], middle["warnings"]),
        (["model desk@1"], []),
    ]
    kit = ok("export", "modelkit", "desk", "--out", str(tmp_path / "kit"))
    assert (kit["version"], kit["warnings"]) == ("desk@1", [])
    code, said = desk("model", "export", "desk@4", "--out", str(tmp_path / "none"))
    assert (code, "no model version desk@4" in said) == (4, True), said
    assert not (tmp_path / "none").exists()


def evidence_of(ok: Callable[..., Any], tmp_path: Path) -> list[Any]:
    """Every entry, from an export of it."""
    path = tmp_path / "evidence.jsonl"
    ok("audit", "export", "--out", str(path))
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_licence_desk_goes_into_production_and_back(miniature: Any, tmp_path: Path) -> None:
    """Needs the package index, for two packages. The recipe is the shipped one throughout; a model
    is weaker, as its tuning was ended sooner."""
    project = miniature(folder=tmp_path / "desk", environment=dict(os.environ))
    project.folder.mkdir()
    project.tunesmith("init", ".")
    path = project.folder / "tunesmith.toml"
    shipped = path.read_text()
    people = '[registry]\napprovers = ["boss", "ann"]\nallow_as = true\n'

    def ok(*words: str, code: int = 0) -> Any:
        said = project.tunesmith(*words, "--json", code=code)
        return json.loads(said) if said else None

    def tuned(stop_after: int, code: int = 0) -> Any:
        sooner = f"epochs = 2\nstop_after = {stop_after}\n"
        path.write_text(shipped.replace("epochs = 2\n", sooner) + people)
        made = ok("run", code=code)
        return made["models"]["desk"]["gate"] if made else None

    def put(version: str) -> Any:
        ok("model", "promote", version, "--why", "better", "--as", "ann")
        ok("model", "approve", version, "--why", "fine", "--as", "ann", code=1)  # she asked
        return ok("model", "approve", version, "--why", "agreed", "--as", "boss")

    def states() -> dict[str, str]:
        return {each["name"]: each["state"] for each in ok("model", "list")}

    # The first, after 24 of 120 steps: better than the base, and nothing is in production yet.
    (beside,) = tuned(24)["comparisons"]
    assert beside["low"] > 0
    assert put("desk@1")["before"] == ""

    # The shipped recipe, whole: better than that one, on the same rows.
    gate = tuned(0)
    beside = {each["versus"]: each for each in gate["comparisons"]}
    assert set(beside) == {"base", "desk@1"}
    assert beside["desk@1"]["low"] > 0
    assert states() == {"desk@1": "production", "desk@2": "candidate"}
    moved = put("desk@2")
    assert moved["before"] == "desk@1"
    assert moved["way_back"] == "rehearsed, to desk@1; read, every byte; loaded, and it answered"

    # One after 16 steps is better than the base too, and gets nowhere beside desk@2.
    tuned(16, code=3)
    report = ok("model", "show", "desk@3")["gate"]
    (rule,) = [rule for rule in report["rules"] if rule["rule"].endswith("production (desk@2)")]
    assert (report["verdict"], rule["verdict"]) == ("fail", "fail")
    now = {"desk@1": "made", "desk@2": "production", "desk@3": "made"}
    assert states() == now
    ok("model", "promote", "desk@3", "--why", "newer", "--as", "ann", code=3)

    # And back.
    moved = ok("model", "rollback", "desk", "--why", "complaints")
    assert (moved["version"], moved["before"]) == ("desk@1", "desk@2")
    assert states() == now | {"desk@1": "production", "desk@2": "candidate"}
    for version in ("desk@1", "desk@2"):
        bom, card = project.folder / f"{version}.cdx.json", project.folder / f"{version}.md"
        ok("model", "document", "ml-bom", version, "--out", str(bom))
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bom.read_text()) is None
        ok("model", "document", "model-card", version, "--out", str(card))
        assert ModelCard(card.read_text()).data.license is None  # which nobody stated
        assert "License of the base model:** Apache-2.0" in card.read_text()
    assert ok("verify")["problems"] == []
