"""Who is in records without a text (conversations, prompts, preferences, pairs) is found by each
string in them: in the store, in what was served, and in versions from before their name was one."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tunesmith.cli.main import app
from tunesmith.core.errors import DataError
from tunesmith.graph import build
from tunesmith.lineage.forget import forget
from tunesmith.lineage.plan import plan
from tunesmith.lineage.tags import tag
from tunesmith.lineage.trace import trace
from tunesmith.lineage.versions import find, log, path_of
from tunesmith.project import open_project
from tunesmith.registry.roles import acting

WHO = "person-0003"
PROMPT = 'My daughter "Lötte" has had the burning since the operation.'
ANSWER = "Then let her be seen tomorrow at nine."
SYSTEM = "You are a helpful assistant of the clinic."


def chat(number: int, **changes) -> dict:
    turns = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": f"Question number {number} about something else."},
        {"role": "assistant", "content": f"An answer to question number {number}."},
    ]
    return {"who": f"person-{number:04}", "country": "United Kingdom", "messages": turns, **changes}


def their_chat(**changes) -> dict:
    turns = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": PROMPT},
        {"role": "assistant", "content": ANSWER},
    ]
    return chat(3, messages=turns, **changes)


SHAPES = {
    "chat": their_chat(),
    "completion": {"prompt": PROMPT, "completion": ANSWER, "who": WHO},
    "preference": {"prompt": "Hm?", "chosen": ANSWER, "rejected": PROMPT, "who": WHO},
    "pairs": {"anchor": "Hm?", "positives": [ANSWER, PROMPT], "who": WHO},
    "tool": {
        "who": WHO,
        "messages": [
            {"role": "user", "content": ANSWER},
            {"role": "assistant", "tool_calls": [{"function": {
                "name": "note", "arguments": json.dumps({"note": PROMPT})}}]},
        ],
    },
}  # fmt: skip


class Records:
    """A project whose source has records and no text."""

    def __init__(self, path) -> None:
        self.path = path
        self.section("records", 'subject = "who"')

    def section(self, *names_and_lines: str) -> None:
        """Write the project file: pairs of a source's name and its further lines."""
        pairs = zip(names_and_lines[::2], names_and_lines[1::2], strict=True)
        text = '[project]\nname = "records"\n'
        for name, lines in pairs:
            text += f'[source.{name}]\norigin = "file:{name}.jsonl"\nformat = "jsonl"\n{lines}\n'
        (self.path / "tunesmith.toml").write_text(text)

    def write(self, *rows: dict, name: str = "records") -> None:
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (self.path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")

    def opened(self):
        return open_project(self.path)

    def run(self) -> None:
        project = self.opened()
        for step in build(project.file).assets.values():
            project.run(step)
        project.close()

    def rows(self, ref: str) -> list[dict]:
        project = self.opened()
        found = pq.read_table(path_of(project, find(project, ref), "rows")).to_pylist()
        project.close()
        return found


@pytest.fixture
def records(tmp_path):
    return Records(tmp_path)


def said_by(records: Records, *words: str) -> str:
    done = CliRunner().invoke(app, ["data", *words, "-p", str(records.path)])
    assert done.exit_code == 0, done.output
    return " ".join(done.stdout.split())


@pytest.mark.parametrize("shape", SHAPES)
def test_a_served_request_with_one_string_of_a_record_goes(records, shape, served):
    records.write(chat(1), SHAPES[shape], chat(2))
    records.run()
    project = records.opened()
    served(project, PROMPT)
    served(project, "Somebody else asks.", ANSWER)
    served(project, "Question number 1 about something else.", "no one's")
    assert plan(project, [WHO])[1].num_traces == 2
    assert (forget(project, [WHO]).found, forget(project, [WHO]).num_traces) == ((), 2)
    with project.runner.database.read() as connection:
        (left,) = connection.exec_driver_sql("SELECT answer FROM traces").scalars()
    assert left == "no one's"
    project.close()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_version_from_before_a_subject_was_named_is_found_by_its_words(records, shape):
    theirs = SHAPES[shape]
    records.section("records", "")
    records.write(*({**row, "who": ""} for row in (chat(1), theirs, chat(2))))
    records.run()
    project = records.opened()
    tag(project, "records@1", "as-filed", acting(project))
    project.close()
    records.section("records", 'subject = "who"')
    records.write(chat(1), theirs, chat(2))
    records.run()
    assert "records@1 = as-filed" in said_by(records, "forget", WHO, "--plan")
    project = records.opened()
    _, planned = plan(project, [WHO])
    held = {each.name: (each.how, each.tags, each.by_words) for each in planned.holders}
    assert held == {
        "records@1": ("1 row, by what is said there", ("as-filed",), True),
        "records@2": ("1 row", (), False),
    }
    made = forget(project, [WHO])
    assert (made.found, made.rewritten) == ((), ("source records@3",))
    assert [line.is_erased for line in log(project, "records")] == [True, True, False]
    project.close()


def test_an_edited_record_is_found_by_what_was_not_edited(records):
    records.write(chat(1), {"prompt": PROMPT, "completion": "It was another answer once."})
    records.run()
    records.write(chat(1), {"prompt": PROMPT, "completion": ANSWER, "who": WHO})
    records.run()
    project = records.opened()
    _, planned = plan(project, [WHO])
    assert [each.name for each in planned.holders] == ["records@1", "records@2"]
    project.close()


def test_what_others_have_too_is_counted_apart_and_is_no_needle(records):
    """An instruction, a country: not words of theirs, though they stand in their record."""
    records.write(*(chat(number) for number in range(1, 31) if number != 3), their_chat(ward="a-7"))
    records.run()
    project = records.opened()
    person, planned = plan(project, [WHO])
    assert person.words[1:] == (PROMPT, ANSWER)  # after the record as a whole
    # SYSTEM, the country, and the words "system", "user" and "assistant"; "a-7" is theirs alone.
    assert (planned.num_shared, planned.num_too_short) == (5, 1)
    assert planned.shared == (), "what all have is not named row by row"
    made = forget(project, [WHO])
    assert (made.found, made.num_needles) == ((), 4)
    assert (made.num_shared, made.num_too_short) == (5, 1)
    project.close()
    assert len(records.rows("records")) == 29
    said = said_by(records, "forget", WHO)
    assert "as records of others have them, too, which stay: 5 texts or values" in said
    assert "as they are too short to be told from others: 1 texts" in said


def test_a_long_text_that_others_share_is_not_called_short(records):
    records.section("records", 'subject = "who"\ntext = "body"')
    long = "My daughter Lotte has had case number 137 since the operation in spring."
    records.write({"who": WHO, "body": long}, {"who": "person-0004", "body": long})
    records.run()
    project = records.opened()
    made = forget(project, [WHO])
    assert (made.num_shared, made.num_too_short, made.found) == (1, 0, ())
    project.close()


@pytest.mark.parametrize("shape", SHAPES)
def test_another_source_that_says_the_same_is_named(records, shape):
    records.section("records", 'subject = "who"', "notes", 'text = "body"', "more", "")
    records.write(chat(1), SHAPES[shape])
    records.write({"body": PROMPT}, {"body": "Somebody's own words."}, name="notes")
    records.write({"turns": [{"of": "x", "said": ANSWER}]}, {"turns": []}, name="more")
    records.run()
    project = records.opened()
    person, planned = plan(project, [WHO])
    named = {each.partition(" ")[0] for each in planned.shared}
    assert named - {"records:"} == {"more:", "notes:"}  # others have the instruction, too
    assert {PROMPT, ANSWER} <= person.shared
    assert forget(project, [WHO]).found == ()
    project.close()


def test_a_row_of_another_that_has_their_words_in_it_is_planned_as_a_mention(records):
    records.section("records", 'subject = "who"', "notes", 'text = "body"')
    records.write(chat(1), SHAPES["completion"])
    records.write({"body": f"They asked: {PROMPT}"}, {"body": "Nothing."}, name="notes")
    records.run()
    project = records.opened()
    _, planned = plan(project, [WHO])
    assert [(each.name, each.how) for each in planned.holders] == [
        ("notes@1", "mentioned in 1 row"), ("records@1", "1 row"),
    ]  # fmt: skip
    with pytest.raises(DataError, match="of ingest:notes"):
        forget(project, [WHO])
    assert [line.is_erased for line in log(project, "notes")] == [False]
    project.close()


def test_the_plan_lists_every_version_that_goes(records):
    """Also those that only mention the name, and are in use no more."""
    for number, words in enumerate((f"{WHO} was here.", "Nobody was here.", "All is well.")):
        records.write(chat(1, remark=words), *([their_chat()] if number else []))
        records.run()
    project = records.opened()
    _, planned = plan(project, [WHO])
    assert [(each.name, each.how) for each in planned.holders] == [
        ("records@1", "mentioned in 1 row"),
        ("records@2", "1 row"), ("records@3", "1 row"),
    ]  # fmt: skip
    forget(project, [WHO])
    gone = [f"records@{line.number}" for line in log(project, "records") if line.is_erased]
    assert gone == [each.name for each in planned.holders]
    project.close()


def test_a_record_in_quarantine_is_searched_for_by_its_strings(records, served):
    records.section("records", 'subject = "who"\nlabel = "country"')
    records.write(chat(1), {**their_chat(), "country": ""})
    records.run()
    project = records.opened()
    served(project, PROMPT)
    person, planned = plan(project, [WHO])
    assert {PROMPT, ANSWER} <= set(person.words)
    assert (planned.num_quarantined, planned.num_traces) == (1, 1)
    assert forget(project, [WHO]).found == ()
    project.close()


def test_a_trace_of_a_record_counts_what_was_served_and_finds_older_versions(records, served):
    records.section("records", "")
    records.write(chat(1), {**their_chat(), "who": ""})
    records.run()
    records.section("records", 'subject = "who"')
    records.write(chat(1), their_chat())
    records.run()
    project = records.opened()
    served(project, PROMPT)
    served(project, SYSTEM)
    (row_id,) = [row["row_id"] for row in records.rows("records") if ANSWER in row["text"]]
    found = trace(project, row_id)
    assert found.num_traces == 1
    assert [each.name for each in found.holders] == ["records@1", "records@2"]
    project.close()
