"""From a file in the project's folder to a dataset, as a user gets there; no model is tuned."""

from __future__ import annotations

import json
import random

import pytest

TAIL = """
[source.mail]
origin = "file:data/mail.jsonl"
format = "jsonl"
owner = "mail room"
[source.mail.contract]
question = { max_chars = 400 }

[dataset.answers]
sources = ["mail"]
base = "tiny"
format = "preference"
columns = { prompt = "question", chosen = "better", rejected = "worse" }
test_rows = 4
"""


def rows(num: int) -> list[str]:
    draw = random.Random(1)

    def words() -> str:
        return " ".join("".join(draw.choices("abcdefgh", k=5)) for _ in range(8))

    return [
        json.dumps({"question": f"{words()}?", "better": words(), "worse": words()})
        for _ in range(num)
    ]


@pytest.fixture
def project(data_project):
    made = data_project("local", TAIL)
    lines = [*rows(24), "{broken", json.dumps({"question": "no answers"})]
    (made.folder / "data" / "mail.jsonl").write_text("\n".join(lines) + "\n")
    return made


def test_a_local_file_becomes_a_dataset_and_an_edit_is_seen(project):
    assert set(project.plan()) == {
        "land:mail", "ingest:mail", "licence:mail", "fetch:mini-llm==1.0", "base:tiny",
        "curate:answers",
    }  # fmt: skip
    said = project.process("run")
    assert said.returncode == 0, said.stderr
    assert "answers: 20 rows to train, 4 to test, format preference" in said.stdout
    assert "true size: 24 rows, 24 distinct, 24 near-distinct (100.0 %)" in said.stdout
    shown = project.tunesmith("data", "show", "answers").splitlines()
    assert shown[:2] == [
        "answers: 20 rows to train, 4 to test, format preference",
        "true size: 24 rows, 24 distinct, 24 near-distinct (100.0 %)",
    ]
    assert "  dropped: 1 not in the format" in shown
    assert "personal data: none found (report)" in shown
    assert json.loads(project.tunesmith("data", "show", "--json"))["size"]["rows"] == 24
    assert "quarantined (bad-json 1)" in said.stderr
    assert {state for state, _ in project.plan().values()} == {"hit"}

    refused = json.loads(project.tunesmith("data", "dropped", "mail", "--json"))
    assert [(row["pointer"], row["rule"]) for row in refused] == [("mail.jsonl#25", "bad-json")]
    dropped = json.loads(project.tunesmith("data", "dropped", "answers", "--json"))
    assert [(row["pointer"], row["reason"], row["detail"]) for row in dropped] == [
        ("mail.jsonl#26", "not in the format", "it has no field 'better'")
    ]
    assert "prefer the chosen one" in project.tunesmith("data", "card", "answers")
    assert "answers" in project.tunesmith("data", "list")
    assert "has no labels to doubt" in project.process("data", "doubts").stderr
    assert "land:mail" in project.tunesmith("runs")
    assert json.loads(project.tunesmith("verify", "--json"))["problems"] == []
    assert "capitalised" in project.tunesmith("ledger", "register")

    path = project.folder / "data" / "mail.jsonl"
    path.write_text(path.read_text() + rows(25)[-1] + "\n")
    edited = project.plan()
    assert edited["land:mail"][0] == "runs"
    assert edited["land:mail"][1].startswith("config.sha256: ")
    assert edited["curate:answers"] == ("runs", "ingest:mail runs before it")
    assert edited["base:tiny"][0] == "hit"
    assert "has not run as it is set now" in project.process("data", "card", "answers").stderr
    project.tunesmith("run")
    versions = json.loads(project.tunesmith("data", "list", "--json"))
    assert max(v["number"] for v in versions if v["name"] == "answers") == 2

    # What is in the store is what was read: the file may go, until it is asked for again.
    path.unlink()
    assert project.plan()["land:mail"][0] == "runs"
    said = project.process("run")
    assert (said.returncode, "Traceback" in said.stderr) == (4, False)
    assert "there is no data/mail.jsonl" in said.stderr


def test_the_subprocess_executor_finds_the_file(project):
    project.edit('name = "local"', 'name = "local"\nexecutor = "subprocess"')
    assert "answers: 20 rows" in project.tunesmith("run")


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ("file:data/mail.jsonl", "file:../mail.jsonl", 2, ["source.mail.origin", "inside the pro"]),
        ("file:data/mail.jsonl", "file:/etc/passwd", 2, ["source.mail.origin", "inside the pro"]),
        ("file:data/mail.jsonl", "file:data/mial.jsonl", 4, ["there is no data/mial.jsonl"]),
        ("file:data/mail.jsonl", "file:data/link", 1, ["leads out of the project's folder"]),
        ('owner = "mail room"', f'sha256 = "{"0" * 64}"', 1, ["has the SHA-256", "0000"]),
        ('format = "preference"', 'format = "preferences"', 2, ["dataset.answers.format"]),
        ("test_rows = 4", 'languages = ["english"]', 2, ["answers.languages", "two letters"]),
        ("test_rows = 4", 'apart_from = ["answers"]', 2, ["answers.apart_from", "a circle"]),
        ("test_rows = 4", "num_labels = 4", 2, ["num_labels is not read with format"]),
        ("{ prompt", "{ promt", 2, ["dataset.answers", "'promt'", "prompt, chosen, rejected"]),
        ('"worse"', '"worst"', 1, ["no field 'worst'", "better, question, worse", "columns"]),
        (
            'format = "preference"\ncolumns = { prompt = "question", chosen = "better", '
            'rejected = "worse" }\ntest_rows = 4',
            'instruction = "Name it."',
            2,
            ["dataset.answers.sources", "'mail'", "label and text"],
        ),
    ],
)
def test_what_is_wrong_is_said(project, old, new, code, words):
    (project.folder / "data" / "link").symlink_to("/etc/passwd")
    project.edit(old, new)
    said = project.process("run")
    assert (said.returncode, "Traceback" in said.stderr) == (code, False), said.stderr
    for word in words:
        assert word in said.stderr
    assert "root:" not in said.stderr


@pytest.mark.slow
def test_pseudonyms_are_made_with_a_key_that_the_store_never_sees(project):
    key = project.folder.parent / "answers.key"
    key.write_bytes(b"0123456789abcdef0123456789abcdef")
    key.chmod(0o600)
    lines = rows(24)
    row = json.loads(lines[0])
    lines[0] = json.dumps({**row, "better": "Write to ada@example.org, please."})
    (project.folder / "data" / "mail.jsonl").write_text("\n".join(lines) + "\n")
    project.edit("test_rows = 4", f'test_rows = 4\npii = "pseudonymise"\npii_key_file = "{key}"')
    said = project.process("run")
    assert said.returncode == 0, said.stderr
    assert "personal data: 1 email (pseudonymise)" in project.tunesmith("data", "show")
    assert key.read_text() not in said.stdout + said.stderr
    assert project.plan()["curate:answers"][0] == "hit"
    key.write_bytes(b"x" * 32)
    state, reason = project.plan()["curate:answers"]
    assert state == "runs"
    assert reason.startswith("config.pii_key_id: ")
    found = [
        path.read_bytes() for path in (project.folder / ".tunesmith").rglob("*") if path.is_file()
    ]
    assert not any(b"0123456789abcdef0123456789abcdef" in each for each in found)
    key.unlink()
    said = project.process("run")
    assert (said.returncode, "Traceback" in said.stderr) == (1, False)
    assert "cannot be read: No such file" in said.stderr
