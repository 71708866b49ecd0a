"""An exported log: what was done to it shows, and what cannot show is said."""

from __future__ import annotations

import json
import re
import sys

import pytest
from typer.testing import CliRunner

from tunesmith.core import evidence
from tunesmith.core.audit import Filter, check, lines, selected
from tunesmith.core.canonical import canonical_json, fingerprint
from tunesmith.core.checkpoint import head
from tunesmith.core.errors import DataError, UsageError
from tunesmith.core.step import Step
from tunesmith.testing import EchoConfig


@pytest.fixture
def log(make_runner):
    """log(since=...) -> the lines of an export, with what a filter shows."""
    runner, _ = make_runner()
    for text in ("eins", "zwei 🦊"):
        config = EchoConfig(name="one", text=text, alias="best")
        runner.run(Step(name="echo:one", kind="echo@1", config=config))
    with pytest.raises(DataError):
        runner.run(Step(name="bad", kind="echo@1", config=EchoConfig(error="no")))
    with runner.database.write() as connection:
        evidence.append(
            connection, "version.retired", "ann", {"model": "desk", "version": "desk@2"}
        )

    def export(**wanted: str) -> list[str]:
        with runner.database.read() as connection:
            return list(lines(connection, Filter(**wanted), "tester"))

    return export


def test_the_end_of_a_run_says_why_it_ran(log, make_runner):
    runner, _ = make_runner()
    with runner.database.read() as connection:
        ends = [
            entry
            for entry in evidence.entries(connection)
            if entry.what in ("run.finished", "run.failed")
        ]
    assert [entry.body["why"] for entry in ends] == [
        "it never ran",
        "config.text: eins -> zwei 🦊",
        "it never ran",
    ]


def test_a_long_reason_is_cut(make_runner):
    runner, _ = make_runner()
    for number in (1, 2):
        config = EchoConfig(name="x", text=f"{number}" * 50, alias=f"{number}" * 50)
        runner.run(Step(name="echo:x", kind="echo@1", config=config, seed=number))
    with runner.database.read() as connection:
        said = [entry.body["why"] for entry in evidence.entries(connection, "run.finished")]
    assert len(said[1]) <= 300
    assert said[1].startswith("config.alias: 1111")


def test_entries_are_selected_by_kind_name_and_time(log, make_runner):
    runner, _ = make_runner()
    with runner.database.read() as connection:

        def numbers(kind="", **wanted):
            return [entry.seq for entry in selected(connection, Filter(**wanted), kind)]

        assert numbers() == [1, 2, 3, 4, 5, 6]
        assert len(numbers("run.*")) == 3
        assert numbers("version.retired") == [6]
        assert numbers(subject="desk") == numbers(subject="desk@2") == [6]
        assert numbers("run.*", subject="desk") == []
        assert numbers(since="2999-01-01") == []


def edit(line: str, **values) -> str:
    return canonical_json(json.loads(line) | values).decode()


def header(line: str, **values) -> str:
    """A header that was written anew, as its digest is of no key."""
    said = {**json.loads(line), **values}
    said.pop("digest")
    return canonical_json({**said, "digest": fingerprint(said)}).decode()


def test_an_export_holds_by_itself(log):
    found = check(log())
    assert (found.num_entries, found.num_shown, found.num_runs, found.problems) == (6, 6, 3, ())
    assert check(log(), head(found.head)).held
    assert not found.held


def test_a_filter_keeps_what_it_shows_checkable(log):
    whole = check(log())
    few = log(subject="desk@2")
    found = check(few, head(whole.head))
    assert (found.num_shown, found.num_withheld, found.problems) == (1, 5, ())
    assert found.held
    assert check(log(subject="desk")).num_shown == 1
    assert check(log(subject="run:3")).num_shown == 1
    assert check(log(subject="one")).num_shown == 4
    times = [json.loads(line)["at"] for line in log()[1:]]
    assert check(log(since=times[3])).num_shown == len([t for t in times if t >= times[3]])
    assert check(log(until=times[3])).num_shown == len([t for t in times if t < times[3]])
    assert not any("zwei" in line for line in few), "what is left out is not there"
    # What is shown cannot be another, nor stand elsewhere; what is not shown cannot be added to.
    shown = next(number for number, line in enumerate(few) if number and "desk@2" in line)
    few[shown] = few[shown].replace("desk@2", "desk@1")
    assert "was edited" in check(few).problems[0]
    few = log(subject="desk@2")
    del few[2]
    assert check(few).problems


