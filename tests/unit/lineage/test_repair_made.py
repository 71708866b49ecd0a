"""Rows of transforms in quarantine: listed, taken out, repaired and re-admitted as a source's."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tunesmith.cli.main import app
from tunesmith.core.errors import DataError, NotAllowed, StepStoreError
from tunesmith.core.verify import verify
from tunesmith.graph import build
from tunesmith.lineage import repair
from tunesmith.lineage.forget import forget
from tunesmith.project import open_project
from tunesmith.stages.ingest import repairs as kept

PROJECT = """\
[project]
name = "calls"

[source.calls]
origin = "file:calls.jsonl"
format = "jsonl"
text = "topic"
subject = "who"

[transform.long]
sources = ["calls"]
{made_by}
title = "topic"
[transform.long.contract]
minutes = {{ type = "integer", minimum = 0 }}
topic = {{ type = "string", unique = true }}

[transform.longest]
sources = ["long"]
sql = "SELECT row_id, topic AS text, minutes FROM long WHERE minutes > 5"
"""
PYTHON = """\
def long(row):
    if row["topic"] == "broken":
        raise ValueError("no such thing")
    return {"topic": row["topic"], "minutes": row["minutes"], "who": row["who"], "text": "A call."}
"""
SQL = """sql = "SELECT row_id, topic, minutes, who, 'A call.' AS text FROM calls" """
CALLS = [("loan", 7), ("card", -3), ("fees", -8), ("cash", 1), ("card-2", -3), ("rent", -60)]


class Calls:
    """A project's folder; two of its five calls are good."""

    def __init__(self, path: Path, made_by: str) -> None:
        self.path = path
        (path / "clean.py").write_text(PYTHON)
        (path / "tunesmith.toml").write_text(PROJECT.format(made_by=made_by))
        rows = [
            {"who": f"caller-{n:04}", "topic": topic, "minutes": minutes}
            for n, (topic, minutes) in enumerate(CALLS)
        ]
        (path / "calls.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def opened(self):
        return open_project(self.path)

    def run(self, name: str = "long"):
        """The record of a transform, and its rows by their topic."""
        project = self.opened()
        try:
            asset = project.run(build(project.file).assets[name])
            rows = pq.read_table(project.runner.blobs.path(asset.rows)).to_pylist()
            report = verify(project.runner.database, project.runner.blobs)
            assert report.problems == ()
        finally:
            project.close()
        sides = (asset.num_rows, asset.num_quarantined, asset.num_filtered, asset.num_erased)
        assert asset.num_in == sum(sides)
        assert asset.num_read == asset.num_used + asset.num_refused + asset.num_unused
        assert len(rows) == asset.num_rows
        return asset, {json.loads(row["attributes"]).get("topic", row["text"]): row for row in rows}

    def say(self, *words: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, ["data", *words, "-p", str(self.path)])
        assert done.exit_code == code, (done.output, done.exception)
        return done.output


@pytest.fixture(params=["sql", "python"])
def calls(request, tmp_path: Path) -> Calls:
    (tmp_path / "calls").mkdir()
    made_by = SQL if request.param == "sql" else 'python = "clean.py:long"'
    made = Calls(tmp_path / "calls", made_by)
    made.run("longest")
    return made


def test_it_is_listed_repaired_and_taken_in(calls, tmp_path):
    before, rows = calls.run()
    assert (before.num_rows, before.num_quarantined, before.num_repaired) == (2, 4, 0)
    said = calls.say("quarantine", "long")
    assert said.splitlines()[0] == "long: 4 records in quarantine"
    assert "tunesmith data quarantine long --out bad.csv" in said

    path = tmp_path / "bad.csv"
    calls.say("quarantine", "long", "--out", str(path))
    with path.open(newline="") as file:
        head, *lines = list(csv.reader(file))
    place = {name: n for n, name in enumerate(head)}
    assert {line[place["topic"]] for line in lines} == {"card", "fees", "card-2", "rent"}
    for line in lines:
        if line[place["topic"]] in ("card", "fees"):
            line[place["minutes"]] = line[place["minutes"]].removeprefix("-")
        elif line[place["topic"]] == "rent":
            line[place["minutes"]] = "an hour"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([head, *lines])
    said = calls.say("repair", "long", str(path), "--why", "a sign too many")
    assert "2 records repaired, 1 still break a rule" in said
    assert "kept in repairs/long.jsonl" in said
    assert len(kept.read(calls.path, "long")) == 2

    after, repaired = calls.run()
    assert (after.num_in, after.num_rows, after.num_quarantined, after.num_repaired) == (6, 4, 2, 2)
    assert json.loads(repaired["fees"]["attributes"])["minutes"] == 8
    assert json.loads(repaired["fees"]["attributes"])["title"] == "fees"
    assert repaired["loan"]["row_id"] == rows["loan"]["row_id"]
    # It keeps the id that it had in quarantine, and what is made from it knows where it is from.
    project = calls.opened()
    assert kept.read(calls.path, "long")[0].record in {row["row_id"] for row in repaired.values()}
    states = [each.state for each in repair.quarantine(project, "long").repairs]
    assert states == ["re-admitted", "re-admitted"]
    project.close()
    _, further = calls.run("longest")
    assert sorted(further) == ["fees", "loan"]
    found = calls.say("trace", repaired["fees"]["row_id"])
    assert "repaired: minutes was -8, is 8" in found
    assert "a sign too many" in found


def test_all_at_once_and_a_line_that_is_taken_out_undoes_one(calls):
    words = ["repair", "long", "--why", "signs", "--sql"]
    calls.say(*words, "UPDATE bad SET minutes = replace(minutes, '-', '')")
    asset, _ = calls.run()
    assert (asset.num_rows, asset.num_repaired) == (6, 4)
    path = calls.path / kept.file_of("long")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    asset, _ = calls.run()
    assert (asset.num_rows, asset.num_repaired, asset.num_quarantined) == (5, 3, 1)
    path.unlink()
    project = calls.opened()
    (planned,) = project.runner.plan([build(project.file).assets["long"]])
    project.close()
    assert planned.hit is not None, "without repairs its key is what it was"


def test_what_another_row_of_the_source_says_makes_a_repair_stale(calls):
    calls.say(
        "repair", "long", "--why", "x", "--sql", "UPDATE bad SET minutes = '3' WHERE topic = 'fees'"
    )
    source = calls.path / "calls.jsonl"
    source.write_text(source.read_text().replace("-8", "-9"))
    asset, rows = calls.run()
    assert "fees" not in rows
    assert asset.num_repaired == 0
    project = calls.opened()
    found = repair.quarantine(project, "long")
    project.close()
    assert [each.state for each in found.repairs] == ["stale"]


def test_a_repair_may_make_no_good_row_bad(calls):
    project = calls.opened()
    with pytest.raises(DataError, match="would be refused because of a repair"):
        repair.repair_with_sql(
            project, "long", "UPDATE bad SET topic = 'cash', minutes = '1'", "the same call"
        )
    project.close()
    assert not (calls.path / "repairs").exists()


def test_it_is_looked_at_when_the_run_stopped_as_too_many_are_bad(calls):
    path = calls.path / "tunesmith.toml"
    path.write_text(path.read_text().replace('title = "topic"', "max_quarantined = 0.5"))
    with pytest.raises(DataError, match="tunesmith data quarantine long"):
        calls.run()
    words = ["repair", "long", "--why", "signs", "--sql"]
    assert "4 records in quarantine" in calls.say("quarantine", "long")
    calls.say(*words, "UPDATE bad SET minutes = '1' WHERE topic <> 'rent'")
    asset, _ = calls.run()
    assert (asset.num_rows, asset.num_quarantined, asset.num_repaired) == (5, 1, 3)


def test_forgetting_takes_the_repairs_with_it(calls):
    words = ["repair", "long", "--why", "signs", "--sql"]
    calls.say(*words, "UPDATE bad SET minutes = '1' WHERE topic IN ('fees', 'card')")
    calls.run("longest")
    old = (calls.path / kept.file_of("long")).read_bytes()
    project = calls.opened()
    forget(project, ["caller-0002"])
    project.close()
    (left,) = kept.read(calls.path, "long")
    assert left.subject == "caller-0001"
    asset, rows = calls.run()
    assert "fees" not in rows
    assert json.loads(rows["card"]["attributes"])["minutes"] == 1
    assert asset.num_repaired == 1
    # An old copy of the file brings nothing back, not into the store either.
    (calls.path / kept.file_of("long")).write_bytes(old)
    project = calls.opened()
    given = project.file.transform["long"].repairs
    assert given is not None
    assert [each.subject for each in given.repairs] == ["caller-0001"]
    with pytest.raises(NotAllowed, match="forgotten"):
        repair.repair_with_sql(
            project, "long", "UPDATE bad SET who = 'caller-0002', minutes = '1'", "no"
        )
    project.close()


def test_what_the_function_refused_has_no_fields_to_repair(tmp_path):
    (tmp_path / "calls").mkdir()
    calls = Calls(tmp_path / "calls", 'python = "clean.py:long"')
    source = calls.path / "calls.jsonl"
    source.write_text(source.read_text().replace('"cash"', '"broken"'))
    calls.run()
    project = calls.opened()
    found = {each.rule: each for each in repair.quarantine(project, "long").rules}
    assert (found["transform-error"].count, found["transform-error"].num_unreadable) == (1, 1)
    project.close()
    assert "there is no source or transform 'none'" in str(
        CliRunner().invoke(app, ["data", "quarantine", "none", "-p", str(calls.path)]).exception
    )


def test_a_value_that_json_has_not_is_repaired_by_name_alone(tmp_path):
    """A repair of another field leaves the row in quarantine."""
    (tmp_path / "calls").mkdir()
    sql = """sql = "SELECT row_id, topic, -minutes AS minutes, 'A call.' AS text, """
    calls = Calls(tmp_path / "calls", sql + """'Infinity'::DOUBLE AS share FROM calls" """)
    with pytest.raises(DataError, match="no usable row"):
        calls.run()
    project = calls.opened()
    done = repair.repair_with_sql(project, "long", "UPDATE bad SET text = 'Another.'", "x")
    assert (len(done.made), {each.rule for each in done.refused}) == (0, {"bad-value"})
    project.close()
    calls.say(
        "repair", "long", "--why", "x", "--sql", "UPDATE bad SET share = '0' WHERE topic = 'card'"
    )
    asset, rows = calls.run()
    assert (asset.num_rows, list(rows)) == (1, ["card"])


def test_without_the_key_of_erasures_repairs_are_not_passed_over(calls, tmp_path):
    """Nobody can tell then which of them are of people who were forgotten."""
    path = tmp_path / "bad.csv"
    calls.say("quarantine", "long", "--out", str(path))
    path.write_text(path.read_text().replace("-8", "8"))
    calls.say("repair", "long", str(path), "--why", "a sign too many")
    project = calls.opened()
    forget(project, ["caller-0000"])
    project.close()
    assert set(calls.run()[1]) == {"cash", "fees"}
    key = calls.path / ".tunesmith" / "erasure.key"
    secret = key.read_bytes()
    for other in (None, bytes(32)):
        key.unlink()
        if other is not None:
            key.write_bytes(other)
        with pytest.raises(StepStoreError, match=r"erasure\.key") as caught:
            calls.run()
        assert caught.value.remedy == "restore it from a backup of the store"
        project = calls.opened()
        (planned,) = project.runner.plan([build(project.file).assets["long"]])[-1:]
        assert planned.hit is None
        project.close()
        key.write_bytes(secret)
    assert set(calls.run()[1]) == {"cash", "fees"}, "nothing was made anew"
