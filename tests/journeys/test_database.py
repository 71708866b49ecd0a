"""From a database to a dataset, and what is done when its rows change or somebody is forgotten."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3

import pytest

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
