"""Through transforms: where a row is from and went, and a person who is forgotten behind them."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tunesmith.cli.main import app
from tunesmith.core.errors import DataError, NotFound, UsageError
from tunesmith.core.verify import verify
from tunesmith.graph import build
from tunesmith.lineage.compare import compare
from tunesmith.lineage.forget import forget
from tunesmith.lineage.plan import plan
from tunesmith.lineage.trace import trace
from tunesmith.lineage.versions import checkout, find, log, path_of

WHO = "person-0042"
SAID = 'She said "never ägain" and left the house at seven in the morning.'
LOST = "Whatever this was about, it was about the grey parrot."
SECTIONS = """
[transform.loud]
sources = ["notes"]
python = "clean.py:loud"
label = "kind"

[transform.kinds]
sources = ["loud"]
sql = '''
SELECT list(row_id) AS row_ids, label AS kind, 'All of the kind ' || label AS title, count(*) AS n,
    string_agg(text, ' / ' ORDER BY text) AS text FROM loud GROUP BY label
'''
label = "kind"

[index.kinds]
source = "kinds"
"""
CLEAN = """
def loud(row):
    if "parrot" in row["text"]:
        raise ValueError(row["text"])
    return {"text": row["text"].upper(), "kind": row["kind"], "who": row["who"]}
"""


@pytest.fixture
def made(make_folder):
    """Twelve notes, of which two are somebody's, made loud and put together by kind."""
    folder = make_folder()
    with (folder.path / "tunesmith.toml").open("a") as file:
        file.write(SECTIONS)
    (folder.path / "clean.py").write_text(CLEAN)
    rows = [
        {
            "who": f"person-{n % 3:04}",
            "note": f"Note {n} of nobody in particular.",
            "kind": "abc"[n % 3],
        }
        for n in range(12)
    ]
    rows[4] |= {"who": WHO, "note": SAID}
    rows[5] |= {"who": WHO, "note": LOST}
    folder.write(rows)
    folder.run()
    return folder


def rows_of(project, ref: str) -> list[dict]:
    return pq.read_table(path_of(project, find(project, ref), "rows")).to_pylist()


def everything(folder) -> str:
    """All that the store says, decoded by means of this test's own."""
    parts = []
    for path in (folder.path / ".tunesmith").rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        if data.startswith(b"PAR1"):
            parts.append(json.dumps(pq.read_table(path).to_pylist(), ensure_ascii=False))
        parts.append(data.decode(errors="replace"))
    return "\n".join(parts)


def test_a_row_is_traced_up_and_down(made):
    with made.opened() as project:
        found = trace(project, "never ägain")
        assert (found.member, found.number, found.ancestors) == ("notes.jsonl", 5, ())
        holders = {(each.kind, each.name): each.how for each in found.holders}
        assert holders == {
            ("source", "notes@1"): "1 row", ("transform", "loud@1"): "1 row",
            ("transform", "kinds@1"): "1 row", ("index", "kinds@1"): "a document of it",
        }  # fmt: skip
        group = next(row for row in rows_of(project, "kinds") if row["label"] == "b")
        up = trace(project, group["row_id"])
        assert [each.name for each in up.ancestors] == ["loud@1"] * 4 + ["notes@1"] * 4
        lines = {each.pointer for each in up.ancestors}
        assert lines == {f"notes.jsonl#{n + 1}" for n in (1, 4, 7, 10)}
        assert {parent for each in up.ancestors[:4] for parent in each.parents} == {
            each.row_id for each in up.ancestors[4:]
        }
        assert all(each.parents == () for each in up.ancestors[4:])
        assert (up.origin, up.package, up.number) == ("file:notes.jsonl", "", 0)
        assert up.member.endswith(" and 3 more")
        # A row of a source whose text what was made from it repeats is the one that is meant.
        assert trace(project, "Note 1 of").row_id == up.ancestors[4].row_id
        quarantined = trace(project, "grey parrot")
        assert {(each.name, each.how) for each in quarantined.holders} == {
            ("notes@1", "1 row"), ("loud@1", "1 row in quarantine"),
        }  # fmt: skip
    said = CliRunner().invoke(app, ["data", "trace", group["row_id"], "-p", str(made.path)])
    assert "notes@1" in said.stdout
    assert "notes.jsonl#5" in said.stdout
    assert "made" in said.stdout
    shown = CliRunner().invoke(app, ["data", "log", "loud", "-p", str(made.path)])
    assert "transform loud@1" in shown.stdout
    assert "12 rows of 12 of its sources, 11 out, 0 not asked for, 1 quarantined" in shown.stdout


def test_a_person_is_forgotten_through_transforms(made):
    with made.opened() as project:
        before = {row["label"]: row for row in rows_of(project, "kinds")}
        person, planned = plan(project, [WHO])
        assert len([row for row in person.rows if not row.is_made]) == 2
        assert ("transform", "kinds@1") in {(h.kind, h.name) for h in planned.holders}
        assert planned.obstacles == ()
        # What others' rows went into, too, is not theirs: it cannot be told by what it says.
        assert not any(" / " in text for text in person.texts)
        certificate = forget(project, [WHO])
        assert certificate.found == ()
        assert set(certificate.rewritten) == {
            "source notes@2", "transform loud@2", "transform kinds@2", "index kinds@2",
        }  # fmt: skip
        kinds = " ".join(certificate.purged.values())
        for step in (
            "land:notes",
            "ingest:notes",
            "transform:loud",
            "transform:kinds",
            "index:kinds",
        ):
            assert step in kinds
        after = {row["label"]: row for row in rows_of(project, "kinds")}
        assert after["a"] == before["a"], "of a group without them nothing changed"
        assert json.loads(after["b"]["attributes"])["n"] == 3
        assert after["b"]["row_id"] != before["b"]["row_id"]
        assert [line.num_quarantined for line in log(project, "loud")] == [1, 0]
        with pytest.raises(NotFound, match="loud@1 was erased"):
            path_of(project, find(project, "loud@1"), "edges")
        assert verify(project.runner.database, project.runner.blobs).problems == ()
        assert forget(project, [WHO]) == certificate
    said = everything(made)
    for word in ("never ägain", "NEVER ÄGAIN", "grey parrot", WHO, "left the house"):
        assert word not in said


