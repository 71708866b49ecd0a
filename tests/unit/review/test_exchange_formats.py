"""Rows of every format out to both programs, answered there, and back: as at the terminal."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tunesmith.records.rows import (
    FORMATS,
    Chat,
    Checked,
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
from tunesmith.review.argilla import user_id
from tunesmith.review.desk import at_work
from tunesmith.review.exchange import export, import_, interface
from tunesmith.stages.curate.content import problem
from tunesmith.stages.curate.verdicts import correctable, read_correction

ANN = Actor(name="ann", os_user="ann")
PROGRAMS = ["label-studio", "argilla"]
IDS = [each * 32 for each in "abc"]
PEOPLE = ("ann", "bob")
IOB2 = ("B-DOSE", "B-DRUG", "I-DOSE", "I-DRUG", "O")
IOB1 = ("B-X", "I-X", "O")
PARTS_OF_SPEECH = ("NOUN", "VERB", "X")

said = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
texts = st.one_of(said, st.just('<b>"&"</b>\n$text'), st.just("a 💊 b")).filter(str.strip)
tool_calls = st.builds(ToolCall, name=texts, arguments=st.dictionaries(texts, texts, max_size=1))
words = st.lists(texts.map(lambda text: "".join(text.split())).filter(bool), min_size=1, max_size=5)


@st.composite
def tag_lists(draw, length: int, tags: tuple[str, ...]) -> tuple[str, ...]:
    """Tags of so many words; those of `IOB2` as IOB2 has them."""
    found: list[str] = []
    while len(found) < length:
        before = found[-1] if found else "O"
        may = [tag for tag in tags if tag[:2] != "I-" or tags != IOB2 or before[2:] == tag[2:]]
        found.append(draw(st.sampled_from(may)))
    return tuple(found)


@st.composite
def conversations(draw):
    turns = [Turn(role="user", content=draw(texts))]
    if draw(st.booleans()):
        turns.insert(0, Turn(role="system", content=draw(texts)))
    if draw(st.booleans()):
        turns.append(Turn(role="assistant", tool_calls=(draw(tool_calls),)))
        turns.append(Turn(role="tool", content=draw(texts)))
    turns.append(Turn(role="assistant", content=draw(texts)))
    return Chat(messages=tuple(turns), tools=({"name": "dose"},) if draw(st.booleans()) else ())


def rows_of(format: str, tags: tuple[str, ...]):
    found = {
        "chat": conversations(),
        "completion": st.builds(Completion, prompt=texts, completion=texts),
        "text": st.builds(Text, text=texts),
        "checked": st.builds(Checked, prompt=texts, answer=st.one_of(st.just(""), texts)),
        "feedback": st.builds(Feedback, prompt=texts, completion=texts, label=st.booleans()),
        "preference": st.builds(Preference, prompt=texts, chosen=texts, rejected=texts),
        "pairs": st.builds(
            Pair, anchor=texts, positive=texts, negatives=st.lists(texts, max_size=2).map(tuple)
        ),
        "tags": words.flatmap(
            lambda tokens: tag_lists(len(tokens), tags).map(
                lambda given: Tagged(tokens=tuple(tokens), tags=given)
            )
        ),
    }
    return found[format].filter(lambda row: not problem(row))


@st.composite
def answers_to(draw, row, verdicts: tuple[str, ...], tags: tuple[str, ...]) -> tuple[str, str]:
    """A verdict, and the text of a correction."""
    verdict = draw(st.sampled_from(verdicts))
    if verdict != "corrected":
        return verdict, ""
    if isinstance(row, Tagged):
        other = draw(tag_lists(len(row.tags), tags).filter(lambda given: given != row.tags))
        return verdict, json.dumps(other)
    return verdict, draw(texts.filter(lambda text: text.split() != correctable(row).split()))


# What both programs make of an answer, from the files that they were given alone.


def regions(shown: str, tags: list[str], known: set[str]) -> list[tuple[int, int, str]]:
    """What is marked where somebody marks words of `shown` so that they have these tags."""
    places = [match.span() for match in re.finditer(r"\S+", shown)]
    assert len(places) == len(tags)
    found = []
    for place, tag in zip(places, tags, strict=True):
        if tag == "O":
            continue
        if tag in known:
            found.append((*place, tag))
        elif tag.startswith("I-"):
            found[-1] = (found[-1][0], place[1], tag[2:])
        else:
            found.append((*place, tag[2:]))
    return found


def studio(task, setup, who, verdict, text, seconds, *, filled):
    """An annotation, as Label Studio has it in its export; `filled`: with what it filled in."""
    view = ElementTree.fromstring(setup)
    known = {each.get("value") for each in view.iter("Label")}
    named = {each.get("name"): each for each in view.iter() if each.get("toName")}
    data, result = task["data"], []

    def add(name, kind, value):
        to = named[name].get("toName")
        assert view.find(f".//*[@name='{to}']") is not None
        result.append(
            {
                "id": f"r{len(result)}",
                "from_name": name,
                "to_name": to,
                "type": kind,
                "origin": "manual",
                "value": value,
            }
        )

    if "marks" in named and text:
        for start, end, label in regions(data["words"], json.loads(text), known):
            value = {"start": start, "end": end, "text": data["words"][start:end]}
            add("marks", "labels", {**value, "labels": [label]})
    elif "marks" in named and filled:
        for each in task.get("predictions", [{"result": []}])[0]["result"]:
            result.append({**each, "origin": "prediction"})
    assert verdict in {each.get("value") for each in view.iter("Choice")}
    add("verdict", "choices", {"choices": [verdict]})
    if "correction" in named and (text or filled):
        standing = [data[named["correction"].get("value")[1:]]] if filled else []
        add("correction", "textarea", {"text": [*([text] if text else []), *standing]})
    return {
        "id": 7,
        "completed_by": {"id": PEOPLE.index(who), "email": who, "first_name": "", "last_name": ""},
        "result": result,
        "was_cancelled": False,
        "ground_truth": False,
        "lead_time": seconds,
        "draft_created_at": None,
        "parent_prediction": None,
    }


def responses(record, setup, who, verdict, text, *, filled) -> dict[str, object]:
    """What somebody answers in Argilla, by question."""
    asked = {each["name"]: each["settings"] for each in json.loads(setup)["questions"]}
    assert verdict in {each["value"] for each in asked["verdict"]["options"]}
    found: dict[str, object] = {"verdict": verdict}
    if filled and not text:
        found |= {name: each["value"] for name, each in record["suggestions"].items()}
    elif text and "marks" in asked:
        known = {each["value"] for each in asked["marks"]["options"]}
        spans = regions(record["fields"]["words"], json.loads(text), known)
        found["marks"] = [{"start": s, "end": e, "label": label} for s, e, label in spans]
    elif text:
        found["correction"] = text
    return found


def as_argilla(record, given: dict[str, dict], shape: str):
    """A record with the answers of each person, in one of the forms in which it is exported."""
    if shape == "by user":
        every = [
            {
                "user_id": user_id(who),
                "status": "submitted",
                "values": {name: {"value": value} for name, value in values.items()},
            }
            for who, values in given.items()
        ]
        outside = {"id": "5f0e", "external_id": record["id"], "status": "completed"}
        return {**record, **outside, "responses": every}
    by_question: dict[str, list] = {}
    for who, values in given.items():
        for name, value in values.items():
            by_question.setdefault(name, []).append({"value": value, "user_id": user_id(who)})
    if shape == "by question":
        return {**record, "responses": by_question}
    columns = {}
    for name, every in by_question.items():
        columns[f"{name}.responses"] = [each["value"] for each in every]
        columns[f"{name}.responses.users"] = [each["user_id"] for each in every]
        columns[f"{name}.responses.status"] = ["submitted" for _ in every]
    return {"id": record["id"], **record["fields"], **record["metadata"], **columns}


def put(ward, program, path):
    export(ward.project, "kinds", path, ANN, form=program)
    return json.loads(path.read_text()), interface(ward.project, "kinds", form=program)


def take(ward, program, path):
    return import_(ward.project, "kinds", path, form=program, names={})


def judgements(ward, *, timed=True):
    """All that is on record: what was said, and each row as it was corrected."""
    desk = at_work(ward.project, "kinds")
    return {
        (row, who): (
            each.label,
            each.form,
            each.seconds if timed else None,
            read_correction(ward.project.runner.blobs, each.correction, type(desk.contents[row]))
            if each.correction
            else None,
        )
        for row, said in desk.log.judged.items()
        for who, each in said.items()
    }


ROWS = {
    "chat": [
        Chat(
            messages=(
                Turn(role="system", content="Be brief."),
                Turn(role="user", content=f"How much of {name}?"),
                Turn(role="assistant", tool_calls=(ToolCall(name="dose", arguments={"of": name}),)),
                Turn(role="tool", content="10"),
                Turn(role="assistant", content="Ten."),
            ),
            tools=({"name": "dose"},),
        )
        for name in "abc"
    ],
    "completion": [Completion(prompt=f"Drug {n} is", completion=f" {n} mg.") for n in "123"],
    "text": [Text(text=f"Take {n} mg a day.") for n in "123"],
    "checked": [Checked(prompt=f"What is {n} + 1?", answer=n) for n in "123"],
    "feedback": [Feedback(prompt=f"{n}?", completion="Yes.", label=True) for n in "123"],
    "preference": [Preference(prompt=f"{n}?", chosen="Ten.", rejected="Twelve.") for n in "1234"],
    "pairs": [Pair(anchor=n, positive="b", negatives=("c", "d")) for n in "12"],
    "tags": [
        Tagged(tokens=("Took", "10", "mg", "Xarel", "💊"), tags=("O", "B-DOSE", *rest, "O"))
        for rest in (("I-DOSE", "B-DRUG"), ("O", "O"), ("I-DOSE", "O"))
    ],
}
CORRECTIONS = {"tags": json.dumps(["O", "B-DOSE", "I-DOSE", "B-DRUG", "O"])}
GOLDEN = Path(__file__).parents[2] / "golden" / "review_exchange.json"


def answered(desk) -> list[list[str]]:
    """Row, who, verdict and correction: of each row one of the verdicts, in their order."""
    by_id = sorted(desk.contents)
    said = zip(by_id, itertools.cycle(desk.log.answers), strict=False)
    correction = CORRECTIONS.get(desk.log.format, "Eleven <milligrams>\na day. 💊")
    return [
        [row, who, verdict, correction if verdict == "corrected" else ""]
        for row, verdict in said
        for who in PEOPLE
    ]


@pytest.mark.parametrize("format", list(ROWS))
@pytest.mark.parametrize("program", PROGRAMS)
def test_what_the_programs_own_libraries_take_and_write(open_ward, tmp_path, program, format):
    """`tests/golden/review_exchange.py` says how the file was made: `exported` and `interface` were
    taken by Label Studio's and Argilla's Python packages, `answered` is what these wrote."""
    golden = json.loads(GOLDEN.read_text())[program][format]
    ward = open_ward(format, dict(zip("abcd", ROWS[format], strict=False)), IOB2)
    found, setup = put(ward, program, tmp_path / "out.json")
    assert (found, setup) == (golden["exported"], golden["interface"])
    path = tmp_path / "in.json"
    path.write_text(json.dumps(golden["answered"]))
    desk = at_work(ward.project, "kinds")
    names = {str(number): who for number, who in enumerate(PEOPLE, start=1)}
    made = import_(ward.project, "kinds", path, form=program, names=names)
    assert (made.num_added, made.num_skipped) == (len(answered(desk)), golden["skipped"])
    assert [
        [row, who, label, correctable(content) if content else ""]
        for (row, who), (label, _, _, content) in sorted(judgements(ward).items())
    ] == answered(desk)


@pytest.fixture
def open_ward(make_ward):
    """open_ward(format, rows, tags) -> a project whose review of such rows was begun."""
    numbers = itertools.count()

    def make(format, rows, tags):
        ward = make_ward(f"ward-{next(numbers)}")
        ward.set('instruction = "Name it."', f'format = "{format}"')
        ward.cut_contents(format, rows, tags if format == "tags" else ())
        ward.start()
        return ward

    return make


@pytest.mark.parametrize("format", sorted(set(FORMATS) - {"labels"}))
@settings(
    max_examples=4,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_what_is_answered_elsewhere_is_what_is_said_at_the_terminal(
    open_ward, tmp_path_factory, format, data
):
    tags = data.draw(st.sampled_from([IOB2, IOB1, PARTS_OF_SPEECH]))
    rows = dict(
        zip(IDS, data.draw(st.lists(rows_of(format, tags), min_size=2, max_size=3)), strict=False)
    )
    if format == "tags" and tags == IOB1:  # else nothing tells it from IOB2
        rows |= {IDS[0]: Tagged(tokens=("Took", "Xarel"), tags=("O", "I-X"))}
    here = open_ward(format, rows, tags)
    desk, tmp_path = at_work(here.project, "kinds"), tmp_path_factory.mktemp("files")
    given_ = {
        (row, who): data.draw(answers_to(content, desk.log.answers, tags))
        for row, content in desk.contents.items()
        for who in PEOPLE
    }
    filled = data.draw(st.booleans())
    shape = data.draw(st.sampled_from(["by question", "by user", "by column"]))
    for (row, who), (verdict, text) in given_.items():
        here.judge(who, row, verdict, 3.5, text=text)

    for program in PROGRAMS:
        there, path = open_ward(format, rows, tags), tmp_path / f"{program}.json"
        found, setup = put(there, program, tmp_path / f"{program}-out.json")
        for place, each in enumerate(found):
            if program == "label-studio":
                row = each["data"]["row"]
                each["annotations"] = [
                    studio(each, setup, who, *given_[row, who], 3.5, filled=filled)
                    for who in PEOPLE
                ]
            else:
                answers = {
                    who: responses(each, setup, who, *given_[each["id"], who], filled=filled)
                    for who in PEOPLE
                }
                found[place] = as_argilla(each, answers, shape)
        path.write_text(json.dumps(found))
        made = take(there, program, path)
        assert (made.num_added, made.num_known, made.num_skipped) == (len(given_), 0, 0)
        timed = program == "label-studio"
        assert judgements(there, timed=timed) == judgements(here, timed=timed)
        again = take(there, program, path)
        assert (again.num_added, again.num_known) == (0, len(given_))

        third, path = open_ward(format, rows, tags), tmp_path / f"{program}-all.json"
        put(there, program, path)  # with all that is on record
        assert take(third, program, path).num_added == len(given_)
        assert judgements(third, timed=timed) == judgements(here, timed=timed)
