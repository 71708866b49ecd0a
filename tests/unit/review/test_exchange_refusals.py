"""Files with answers to rows without labels that cannot be recorded: nothing of them is."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from tunesmith.cli.main import app
from tunesmith.core import erasure, evidence
from tunesmith.core.errors import Conflict, DataError, NotAllowed, NotFound, UsageError
from tunesmith.records.rows import Preference, Tagged
from tunesmith.registry.roles import Actor
from tunesmith.review.argilla import user_id
from tunesmith.review.desk import at_work
from tunesmith.review.exchange import export, import_

ANN = Actor(name="ann", os_user="ann")
A, B = "a" * 32, "b" * 32
TAGGED = Tagged(tokens=("Took", "10", "mg", "now"), tags=("O", "B-DOSE", "I-DOSE", "O"))
TAGS = ("B-DOSE", "B-DRUG", "I-DOSE", "O")


@pytest.fixture
def tagged(make_ward):
    ward = make_ward("tagged")
    ward.set('instruction = "Name it."', 'format = "tags"')
    ward.cut_contents("tags", {A: TAGGED, B: TAGGED}, TAGS)
    ward.start()
    return ward


@pytest.fixture
def completions(answers):
    answers.start()
    return answers


def put(ward, path, form):
    export(ward.project, "kinds", path, ANN, form=form)
    return sorted(json.loads(path.read_text()), key=lambda each: json.dumps(each.get("data", each)))


def take(ward, path, form, **names):
    return import_(ward.project, "kinds", path, form=form, names=names)


def state(ward):
    """All that an import may change."""
    log = at_work(ward.project, "kinds").log
    return log.judged, set(ward.project.runner.blobs.digests())


def studio(*results, who="ann", **changes):
    return {"completed_by": {"email": who}, "was_cancelled": False, "result": results, **changes}


def verdict(label):
    value = {"choices": [label]}
    return {"from_name": "verdict", "to_name": "prompt", "type": "choices", "value": value}


def written(*texts):
    value = {"text": [*texts]}
    return {"from_name": "correction", "to_name": "prompt", "type": "textarea", "value": value}


def marked(start, end, label="DOSE", text=""):
    value = {"start": start, "end": end, "labels": [label], **({"text": text} if text else {})}
    return {"from_name": "marks", "to_name": "words", "type": "labels", "value": value}


def bring(ward, tmp_path, *annotations):
    """Import a good answer to a row, and `annotations` of another."""
    (tmp_path / "out.json").unlink(missing_ok=True)
    tasks = put(ward, tmp_path / "out.json", "label-studio")
    good, bad = (each for each in tasks if each["data"]["row"] in (A, B))
    good["annotations"] = [studio(verdict("rejected"))]
    bad["annotations"] = [*annotations]
    (tmp_path / "in.json").write_text(json.dumps([good, bad]))
    return take(ward, tmp_path / "in.json", "label-studio")


@pytest.mark.parametrize(
    ("results", "error", "said"),
    [
        ([verdict("accept")], UsageError, "'accept' is no verdict .*did you mean 'accepted'"),
        ([verdict("corrected")], UsageError, "'corrected' is said without a text"),
        ([verdict("corrected"), written(" \n")], UsageError, "without a text"),
        ([verdict("corrected"), written("")], UsageError, "without a text"),
        ([verdict("corrected"), written("x", "y")], DataError, "has 2 corrections"),
        ([verdict("corrected"), written(5)], DataError, r"has \[5\] where a text is expected"),
        ([verdict("accepted"), written("x")], DataError, "'accepted', and has a correction too"),
        ([written("x")], DataError, "has a correction, and no verdict.*choose 'corrected' there"),
        ([{**verdict("a"), "from_name": "mood"}], DataError, "answers 'mood', and 'verdict' is"),
        ([{**verdict("a"), "value": {"rating": 4}}], DataError, "without list 'choices'"),
    ],
)
def test_answers_that_are_none(completions, tmp_path, results, error, said):
    before = state(completions)
    with pytest.raises(error, match="annotation 1") as caught:
        bring(completions, tmp_path, studio(*results))
    assert_says(caught.value, said)
    assert state(completions) == before


def assert_says(error, said):
    assert re.search(said, f"{error.message}: {error.remedy}"), error.message


def test_what_stands_there_is_no_correction(completions, tmp_path):
    text = at_work(completions.project, "kinds").contents[B].completion
    with pytest.raises(UsageError, match="says what stands there already"):
        bring(completions, tmp_path, studio(verdict("corrected"), written(text)))
    assert state(completions)[0] == {}
    # Beside a correction, or a verdict, it is what Label Studio filled in.
    bob = studio(verdict("accepted"), written(text), who="bob")
    made = bring(completions, tmp_path, studio(verdict("corrected"), written("x", text)), bob)
    assert made.num_added == 3


@pytest.mark.parametrize(
    ("marks", "error", "said"),
    [
        ([marked(8, 99)], DataError, "marks 8:99 of a text of 14 characters"),
        ([marked(-1, 3)], DataError, "marks -1:3 of"),
        ([marked(3, 3)], DataError, "marks 3:3 of"),
        ([marked(4, 5)], DataError, "marks no word at 4:5"),
        ([marked("4", 5)], DataError, "without int 'start'"),
        ([marked(0, 4), marked(2, 7)], DataError, "marks 'Took' twice"),
        ([marked(0, 4, text="Tuck")], DataError, "says 'Tuck' at 0:4, where 'Took' is"),
        ([marked(0, 4, "PLACE")], UsageError, "as 'PLACE', which no tag .*there is: DOSE, DRUG"),
        ([marked(0, 7, "DRUG")], UsageError, "'I-DRUG' is no tag of the dataset"),
        ([marked(5, 10)], UsageError, "says what stands there already"),
    ],
)
def test_marks_that_are_none(tagged, tmp_path, marks, error, said):
    before = state(tagged)
    with pytest.raises(error, match="annotation 1") as caught:
        bring(tagged, tmp_path, studio(verdict("corrected"), *marks))
    assert_says(caught.value, said)
    assert state(tagged) == before


@pytest.mark.parametrize(
    ("marks", "tags"),
    [
        ([], ("O", "O", "O", "O")),
        ([marked(1, 2)], ("B-DOSE", "O", "O", "O")),  # a part of a word is of the word
        ([marked(0, 11, text="Took 10 mg ")], ("B-DOSE", "I-DOSE", "I-DOSE", "O")),
        ([marked(0, 4), marked(5, 7)], ("B-DOSE", "B-DOSE", "O", "O")),
        ([marked(5, 7, "B-DRUG")], ("O", "B-DRUG", "O", "O")),  # a tag itself, as of older files
    ],
)
def test_what_marks_say(tagged, tmp_path, marks, tags):
    bring(tagged, tmp_path, studio(verdict("corrected"), *marks))
    desk = at_work(tagged.project, "kinds")
    row = next(row for row, said in desk.log.judged.items() if said["ann"].label == "corrected")
    ((_, text),) = desk.given(row)
    assert tuple(json.loads(text)) == tags


def test_a_row_keeps_a_tag_that_the_dataset_has_no_more(tagged, tmp_path):
    """As another version has it; it is marked, and what stands there is accepted."""
    row = Tagged(tokens=("Took",), tags=("O",))
    tagged.cut_contents("tags", {"c" * 32: row}, ("B-DRUG", "O"))
    tasks = put(tagged, tmp_path / "out.json", "label-studio")
    for task in tasks:
        marks = task["predictions"][0]["result"]
        task["annotations"] = [studio(verdict("accepted"), *marks)]
    (tmp_path / "in.json").write_text(json.dumps(tasks))
    assert take(tagged, tmp_path / "in.json", "label-studio").num_added == 2
    assert "DOSE" in json.dumps([task["predictions"] for task in tasks])


def test_a_word_without_a_tag_is_named(make_ward, tmp_path):
    ward = make_ward("parts")
    ward.set('instruction = "Name it."', 'format = "tags"')
    row = Tagged(tokens=("Go", "home"), tags=("VERB", "NOUN"))
    ward.cut_contents("tags", {A: row, B: row}, ("NOUN", "VERB"))
    ward.start()
    with pytest.raises(DataError, match="has no mark on 'home'"):
        bring(ward, tmp_path, studio(verdict("corrected"), marked(0, 2, "NOUN")))


def test_files_of_other_programs_reviews_and_people(completions, tmp_path):
    before = state(completions)
    tasks = put(completions, tmp_path / "tasks.json", "label-studio")
    records = put(completions, tmp_path / "records.json", "argilla")
    with pytest.raises(DataError, match="record 1 is without str 'id'"):
        take(completions, tmp_path / "tasks.json", "argilla")
    with pytest.raises(DataError, match="task 1 is without dict 'data'"):
        take(completions, tmp_path / "records.json", "label-studio")

    def answered(path, found):
        path.write_text(json.dumps(found))
        return path

    task = {**tasks[0], "annotations": [studio(verdict("accepted"))]}
    record = {
        **records[0],
        "responses": {"verdict": [{"value": "accepted", "user_id": user_id("ann")}]},
    }
    for form, good, within in (("label-studio", task, "data"), ("argilla", record, "metadata")):
        other = {**good, within: {**good[within], "review": "doses"}}
        with pytest.raises(DataError, match=r"\d is of review 'doses'"):
            take(completions, answered(tmp_path / "in.json", [other]), form)
    gone = {**task, "data": {**task["data"], "row": "f" * 32}}
    with pytest.raises(NotFound, match="task 1, annotation 1: there is no row 'ffff"):
        take(completions, answered(tmp_path / "in.json", [gone]), "label-studio")
    with pytest.raises(NotFound, match="record 1, response 1: there is no row 'ffff"):
        take(completions, answered(tmp_path / "in.json", [{**record, "id": "f" * 32}]), "argilla")
    eve = {"verdict": [{"value": "accepted", "user_id": "e7e0"}]}
    with pytest.raises(NotAllowed, match="record 1, response 1 is by 'e7e0', who is no reviewer"):
        take(completions, answered(tmp_path / "in.json", [{**record, "responses": eve}]), "argilla")
    stars = {"stars": [{"value": 4, "user_id": user_id("ann")}]}
    with pytest.raises(DataError, match="record 1 answers 'stars', and 'verdict' is asked"):
        take(
            completions, answered(tmp_path / "in.json", [{**record, "responses": stars}]), "argilla"
        )
    ranks = {"verdict": [{"value": ["accepted"], "user_id": user_id("ann")}]}
    with pytest.raises(DataError, match="where one label is expected"):
        take(
            completions, answered(tmp_path / "in.json", [{**record, "responses": ranks}]), "argilla"
        )
    whole = json.dumps([task]).encode()
    (tmp_path / "in.json").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="is no JSON"):
        take(completions, tmp_path / "in.json", "label-studio")
    lines = f"{json.dumps(record)}\n{json.dumps(record)[:40]}"
    (tmp_path / "in.json").write_text(lines)
    with pytest.raises(DataError, match="is no JSON"):
        take(completions, tmp_path / "in.json", "argilla")
    assert state(completions) == before


def test_argilla_says_which_responses_are_drafts(completions, tmp_path):
    records = put(completions, tmp_path / "out.json", "argilla")
    for record, status in zip(records, ("submitted", "draft", "discarded"), strict=False):
        record["external_id"], record["id"] = record["id"], "5f0e"
        record["responses"] = [
            {
                "user_id": user_id("ann"),
                "status": status,
                "values": {"verdict": {"value": "corrected"}, "correction": {"value": "x"}},
            }
        ]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, records)))
    made = take(completions, tmp_path / "in.jsonl", "argilla")
    assert (made.num_added, made.num_skipped) == (1, 2)
    flat = {
        "id": A,
        "guidelines": at_work(completions.project, "kinds").digest,
        "verdict.responses": ["accepted"],
        "verdict.responses.users": [user_id("bob"), user_id("ann")],
        "verdict.responses.status": ["submitted"],
    }
    (tmp_path / "in.jsonl").write_text(json.dumps(flat))
    with pytest.raises(DataError, match=r"has 1 verdict\.responses, 2 users and 1 statuses"):
        take(completions, tmp_path / "in.jsonl", "argilla")
    twice = [{"value": "accepted", "user_id": user_id("bob")}] * 2
    (tmp_path / "in.json").write_text(json.dumps([{**records[0], "responses": {"verdict": twice}}]))
    with pytest.raises(DataError, match=r"record 1 has two answers of .* to 'verdict'"):
        take(completions, tmp_path / "in.json", "argilla")


def test_which_of_two_texts_somebody_picked(make_ward, tmp_path):
    """In a `Pairwise` of their own, in place of the choices."""
    ward = make_ward("pairwise")
    ward.set('instruction = "Name it."', 'format = "preference"')
    row = Preference(prompt="How much?", chosen="Ten.", rejected="Twelve.")
    ward.cut_contents("preference", {A: row}, ())
    ward.start()
    (task,) = put(ward, tmp_path / "out.json", "label-studio")
    picked = {"from_name": "verdict", "to_name": "verdict", "type": "pairwise"}
    task["annotations"] = [studio({**picked, "value": {"selected": "right"}})]
    (tmp_path / "in.json").write_text(json.dumps([task]))
    assert take(ward, tmp_path / "in.json", "label-studio").num_added == 1
    assert at_work(ward.project, "kinds").log.said(A) == {"ann": "second"}


def test_an_old_file_does_not_bring_back_what_was_erased(completions, tmp_path):
    bring(completions, tmp_path, studio(verdict("corrected"), written("as Mrs. Moor said")))
    log = at_work(completions.project, "kinds").log
    digests = [each.correction.sha256 for each in log.all_of(B) + log.all_of(A) if each.correction]
    with completions.project.runner.database.write() as connection:
        body = {"id": "x", "subject": "", "rows": {}, "key": "k", "blobs": digests}
        evidence.append(connection, erasure.BEGUN, "me", body)
    before = state(completions)
    with pytest.raises(Conflict, match="by ann was erased for somebody's sake"):
        take(completions, tmp_path / "in.json", "label-studio")
    assert state(completions) == before


def test_another_correction_than_is_on_record_is_a_contradiction(completions, tmp_path):
    bring(completions, tmp_path, studio(verdict("corrected"), written("x")))
    path = tmp_path / "in.json"
    assert take(completions, path, "label-studio").num_known == 2
    path.write_text(path.read_text().replace('["x"]', '["y"]'))
    before = state(completions)
    with pytest.raises(Conflict, match=r"ann judged row .* already"):
        take(completions, path, "label-studio")
    assert state(completions) == before


def test_both_files_are_written_or_none(completions, tmp_path):
    def run(*words):
        start = ["review", "export", "kinds", str(tmp_path / "rows.json"), "--format", "argilla"]
        return CliRunner().invoke(app, [*start, *words, "-p", str(completions.project.folder)])

    (tmp_path / "there.json").write_text("{}")
    done = run("--interface", str(tmp_path / "there.json"))
    assert isinstance(done.exception, Conflict)
    assert not (tmp_path / "rows.json").exists()
    done = run("--interface", str(tmp_path / "rows.json"))
    assert isinstance(done.exception, UsageError)
    assert not (tmp_path / "rows.json").exists()
    done = run("--interface", str(tmp_path / "settings.json"), "--json")
    told = json.loads(done.stdout)
    assert json.loads(told["interface"]) == json.loads((tmp_path / "settings.json").read_text())
    assert (told["num_rows"], told["format"]) == (4, "argilla")
    with completions.project.runner.database.read() as connection:
        (entry,) = evidence.entries(connection, "review.exported")
    assert "interface" not in entry.body["made"]
