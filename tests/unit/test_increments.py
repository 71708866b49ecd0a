"""A project with a database that is read by a cursor."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tunesmith.core.canonical import fingerprint
from tunesmith.core.errors import NotFound, UsageError
from tunesmith.graph import build
from tunesmith.project import open_project

SECTIONS = """\
[project]
name = "crm"
executor = "{executor}"

[source.mail]
origin = "sqlite:crm.db"
query = "SELECT * FROM mail"
key = "id"
cursor = "at"

[source.other]
origin = "sqlite:crm.db"
query = "SELECT id FROM mail"
key = "id"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return project(tmp_path / "here", "inline")


def project(folder: Path, executor: str) -> Path:
    folder.mkdir()
    (folder / "tunesmith.toml").write_text(SECTIONS.format(executor=executor))
    change(folder, "CREATE TABLE mail (id INTEGER PRIMARY KEY, body, at)")
    for n in range(6):
        change(folder, f"INSERT INTO mail VALUES ({n}, 'body {n}', {n})")
    return folder


def change(folder: Path, script: str) -> None:
    with contextlib.closing(sqlite3.connect(folder / "crm.db")) as database, database:
        database.executescript(script)


def made(folder: Path, *whole: str) -> tuple[Any, Any, list[str]]:
    """The data asset, what had changed, and what happened to its steps."""
    did: list[str] = []
    project = open_project(
        folder, asks=True, whole=whole, on_event=lambda event: did.append(event.what)
    )
    try:
        asset = project.run(build(project.file).assets["mail"])
    finally:
        project.close()
    return asset, project.increments["mail"], [what for what in did if what != "progress"]


@pytest.mark.parametrize("executor", ["inline", "subprocess"])
def test_the_last_load_is_what_an_increment_is_added_to(tmp_path: Path, executor: str) -> None:
    here = project(tmp_path / "here", executor)
    first, found, _ = made(here)
    assert (first.num_rows, found.is_whole, found.num_new) == (6, True, 6)
    again, found, did = made(here)
    assert (again, did) == (first, ["looked", "hit", "hit"])
    assert (found.is_whole, found.num_sent) == (False, 1)
    edits = "UPDATE mail SET body = 'x', at = 9 WHERE id = 2; DELETE FROM mail WHERE id = 3"
    change(here, edits)
    second, found, did = made(here)
    assert (found.is_whole, found.num_changed, found.num_gone, found.num_sent) == (False, 1, 1, 2)
    assert did == ["looked", "started", "finished"] * 1 + ["started", "finished"]
    assert not list((here / ".tunesmith" / "work" / "cache").iterdir()), "it ends with the run"
    # Who comes to this state by another way has the same.
    there = project(tmp_path / "there", executor)
    change(there, edits)
    alone, found, _ = made(there)
    assert found.is_whole
    assert fingerprint(alone) == fingerprint(second)


def test_where_the_last_load_is_damaged_or_gone_all_is_read(folder: Path) -> None:
    made(folder)
    project = open_project(folder)
    (last,) = [run for run in project.runs() if run.step == "query:mail"]
    path = project.runner.blobs.path(project.load(last).wheel)
    project.close()
    path.chmod(0o600)
    path.write_bytes(path.read_bytes() + b" ")
    asset, found, did = made(folder)
    assert found.is_whole
    assert "damaged" in did
    path.unlink()
    assert made(folder)[1].is_whole
    assert made(folder)[0] == asset
    assert not made(folder)[1].is_whole


def test_another_query_is_another_load(folder: Path) -> None:
    made(folder)
    file = folder / "tunesmith.toml"
    file.write_text(file.read_text().replace("SELECT * FROM mail", "SELECT * FROM mail WHERE id"))
    asset, found, _ = made(folder)
    assert (asset.num_rows, found.is_whole) == (5, True)


def test_all_is_read_when_it_is_wanted(folder: Path) -> None:
    made(folder)
    change(folder, "UPDATE mail SET body = 'silent' WHERE id = 1")
    before, found, _ = made(folder)
    assert found.num_changed == 0
    after, found, _ = made(folder, "mail")
    assert (found.is_whole, found.num_missed) == (True, 1)
    assert after.rows != before.rows
    for name, said in (("other", "is read whole each time"), ("male", "no source 'male'")):
        with pytest.raises(UsageError, match=said) as error:
            open_project(folder, asks=True, whole=[name])
        assert error.value.remedy.endswith("mail")


def test_a_database_that_is_away_stops_its_own_step_alone(folder: Path) -> None:
    asset, _, _ = made(folder)
    (folder / "crm.db").rename(folder / "away")
    looks = open_project(folder)
    assert looks.runner.current(build(looks.file).assets["mail"]) == asset
    looks.close()
    asks = open_project(folder, asks=True)
    with pytest.raises(NotFound, match=r"no crm\.db"):
        asks.run(build(asks.file).assets["mail"])
    asks.close()
    assert not list((folder / ".tunesmith" / "work" / "cache").iterdir())
