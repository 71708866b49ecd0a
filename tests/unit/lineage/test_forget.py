"""A person is forgotten: planned, erased, kept out, proved; also when it is killed on the way."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import tunesmith
from tunesmith.cli.main import app
from tunesmith.core.errors import Conflict, DataError, NotFound, StoreError, UsageError
from tunesmith.core.verify import verify
from tunesmith.lineage.forget import forget
from tunesmith.lineage.plan import plan
from tunesmith.lineage.trace import trace
from tunesmith.lineage.versions import find, log, path_of

SOURCE = Path(tunesmith.__file__).parent / "lineage"
FAILPOINTS = re.findall(r'failpoint\("([\w.]+)"\)', (SOURCE / "forget.py").read_text())


def note(number: int, **changes) -> dict:
    who = f"person-{number % 3:04}"
    return {"who": who, "note": f"Note {number} of {who}.", "kind": "abc"[number % 3], **changes}


def held(folder) -> list[str]:
    """What of the person is in the store."""
    said = folder.everything()
    words = ["never ägain", "never \\u00e4gain", "left the house at seven", folder.who]
    return [word for word in words if word.encode() in said]


def test_the_plan_says_what_holds_them_and_changes_nothing(folder, served):
    with folder.opened() as project:
        served(project, f"I ask: {folder.said}")
        person, planned = plan(project, [folder.who])
        assert len(person.row_ids) == 2
        assert {(h.kind, h.name) for h in planned.holders} == {
            ("source", "notes@1"), ("source", "letters@1"), ("index", "letters@1"),
        }  # fmt: skip
        assert (planned.num_traces, planned.remedies, planned.obstacles) == (1, (), ())
        assert set(planned.files) == {"notes.jsonl", "letters/3.md"}
    assert len(held(folder)) >= 3


def test_a_person_is_erased_everywhere_and_the_rest_stays(folder, served):
    before = folder.path / ".tunesmith"
    with folder.opened() as project:
        served(project, f"I ask: {folder.said}")
        served(project, "Somebody else asks.")
        kept = pq.read_table(path_of(project, find(project, "notes"), "rows")).to_pylist()
        made = forget(project, [folder.who])
        assert (made.found, made.num_traces, made.not_rewritten) == ((), 1, ())
        assert set(made.rewritten) == {"source notes@2", "source letters@2", "index letters@2"}
        assert set(made.files) == {"notes.jsonl", "letters/3.md"}
        newest = log(project, "notes")[-1]
        assert (newest.num_in, newest.num_rows, newest.num_quarantined) == (13, 11, 1)
        assert newest.num_erased == 1
        rows = pq.read_table(path_of(project, find(project, "notes"), "rows")).to_pylist()
        # Nobody else's row changed: neither its id nor where it is.
        assert rows == [row for row in kept if row["text"] != folder.said]
        with pytest.raises(NotFound, match=r"notes@1 was erased"):
            path_of(project, find(project, "notes@1"), "rows")
        with project.runner.database.read() as connection:
            count = connection.exec_driver_sql("SELECT count(*) FROM traces").scalar()
        assert count == 1
        report = verify(project.runner.database, project.runner.blobs)
        assert report.problems == ()
        assert report.num_erased == len(made.purged) > 0
        assert forget(project, [folder.who]) == made, "who is forgotten stays so"
    assert held(folder) == []
    assert not (before / "erasing.json").exists()
    assert (before / "erasure.key").stat().st_mode & 0o777 == 0o600


def test_they_do_not_come_back(folder):
    with folder.opened() as project:
        forget(project, [folder.who])
    rows = [note(number) for number in range(3)]
    # The same record in another file order, and a new one of the same person.
    rows += [note(9, who=folder.who, note="Something new that was said later on.")]
    folder.write([note(4, who=folder.who, note=folder.said), *rows])
    folder.run()
    with folder.opened() as project:
        newest = log(project, "notes")[-1]
        assert (newest.num_in, newest.num_rows, newest.num_erased) == (6, 3, 2)
        assert verify(project.runner.database, project.runner.blobs).problems == ()
    assert held(folder) == []
    assert b"Something new" not in folder.everything()


def test_rows_are_forgotten_by_id_with_their_copies(folder):
    twice = note(4, note="The same words, written down twice by mistake.")
    folder.write([note(1), twice, note(2), twice])
    folder.run()
    with folder.opened() as project:
        table = pq.read_table(path_of(project, find(project, "notes"), "rows"))
        ids = [row["row_id"] for row in table.to_pylist() if row["text"] == twice["note"]]
        assert len(set(ids)) == 2
        made = forget(project, [ids[1]])
        assert len(made.rows) == 2
        newest = log(project, "notes")[-1]
        assert (newest.num_rows, newest.num_erased) == (2, 2)
        with pytest.raises(NotFound):
            trace(project, ids[0])
    assert b"written down twice" not in folder.everything()


def test_what_others_say_too_stays_and_is_named(folder):
    shared = "Words that two different people have said."
    folder.write([note(1, who=folder.who, note=shared), note(2, note=shared), note(3)])
    folder.run()
    with folder.opened() as project:
        person, planned = plan(project, [folder.who])
        assert len(planned.shared) == 1
        assert "notes.jsonl#2" in planned.shared[0]
        assert shared not in person.texts
        assert forget(project, [folder.who]).found == ()
        assert log(project, "notes")[-1].num_rows == 2


def test_a_line_that_cannot_be_read_goes_with_them(folder):
    """It has no subject; the name in it tells."""
    rows = [json.dumps(note(1, who=folder.who)), json.dumps(note(2)), "{" + folder.who]
    (folder.path / "notes.jsonl").write_text("\n".join(rows) + "\n")
    folder.run()
    with folder.opened() as project:
        assert forget(project, [folder.who]).found == ()
        newest = log(project, "notes")[-1]
        assert (newest.num_rows, newest.num_quarantined, newest.num_erased) == (1, 0, 2)
    assert held(folder) == []


def test_what_others_say_of_them_is_found_and_stays(folder):
    """Nothing is certified, and nobody else's data are damaged."""
    folder.letter(0, "person-0000", f"Yesterday {folder.who} was here.")
    folder.letter(3, "person-0003", "Nothing to say.")
    folder.run()
    with folder.opened() as project:
        for _ in range(2):  # asked again, it says so again
            with pytest.raises(DataError, match="still in the store") as caught:
                forget(project, [folder.who])
            assert "of ingest:letters" in caught.value.message
            assert verify(project.runner.database, project.runner.blobs).problems == ()
        letters = pq.read_table(path_of(project, find(project, "letters"), "rows")).to_pylist()
        assert len(letters) == 4
        (mention,) = [row["row_id"] for row in letters if folder.who in row["text"]]
        assert forget(project, [mention]).found == ()
    assert held(folder) == []


