"""Reviews of rows without labels: verdicts, corrections as new texts, and what is accepted."""

from __future__ import annotations

import json

import pytest

from tunesmith.core import erasure, evidence
from tunesmith.core.errors import Conflict, NotFound, UsageError
from tunesmith.core.quarantine import plan as collectable
from tunesmith.core.retention import StoreSection
from tunesmith.core.verify import verify
from tunesmith.records.review import ReviewedLabels
from tunesmith.records.rows import (
    Chat,
    Completion,
    Feedback,
    Pair,
    Preference,
    Tagged,
    Text,
    ToolCall,
    Turn,
)
from tunesmith.registry.roles import Actor
from tunesmith.review.desk import accept, at_work, judge, start, status
from tunesmith.review.parts import parts
from tunesmith.stages.curate.verdicts import content_digest, read_correction

ANN = Actor(name="ann", os_user="ann")
A, B, C, D = (each * 32 for each in "abcd")


def log(ward, *whats: str) -> list[evidence.Entry]:
    with ward.project.runner.database.read() as connection:
        return list(evidence.entries(connection, *whats))


def blobs(ward) -> set[str]:
    return set(ward.project.runner.blobs.digests())


def test_two_corrections_agree_but_for_white_space_and_a_third_decides_where_they_differ(answers):
    answers.start()
    answers.judge("ann", A, "corrected", text=" 10 mg\na day.")
    answers.judge("bob", A, "corrected", text="10  mg a day. ")
    answers.judge("ann", B, "corrected", text=" 20 mg a day.")
    answers.judge("bob", B, "corrected", text=" 25 mg a day.")
    answers.judge("ann", C, "accepted")
    answers.judge("bob", C, "accepted")
    answers.judge("ann", D, "rejected")
    answers.judge("bob", D, "corrected", text=" 0 mg.")
    assert answers.waiting("cat", decides=True) == [
        row for row in at_work(answers.project, "kinds").rows if row in (B, D)
    ]
    assert at_work(answers.project, "kinds").given(B) == [
        ("corrected", " 20 mg a day."),
        ("corrected", " 25 mg a day."),
    ]
    answers.decide("cat", B, "corrected", text=" 25 mg a day.")
    answers.decide("cat", D, "rejected")

    found = status(answers.project, "kinds")
    assert (found.num_settled, found.num_adjudicated, found.num_unusable) == (4, 2, 1)
    frozen = accept(answers.project, "kinds", ANN)
    assert frozen.labels == {A: "corrected", B: "corrected", C: "accepted", D: "rejected"}
    assert frozen.format == "completion"
    desk = at_work(answers.project, "kinds")
    assert frozen.contents == {row: content_digest(desk.contents[row]) for row in (A, B, C, D)}
    store = answers.project.runner.blobs
    texts = {
        row: read_correction(store, blob, Completion) for row, blob in frozen.corrections.items()
    }
    assert {row: each.completion for row, each in texts.items()} == {
        A: " 10 mg\na day.",  # of two who agree the first one's, as it was typed
        B: " 25 mg a day.",
    }
    assert texts[A].prompt == "The dose of drug a is"
    assert accept(answers.project, "kinds", ANN) == frozen
    assert len(log(answers, "review.accepted")) == 1
    assert verify(answers.project.runner.database, store).problems == ()


def test_agreement_is_over_verdicts_and_different_corrections_are_different(answers):
    """By hand: units (c1 c1) (c1 c2) (a a) (r r); 8 values, of c1 3, c2 1, a 2, r 2.

    Observed: one unit of two that differ: 2 of 8 ordered pairs. Expected: of 8*7 = 56 ordered
    pairs, those that differ: 56 - (3*2 + 0 + 2*1 + 2*1) = 46. alpha = 1 - (2/8)/(46/56).
    """
    answers.start()
    for row, first, second in ((A, "x", "x "), (B, "y", "z")):
        answers.judge("ann", row, "corrected", text=first)
        answers.judge("bob", row, "corrected", text=second)
    for row, verdict in ((C, "accepted"), (D, "rejected")):
        for who in ("ann", "bob"):
            answers.judge(who, row, verdict)
    alpha, kappa = status(answers.project, "kinds").agreement
    assert alpha.value == pytest.approx(1 - (2 / 8) / (46 / 56))
    # Agreed 3/4; by chance c1 2/4*1/4, a and r 1/4*1/4 each.
    assert kappa.value == pytest.approx((3 / 4 - 4 / 16) / (1 - 4 / 16))
    assert alpha.low <= alpha.value <= alpha.high


