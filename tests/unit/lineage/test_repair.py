"""Records in quarantine are taken out, repaired and re-admitted; and forgotten with the rest."""

from __future__ import annotations

import csv
import json
import re
import textwrap
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tunesmith.cli.main import app
from tunesmith.core import evidence
from tunesmith.core.errors import (
    Conflict,
    DataError,
    NotAllowed,
    NotFound,
    StepStoreError,
    UsageError,
)
from tunesmith.core.verify import verify
from tunesmith.graph import build
from tunesmith.lineage import repair
from tunesmith.lineage.forget import forget
from tunesmith.lineage.trace import trace
from tunesmith.lineage.versions import checkout, log
from tunesmith.project import open_project
from tunesmith.stages.ingest import repairs as kept

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to" / "repair-quarantined-rows.md"
PROJECT = """\
[project]
name = "payments"

[source.payments]
origin = "file:payments.csv"
format = "csv"
label = "kind"
subject = "who"
[source.payments.contract]
id = { type = "integer", unique = true }
amount = { type = "number", minimum = 0 }
kind = { values = ["in", "out"] }
who = { type = "string" }
"""
HEAD = "id,amount,kind,who,remark"
GOOD = ["1,10.0,in,anna-1815,first", "2,3,out,berta-1852,second"]
BAD = [
    '3,"1,5",in,carla-1883,"the third, kept in the drawer on the left"',
    '4,"2,75",out,dora-1895,fourth',
    "5,7,sideways,emmy-1882,fifth",
    "6,8,in,,sixth",
    "7,9,in",
]


class Payments:
    """A project's folder with payments, some of them bad."""

    def __init__(self, path: Path, head: str = HEAD, bad: list[str] = BAD) -> None:
        self.path = path
        (path / "tunesmith.toml").write_text(PROJECT)
        self.write([*GOOD, *bad], head)

    def write(self, lines: list[str], head: str = HEAD) -> None:
        (self.path / "payments.csv").write_text("\n".join([head, *lines]) + "\n")

    def edit(self, old: str, new: str, file: str = "tunesmith.toml") -> None:
        path = self.path / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def opened(self):
        return open_project(self.path)

    def run(self):
        """Read the payments; the record, and the rows."""
        project = self.opened()
        try:
            asset = project.run(build(project.file).assets["payments"])
            rows = pq.read_table(project.runner.blobs.path(asset.rows)).to_pylist()
        finally:
            project.close()
        num_bad = asset.num_quarantined
        assert asset.num_in == asset.num_rows + num_bad + asset.num_filtered + asset.num_erased
        return asset, rows


@pytest.fixture
def payments(tmp_path: Path) -> Payments:
    path = tmp_path / "project"
    path.mkdir()
    return Payments(path)


@pytest.fixture
def project(payments: Payments):
    """Open, and the payments were read."""
    payments.run()
    project = payments.opened()
    yield project
    project.close()


def sheet(path: Path) -> list[list[str]]:
    with path.open(newline="") as source:
        return list(csv.reader(source))


