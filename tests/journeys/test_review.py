"""Labels that people correct, from a dataset that was cut to one that was cut anew."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tunesmith.cli.main import app
from tunesmith.core.errors import Conflict, NotAllowed

ANSWERS = """
[source.doses]
origin = "file:data/doses.jsonl"
format = "jsonl"
subject = "who"

[dataset.answers]
sources = ["doses"]
base = "tiny"
format = "completion"

[review.doses]
dataset = "answers"
guidelines = "guidelines.md"
reviewers = ["ann", "bob"]
adjudicators = ["cat"]

[registry]
allow_as = true

[ledger]
per_review_hour = "36.00"
"""
SECTIONS = """
[source.notes]
origin = "file:data/notes.jsonl"
format = "jsonl"
text = "note"
label = "kind"
subject = "who"

[dataset.triage]
sources = ["notes"]
base = "tiny"
instruction = "Name the kind."
labels = ["drug", "fall"]
train_per_label = 20
test_per_label = 2
max_tokens = 250

[review.kinds]
dataset = "triage"
guidelines = "guidelines.md"
reviewers = ["ann", "bob"]
adjudicators = ["cat"]

[registry]
allow_as = true
"""
WORDS = {
    "fall": "slipped wet floor bed rail stairs bruise night bathroom hip chair walker",
    "drug": "dose pill pharmacy label wrong allergy vial syringe chart order insulin pump",
}
WRONG = "patient slipped on the wet floor beside the bed rail at night, hip bruise, entry 3"


def _notes():
    for kind, words in WORDS.items():
        words = words.split()
        for number in range(9):
            said = " ".join(words[(number + step * (1 + number % 5)) % 12] for step in range(11))
            note = WRONG if (kind, number) == ("drug", 3) else f"{said}, entry {number} of {kind}"
            yield {"who": f"person-{kind}-{number}", "note": note, "kind": kind}


def speaker(ward):
    """say(*words): what a command of the project answers, or that it `fails` with an error."""

    def say(*words, fails=None):
        done = CliRunner().invoke(app, [*words, "-p", str(ward.folder), "--json"])
        if fails:
            assert isinstance(done.exception, fails), done.output
            return None
        assert done.exit_code == 0, (words, done.exception)
        return json.loads(done.stdout)

    return say


@pytest.mark.slow
def test_what_people_correct_is_what_is_trained_on(data_project):
    ward = data_project("ward", SECTIONS)
    lines = "\n".join(json.dumps(note) for note in _notes())
    (ward.folder / "data" / "notes.jsonl").write_text(lines)
    (ward.folder / "guidelines.md").write_text("# Kinds\n\nWho fell is a fall.\n")
    ward.tunesmith("run")
    say = speaker(ward)

    def planned():
        lines = {line["step"]: line for line in say("plan")["lines"]}
        return lines["curate:triage"]["state"], lines["curate:triage"]["reason"]

    before = planned()
    assert before[0] == "hit"
    say("review", "start")
    shown = say("review", "next", "--as", "ann")
    assert shown["text"] == WRONG  # the doubtful row comes first
    judged = ("--row", shown["row"], "--label")
    say("review", "next", "--as", "ann", *judged, "fall")
    say("review", "next", "--as", "bob", *judged, "drug")
    say("review", "adjudicate", "--as", "bob", *judged, "fall", fails=NotAllowed)
    say("review", "accept", fails=Conflict)
    say("review", "adjudicate", "--as", "cat", *judged, "fall")
    say("review", "accept")
    assert planned() == before  # no dataset asked for it yet

    ward.edit("[dataset.triage]", '[dataset.triage]\nreviewed = "kinds"')
    state, why = planned()
    assert state != "hit"
    assert "reviewed" in why
    say("run")
    assert "| corrected | 1 |" in say("data", "card", "triage")["card"]
    difference = say("data", "diff", "triage@1", "triage@2")
    assert difference["num_edited"] == 1, difference
    assert say("verify")["problems"] == []

    # Whom it was about asks to be forgotten: nothing of theirs is left, in the review neither.
    say("data", "forget", "person-drug-3")
    assert say("review", "status")["num_gone"] == 1
    assert say("review", "next", "--as", "ann")["text"] != WRONG
    say("review", "accept", fails=Conflict)
    assert "| not in the sources any more | 1 |" in say("data", "card", "triage")["card"]


@pytest.mark.slow
def test_answers_that_people_correct_are_what_is_learnt_and_are_erased_with_the_row(data_project):
    ward = data_project("answers", ANSWERS)
    words = WORDS["drug"].split()
    rows = [
        {"who": f"person-{n:04}", "prompt": f"The {word} of patient {n} is", "completion": f" {n}."}
        for n, word in enumerate(words)
    ]
    lines = "\n".join(json.dumps(row) for row in rows)
    (ward.folder / "data" / "doses.jsonl").write_text(lines)
    (ward.folder / "guidelines.md").write_text("# Doses\n\nIn milligrams.\n")
    ward.tunesmith("run")
    say = speaker(ward)

    def texts():
        return {
            path: path.read_bytes()
            for path in (ward.folder / ".tunesmith").rglob("*")
            if path.is_file() and b"seventy milligrams" in path.read_bytes()
        }

    say("review", "start")
    shown = [say("review", "next", "--as", "ann")]
    said = ("--label", "corrected", "--text", " seventy milligrams.", "--seconds", "40")
    say("review", "next", "--as", "ann", "--row", shown[0]["row"], *said)
    say("review", "next", "--as", "bob", "--row", shown[0]["row"], *said)
    shown.append(say("review", "next", "--as", "ann"))
    for who in ("ann", "bob"):
        say("review", "next", "--as", who, "--row", shown[1]["row"], "--label", "rejected")
    say("review", "accept")
    ward.edit('format = "completion"', 'format = "completion"\nreviewed = "doses"')
    say("run")
    page = say("data", "show", "answers")
    assert page["dropped_by_reason"] == {"left out, say reviewers": 1}
    assert page["num_in"] == len(words)
    card = say("data", "card", "answers")["card"]
    assert "| corrected | 1 |" in card
    assert "| left out | 1 |" in card
    entry = say("data", "show", "doses")
    assert (entry["review_s"], entry["review_cost"]["amount"]) == (80.0, "0.800000000000")
    assert say("verify")["problems"] == []
    assert len(texts()) == 3  # as each of the two wrote it, and in the dataset

    (who,) = (row["who"] for row in rows if row["prompt"] in shown[0]["text"])
    say("data", "forget", who)
    assert texts() == {}
    assert say("verify")["problems"] == []
    frozen = say("review", "accept")  # what was rejected stays so
    assert frozen["labels"] == {shown[1]["row"]: "rejected"}
    say("run")
    card = say("data", "card", "answers")["card"]
    assert "| corrected | 0 |" in card
    assert "| left out | 1 |" in card
    assert say("review", "status")["seconds"] == 80.0