@pytest.mark.parametrize("number", range(1, 7))
def test_every_edit_of_every_entry_shows(log, number):
    text = log()
    for name in ("at", "actor", "what", "previous", "digest"):
        changed = [*text]
        changed[number] = edit(changed[number], **{name: "f" * 64})
        assert check(changed).problems, name
    changed = [*text]
    body = json.loads(text[number])["body"]
    changed[number] = edit(text[number], body={**body, "extra": 1})
    assert "was edited" in check(changed).problems[0]
    assert check([*text[:number], *text[number + 1 :]]).problems, "dropped"
    assert check([*text[:number], text[number], *text[number:]]).problems, "doubled"
    assert check([*text[:number], "{}", *text[number + 1 :]]).problems == (
        f"line {number + 1} is no entry",
        *check([*text[:number], "nonsense", *text[number + 1 :]]).problems[1:],
    )
    if number > 1:
        swapped = [*text]
        swapped[number - 1], swapped[number] = swapped[number], swapped[number - 1]
        assert check(swapped).problems, "re-ordered"


@pytest.mark.parametrize("number", range(7))
@pytest.mark.parametrize(
    "altered",
    [
        lambda line: '{"actor":"mallory","what":"promotion.rejected",' + line[1:],
        lambda line: '{"head":"","filter":{},' + line[1:],
        lambda line: line.replace(",", ", ", 1),
        lambda line: " " + line,
        lambda line: line + "\r\n",
        lambda line: line + " \n",
        lambda line: re.sub('"seq":([0-9])', r'"seq":\1.0', line),
        lambda line: json.dumps(json.loads(line), sort_keys=True, separators=(",", ":")) + "\n\n",
    ],
)
def test_a_line_is_what_was_written_byte_for_byte(log, number, altered):
    """Of a key that is there twice one reader takes the first, another the last."""
    text = log()
    changed = [*text[:number], altered(text[number]), *text[number + 1 :]]
    if changed != text:
        assert any(f"line {number + 1} " in each for each in check(changed).problems)


def test_what_is_no_entry_or_no_filter_is_a_problem(log):
    text = log()
    line = json.loads(text[1])
    for what in ("gate.sealed", "evidence.checkpoint", line["what"]):
        without = {**{name: line[name] for name in ("seq", "previous", "digest")}, "what": what}
        assert "line 2 is no entry" in check([text[0], json.dumps(without), *text[2:]]).problems
    for shown in (5, ["abc"]):
        header = json.dumps({**json.loads(text[0]), "filter": shown})
        assert "the header's filter is none" in check([header, *text[1:]]).problems


def test_no_bit_of_an_export_can_flip(log):
    """Of a header, too: when it was exported, by whom, and what was filtered."""
    text = log(subject="desk@2")
    assert check([f"{line}\n" for line in text]).problems == ()
    for number in (0, 1, len(text) - 1):
        data = text[number].encode()
        for bit in range(0, 8 * len(data), 3):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            try:
                found = check([*text[:number], flipped.decode(), *text[number + 1 :]])
            except (DataError, UnicodeDecodeError):
                continue  # it is no export, or no text
            assert found.problems, (number, bit, flipped)


def test_an_export_of_before_headers_had_a_digest_is_checked_as_ever(log):
    text = log()
    older = json.loads(text[0])
    del older["digest"]
    assert check([canonical_json(older).decode(), *text[1:]]).problems == ()
    for more in ({"exported_at ": "x"}, {"dihest": "x"}):
        changed = [canonical_json({**older, **more}).decode(), *text[1:]]
        assert check(changed).problems == ("the header has other fields than a header has",)