def save(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", newline="") as target:
        csv.writer(target).writerows(rows)


def commas(project):
    return repair.repair_with_sql(
        project, "payments", "UPDATE bad SET amount = replace(amount, ',', '.')", "commas"
    )


def test_the_quarantine_is_told_by_rule_with_what_can_be_repaired(project):
    found = repair.quarantine(project, "payments")
    assert found.num_bad == 5
    assert {each.rule: (each.count, each.num_unreadable) for each in found.rules} == {
        "wrong-type": (2, 0), "unknown-value": (1, 0), "missing-field": (1, 0), "bad-csv": (1, 1),
    }  # fmt: skip
    assert found.rules[0].examples[0].fields == {
        "id": "3", "amount": "1,5", "kind": "in", "who": "carla-1883",
        "remark": "the third, kept in the drawer on the left",
    }  # fmt: skip


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_what_was_edited_passes_or_is_told_and_what_was_not_is_left(payments, project, suffix):
    path = payments.path / f"bad.{suffix}"
    assert repair.write_out(project, "payments", path) == 4
    if suffix == "csv":
        head, *rows = sheet(path)
        at = {name: head.index(name) for name in head}
        rows[0][at["amount"]], rows[2][at["kind"]] = "1.5", "downwards"
        save(path, [head, *rows])
    else:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        lines[0]["fields"]["amount"], lines[2]["fields"]["kind"] = "1.5", "downwards"
        path.write_text("\n".join(map(json.dumps, lines)))
    done = repair.repair_from_file(project, "payments", path, "decimal commas")
    assert [each.changes[0].after for each in done.made] == ['"1.5"']
    assert [(each.rule, each.pointer) for each in done.refused] == [
        ("unknown-value", "payments.csv#6")
    ]
    assert (done.stale, done.num_unchanged) == ((), 2)
    asset, rows = payments.run()
    assert (asset.num_rows, asset.num_quarantined, asset.num_repaired) == (3, 4, 1)
    row = rows[-1]
    assert row["pointer"] == "payments.csv#4"
    assert row["row_id"] == done.made[0].record
    assert json.loads(row["attributes"])["amount"] == "1.5"
    with project.runner.database.read() as connection:
        (said,) = list(evidence.entries(connection, repair.MADE))
    assert said.body["records"] == [row["row_id"]]
    assert "1.5" not in json.dumps(said.body)


def test_one_update_repairs_all_and_the_sources_without_repairs_keep_their_key(payments, project):
    step = build(project.file).assets["payments"]
    assert set(step.inputs) == {"package"}
    done = commas(project)
    assert [each.pointer for each in done.made] == ["payments.csv#4", "payments.csv#5"]
    assert done.num_unchanged == 2
    asset, _ = payments.run()
    assert asset.num_repaired == 2
    again = payments.opened()
    found = repair.quarantine(again, "payments")
    assert [each.state for each in found.repairs] == ["re-admitted"] * 2
    assert log(again, "payments")[-1].num_repaired == 2
    assert any("repairs" in what for what in log(again, "payments")[-1].changed)
    checkout(again, "payments", payments.path / "out")
    card = (payments.path / "out" / "card.md").read_text()
    assert "| of these repaired by people | 2 |" in card
    told = trace(again, done.made[0].record[:8])
    assert told.repair == done.made[0]
    assert told.repair.changes[0].before == '"1,5"'
    again.close()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM bad", "one UPDATE and nothing else"),
        ("UPDATE bad SET amount = 1; UPDATE bad SET amount = 2", "one UPDATE"),
        ("UPDATE bad SET", "syntax"),
        ("UPDATE bad SET price = 1", "the columns record, pointer, rule, reason, id"),
        ("UPDATE bad SET amount = (SELECT content FROM read_text('/etc/passwd'))", "disabled"),
        ("UPDATE bad SET amount = getenv('HOME')", "--sql"),
        ("COPY bad TO 'stolen.csv'", "one UPDATE"),
    ],
)
def test_sql_that_is_no_repair_is_refused(payments, project, statement, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        repair.repair_with_sql(project, "payments", statement, "why not")
    assert not (payments.path / "repairs").exists()


def test_a_repair_says_why_and_pushes_no_good_record_out(payments, project):
    with pytest.raises(UsageError, match="says why"):
        repair.repair_with_sql(project, "payments", "UPDATE bad SET amount = '1'", " ")
    payments.write([BAD[0], *GOOD])
    payments.run()
    now = payments.opened()
    with pytest.raises(DataError, match=r"1 records that are good now .* payments.csv#4: .*too"):
        repair.repair_with_sql(now, "payments", "UPDATE bad SET amount = 1, id = 2", "a slip")
    assert repair.quarantine(now, "payments").repairs == ()
    now.close()


def test_a_record_that_changed_is_not_repaired_and_its_repair_is_told_as_stale(payments, project):
    path = payments.path / "bad.csv"
    repair.write_out(project, "payments", path)
    commas(project)
    payments.edit('"1,5"', '"1,9"', "payments.csv")
    asset, _ = payments.run()
    assert (asset.num_repaired, asset.num_quarantined) == (1, 4)
    now = payments.opened()
    states = {
        each.repair.pointer: each.state for each in repair.quarantine(now, "payments").repairs
    }
    assert states == {"payments.csv#4": "stale", "payments.csv#5": "re-admitted"}
    head, *rows = sheet(path)
    rows[0][head.index("amount")] = "1.9"
    save(path, [head, *rows])
    done = repair.repair_from_file(now, "payments", path, "later")
    assert done.made == ()
    assert set(done.stale) == {row[0] for row in rows[:2]}, "one changed, one is repaired already"
    now.close()


def test_a_repair_that_a_stricter_contract_refuses_is_told_and_can_be_repaired_anew(
    payments, project
):
    first = commas(project)
    payments.edit("minimum = 0", "minimum = 2")
    asset, _ = payments.run()
    assert asset.num_repaired == 1
    now = payments.opened()
    state = repair.quarantine(now, "payments").repairs
    told = {each.repair.pointer: each for each in state}["payments.csv#4"]
    assert (told.state, told.reason[:13]) == ("quarantined", "out-of-range:")
    statement = "UPDATE bad SET amount = '15' WHERE rule = 'out-of-range'"
    done = repair.repair_with_sql(now, "payments", statement, "cents were meant")
    (again,) = done.made
    assert again.record == first.made[0].record
    (change,) = again.changes
    assert (change.before, change.after) == ('"1,5"', '"15"'), "of the source's record"
    now.close()
    assert payments.run()[0].num_repaired == 2


def test_values_of_typed_formats_keep_their_types_and_those_written_get_the_contracts(tmp_path):
    folder = tmp_path / "typed"
    folder.mkdir()
    made = Payments(folder)
    made.edit('"file:payments.csv"\nformat = "csv"', '"file:payments.jsonl"\nformat = "jsonl"')
    records = [
        {"id": 1, "amount": "1,5", "kind": "in", "who": "x", "rule": {"a": [1.0]}},
        {"id": 2, "amount": True, "kind": "in", "who": "y"},
        {"id": 3, "amount": 4, "kind": "in", "who": "z"},
    ]
    (folder / "payments.jsonl").write_text("\n".join(map(json.dumps, records)))
    made.run()
    project = made.opened()
    with pytest.raises(DataError, match="do not all have the same fields"):
        repair.write_out(project, "payments", folder / "bad.csv")
    statement = "UPDATE bad SET amount = CASE amount WHEN 'true' THEN '1' ELSE '1.5' END"
    done = repair.repair_with_sql(project, "payments", f"{statement}, who = NULL", "commas")
    assert [each.rule for each in done.refused] == ["missing-field"] * 2
    done = repair.repair_with_sql(project, "payments", f"{statement}, field_rule = 'm'", "commas")
    assert len(done.made) == 2
    project.close()
    _, rows = made.run()
    fields = [json.loads(row["attributes"]) for row in rows]
    assert [repr(each["amount"]) for each in fields] == ["1.5", "1.0", "4"]
    assert [each.get("rule") for each in fields] == ["m", "m", None]


@pytest.mark.parametrize(
    ("name", "text", "error", "said"),
    [
        ("bad.csv", None, NotFound, "there is no file"),
        ("bad.txt", "", UsageError, "neither CSV nor JSONL"),
        ("bad.csv", "record,rule\n", DataError, "line 1: the first line is to begin"),
        ("bad.csv", "record,pointer,rule,reason,id\na,b\n", DataError, "line 2: 2 cells"),
        ("bad.csv", 'record,pointer,rule,reason\n"a', DataError, "unexpected end"),
        ("bad.csv", "record,pointer,rule,reason\na,b,c,d\na,b,c,d\n", DataError, "there twice"),
        ("bad.csv", b"\xff", DataError, "not UTF-8"),
        ("bad.jsonl", '{"record": "a"}', DataError, "line 1: no record with its fields"),
        ("bad.jsonl", '{"record": "a", "fields": []}', DataError, "its fields are no object"),
        ("bad.jsonl", "{", DataError, "line 1"),
    ],
)
def test_a_file_that_is_not_as_it_was_written_is_refused(
    payments, project, name, text, error, said
):
    path = payments.path / name
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(error, match=re.escape(said)):
        repair.repair_from_file(project, "payments", path, "why")


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("there.csv", Conflict, "is there already"),
        ("none/bad.csv", NotFound, "there is no folder"),
        ("bad.xlsx", UsageError, "neither CSV nor JSONL"),
    ],
)
def test_nothing_is_written_over_or_where_it_cannot_be_read_again(
    payments, project, name, error, said
):
    (payments.path / "there.csv").write_text("edited")
    with pytest.raises(error, match=said):
        repair.write_out(project, "payments", payments.path / name)
    assert (payments.path / "there.csv").read_text() == "edited"


