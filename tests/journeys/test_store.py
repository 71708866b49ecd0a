"""The store of a project that is used, cleaned, copied and made again, on SQLite and on Postgres.
Commands run in this process: they start faster."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunesmith.core.errors import TunesmithError

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
train_per_label = 6
test_per_label = 4

[model.desk]
base = "tiny"
dataset = "calls"
method = "full"
epochs = 1

[gate.desk]
model = "desk"
beats_base_by = -1.0

[[gate.desk.rules]]
against = "production"
margin = -1.0

[registry]
approvers = ["boss"]
askers = ["ann"]
allow_as = true

[store]
keep_runs = 1
keep_aliases = 2
min_age_hours = 0.001
"""
WORDS = {"fire": "flame smoke burning", "flood": "water river rising"}


def calls() -> str:
    rows = [
        {"kind": kind, "text": f"{number} {words} at house {number * 7}"}
        for kind, words in WORDS.items()
        for number in range(12)
    ]
    return "\n".join(json.dumps(row) for row in rows) + "\n"


class Desk:
    """A project, and the command line in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *words: str, code: int = 0) -> Any:
        """What a command printed as JSON, or what went wrong."""
        return self.run(*words, "-p", str(self.folder), code=code)

    def run(self, *words: str, code: int = 0) -> Any:
        """The same in the current folder."""
        from tunesmith.cli.main import app

        done = CliRunner().invoke(app, [*words, "--json"])
        error = done.exception
        if isinstance(error, TunesmithError):  # `main` prints it and ends with its code
            assert error.exit_code == code, str(error)
            return str(error)
        assert (error, done.exit_code) == (None, code), done.output
        return json.loads(done.stdout)

    def set(self, old: str, new: str) -> None:
        path = self.folder / "tunesmith.toml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def age(self) -> None:
        """Let all blobs have been put long ago."""
        for path in self.folder.glob(".tunesmith/blobs/??/*"):
            os.utime(path, (1, 1))


# What it does on SQLite, other journeys and the unit tests do in pieces.
@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.slow), "postgres"])
def desk(
    request: pytest.FixtureRequest,
    data_project: Callable[[str, str], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Desk:
    project = data_project("desk", TAIL)
    project.lead_pip(monkeypatch)
    (project.folder / "calls.jsonl").write_text(calls())
    made = Desk(project.folder)
    if request.param == "postgres":
        url = request.getfixturevalue("postgres")()
        made.set('name = "desk"\n', f'name = "desk"\ndatabase = "{url}"\n')
    return made


def test_a_store_for_ten_years(desk: Desk, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    on_server = "database" in (desk.folder / "tunesmith.toml").read_text()
    for epochs in (1, 2, 3):  # three versions, each of which goes into production
        desk.set(f"epochs = {max(epochs - 1, 1)}", f"epochs = {epochs}")
        desk("run")
        version = f"desk@{epochs}"
        desk("model", "promote", version, "--why", "better", "--as", "ann")
        desk("model", "approve", version, "--why", "agreed", "--as", "boss")
    assert desk("verify")["problems"] == []

    # What the first version alone was made with would go: nothing could go back to it.
    desk.age()
    plan = desk("store", "gc")
    assert plan["going"]
    assert any("(release:desk) made it" in each["why"][0] for each in plan["going"])
    kept = {tuple(each["why"]) for each in plan["kept"]}
    assert any(why[0].startswith("alias production of model desk") for why in kept)
    why = desk("store", "gc", "--why", plan["kept"][0]["sha256"][:12])
    assert why == plan["kept"][0]
    done = desk("store", "gc", "--apply")
    assert done["num_set_aside"] == len(plan["going"])
    assert desk("verify")["num_collected"] == len(plan["going"])
    assert (
        desk("model", "rollback", "desk", "--why", "a drill", "--as", "boss")["version"] == "desk@2"
    )
    assert {each["name"] for each in desk("model", "list")} == {"desk@1", "desk@2", "desk@3"}
    assert all(line["state"] == "hit" for line in desk("plan")["lines"])

    # Copied, rehearsed, and made again in another place.
    backups = tmp_path / "backups"
    copied = desk("store", "backup", str(backups))
    assert desk("store", "restore", str(backups), "--drill")["problems"] == []
    other = Desk(tmp_path / "other")
    other.folder.mkdir()
    shutil.copyfile(desk.folder / "calls.jsonl", other.folder / "calls.jsonl")
    if on_server:
        assert "is not empty" in other("store", "restore", str(backups), code=5)
        old = next(
            line
            for line in (other.folder / "tunesmith.toml").read_text().splitlines()
            if line.startswith("database")
        )
        other.set(old, f'database = "{request.getfixturevalue("postgres")()}"')
    assert other("store", "restore", str(backups))["head"] == copied["head"]
    assert "not an empty folder" in other("store", "restore", str(backups), code=5)
    report = other("verify")
    assert report["problems"] == []
    assert (
        report["num_entries"] == int(copied["head"].partition(":")[0]) + 1
    )  # that it was restored
    assert all(line["state"] == "hit" for line in other("plan")["lines"])
    assert {each["name"]: each["state"] for each in other("model", "list")}[
        "desk@2"
    ] == "production"

    # What was set aside comes back, and a damaged blob is made good from the backup.
    assert desk("store", "gc", "--undo")["num_came_back"] == len(plan["going"])
    victim = desk.folder / ".tunesmith" / "blobs" / _path(plan["kept"][0]["sha256"])
    victim.chmod(0o644)
    victim.write_bytes(b"damaged")
    assert "is damaged" in desk("verify", code=1)
    assert desk("verify", "--repair", "--from", str(backups))["problems"] == []


def _path(digest: str) -> str:
    return f"{digest[:2]}/{digest[2:]}"


PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "look-after-the-store.md"
SMALL = """
[project]
name = "desk"