def test_without_the_file_nothing_is_erased(folder):
    (folder.path / "notes.jsonl").unlink()
    with folder.opened() as project, pytest.raises(DataError, match="put it back"):
        forget(project, [folder.who])
    assert len(held(folder)) >= 3


def test_nobody_is_said(folder):
    with folder.opened() as project, pytest.raises(NotFound, match=r"source\.notes\.subject = who"):
        forget(project, ["person-9999"])


def test_another_erasure_waits_for_the_first(folder):
    killed = _forget(folder.path, folder.who, "erasure.begun")
    assert killed.returncode == -9, killed.stderr
    with folder.opened() as project:
        problems = verify(project.runner.database, project.runner.blobs).problems
        assert any("is not finished" in problem for problem in problems)
        with pytest.raises(Conflict, match="not done"):
            forget(project, ["person-0001"])


RARE = ("erasure.purged", "erasure.searched", "erasure.purging:2")


@pytest.mark.parametrize(
    "name",
    [
        *sorted(set(FAILPOINTS) - set(RARE)),
        *(pytest.param(name, marks=pytest.mark.slow) for name in RARE),
    ],
)
def test_kill_and_run_again_converges(folder, name):
    killed = _forget(folder.path, folder.who, name)
    assert killed.returncode == -9, killed.stderr
    verified = CliRunner().invoke(app, ["verify", "-p", str(folder.path)])
    assert isinstance(verified.exception, StoreError)
    assert "erasing.json is left of an erasure" in verified.exception.message
    assert folder.who not in str(verified.exception) + verified.output
    with folder.opened() as project:
        project.clean_up()
        made = forget(project, [folder.who])
        assert made.found == ()
        report = verify(project.runner.database, project.runner.blobs)
        assert (report.problems, report.num_erased) == ((), len(made.purged))
        newest = log(project, "notes")[-1]
        assert (newest.number, newest.num_rows, newest.num_erased) == (2, 11, 1)
    assert held(folder) == []
    assert not list((folder.path / ".tunesmith").glob("erasing*"))


