"""`tunesmith review` as people and scripts use it: standard input, --label, --json."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from tunesmith.cli import review_loop
from tunesmith.cli.main import app
from tunesmith.core.errors import NotAllowed, UsageError
from tunesmith.records.rows import Text
from tunesmith.review.desk import at_work


@pytest.fixture
def typing(monkeypatch):
    """typing(ward) -> what types in the commands of its review; each row takes 5 s on the clock."""
    now = iter(range(0, 10_000, 5))
    clock = SimpleNamespace(monotonic=lambda: float(next(now)))
    monkeypatch.setattr(review_loop, "time", clock)

    def of(ward):
        def run(*words: str, said: str = "", by: str = ""):
            as_ = ["--as", by] if by else []
            words = ("review", *words, *as_, "-p", str(ward.project.folder))
            return CliRunner().invoke(app, list(words), input=said)

        return run

    return of


@pytest.fixture
def type_in(ward, typing):
    """type_in("next", said="1", by="ann") -> what ended."""
    return typing(ward)


def test_answers_are_accepted_and_corrected_from_standard_input(answers, typing):
    type_in = typing(answers)
    begun = type_in("start").stdout
    assert "labels: accepted, rejected, corrected\n" in begun
    done = type_in("next", said="1\n3\n 9 mg,\nonce a day.\n.\nrejected\ns\n", by="ann")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == "3 rows judged, 1 left for ann\n"
    assert "[prompt]\nThe dose of drug" in done.stderr
    assert "1 accepted   2 rejected   3 corrected" in done.stderr
    assert "unusable" not in done.stderr
    rows = at_work(answers.project, "kinds").rows
    told = ("--row", rows[1], "--label", "corrected", "--text")
    assert type_in("next", *told, " 7 mg.", by="bob").exit_code == 0
    for row, verdict in ((rows[0], "accepted"), (rows[2], "rejected")):
        type_in("next", "--row", row, "--label", verdict, by="bob")
    shown = json.loads(type_in("adjudicate", "--json", by="cat").stdout)
    assert shown["given"] == ["corrected", "corrected"]
    assert shown["corrections"] == [" 7 mg.", " 9 mg,\nonce a day."]
    assert [part["name"] for part in shown["parts"]] == ["prompt", "completion"]
    done = type_in("adjudicate", said="c2\n", by="cat")
    assert done.stdout == "1 rows decided, 0 left for cat\n"
    assert "c2 takes this correction:\n     9 mg,\n    once a day." in done.stderr
    frozen = json.loads(type_in("accept", "--json").stdout)
    assert frozen["labels"][rows[1]] == "corrected"
    found = json.loads(type_in("status", "--json").stdout)
    ann = next(each for each in found["people"] if each["name"] == "ann")
    assert ann["seconds"] == 15.0  # what was typed is in it


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("u\n", "'u' is no answer"),
        ("c1\n", "'c1' is no answer"),
        ("corrected\n.\n", "that is no correction: completion is empty"),
        ("3\n", "that is no correction: completion is empty"),
    ],
)
def test_what_is_no_answer_to_a_row_without_labels(answers, typing, said, message):
    type_in = typing(answers)
    type_in("start")
    done = type_in("next", said=said, by="ann")
    assert isinstance(done.exception, UsageError)
    assert message in str(done.exception)


def test_a_long_text_is_folded_and_shown_whole_when_asked_for(make_ward, typing):
    ward = make_ward("long")
    ward.set('instruction = "Name it."', 'format = "text"')
    text = "\n".join(f"line {number}" for number in range(100)) + "\n" + "word " * 60
    ward.cut_contents("text", {"a" * 32: Text(text=text)})
    type_in = typing(ward)
    type_in("start")
    folded = type_in("next", said="q\n", by="ann").stderr
    assert "line 27\n[... 67 lines more: m shows all ...]\nline 95" in folded
    assert max(map(len, folded.splitlines())) <= 100
    assert "line 50\n" in type_in("next", said="m\nq\n", by="ann").stderr


def test_rows_are_judged_from_standard_input(type_in, ward):
    assert "8 rows of notes@1 added" in type_in("start").stdout
    done = type_in("next", said="1\nb\nu\ns\ng\nunusable\nq\n", by="ann")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == "4 rows judged, 4 left for ann\n"
    assert "note number" in done.stderr
    assert "A fall is a fall." in done.stderr  # g
    rows = ward.start()
    desk = ward.waiting("ann")
    assert desk == [rows[3], *rows[5:]]  # what was skipped comes again
    again = type_in("next", said="1\n", by="ann")  # the end of the input stops it
    assert again.stdout == "1 rows judged, 3 left for ann\n"

    found = json.loads(type_in("status", "--json").stdout)
    ann = next(each for each in found["people"] if each["name"] == "ann")
    assert (ann["num_judged"], ann["seconds"]) == (5, 25.0)


def test_a_script_takes_a_row_and_says_what_it_is(type_in, ward):
    type_in("start", "kinds")
    shown = json.loads(type_in("next", "--json", by="ann").stdout)
    assert (shown["num_left"], shown["labels"]) == (8, ["a", "b", "unusable"])
    assert "note number" in shown["text"]
    words = ("next", "--row", shown["row"], "--label", "a", "--seconds", "3.5", "--json")
    made = json.loads(type_in(*words, by="ann").stdout)
    assert (made["row"], made["label"], made["seconds"]) == (shown["row"], "a", 3.5)
    theirs = json.loads(type_in("next", "--json", by="bob").stdout)
    assert theirs["row"] == shown["row"]
    assert "given" not in theirs
    assert theirs == {**shown, "num_left": 8}  # nothing tells bob what ann said

    type_in("next", "--row", shown["row"], "--label", "b", by="bob")
    differ = json.loads(type_in("adjudicate", "--json", by="cat").stdout)
    assert (differ["row"], differ["given"], differ["num_left"]) == (shown["row"], ["a", "b"], 1)
    done = type_in("adjudicate", said="2\n", by="cat")
    assert done.stdout == "1 rows decided, 0 left for cat\n"
    assert "others said: a, b" in done.stderr
    assert json.loads(type_in("adjudicate", "--json", by="cat").stdout)["row"] == ""

    frozen = json.loads(type_in("accept", "--json").stdout)
    assert frozen["labels"] == {shown["row"]: "b"}
    status = type_in("status").stdout
    assert "1 of 8 settled" in status
    assert "Krippendorff's alpha: 0.000, 1 rows" in status
    assert "time 8.5 s, 1 not timed; cost 0.09 EUR, 0.09 EUR a settled row" in status


@pytest.mark.parametrize(
    ("words", "said", "by", "error", "message"),
    [
        (["next"], "c\n", "ann", UsageError, "'c' is no answer"),
        (["next"], "7\n", "ann", UsageError, "'7' is no answer"),
        (["next"], "", "cat", NotAllowed, "cat may not judge rows"),
        (["adjudicate"], "", "bob", NotAllowed, "bob may not adjudicate"),
        (["next", "--label", "a"], "", "ann", UsageError, "go together"),
        (["next", "--seconds", "3"], "", "ann", UsageError, "go together"),
        (
            ["import", "kinds", "x.json", "--format", "argilla", "--who", "7"],
            "",
            "",
            UsageError,
            "ID=NAME",
        ),
    ],
)
def test_what_is_typed_wrongly(type_in, words, said, by, error, message):
    type_in("start")
    done = type_in(*words, said=said, by=by)
    assert isinstance(done.exception, error)
    assert message in str(done.exception)


def test_files_go_out_and_come_in(type_in, ward, tmp_path):
    type_in("start")
    path = str(tmp_path / "rows.json")
    out = type_in("export", "kinds", path, "--format", "label-studio")
    assert "it has the text of rows" in out.stdout
    assert '<Choice value="unusable"/>' in out.stdout
    come = type_in("import", "kinds", path, "--format", "label-studio", "--json")
    assert json.loads(come.stdout)["num_added"] == 0


def test_a_text_cannot_steer_the_terminal():
    assert review_loop.printable("a\x1b[2J\rb\n\tü\u202e") == "a\ufffd[2J\ufffdb\n\tü\ufffd"