[source.calls]
origin = "file:calls.jsonl"
format = "jsonl"
text = "text"
"""


def test_the_commands_of_the_page_do_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunesmith.project import open_project

    page = PAGE.read_text()
    settings = page.split("```toml\n")[1].split("```")[0]
    commands = re.findall(r"^    tunesmith (.*?)(?: +#.*)?$", page, re.MULTILINE)
    assert len(commands) >= 15
    folder = tmp_path / "desk"
    folder.mkdir()
    (folder / "tunesmith.toml").write_text(SMALL + settings)
    (folder / "calls.jsonl").write_text(calls())
    monkeypatch.chdir(folder)
    from tunesmith.graph import build, steps

    project = open_project(folder)
    for step in steps(build(project.file)):
        project.run(step)
    blob = next(each.sha256 for each in project.blobs().files())
    project.close()
    there = {
        "/mnt/backups/desk": str(tmp_path / "backups"),
        "/srv/": f"{tmp_path}/",
        "3f9a02": blob,
    }
    desk = Desk(folder)
    said: dict[str, Any] = {}
    for command in commands:
        words = command
        for old, new in there.items():
            words = words.replace(old, new)
        found = desk.run(*shlex.split(words))
        said[command] = found
        if "store backup" in command:
            there["2026-11-26T020000.000Z"] = found["snapshot"]
        if "audit export --out log.jsonl" in command:  # another export comes after it
            there["1234:9f86d081..."] = found["head"]
    assert said["verify"]["problems"] == []
    assert said["store restore /mnt/backups/desk --drill"]["problems"] == []
    assert said["audit verify log.jsonl --head 1234:9f86d081..."]["held"]
    assert Desk(tmp_path / "desk-then")("verify")["problems"] == []


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["store", "gc", "--apply", "--undo"], 2, "at a time"),
        (["store", "gc", "--why", "abcdef"], 4, "there is no blob"),
        (["store", "gc", "--undo", "--batch", "x"], 4, "nothing is set aside as 'x'"),
        (["store", "backup", "STORE"], 2, "in the store itself"),
        (["store", "backup", "."], 5, "something that is no backup"),
        (["store", "restore", "."], 4, "there is no snapshot"),
        (["verify", "--from", "."], 2, "goes with --repair"),
        (["verify", "--repair", "--from", "docs"], 2, "holds no backup"),
    ],
)
def test_what_cannot_be_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, message: str
) -> None:
    (tmp_path / "tunesmith.toml").write_text("[project]\nname = 'x'\n")
    monkeypatch.chdir(tmp_path)
    project = Desk(tmp_path)
    said = [str(tmp_path / ".tunesmith" / "b") if word == "STORE" else word for word in words]
    assert message in project(*said, code=code)


def test_a_password_is_not_printed(tmp_path: Path) -> None:
    text = "[project]\nname = 'x'\ndatabase = 'postgresql://me:secret@db.invalid:5/tunesmith'\n"
    (tmp_path / "tunesmith.toml").write_text(text)
    shown = json.dumps(Desk(tmp_path)("config", "show"))
    assert "me:***@db.invalid" in shown
    assert "secret" not in shown
    assert "secret" not in Desk(tmp_path)("verify", code=1)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:se/cret@db.invalid/x", "postgresql://me:***@db.invalid/x"),
        ("postgresql://db.invalid/x?user=me&password=se/cret", "postgresql://db.invalid/x"),
        ("postgresql://me:p@se/cret@db.invalid/x", "***"),
        ("postgresql://db.invalid:se/cret", "***"),
        ("no URL: se/cret", "***"),
    ],
)
def test_a_password_is_not_printed_however_it_is_written(
    tmp_path: Path, url: str, shown: str
) -> None:
    (tmp_path / "tunesmith.toml").write_text(f"[project]\nname = 'x'\ndatabase = '{url}'\n")
    desk = Desk(tmp_path)
    (value,) = (each["value"] for each in desk("config", "show") if "database" in each["key"])
    assert value == shown


@pytest.mark.parametrize("url", ["postgresql://me:se@db.invalid:po/cret", "no URL: se/cret"])
def test_what_is_no_address_of_a_database_is_said(tmp_path: Path, url: str) -> None:
    (tmp_path / "tunesmith.toml").write_text(f"[project]\nname = 'x'\ndatabase = '{url}'\n")
    said = Desk(tmp_path)("runs", code=2)
    assert "project.database: '***' cannot be opened" in said
    assert "cret" not in said


def test_no_list_is_shorter_than_one(tmp_path: Path) -> None:
    """Of -1 SQLite makes all, and a server an error."""
    from tunesmith.cli.main import app

    (tmp_path / "tunesmith.toml").write_text("[project]\nname = 'x'\n")
    done = CliRunner().invoke(app, ["runs", "--limit", "-1", "-p", str(tmp_path)])
    assert (done.exit_code, "greater than or equal to 1" in done.output) == (2, True), done.output
