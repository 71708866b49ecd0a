"""Versions of data: their log, what differs between two, and how they are written out."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tunesmith.cli.main import app
from tunesmith.core.errors import Conflict, NotFound, UsageError
from tunesmith.lineage import query
from tunesmith.lineage.compare import compare
from tunesmith.lineage.versions import checkout, find, log


def rows_of(folder) -> list[dict]:
    lines = (folder.path / "notes.jsonl").read_text().splitlines()[:-1]
    return [json.loads(line) for line in lines]


@pytest.fixture
def edited(folder):
    """A second version: two notes before all others, one edited, one relabelled, one gone."""
    rows = rows_of(folder)
    rows[7] = {**rows[7], "note": rows[7]["note"] + " And more."}
    rows[9] = {**rows[9], "kind": "c"}
    del rows[2]
    new = [{"who": "person-9", "note": f"A new note, number {n}.", "kind": "d"} for n in (1, 2)]
    folder.write([*new, *rows])
    folder.run()
    return folder


def test_an_edited_record_is_found_though_every_line_moved_and_its_id_is_another(edited):
    with edited.opened() as project:
        found = compare(project, "notes@1", "notes@2")
    counted = (found.num_added, found.num_removed, found.num_edited, found.num_same)
    assert counted == (2, 1, 2, 9)
    assert found.before.num_rows - 1 + 2 == found.after.num_rows
    shown = {(row.change, row.pointer, row.what) for row in found.examples}
    assert shown == {
        ("added", "notes.jsonl#1", ""),
        ("added", "notes.jsonl#2", ""),
        ("removed", "notes.jsonl#3", ""),
        ("edited", "notes.jsonl#9", "text"),
        ("edited", "notes.jsonl#11", "label"),
    }
    labels = {shift.of: (shift.before, shift.after) for shift in found.labels}
    assert labels == {"a": (4, 3), "b": (4, 4), "c": (4, 4), "d": (0, 2)}
    # By hand: (4/12 - 3/13) + |4/12 - 4/13| * 2 + 2/13, halved.
    assert found.label_shift == pytest.approx(
        (4 / 12 - 3 / 13 + 2 * (4 / 12 - 4 / 13) + 2 / 13) / 2
    )
    assert found.lengths_after.high >= found.lengths_after.median > 10


def test_a_whole_file_that_was_edited_is_one_edited_row(folder):
    folder.letter(1, "person-0001", "Letter 1, in other words.")
    folder.letter(9, "person-0009", "A ninth letter.")
    folder.run()
    with folder.opened() as project:
        found = compare(project, "source:letters@1", "letters")
    assert (found.num_added, found.num_removed, found.num_edited, found.num_same) == (1, 0, 1, 3)


def test_the_log_says_what_came_in_and_went_out_and_what_changed(edited):
    with edited.opened() as project:
        first, second = log(project, "notes")
        assert [(v.kind, v.name) for v in log(project)] == [
            ("source", "letters"), ("source", "notes"), ("source", "notes"),
        ]  # fmt: skip
    assert first.changed == ("first version",)
    assert any(said.startswith("config.sha256") for said in second.changed)
    for line in (first, second):
        kept_out = line.num_quarantined + line.num_left_out + line.num_erased
        assert line.num_in == line.num_rows + kept_out
        assert line.num_quarantined == 1


def test_a_version_is_written_with_its_card(edited, tmp_path):
    target = tmp_path / "out"
    with edited.opened() as project:
        checkout(project, "notes@1", target)
        with pytest.raises(Conflict, match="not empty"):
            checkout(project, "notes@1", target)
    assert pq.read_table(target / "rows.parquet").num_rows == 12
    assert pq.read_table(target / "quarantine.parquet").num_rows == 1
    assert "# Data asset notes@1" in (target / "card.md").read_text()


@pytest.mark.parametrize(
    ("ref", "error", "words"),
    [
        ("notes@9", NotFound, "there is: notes@1"),
        ("notes@", UsageError, "NAME@NUMBER"),
        ("notes@x", NotFound, "there is: notes@1"),
        ("nots", NotFound, "there is: letters, notes"),
        ("dataset:notes", NotFound, "'dataset:notes'"),
    ],
)
def test_a_version_that_is_not_there_is_said(folder, ref, error, words):
    with folder.opened() as project, pytest.raises(error, match=words):
        find(project, ref)


def test_the_commands_print_for_people_and_for_programs(edited, tmp_path):
    def said(*words: str) -> str:
        done = CliRunner().invoke(app, ["data", *words, "-p", str(edited.path)])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert "source notes@2" in said("log", "notes")
    assert "2 added, 1 removed, 2 edited, 9 the same" in said("diff", "notes@1", "notes@2")
    assert json.loads(said("diff", "notes@1", "notes", "--json"))["num_edited"] == 2
    assert "rows.parquet" in said("checkout", "notes", str(tmp_path / "there"))


# Fields that came, went or have another type.


@pytest.fixture
def drifted(folder):
    """A second version: `kind` stays, `weight` is new, `who` is a number. A third is the same but
    for a note."""
    rows = [{**row, "who": n, "weight": 1.5} for n, row in enumerate(rows_of(folder))]
    folder.write(rows)
    folder.run()
    folder.write([*rows, {"who": 99, "note": "One more note.", "kind": "a", "weight": 2}])
    folder.run()
    return folder


def test_the_log_says_which_fields_came_went_or_changed_their_type(drifted):
    with drifted.opened() as project:
        first, second, third = log(project, "notes")
        assert all(line.fields == () for line in log(project) if line.name == "letters")
    assert (first.fields, third.fields) == ((), ())
    said = [each.said() for each in second.fields]
    assert said == ["new field weight (number)", "who was text, is integer"]


def test_the_difference_names_fields_and_of_an_edited_row_those_that_differ(drifted):
    with drifted.opened() as project:
        found = compare(project, "notes@2", "notes@1")
        same = compare(project, "notes@2", "notes@3")
    assert [(each.change, each.name, each.before, each.after) for each in found.fields] == [
        ("gone", "weight", "number", ""),
        ("other type", "who", "integer", "text"),
    ]
    edited = [each.what for each in found.examples if each.change == "edited"]
    assert set(edited) == {"other fields: weight, who"}
    assert same.fields == ()


def test_of_a_version_that_was_purged_the_log_says_nothing_of_fields(drifted):
    with drifted.opened() as project:
        project.runner.blobs.path(find(project, "notes@1").record.rows).unlink()
        assert [line.fields for line in log(project, "notes")] == [(), (), ()]


def test_a_run_says_which_fields_changed_and_only_when_they_do(folder):
    def run() -> str:
        done = CliRunner().invoke(app, ["run", "-p", str(folder.path)])
        assert done.exit_code == 0, done.output
        return " ".join(done.stderr.split())

    rows = rows_of(folder)
    assert "field" not in run()
    folder.write([{key: row[key] for key in ("who", "note", "kind")} | {"n": 1} for row in rows])
    assert "! ingest:notes: new field n (integer)" in run()
    assert "new field" not in run()
    folder.write([{**row, f"f{n:02}": n} for n in range(20) for row in rows[:1]])
    assert "f11 (integer); and 9 more" in run()
    folder.write(rows)  # the first version again, which is no newer one
    assert "field" not in run()


def test_the_commands_print_fields(drifted):
    for words in (["log", "notes"], ["diff", "notes@1", "notes@2"]):
        done = CliRunner().invoke(app, ["data", *words, "-p", str(drifted.path)])
        assert "new field weight (number); who was text, is integer" in done.stdout, done.output


# The comparison itself, against sets and Counters.


Rows = list[tuple[str, str, str, str, str]]
"""(row_id, pointer, text, label, attributes)"""


def changes_of(tmp_path, before: Rows, after: Rows, limit: int = 1000) -> list[dict]:
    """What the comparison of two versions of a source says of each row that changed."""
    names = ("row_id", "pointer", "text", "label", "attributes")
    with query.opened() as connection:
        for version, rows in (("before", before), ("after", after)):
            table = {name: [row[i] for row in rows] for i, name in enumerate(names)}
            pq.write_table(pa.table(table), tmp_path / version)
            query.load(connection, version, {"rows": tmp_path / version})
        query.compare(connection, in_file_order=True)
        return query.examples(connection, limit)


@pytest.mark.parametrize("seed", range(4))
def test_random_versions_are_compared_as_by_hand(tmp_path, seed):
    draw = random.Random(seed)

    def row(text: str, line: int) -> tuple[str, str, str, str, str]:
        row_id = hashlib.sha256(text.encode()).hexdigest()[:32]
        return row_id, f"f.jsonl#{line}", text, text[-1], "{}"

    texts = [f"text {seed} {number}" for number in range(300)]
    after = [text for text in texts if draw.random() > 0.1]
    for _ in range(20):
        after.insert(draw.randrange(len(after)), f"new {draw.random()}")
    counts = Counter(
        each["change"]
        for each in changes_of(
            tmp_path,
            [row(text, line) for line, text in enumerate(texts, start=1)],
            [row(text, line) for line, text in enumerate(after, start=1)],
        )
    )
    gone, new = set(texts) - set(after), set(after) - set(texts)
    edited = counts.get("edited", 0)  # a new line where one is gone: one or the other reading
    assert counts.get("removed", 0) + edited == len(gone)
    assert counts.get("added", 0) + edited == len(new)
    assert edited <= min(len(gone), len(new))


@pytest.mark.parametrize("seed", range(4))
def test_a_new_field_in_every_row_hides_nothing_that_left_came_or_was_edited(tmp_path, seed):
    draw = random.Random(seed)
    texts = {line: f"text {number}" for line, number in enumerate(range(300), start=1)}
    fates = {line: draw.choices(("same", "gone", "edited"), (8, 1, 1))[0] for line in texts}
    after = {line: text for line, text in texts.items() if fates[line] != "gone"}  # in quarantine
    after |= {line: f"{text}, edited" for line, text in after.items() if fates[line] == "edited"}
    after |= {line: f"new {line}" for line in range(301, 306)}
    found = changes_of(
        tmp_path,
        [(f"b{n}", f"f.jsonl#{n}", text, "a", "{}") for n, text in texts.items()],
        [(f"a{n}", f"f.jsonl#{n}", text, "a", '{"prio": 1}') for n, text in after.items()],
    )
    shown = {(row["change"], row["pointer"]) for row in found}
    whats = {row["pointer"]: row["what"] for row in found}
    at: dict[str, set[str]] = {"same": set(), "gone": set(), "edited": set()}
    for line, fate in fates.items():
        at[fate].add(f"f.jsonl#{line}")
    wanted = {("removed", pointer) for pointer in at["gone"]}
    wanted |= {("added", f"f.jsonl#{line}") for line in range(301, 306)}
    wanted |= {("edited", pointer) for pointer in at["same"] | at["edited"]}
    assert shown == wanted
    assert {whats[pointer] for pointer in at["same"]} == {"other fields: prio"}
    assert {whats[pointer] for pointer in at["edited"]} == {"text"}


def test_where_every_text_is_another_a_row_is_known_by_its_line(tmp_path):
    """A source without a text field: the text is the record, so that no two words stay."""

    def version(name: str, lines: Sequence[int]) -> Rows:
        first, *others = lines
        rows = [(f"{name} {n}", f"f.jsonl#{n}", f"{name}: row {n}", "", "{}") for n in others]
        return [("first", f"f.jsonl#{first}", "first", "", "{}"), *rows]

    found = changes_of(
        tmp_path, version("before", (1, 2, 3, 4, 6, 7)), version("after", (1, 2, 4, 5, 6, 7))
    )
    shown = {(row["change"], row["pointer"]) for row in found}
    edited = {("edited", f"f.jsonl#{line}") for line in (2, 4, 6, 7)}
    assert shown == {*edited, ("removed", "f.jsonl#3"), ("added", "f.jsonl#5")}


LONG = "the same words, said by several"


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        (  # the first left, and the others are a line further up
            ["one that leaves", "one that stays", "another that stays"],
            ["one that stays", "another that stays"],
            {("removed", 1), ("edited", 1), ("edited", 2)},
        ),
        (  # as many say it as did, in other places
            ["a line to be left out", LONG, LONG],
            [LONG, LONG],
            {("removed", 1), ("edited", 1), ("edited", 2)},
        ),
        (  # which of those that say it left is told by their neighbours
            [LONG, "between them", LONG],
            ["between them", LONG],
            {("removed", 1), ("edited", 1), ("edited", 2)},
        ),
        (  # what many may say by chance is no sign
            ["yes", "a line between"],
            ["a line between", "yes"],
            {("removed", 1), ("edited", 1), ("added", 2)},
        ),
    ],
)
def test_what_is_said_tells_of_a_row_that_has_another_id_and_place(tmp_path, before, after, wanted):
    def version(name: str, texts: list[str]) -> Rows:
        numbered = enumerate(texts, start=1)
        fields = json.dumps({name: 1})
        return [(f"{name}{n}", f"f.jsonl#{n}", text, "", fields) for n, text in numbered]

    found = changes_of(tmp_path, version("b", before), version("a", after))
    assert {(row["change"], int(row["pointer"][8:])) for row in found} == wanted


def test_a_row_that_moved_to_the_other_side_is_neither_new_nor_gone(tmp_path):
    def side(path, ids: list[str]) -> None:
        columns = {"row_id": ids, "asset": ["a"] * len(ids), "pointer": ids, "label": ids}
        pq.write_table(pa.table({**columns, "text": ids, "content": ids}), path)

    for name, train, test in (("before", "abc", "de"), ("after", "abd", "cf")):
        side(tmp_path / f"{name}-train", list(train))
        side(tmp_path / f"{name}-test", list(test))
    with query.opened() as connection:
        for name in ("before", "after"):
            sides = {side: tmp_path / f"{name}-{side}" for side in ("train", "test")}
            query.load(connection, name, sides)
        query.compare(connection, in_file_order=False)
        assert query.counts(connection) == {"moved": 2, "removed": 1, "added": 1}
        moved = [row["what"] for row in query.examples(connection, 5) if row["change"] == "moved"]
    assert sorted(moved) == ["test to train", "train to test"]
