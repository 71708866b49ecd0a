"""From a database to a dataset, and what is done when its rows change or somebody is forgotten."""

from __future__ import annotations

import contextlib
import json
import random
import re
import shlex
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tunesmith.cli.main import app

TAIL = """
[source.mail]
origin = "sqlite:data/crm.db"
query = "SELECT id, customer, question, better, worse FROM mail WHERE done"
key = "id"
subject = "customer"
owner = "mail room"

[dataset.answers]
sources = ["mail"]
base = "tiny"
format = "preference"
columns = { prompt = "question", chosen = "better", rejected = "worse" }
test_rows = 4
"""
SAID = "Why was nobody at the counter when I came with my grey parrot?"


@pytest.fixture
def project(data_project):
    made = data_project("crm", TAIL)
    draw = random.Random(1)

    def words() -> str:
        return " ".join("".join(draw.choices("abcdefgh", k=5)) for _ in range(8))

    rows = [(n, f"customer-{n:04}", words(), words(), words(), n < 28) for n in range(30)]
    rows[7] = (7, "customer-0007", SAID, "We are sorry.", words(), True)
    with change(made) as database:
        database.execute(
            "CREATE TABLE mail (id INTEGER PRIMARY KEY, customer, question, better, worse, done)"
        )
        database.executemany("INSERT INTO mail VALUES (?, ?, ?, ?, ?, ?)", rows)
    return made


@contextlib.contextmanager
def change(project):
    path = project.folder / "data" / "crm.db"
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        yield database


def test_rows_that_change_are_seen_and_a_person_is_forgotten(project):
    assert set(project.plan()) == {
        "query:mail", "ingest:mail", "fetch:mini-llm==1.0", "base:tiny", "curate:answers",
    }  # fmt: skip
    said = project.process("run")
    assert said.returncode == 0, said.stderr
    assert "answers: 24 rows to train, 4 to test" in said.stdout
    assert {state for state, _ in project.plan().values()} == {"hit"}

    with change(project) as database:
        database.execute("UPDATE mail SET better = 'It leaves today.' WHERE id = 3")
        database.execute("DELETE FROM mail WHERE id = 4")
        database.execute("UPDATE mail SET done = 1 WHERE id = 29")
    # What only looks asks no database: it shows what was taken in last.
    assert json.loads(project.tunesmith("data", "show", "--json"))["num_in"] == 28
    state, reason = project.plan()["query:mail"]
    assert (state, "sha256" in reason) == ("runs", True)
    project.tunesmith("run")
    found = json.loads(project.tunesmith("data", "diff", "mail@1", "mail@2", "--json"))
    assert (found["num_added"], found["num_removed"], found["num_edited"]) == (1, 1, 1)
    (edited,) = [each for each in found["examples"] if each["change"] == "edited"]
    assert edited["pointer"] == "crm.db#id=3"
    assert "crm.db#id=7" in project.tunesmith("data", "trace", "grey parrot")

    made = json.loads(project.tunesmith("data", "forget", "customer-0007", "--json"))
    assert made["found"] == []
    assert "query:mail" in " ".join(made["purged"].values())
    assert set(made["files"]) == {"sqlite:data/crm.db"}, "there it is the owner's to delete"
    assert json.loads(project.tunesmith("data", "show", "--json"))["num_in"] == 27
    # The database still has the row, and another change brings it in again: not here.
    with change(project) as database:
        database.execute("UPDATE mail SET better = 'Not today.' WHERE id IN (3, 7)")
    project.tunesmith("run")
    project.tunesmith("data", "trace", "grey parrot", code=4)
    project.tunesmith("verify")


HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "load-from-a-database.md"


def test_the_how_to_as_it_is_written(tmp_path):
    """Its SQL, its section and its commands, one after the other; and each says what it is said to
    say."""
    section = ""

    def command(*words: str) -> str:
        # In this process: a dozen commands would each take a second to begin.
        done = CliRunner().invoke(app, [*words, "-p", str(tmp_path)])
        assert done.exit_code == 0, done.output
        return done.output

    def carry_out(script: str) -> None:
        with contextlib.closing(sqlite3.connect(tmp_path / "crm.db")) as database, database:
            database.executescript(script)

    num_said = 0
    for kind, block in re.findall(
        r"```(sql|toml|console)\n(.*?)```", HOW_TO.read_text(), re.DOTALL
    ):
        if kind == "sql":
            carry_out(block)
        elif kind == "toml" and not section:
            section = block
            (tmp_path / "tunesmith.toml").write_text(f'[project]\nname = "crm"\n\n{section}')
        elif kind == "console":
            for line in block.splitlines():
                if line.startswith("$ tunesmith "):
                    said = " ".join(command(*shlex.split(line)[2:]).split())
                else:
                    assert " ".join(line.split()) in said
                    num_said += 1
    assert num_said == 8
    found = CliRunner().invoke(app, ["plan", "--whole", "tickets", "--json", "-p", str(tmp_path)])
    increments = json.loads(found.stdout)["increments"]
    assert (increments["tickets"]["num_missed"], increments["tickets"]["is_whole"]) == (0, True)
    # Who was forgotten is edited, and another row is: the increment brings in that one alone.
    carry_out("UPDATE ticket SET body = 'Once more.', updated_at = '2027' WHERE id IN (2, 3)")
    assert "0 new, 1 changed, 0 gone; 4 of 6 rows sent" in " ".join(command("run").split())
    assert "6 rows in, 4 out, 0 not asked for, 0 quarantined, 2 erased" in command("data", "log")
    command("verify")


def test_a_database_that_is_gone_stops_what_needs_it_and_nothing_else(project):
    project.tunesmith("run")
    (project.folder / "data" / "crm.db").rename(project.folder / "crm.db")
    assert project.plan()["query:mail"][0] == "runs"
    said = project.process("run")
    assert said.returncode == 4
    assert "there is no data/crm.db" in said.stderr
    assert json.loads(project.tunesmith("data", "show", "--json"))["num_in"] == 28
    assert "customer-0007" not in said.stderr
    (project.folder / "crm.db").rename(project.folder / "data" / "crm.db")
    assert {state for state, _ in project.plan().values()} == {"hit"}