def test_a_row_that_was_made_is_forgotten_by_what_it_was_made_from(made):
    with made.opened() as project:
        row = next(row for row in rows_of(project, "loud") if "NEVER" in row["text"])
        origin = trace(project, "never ägain").row_id
        with pytest.raises(UsageError, match=f"made by transform loud, of: {origin}"):
            plan(project, [row["row_id"]])
        assert forget(project, [origin]).found == ()
        assert "NEVER" not in " ".join(row["text"] for row in rows_of(project, "loud"))


def test_versions_of_a_transform_are_compared_and_written_out(made, tmp_path):
    (made.path / "clean.py").write_text(CLEAN.replace(".upper()", '.upper().replace("7", "SEVEN")'))
    made.run()
    with made.opened() as project:
        found = compare(project, "loud@1", "loud@2")
        counts = (found.num_added, found.num_removed, found.num_edited, found.num_same)
        assert counts == (0, 0, 1, 10)
        assert found.examples[0].pointer == "notes.jsonl#8"
        assert any("program" in what for what in log(project, "loud")[-1].changed)
        checkout(project, "loud@2", tmp_path / "out")
        edges = pq.read_table(tmp_path / "out" / "edges.parquet").to_pylist()
        parents = {each["row_id"]: each["parent"] for each in edges}
        rows = pq.read_table(tmp_path / "out" / "rows.parquet").to_pylist()
        notes = {row["row_id"]: row for row in rows_of(project, "notes")}
        for row in rows:
            wanted = notes[parents[row["row_id"]]]["text"].upper().replace("7", "SEVEN")
            assert row["text"] == wanted


LOGS = """\
[project]
name = "logs"

[source.logs]
origin = "file:logs.jsonl"
format = "jsonl"
text = "line"

[transform.calls]
sources = ["logs"]
python = "clean.py:call"
subject = "who"
"""
CALL = """
import re

def call(row):
    who = re.search(r"person-[0-9]+", row["text"])[0]
    return {"text": row["text"].partition(": ")[2], "who": who}
"""


@pytest.fixture
def calls(make_folder):
    """A log whose lines name people, which a transform alone knows of."""
    folder = make_folder()
    (folder.path / "tunesmith.toml").write_text(LOGS)
    (folder.path / "clean.py").write_text(CALL)
    write_calls(folder, [])
    run(folder)
    return folder


def write_calls(folder, more: list[str]) -> None:
    lines = [f"person-{n:04}: Please call me back about the thing number {n}." for n in range(4)]
    lines = [*lines, f"{WHO}: {SAID}", *more]
    text = "".join(json.dumps({"line": line}) + "\n" for line in lines)
    (folder.path / "logs.jsonl").write_text(text)


def run(folder) -> None:
    with folder.opened() as project:
        for step in build(project.file).assets.values():
            project.run(step)


def test_a_person_whom_a_transform_alone_knows_is_forgotten_and_stays_so(calls):
    with calls.opened() as project:
        certificate = forget(project, [WHO])
        assert certificate.found == ()
        assert set(certificate.rewritten) == {"source logs@2", "transform calls@2"}
        assert {line.num_erased for line in log(project, "logs")} == {0, 1}
    assert "never ägain" not in everything(calls)
    # A line that nobody could know of is theirs as well: what says so leaves it out.
    write_calls(calls, [f"{WHO}: It is me again."])
    run(calls)
    with calls.opened() as project:
        newest = log(project, "calls")[-1]
        assert (newest.num_in, newest.num_rows, newest.num_erased) == (5, 4, 1)
        assert "me again" not in " ".join(row["text"] for row in rows_of(project, "calls"))


def test_a_person_whom_no_row_of_a_source_names_is_not_half_forgotten(calls):
    coded = CALL.replace("[0]\n", '[0].replace("person-", "customer ")\n')
    (calls.path / "clean.py").write_text(coded)
    run(calls)
    with calls.opened() as project:
        _, planned = plan(project, ["customer 0042"])
        assert len(planned.obstacles) == 1
        assert "none of those that it was made from says so" in planned.obstacles[0]
        with pytest.raises(DataError, match="nothing was erased"):
            forget(project, ["customer 0042"])
        origin = trace(project, "never ägain").row_id
        assert origin in planned.obstacles[0]
        assert forget(project, [origin]).found == ()


def test_a_row_that_a_transform_alone_knows_of_and_refused_is_forgotten(calls):
    """Its name is too short to be searched for, and no row of a data asset has it."""
    (calls.path / "clean.py").write_text(CALL.replace("person-[0-9]+", "^[a-z0-9-]+"))
    write_calls(calls, ["p-7: ", "p-8: Another line of somebody."])
    run(calls)
    with calls.opened() as project:
        assert log(project, "calls")[-1].num_quarantined == 1
        _, planned = plan(project, ["p-7"])
        assert planned.num_quarantined == 1
        assert ("transform", "calls@2") in {(h.kind, h.name) for h in planned.holders}
        assert forget(project, ["p-7"]).found == ()
        assert log(project, "calls")[-1].num_quarantined == 0
    assert "p-7" not in everything(calls)