@pytest.mark.parametrize("value", ["NaN", "1e999", '"\\ud800"', "[" * 5000 + "]" * 5000])
def test_what_has_no_canonical_form_is_no_entry(log, value):
    text = log()
    text[2] = text[2].replace('"body":{', '"body":{"x":' + value + ",", 1)
    assert "line 3 is no entry" in check(text).problems[0]


def test_a_place_is_a_number(log):
    text = log(subject="desk@2")
    text[1] = text[1].replace('"seq":1}', '"seq":true}')
    assert "true" in text[1]
    assert "line 2 is no entry" in check(text).problems[0]


def test_what_is_stored_of_a_run_cannot_be_another(log):
    text = log()
    number = next(n for n, line in enumerate(text) if "facts" in json.loads(line))
    facts = json.loads(text[number])["facts"]
    text[number] = edit(text[number], facts={**facts, "actor": "somebody else"})
    assert "is not what it says" in check(text).problems[0]


def test_a_tail_that_was_cut_off(log):
    text = log()
    kept = head(check(text).head)
    assert "the header says" in check(text[:-1]).problems[0], "by somebody who left the header"
    # By somebody who wrote the header anew: the file alone cannot show it, and does not say it can.
    last = json.loads(text[-2])
    cut = [header(text[0], head=f"{last['seq']}:{last['digest']}"), *text[1:-1]]
    found = check(cut)
    assert (found.problems, found.held) == ((), False)
    assert "was cut off" in check(cut, kept).problems[0]
    # An earlier head shows what stands before it, and no more.
    early = json.loads(text[3])
    assert check(cut, head(f"3:{early['digest']}")).held


def test_a_log_that_was_written_anew_is_told_by_a_kept_head(log):
    text = log()
    kept = head(check(text).head)
    entries = [json.loads(line) for line in text[1:]]
    entries[0]["actor"] = "somebody else"
    previous = evidence.GENESIS
    for entry in entries:
        entry.pop("facts", None)
        entry["previous"] = previous
        signed = {key: value for key, value in entry.items() if key != "digest"}
        previous = entry["digest"] = fingerprint(signed)
    written = [canonical_json(entry).decode() for entry in entries]
    forged = [header(text[0], head=f"{len(entries)}:{previous}"), *written]
    assert check(forged).problems == (), "a chain that is whole, of another story"
    assert "another one than the head that was kept" in check(forged, kept).problems[0]


@pytest.mark.parametrize("line", ["", "nonsense", "[]", "{}", '{"audit": "x"}', "[" * 100_000])
def test_what_is_no_export_is_said(line):
    with pytest.raises(DataError, match="no export"):
        check([line])
    with pytest.raises(DataError, match="upgrade tunesmith"):
        check(['{"audit": 2}'])
    with pytest.raises(UsageError, match="no head"):
        head("12")


def test_the_commands_need_no_store_to_check(tmp_path):
    from tunesmith.cli.main import app

    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    project.mkdir()
    elsewhere.mkdir()
    (project / "tunesmith.toml").write_text("[project]\nname = 'x'\n")
    file = elsewhere / "log.jsonl"

    def run(*words: str):
        return CliRunner().invoke(app, [*words, "--json"])

    made = run("audit", "export", "--out", str(file), "-p", str(project))
    assert json.loads(made.stdout)["num_entries"] == 0, made.output
    assert [path.name for path in elsewhere.iterdir()] == ["log.jsonl"]
    done = run("audit", "verify", str(file))
    assert (done.exit_code, json.loads(done.stdout)["problems"]) == (0, [])
    assert run("audit", "export", "--out", str(file), "-p", str(project)).exception.exit_code == 5
    assert run("audit", "verify", str(tmp_path / "no")).exception.exit_code == 4
    assert run("audit", "verify", sys.executable).exception.exit_code == 1
    bad = run("audit", "export", "--out", "x", "--since", "monday", "-p", str(project))
    assert "is no day" in str(bad.exception)
