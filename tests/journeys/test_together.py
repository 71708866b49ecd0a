"""A tap with a contract, a bucket with a licence, a query over both, and a copy that leaves."""

from __future__ import annotations

import json
import sys

import pytest
from typer.testing import CliRunner

from tunesmith.cli.main import app

SETTINGS = """
[project]
name = "bank"
hosts = ["{host}"]

[source.visits]
origin = "singer:"
tap = ["./tap.py"]
stream = "visits"
text = "note"
subject = "who"
licence = "internal"
max_quarantined = 0.5
[source.visits.contract]
id = {{ type = "integer" }}
minutes = {{ type = "integer" }}
who = {{}}
note = {{}}
branch = {{}}

[source.branches]
origin = "s3://{bucket}/2026"
endpoint = "http://{host}"
format = "jsonl"
text = "town"
licence = "MIT"
max_quarantined = 0.5

[transform.letters]
sources = ["visits", "branches"]
sql = '''
SELECT [v.row_id, b.row_id] AS row_ids, v.text || ' Seen in ' || b.town AS text, v.who, v.minutes
FROM visits v JOIN branches b USING (branch)
'''
text = "text"
subject = "who"
"""
TAP = """\
import json
def say(kind, **rest): print(json.dumps({"type": kind, **rest}))
say("SCHEMA", stream="visits", schema={"properties": {}}, key_properties=["id"])
for row in json.load(open("visits.json")): say("RECORD", stream="visits", record=row)
say("STATE", value={})
"""
SAID = "He came with a grey parrot."


@pytest.fixture
def project(tmp_path, object_server, monkeypatch):
    bucket = object_server.bucket()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "reader")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret-of-the-reader")
    text = SETTINGS.format(bucket=bucket, host=object_server.host)
    (tmp_path / "tunesmith.toml").write_text(text)
    (tmp_path / "tap.py").write_text(f"#!{sys.executable} -IS\n{TAP}")
    (tmp_path / "tap.py").chmod(0o755)
    visits = [
        {"id": n, "who": f"person-{n:04}", "branch": "ab"[n % 2], "note": f"A visit, the {n}.",
         "minutes": 10 * n}
        for n in range(1, 7)
    ]  # fmt: skip
    visits[2]["minutes"] = "half an hour"
    visits[3]["note"] = SAID
    (tmp_path / "visits.json").write_text(json.dumps(visits))
    towns = [{"branch": "a", "town": "Aton"}, {"branch": "b", "town": "Beton"}]
    lines = "".join(json.dumps(town) + "\n" for town in towns)
    object_server.put(bucket, "2026/branches.jsonl", lines.encode())
    object_server.put(bucket, "2026/README.md", b"Licence: CC-BY-NC-4.0\n")
    return tmp_path


@pytest.fixture
def tunesmith(project):
    def run(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, [*words, "-p", str(project)])
        ended = getattr(done.exception, "exit_code", done.exit_code)
        assert ended == code, f"{words}\n{done.output}\n{done.exception}"
        return done.stdout

    return run


def test_they_work_together(project, tunesmith):
    tunesmith("run")
    listed = {each["name"]: each for each in json.loads(tunesmith("data", "list", "--json"))}
    letters = listed["letters"]["catalogue"]
    assert letters["num_rows"] == 5
    assert letters["stated"]["licence"] == "internal AND MIT"
    assert letters["stated"]["subject"] == "who"
    page = tunesmith("data", "show", "letters")
    assert "doubtful: CC-BY-NC-4.0 (README.md, line 1)" in page, page

    assert "half an hour" in tunesmith("data", "quarantine", "visits")
    tunesmith(
        "data", "repair", "visits", "--why", "he said so on the telephone",
        "--sql", "UPDATE bad SET minutes = '30' WHERE rule = 'wrong-type'",
    )  # fmt: skip
    tunesmith("run")
    left = load_out(tunesmith, project / "out")
    assert len(left) == 6
    assert [row["minutes"] for row in left if row["who"] == "person-0003"] == [30]

    assert str(project / "out") in tunesmith("data", "forget", "person-0004", "--plan", "--json")
    made = json.loads(tunesmith("data", "forget", "person-0004", "--json"))
    assert made["found"] == []
    assert [str(project / "out") in copy for copy in made["copies"]] == [True]
    tunesmith("run")
    left = load_out(tunesmith, project / "again")
    assert {row["who"] for row in left} == {f"person-000{n}" for n in (1, 2, 3, 5, 6)}
    assert [row["minutes"] for row in left if row["who"] == "person-0003"] == [30]
    kept = [path.read_bytes() for path in (project / ".tunesmith").rglob("*") if path.is_file()]
    assert b"grey parrot" not in b"\0".join(kept)
    tunesmith("verify")


def load_out(tunesmith, folder):
    tunesmith("data", "load-out", "letters", "--as", "jsonl", "--to", str(folder))
    lines = (folder / "letters.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]