LINE = {
    "record": "a", "pointer": "p", "subject": "", "changes": {"x": {"after": 1}}, "by": "b",
    "at": "t", "why": "w",
}  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["{"], "line 1 is no repair"),
        ([{**LINE, "who": "x"}], "'who' is no key"),
        ([{**LINE, "changes": {}}], "changes nothing"),
        ([{**LINE, "changes": {"x": {"now": 1}}}], "neither before nor after"),
        ([{**LINE, "by": 1}], "no string"),
        ([LINE, LINE], "line 2 repairs record a a second time"),
    ],
)
def test_a_file_of_repairs_that_is_none_is_refused_by_its_line(payments, lines, said):
    folder = payments.path / "repairs"
    folder.mkdir()
    text = "\n".join(each if isinstance(each, str) else json.dumps(each) for each in lines)
    (folder / "payments.jsonl").write_text(text)
    with pytest.raises(DataError, match=re.escape(said)):
        payments.opened()


def test_a_link_that_leads_out_is_no_file_of_repairs(payments, tmp_path):
    (tmp_path / "elsewhere").write_text("")
    (payments.path / "repairs").mkdir()
    (payments.path / "repairs" / "payments.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="leads out"):
        payments.opened()


def test_names_of_sources_lead_nowhere_else():
    assert kept.file_of("../../etc/x").as_posix() == "repairs/..%2F..%2Fetc%2Fx.jsonl"


def everything(store: Path) -> bytes:
    parts = [path.read_bytes() for path in store.rglob("*") if path.is_file()]
    for path in store.rglob("*"):
        if path.is_file() and path.read_bytes()[:4] == b"PAR1":
            parts.append(json.dumps(pq.read_table(path).to_pylist()).encode())
    return b"\n".join(parts)


@pytest.mark.parametrize("named", ["by subject", "by row"])
def test_repairs_go_with_who_is_forgotten_and_cannot_bring_them_back(payments, project, named):
    made = commas(project).made[0]
    assert made.subject == "carla-1883"
    payments.write([*GOOD, *BAD, "8,4,in,gerda-1921,eighth"])  # so there are two packages
    payments.run()
    before = (payments.path / "repairs" / "payments.jsonl").read_bytes()
    assert b"carla-1883" in before
    now = payments.opened()
    certificate = forget(now, [made.subject if named == "by subject" else made.record])
    assert certificate.found == ()
    assert "repairs/payments.jsonl (a repair less)" in certificate.rewritten
    now.close()
    left = (payments.path / "repairs" / "payments.jsonl").read_text()
    assert "carla" not in left
    assert "dora-1895" in left
    store = payments.path / ".tunesmith"
    assert b"carla" not in everything(store)
    assert b'\\"1,5\\"' not in everything(store), (
        "nor what was repaired, in what the step was given"
    )
    asset, _ = payments.run()
    assert (asset.num_erased, asset.num_repaired) == (1, 1)

    # An old file of repairs, as from a repository's history, brings nothing back.
    (payments.path / "repairs" / "payments.jsonl").write_bytes(before)
    asset, _ = payments.run()
    assert (asset.num_erased, asset.num_repaired) == (1, 1)
    assert b"carla" not in everything(store)
    again = payments.opened()
    assert not list(verify(again.runner.database, again.runner.blobs).problems)
    if named == "by row":  # then the others of hers may stay
        again.close()
        return
    statement = "UPDATE bad SET who = 'carla-1883' WHERE rule = 'missing-field'"
    with pytest.raises(NotAllowed, match="somebody who was forgotten"):
        repair.repair_with_sql(again, "payments", statement, "found out who")
    again.close()


def test_a_repair_that_names_the_person_goes_with_them(payments, project):
    """Their name stands in the repair alone: the record had none."""
    statement = "UPDATE bad SET who = 'anna-1815' WHERE rule = 'missing-field'"
    assert len(repair.repair_with_sql(project, "payments", statement, "asked the desk").made) == 1
    payments.run()
    now = payments.opened()
    forget(now, ["anna-1815"])
    now.close()
    assert not (payments.path / "repairs" / "payments.jsonl").exists()
    asset, _ = payments.run()
    assert asset.num_erased == 2
    assert b"anna-1815" not in everything(payments.path / ".tunesmith")


def test_the_whole_way_by_the_command_line(payments):
    """Bad CSV -> quarantine -> file -> edit -> repair -> run -> rows; told by trace; forgotten."""

    def tunesmith(*words: str) -> str:
        done = CliRunner().invoke(app, [*words, "-p", str(payments.path)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    tunesmith("run")
    listed = tunesmith("data", "quarantine")
    assert "payments: 5 records in quarantine" in listed
    assert re.search(r"wrong-type +2 +2 +payments.csv#4", listed)
    assert re.search(r"bad-csv +1 +0 ", listed)
    assert textwrap.indent(listed, "    ") in HOW_TO.read_text(), "the page is as it ran"
    assert PROJECT.partition("\n\n")[2] in HOW_TO.read_text()
    path = payments.path / "bad.csv"
    assert "wrote 4 records" in tunesmith("data", "quarantine", "payments", "--out", str(path))
    edited = {"1,5": "1.5", "sideways": "out"}
    save(path, [[edited.get(cell, cell) for cell in row] for row in sheet(path)])
    said = tunesmith("data", "repair", "payments", str(path), "--why", "as on paper")
    assert "2 records repaired, 0 still break a rule, 0 are not" in said
    statement = "UPDATE bad SET amount = replace(amount, ',', '.') WHERE rule = 'wrong-type'"
    done = json.loads(
        tunesmith("data", "repair", "payments", "--sql", statement, "--why", "commas", "--json")
    )
    assert len(done["made"]) == 1
    tunesmith("run")
    versions = tunesmith("data", "log")
    assert "5 out (3 repaired)" in versions
    found = json.loads(tunesmith("data", "quarantine", "payments", "--json"))
    assert {each["state"] for each in found["repairs"]} == {"re-admitted"}
    told = tunesmith("data", "trace", "drawer on the left")
    assert 'repaired: amount was "1,5", is "1.5" (by ' in told
    assert "as on paper)" in " ".join(told.split())
    forgotten = tunesmith("data", "forget", "carla-1883")
    assert "made again without them: repairs/payments.jsonl (a repair less)" in forgotten
    assert "carla" not in (payments.path / "repairs" / "payments.jsonl").read_text()
    with pytest.raises(NotFound):
        CliRunner().invoke(
            app, ["data", "trace", "drawer on", "-p", str(payments.path)], catch_exceptions=False
        )
    with pytest.raises(UsageError, match="and not both"):
        CliRunner().invoke(
            app, ["data", "repair", "payments", "-p", str(payments.path)], catch_exceptions=False
        )


def test_without_the_key_of_erasures_repairs_are_not_passed_over(payments):
    """What was read before the repair is there, and is not used in place of it."""
    payments.run()
    project = payments.opened()
    forget(project, ["berta-1852"])
    project.close()
    assert payments.run()[0].num_rows == 1
    project = payments.opened()
    statement = "UPDATE bad SET amount = '1.5' WHERE amount = '1,5'"
    repair.repair_with_sql(project, "payments", statement, "decimal commas")
    project.close()
    assert payments.run()[0].num_rows == 2
    key = payments.path / ".tunesmith" / "erasure.key"
    secret = key.read_bytes()
    key.unlink()
    with pytest.raises(StepStoreError, match=r"erasure\.key cannot be read"):
        payments.run()
    key.write_bytes(secret)
    assert payments.run()[0].num_rows == 2