def test_the_evidence_has_no_text_and_no_digest_that_tells_one(answers):
    answers.start()
    answers.judge("ann", A, "corrected", text=" 10 mg a day.")
    (entry,) = log(answers, "review.judged")
    assert "10 mg" not in entry.text
    (kept,) = entry.body["kept"]
    answers.judge("bob", A, "corrected", text=" 10 mg a day.")
    (other,) = log(answers, "review.judged")[1].body["kept"]
    assert kept["sha256"] != other["sha256"]  # the same text
    assert [each.body["form"] for each in log(answers, "review.judged")] == [1, 1]


def test_a_correction_is_kept_by_the_store_and_missed_when_it_is_gone(answers):
    answers.start()
    answers.judge("ann", A, "corrected", text=" 10 mg a day.")
    (entry,) = log(answers, "review.judged")
    digest = entry.body["kept"][0]["sha256"]
    runner = answers.project.runner
    with runner.database.read() as connection:
        settings = StoreSection(min_age_hours=1e-9)
        found = collectable(connection, runner.blobs, settings, ())
    assert digest in {each.sha256 for each in found.kept}
    runner.blobs.remove(digest)
    (problem,) = verify(runner.database, runner.blobs).problems
    assert digest[:12] in problem


@pytest.mark.parametrize(
    ("label", "text", "said"),
    [
        ("corrected", "", "without a text"),
        ("corrected", " \n", "without a text"),
        ("accepted", "text", "with a text"),
        ("corrected", "1 mg a  day. ", "says what stands there already"),
        ("unusable", "", "is no verdict"),
        ("accept", "", "did you mean 'accepted'"),
    ],
)
def test_what_cannot_be_said_leaves_nothing(answers, label, text, said):
    answers.start()
    before = blobs(answers)
    with pytest.raises(UsageError) as error:
        answers.judge("ann", A, label, text=text)
    assert said in f"{error.value.message} {error.value.remedy}"
    assert blobs(answers) == before
    assert log(answers, "review.judged") == []


def test_who_may_not_correct_leaves_no_text_in_the_store(answers):
    answers.start()
    answers.judge("ann", A, "accepted")
    before = blobs(answers)
    with pytest.raises(Conflict, match="ann judged row"):
        answers.judge("ann", A, "corrected", text="something else")
    with pytest.raises(NotFound, match="no row 'nothing'"):
        answers.judge("ann", "nothing", "corrected", text="something else")
    assert blobs(answers) == before


def test_a_row_is_judged_as_it_was_put_into_the_queue(answers):
    """A later version has what was accepted, and another review's rows may have been corrected."""
    answers.start()
    answers.cut_contents(
        "completion", {A: Completion(prompt="The dose of drug a is", completion=" 10 mg.")}
    )
    assert at_work(answers.project, "kinds").contents[A].completion == " 1 mg a day."
    assert start(answers.project, "kinds", ANN).num_added == 0


def test_a_version_that_was_collected_as_garbage_is_passed_over(answers):
    answers.start()
    old = answers.project.load(answers.project.runs()[1])
    rest = dict(list(at_work(answers.project, "kinds").contents.items())[:1])
    answers.cut_contents("completion", rest)
    answers.project.runner.blobs.remove(old.train.rows.sha256)
    assert at_work(answers.project, "kinds").rows == list(rest)
    assert status(answers.project, "kinds").num_gone == 3


def test_what_was_left_out_or_corrected_stays_so_when_the_first_version_is_gone(answers):
    """Else the next `accept` would bring back what was rejected."""
    answers.start()
    for who in ("ann", "bob"):
        answers.judge(who, A, "rejected")
        answers.judge(who, B, "corrected", text=" 9 mg.")
        answers.judge(who, C, "accepted")
    before = accept(answers.project, "kinds", ANN)
    old = answers.project.load(answers.project.runs()[1])
    contents = at_work(answers.project, "kinds").contents
    changed = Completion(prompt=contents[B].prompt, completion=" 9 mg.")
    answers.cut_contents("completion", {B: changed, C: contents[C]})
    answers.project.purged = frozenset({old.train.rows.sha256})
    assert accept(answers.project, "kinds", ANN) == before
    found = status(answers.project, "kinds")
    assert (found.num_rows, found.num_settled, found.num_gone, found.num_open) == (4, 3, 1, 0)

    # Who is forgotten is told from those by the evidence.
    key = erasure.key_of(answers.project.store, make=True)
    told = {"notes": [erasure.keyed(key, "row", A)]}
    with answers.project.runner.database.write() as connection:
        body = {"id": "x", "subject": "", "rows": told, "key": "k", "blobs": []}
        evidence.append(connection, erasure.BEGUN, "me", body)
    assert set(accept(answers.project, "kinds", ANN).labels) == {B, C}