def _forget(folder: Path, who: str, failpoint: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys; from pathlib import Path; from tunesmith.project import open_project;"
        "from tunesmith.lineage.forget import forget;"
        "forget(open_project(Path(sys.argv[1])), [sys.argv[2]])"
    )
    return subprocess.run(
        [sys.executable, "-c", code, str(folder), who],
        env={**os.environ, "TUNESMITH_FAILPOINT": failpoint},
        capture_output=True,
        text=True,
    )


def test_rows_are_traced_by_id_prefix_and_text(folder):
    with folder.opened() as project:
        found = trace(project, "Note 7 of")
        assert (found.member, found.number, found.label) == ("notes.jsonl", 8, "b")
        assert found.origin == "file:notes.jsonl"
        assert len(found.package_sha256) == 64
        assert [(h.kind, h.name) for h in found.holders] == [("source", "notes@1")]
        by_id = trace(project, found.row_id)
        assert trace(project, found.row_id[:8]) == by_id == replace(found, place=None)
        letter = trace(project, "Letter 1. All is well here.")
        assert (letter.member, letter.number) == ("1.md", 0)
        assert ("index", "letters@1") in [(h.kind, h.name) for h in letter.holders]
        with pytest.raises(UsageError, match="11 rows are meant"):
            trace(project, "Note")


def test_the_commands_print_for_people(folder):
    def said(*words: str) -> str:
        done = CliRunner().invoke(app, ["data", *words, "-p", str(folder.path)])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert "line 8" in said("trace", "Note 7 of")
    assert "tunesmith data forget person-0042" in said("forget", folder.who, "--plan")
    assert "nothing was found" in said("forget", folder.who)
    again = json.loads(said("forget", folder.who, "--json"))
    assert again["found"] == []


MADE = """
[source.made]
origin = "file:made.jsonl"
format = "jsonl"
text = "text"
synthetic = { generator = "model", prompt = "asked", seeds = "made_from", of = ["notes"] }
"""


def test_what_was_generated_from_a_row_of_theirs_goes_too(folder):
    """A paraphrase does not name them, and still says what they said."""
    with folder.opened() as project:
        path = path_of(project, find(project, "source:notes"), "rows")
        ids = {row["text"]: row["row_id"] for row in pq.read_table(path).to_pylist()}
    theirs, others = ids[folder.said], ids["Note 5 of person-0002."]
    with (folder.path / "tunesmith.toml").open("a") as file:
        file.write(MADE)
    rows = [
        {"text": f"Generated text number {number}.", "model": "m", "asked": "p", "made_from": of}
        for number, of in enumerate([[theirs], [others], [others, theirs], f"{others} {theirs}"])
    ]
    lines = [json.dumps(row) for row in rows]
    (folder.path / "made.jsonl").write_text("\n".join(lines))
    folder.run()
    with folder.opened() as project:
        assert trace(project, "Generated text number 2.").seeds == (others, theirs)
        person, planned = plan(project, [folder.who])
        assert [row.text[-2] for row in person.rows if row.source == "made"] == ["0", "2", "3"]
        assert "made@1" in [holder.name for holder in planned.holders]
        assert "made.jsonl" in planned.files
        certificate = forget(project, [folder.who])
        assert not certificate.found
    said = folder.everything().decode(errors="replace")
    left = [number for number in range(4) if f"Generated text number {number}." in said]
    assert left == [1]
    folder.run()  # the file still has them: they do not come back
    with folder.opened() as project:
        assert find(project, "made").record.num_erased == 3
        with pytest.raises(NotFound):
            trace(project, "Generated text number 2.")
