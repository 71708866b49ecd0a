"""A review from its beginning to accepted labels: who may say what, and what it leaves behind."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from tunesmith.core import erasure, evidence
from tunesmith.core.canonical import sha256
from tunesmith.core.errors import Conflict, NotAllowed, NotFound, UsageError
from tunesmith.core.verify import verify
from tunesmith.graph import build
from tunesmith.records.review import ReviewedLabels
from tunesmith.registry.roles import Actor
from tunesmith.review.desk import accept, at_work, judge, start, status

ANN = Actor(name="ann", os_user="ann")


def log(ward, *whats: str) -> list[evidence.Entry]:
    with ward.project.runner.database.read() as connection:
        return list(evidence.entries(connection, *whats))


def test_two_judge_each_row_on_their_own_and_a_third_decides(ward):
    first, second, third, *_ = ward.start()
    assert ward.waiting("ann") == ward.waiting("bob") == at_work(ward.project, "kinds").rows

    ward.judge("ann", first, "a")
    assert first not in ward.waiting("ann")
    assert first in ward.waiting("bob")
    assert ward.waiting("cat", decides=True) == []
    ward.judge("bob", first, "a")
    assert first not in ward.waiting("bob")

    for row, theirs in ((second, "b"), (third, "unusable")):
        ward.judge("ann", row, "a")
        ward.judge("bob", row, theirs)
    assert ward.waiting("cat", decides=True) == [second, third]
    assert ward.waiting("ann", decides=True) == []  # she judged them
    ward.decide("cat", second, "b")
    assert at_work(ward.project, "kinds").settled == {first: "a", second: "b"}

    found = status(ward.project, "kinds")
    assert (found.num_rows, found.num_settled, found.num_disputed, found.num_open) == (8, 2, 1, 5)
    assert (found.num_adjudicated, found.num_gone) == (1, 0)
    assert verify(ward.project.runner.database, ward.project.runner.blobs).problems == ()


def test_whoever_judged_does_not_decide(ward):
    ward.set('adjudicators = ["cat", "ann"]', 'adjudicators = ["cat", "ann", "dan"]')
    ward.set('reviewers = ["ann", "bob"]', 'reviewers = ["ann", "bob", "cat"]')
    row, *_ = ward.start()
    ward.judge("ann", row, "a")
    ward.judge("cat", row, "b")
    for who in ("ann", "cat"):
        with pytest.raises(NotAllowed, match=f"{who} judged row"):
            ward.decide(who, row, "a")
    with pytest.raises(NotAllowed, match="bob may not adjudicate"):
        ward.decide("bob", row, "a")
    assert log(ward, "review.decided") == []


def test_one_more_judge_than_are_needed_is_one_too_many(ward):
    ward.set('adjudicators = ["cat", "ann"]', 'adjudicators = ["cat", "ann", "dan"]')
    ward.set('reviewers = ["ann", "bob"]', 'reviewers = ["ann", "bob", "cat"]')
    row, *_ = ward.start()
    ward.judge("ann", row, "a")
    desk = at_work(ward.project, "kinds")  # cat looks at the row
    ward.judge("bob", row, "a")  # and bob is faster
    with pytest.raises(Conflict, match="2 others judged row"):
        judge(desk, Actor(name="cat", os_user="cat"), row, "a", 1.0)


def test_three_judges_where_three_are_asked_for(ward):
    ward.set('adjudicators = ["cat", "ann"]', 'adjudicators = ["dan"]')
    ward.set('reviewers = ["ann", "bob"]', 'reviewers = ["ann", "bob", "cat"]\nper_row = 3')
    row, *_ = ward.start()
    ward.judge("ann", row, "a")
    ward.judge("bob", row, "a")
    assert at_work(ward.project, "kinds").settled == {}
    ward.judge("cat", row, "b")
    assert ward.waiting("dan", decides=True) == [row]  # two against one is no agreement


@pytest.mark.parametrize(
    ("who", "label", "error", "said"),
    [
        ("ann", "c", UsageError, "is no label"),
        ("ann", "Unusable", UsageError, "did you mean 'unusable'"),
        ("eve", "a", NotAllowed, "eve may not judge"),
        ("cat", "a", NotAllowed, "cat may not judge"),
    ],
)
def test_what_cannot_be_said_of_a_row(ward, who, label, error, said):
    row, *_ = ward.start()
    with pytest.raises(error, match=said):
        ward.judge(who, row, label)
    assert log(ward, "review.judged") == []


def test_a_row_is_judged_once_and_only_if_it_is_there(ward):
    row, *_ = ward.start()
    ward.judge("ann", row, "a")
    with pytest.raises(Conflict, match="ann judged row"):
        ward.judge("ann", row, "b")
    with pytest.raises(NotFound, match="no row 'nothing'"):
        ward.judge("ann", "nothing", "a")
    with pytest.raises(Conflict, match="nothing to decide"):
        ward.decide("cat", row, "a")


def test_a_review_that_was_not_begun_or_cannot_be(ward):
    with pytest.raises(NotFound, match="was not begun"):
        at_work(ward.project, "kinds")
    with pytest.raises(NotFound, match="no review 'kind'"):
        start(ward.project, "kind", ANN)
    (ward.project.folder / "guidelines.md").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="no text in UTF-8"):
        ward.start()
    (ward.project.folder / "guidelines.md").unlink()
    with pytest.raises(NotFound, match="guidelines"):
        ward.start()
    ward.write_guidelines("x")
    ward.cut([("one of them is unusable", "unusable"), ("the other is not at all", "a")])
    with pytest.raises(UsageError, match="has a label 'unusable'"):
        ward.start()


def test_guidelines_are_on_record_with_each_judgement_and_their_change_is_said(ward):
    first, second, *_ = ward.start()
    ward.judge("ann", first, "a")
    ward.write_guidelines("# Kinds\r\n\r\nA fall is a fall, unless it is a jump.\r\n")
    with pytest.raises(Conflict, match=r"guidelines\.md was edited"):
        ward.judge("bob", first, "a")
    start(ward.project, "kinds", ANN)
    ward.judge("bob", first, "a")
    ward.judge("bob", second, "a")

    text = (ward.project.folder / "guidelines.md").read_bytes()
    digests = [entry.body["guidelines"] for entry in log(ward, "review.judged")]
    assert digests[0] != sha256(text)
    assert digests[1:] == [sha256(text)] * 2  # as sha256sum says it
    assert status(ward.project, "kinds").num_by_other_guidelines == 1
    assert accept(ward.project, "kinds", ANN).guidelines == tuple(sorted(set(digests)))


def test_who_read_other_guidelines_meanwhile_is_told(ward):
    row, *_ = ward.start()
    desk = at_work(ward.project, "kinds")
    ward.write_guidelines("# Other")
    start(ward.project, "kinds", Actor(name="bob", os_user="bob"))
    with pytest.raises(Conflict, match="by other guidelines"):
        judge(desk, ANN, row, "a", 1.0)


def test_the_queue_is_topped_up_and_never_cut_down(ward):
    assert len(ward.start(limit=3)) == 3
    assert len(ward.start(limit=3)) == 6
    ward.cut([("one more note of the ward", "a"), ("and another one of them", "b")])
    begun = start(ward.project, "kinds", ANN)
    assert (begun.dataset, begun.num_added, begun.num_rows) == ("notes@2", 2, 8)
    assert len(at_work(ward.project, "kinds").rows) == 8  # older versions have their texts
    before = len(log(ward, "review.begun"))
    assert start(ward.project, "kinds", ANN).num_added == 0
    assert len(log(ward, "review.begun")) == before


def test_doubtful_rows_come_first(ward):
    ward.set('order = "drawn"', 'order = "doubts"')
    kinds = [("the patient fell", "fall"), ("took a wrong pill", "drug")]
    notes = [
        (f"{text} on day {day} in room {day}", kind) for text, kind in kinds for day in range(30)
    ]
    notes[3] = ("took a wrong pill on day 3 in room 3 again", "fall")
    ward.cut(notes)
    rows = ward.start()
    assert at_work(ward.project, "kinds").texts[rows[0]] == notes[3][0]
    assert len(rows) == 60


def test_time_is_counted_without_idle_time_and_priced(ward):
    first, second, *_ = ward.start()
    ward.judge("ann", first, "a", 20.0)
    ward.judge("bob", first, "a", 3600.0)  # at lunch
    ward.judge("ann", second, "a", None)
    found = status(ward.project, "kinds")
    assert (found.seconds, found.num_untimed) == (80.0, 1)
    assert found.cost.amount == Decimal("0.8")  # 80 s at 36.00 an hour
    assert found.cost_per_settled == found.cost
    people = {each.name: (each.num_judged, each.num_left, each.seconds) for each in found.people}
    assert people == {"ann": (2, 6, 20.0), "bob": (1, 7, 60.0), "cat": (0, 0, 0.0)}


def test_the_time_of_people_adds_up_where_a_correction_was_erased(answers):
    answers.set("idle_after_s = 60", "idle_after_s = 600")
    answers.start()
    row, other = "a" * 32, "b" * 32
    made = answers.judge("ann", row, "corrected", 30.0, text=" 10 mg.")
    answers.judge("ann", other, "accepted", 5.0)
    answers.judge("bob", other, "rejected", 7.0)
    decided = answers.decide("cat", other, "corrected", 90.0, text=" 20 mg.")
    with answers.project.runner.database.write() as connection:
        digests = [each.correction.sha256 for each in (made, decided)]
        body = {"id": "x", "subject": "", "rows": {}, "key": "k", "blobs": digests}
        evidence.append(connection, erasure.BEGUN, "me", body)
    answers.set('"cat", "ann"', '"dan"')  # what cat did took its time all the same
    found = status(answers.project, "kinds")
    people = {each.name: (each.num_judged, each.num_decided, each.seconds) for each in found.people}
    assert people == {
        "ann": (1, 0, 35.0),
        "bob": (1, 0, 7.0),
        "dan": (0, 0, 0.0),
        "cat": (0, 0, 90.0),
    }
    assert found.seconds == 132.0


def test_a_row_that_was_decided_waits_for_nobody_when_more_are_asked_for(ward):
    row, *_ = ward.start()
    ward.judge("ann", row, "a")
    ward.judge("bob", row, "b")
    ward.decide("cat", row, "b")
    ward.set('reviewers = ["ann", "bob"]', 'reviewers = ["ann", "bob", "dan"]\nper_row = 3')
    assert row not in ward.waiting("dan")
    with pytest.raises(Conflict, match=f"another decided row {row}"):
        ward.judge("dan", row, "a")
    found = status(ward.project, "kinds")
    assert (found.num_rows, found.num_open, found.num_settled) == (8, 7, 1)


def test_the_evidence_has_ids_and_labels_and_no_text_of_any_row(ward):
    for row in ward.start():
        ward.judge("ann", row, "a", 1.0)
        ward.judge("bob", row, "a", 1.0)
    accept(ward.project, "kinds", ANN)
    entries = log(ward)
    assert {entry.what for entry in entries} >= {"review.begun", "review.judged", "review.accepted"}
    assert "of the ward" not in json.dumps([dict(entry.body) for entry in entries])
    assert [entry.actor for entry in log(ward, "review.judged")] == ["ann", "bob"] * 8


def test_what_is_accepted_is_frozen_and_said_once(ward):
    first, second, third, *_ = ward.start()
    with pytest.raises(Conflict, match="nothing is settled"):
        accept(ward.project, "kinds", ANN)
    for row, theirs in ((first, "a"), (second, "unusable"), (third, "b")):
        ward.judge("ann", row, "a" if theirs == "b" else theirs)
        ward.judge("bob", row, theirs)
    frozen = accept(ward.project, "kinds", ANN)
    assert frozen.labels == {first: "a", second: "unusable"}
    assert accept(ward.project, "kinds", ANN) == frozen
    assert len(log(ward, "review.accepted")) == 1
    ward.decide("cat", third, "b")
    assert accept(ward.project, "kinds", ANN).num_adjudicated == 1
    assert len(log(ward, "review.accepted")) == 2

    ward.project.look_again()
    assert "reviewed" not in build(ward.project.file).datasets["notes"].inputs  # nobody asked
    ward.set("[dataset.notes]", '[dataset.notes]\nreviewed = "kinds"')
    ward.project.look_again()
    given = build(ward.project.file).datasets["notes"].inputs["reviewed"]
    assert given is ward.project.file.dataset["notes"].accepted
    accepted = ward.project.file.dataset["notes"].accepted
    assert isinstance(accepted, ReviewedLabels)
    assert accepted.labels == {first: "a", second: "unusable", third: "b"}


def test_a_row_that_was_erased_is_gone_from_queue_and_labels(ward):
    gone, *others = ward.start()
    ward.judge("ann", gone, "a")
    ward.judge("bob", gone, "a")
    ward.judge("ann", others[0], "a")
    ward.judge("bob", others[0], "a")
    texts = at_work(ward.project, "kinds").texts
    old = ward.project.versions()[0]
    record = ward.project.load(ward.project.runs()[0])
    ward.cut([(texts[row], "ab"[place % 2]) for place, row in enumerate(others)])
    ward.project.purged = frozenset({record.train.rows.sha256})
    assert old.number == 1
    assert gone not in at_work(ward.project, "kinds").rows
    assert set(accept(ward.project, "kinds", ANN).labels) == {others[0]}
    assert status(ward.project, "kinds").num_gone == 1