def test_a_dataset_that_has_another_format_now_is_another_review(answers):
    answers.start()
    answers.cut_contents("text", {A: Text(text="all of it")})
    with pytest.raises(Conflict, match="is of rows of format 'completion'"):
        answers.start()


def test_what_was_erased_was_not_said_and_its_time_counts(answers):
    answers.start()
    answers.judge("ann", A, "corrected", 30.0, text=" 10 mg a day.")
    answers.judge("bob", A, "corrected", 10.0, text=" 10 mg a day.")
    accept(answers.project, "kinds", ANN)
    digests = [each.body["kept"][0]["sha256"] for each in log(answers, "review.judged")]
    with answers.project.runner.database.write() as connection:
        body = {"id": "x", "subject": "", "rows": {}, "key": "k", "blobs": digests}
        evidence.append(connection, erasure.BEGUN, "me", body)
    assert A in answers.waiting("ann")
    assert status(answers.project, "kinds").seconds == 40.0
    answers.set("[dataset.notes]", '[dataset.notes]\nreviewed = "kinds"')
    answers.project.look_again()
    given = answers.project.file.dataset["notes"].accepted
    assert isinstance(given, ReviewedLabels)
    assert (given.labels, given.corrections) == ({A: "rejected"}, {})


def forget(ward, *blobs: str, rows=()):
    """Put on record that blobs and rows were erased for somebody's sake."""
    key = erasure.key_of(ward.project.store, make=True)
    told = {"notes": [erasure.keyed(key, "row", row) for row in rows]}
    with ward.project.runner.database.write() as connection:
        body = {"id": "x", "subject": "", "rows": told, "key": "k", "blobs": blobs}
        evidence.append(connection, erasure.BEGUN, "me", body)


def test_a_row_whose_correction_was_erased_is_left_out_until_it_is_judged_again(answers):
    """Else what is known to be wrong would be in the dataset from the next `accept` on."""
    answers.start()
    made = {
        row: [answers.judge(who, row, "corrected", text=" 10 mg.") for who in ("ann", "bob")]
        for row in (A, B)
    }
    for who in ("ann", "bob"):
        answers.judge(who, C, "accepted")
    before = accept(answers.project, "kinds", ANN)
    forget(answers, *(each.correction.sha256 for said in made.values() for each in said))
    frozen = accept(answers.project, "kinds", ANN)
    assert frozen.labels == {A: "rejected", B: "rejected", C: "accepted"}
    assert (frozen.contents, frozen.corrections) == (before.contents, {})
    assert status(answers.project, "kinds").num_settled == 1

    answers.judge("ann", A, "accepted")
    assert accept(answers.project, "kinds", ANN).labels[A] == "rejected"
    answers.judge("bob", A, "accepted")
    assert accept(answers.project, "kinds", ANN).labels[A] == "accepted"
    forget(answers, rows=(B,))
    assert set(accept(answers.project, "kinds", ANN).labels) == {A, C}


def test_a_new_correction_is_none_of_those_that_stand_or_were_erased(answers):
    answers.start()
    first, second = (
        answers.judge(who, A, "corrected", text=text)
        for who, text in (("ann", " 10 mg."), ("bob", " 20 mg."))
    )
    assert (first.form, second.form) == (1, 2)
    forget(answers, first.correction.sha256)
    third = answers.judge("ann", A, "corrected", text=" 30 mg.")
    assert third.form == 3
    assert answers.waiting("cat", decides=True) == [A]
    assert answers.judge("ann", B, "corrected", text=" 30 mg.").form == 1
    forget(answers, third.correction.sha256)
    assert answers.judge("ann", A, "corrected", text=" 40 mg.").form == 4


def of(ward, form, content, labels=()):
    ward.set('instruction = "Name it."', f'format = "{form}"')
    ward.cut_contents(form, {A: content}, labels)
    ward.start()
    return at_work(ward.project, "kinds")


QUESTION = Turn(role="user", content="How much?")
CHAT = Chat(messages=(QUESTION, Turn(role="assistant", content="Ten.")))
CALLING = Chat(
    messages=(
        QUESTION,
        Turn(role="assistant", tool_calls=(ToolCall(name="dose", arguments={"of": "a"}),)),
        Turn(role="tool", content="10"),
        Turn(role="assistant", content="Ten."),
    ),
    tools=({"name": "dose"},),
)
PREFERENCE = Preference(prompt="How much?", chosen="Ten.", rejected="Twelve.")


def test_a_conversation_is_shown_turn_by_turn_and_its_last_answer_corrected(ward):
    desk = of(ward, "chat", CALLING)
    assert [(part.name, part.text) for part in parts(desk.contents[A])] == [
        ("tools", '{"name": "dose"}'),
        ("user", "How much?"),
        ("assistant", 'calls dose({"of": "a"})'),
        ("tool", "10"),
        ("assistant", "Ten."),
    ]
    made = ward.judge("ann", A, "corrected", text="Ten milligrams.")
    found = read_correction(ward.project.runner.blobs, made.correction, Chat)
    assert found.messages[:-1] == CALLING.messages[:-1]
    assert found.messages[-1].content == "Ten milligrams."
    assert found.tools == CALLING.tools


def test_which_answer_the_source_prefers_is_not_to_be_seen(ward):
    desk = of(ward, "preference", PREFERENCE)
    swapped = Preference(prompt="How much?", chosen="Twelve.", rejected="Ten.")
    assert parts(desk.contents[A]) == parts(swapped)
    assert desk.log.answers == ("first", "second", "tie", "neither")
    rows = [Preference(prompt=f"{n}?", chosen="yes", rejected="no") for n in range(100)]
    assert 30 < sum(parts(row)[1].text == "yes" for row in rows) < 70
    with pytest.raises(UsageError, match="with a text"):
        ward.judge("ann", A, "first", text="Ten milligrams.")


@pytest.mark.parametrize(
    ("form", "content", "answers"),
    [
        ("pairs", Pair(anchor="a", positive="b", negatives=("c",)), ("together", "apart")),
        ("text", Text(text="all of it"), ("accepted", "rejected", "corrected")),
        (
            "feedback",
            Feedback(prompt="p", completion="c", label=True),
            ("liked", "not liked", "rejected"),
        ),
    ],
)
def test_what_may_be_said_of_other_formats(ward, form, content, answers):
    desk = of(ward, form, content)
    assert desk.log.answers == answers
    assert "true" not in json.dumps([part.text for part in parts(content)]).lower()
    ward.judge("ann", A, answers[0])


TAGGED = Tagged(tokens=("Took", "Xarel"), tags=("O", "O"))


def test_tags_are_corrected_as_the_list_that_they_are(ward):
    of(ward, "tags", TAGGED, ("B-DRUG", "O"))
    made = ward.judge("ann", A, "corrected", text='["O","B-DRUG"]')
    found = read_correction(ward.project.runner.blobs, made.correction, Tagged)
    assert found == Tagged(tokens=TAGGED.tokens, tags=("O", "B-DRUG"))
    again = ward.judge("bob", A, "corrected", text='[ "O", "B-DRUG" ]')
    assert again.form == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('["O"]', "2 tokens have 1 tags"),
        ('["O", "B-DRUGG"]', "'B-DRUGG' is no tag of the dataset"),
        ('["O", 1]', "tags are a JSON list of texts"),
        ("B-DRUG O", "tags are a JSON list of texts"),
        ('{"tags": ["O", "B-DRUG"]}', "tags are a JSON list of texts"),
        ("[" * 100_000, "tags are a JSON list of texts"),
        ('["O", "O"]', "says what stands there already"),
    ],
)
def test_tags_that_are_none(ward, text, said):
    of(ward, "tags", TAGGED, ("B-DRUG", "O"))
    with pytest.raises(UsageError) as error:
        ward.judge("ann", A, "corrected", text=text)
    assert said in error.value.message
    assert log(ward, "review.judged") == []


def test_a_row_that_was_erased_is_not_corrected(answers):
    answers.start()
    desk = at_work(answers.project, "kinds")
    rest = {row: content for row, content in desk.contents.items() if row != A}
    old = answers.project.load(answers.project.runs()[1])
    answers.cut_contents("completion", rest)
    answers.project.purged = frozenset({old.train.rows.sha256})
    assert A not in at_work(answers.project, "kinds").rows
    with pytest.raises(NotFound, match="is gone"):
        judge(at_work(answers.project, "kinds"), ANN, A, "corrected", 1.0, "text")
