"""Rows out to Label Studio and Argilla, judgements back in: whole round trips, and bad files."""

from __future__ import annotations

import json
import os
import stat

import pytest

from tunesmith.core import erasure, evidence
from tunesmith.core.errors import Conflict, DataError, NotAllowed, NotFound, UsageError
from tunesmith.registry.roles import Actor
from tunesmith.review.argilla import user_id
from tunesmith.review.desk import at_work, start
from tunesmith.review.exchange import export, import_, interface

ANN = Actor(name="ann", os_user="ann")
FORMS = ["label-studio", "argilla"]


def take(ward, path, form="label-studio", **names):
    return import_(ward.project, "kinds", path, form=form, names=names)


def put(ward, path, form="label-studio", **options):
    return export(ward.project, "kinds", path, ANN, form=form, **options)


def judged(ward) -> dict[str, dict[str, str]]:
    log = at_work(ward.project, "kinds").log
    return {row: log.said(row) for row in log.judged}


@pytest.fixture
def tasks(ward, tmp_path):
    """tasks(change) -> a file of Label Studio's, as it exports it, after `change(tasks)`."""
    ward.start()
    put(ward, tmp_path / "out.json")

    def make(change):
        found = json.loads((tmp_path / "out.json").read_text())
        change(found)
        (tmp_path / "in.json").write_text(json.dumps(found))
        return tmp_path / "in.json"

    return make


LABEL = {"from_name": "label", "to_name": "text", "type": "choices"}


def annotation(label: str, who=None, **changes) -> dict:
    """As Label Studio 1.x exports it, whatever else it has beside it."""
    return {
        "id": 1001,
        "completed_by": who or {"id": 7, "email": "ann", "first_name": "", "last_name": ""},
        "result": [
            {
                "id": "Dx_aB91ISN",
                "from_name": "label",
                "to_name": "text",
                "type": "choices",
                "origin": "manual",
                "value": {"choices": [label]},
            }
        ],
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": "2026-03-09T22:16:08.728353Z",
        "lead_time": 4.288,
        **changes,
    }


def test_while_somebody_is_forgotten_no_rows_leave(ward, tmp_path):
    ward.start()
    with ward.project.runner.database.write() as connection:
        body = {"id": "x", "subject": "", "rows": {}, "key": "k", "blobs": []}
        evidence.append(connection, erasure.BEGUN, "me", body)
    with pytest.raises(Conflict, match="being forgotten, and the rows of review kinds may have"):
        put(ward, tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize("form", FORMS)
def test_all_comes_back_that_went_out(make_ward, tmp_path, form):
    here, there = make_ward("here"), make_ward("there")
    first, second, third, *_ = here.start()
    there.start()
    for row, theirs in ((first, "a"), (second, "unusable")):
        here.judge("ann", row, "a", 12.5)
        here.judge("bob", row, theirs, 7.25)
    here.judge("ann", third, "b")

    made = put(here, tmp_path / "rows.json", form)
    assert (made.num_rows, made.num_judgements) == (8, 4)
    found = take(there, tmp_path / "rows.json", form)
    assert (found.num_added, found.num_known, found.num_skipped) == (4, 0, 0)
    assert judged(there) == {row: said for row, said in judged(here).items() if row != third}
    log = at_work(there.project, "kinds").log
    times = [each.seconds for each in log.judged[first].values()]
    assert times == ([12.5, 7.25] if form == "label-studio" else [None, None])

    again = take(there, tmp_path / "rows.json", form)
    assert (again.num_added, again.num_known) == (0, 4)


@pytest.mark.parametrize("form", FORMS)
def test_who_is_to_judge_does_not_find_the_other_judgement_in_the_file(ward, tmp_path, form):
    """Nor the source's label: whoever is shown one is led to agree with it."""
    first, *_ = ward.start()
    ward.judge("ann", first, "b")
    put(ward, tmp_path / "rows.json", form)
    for each in json.loads((tmp_path / "rows.json").read_text()):
        assert not each.get("annotations")
        assert not each.get("responses")
        assert not each.get("suggestions")
        shown = json.dumps([each.get("data"), each.get("fields"), each.get("metadata")])
        assert '"label"' not in shown


def test_only_open_rows_where_those_are_asked_for(ward, tmp_path):
    first, second, *_ = ward.start()
    for who in ("ann", "bob"):
        ward.judge(who, first, "a")
    ward.judge("ann", second, "a")
    made = put(ward, tmp_path / "rows.json", only_open=True)
    assert (made.num_rows, made.num_judgements) == (7, 0)


def test_the_file_is_private_new_and_on_record(ward, tmp_path):
    ward.start()
    put(ward, tmp_path / "rows.json")
    assert stat.S_IMODE(os.stat(tmp_path / "rows.json").st_mode) == 0o600
    with ward.project.runner.database.read() as connection:
        (entry,) = evidence.entries(connection, "review.exported")
    assert entry.body["made"]["path"] == str(tmp_path / "rows.json")
    assert "of the ward" not in json.dumps(dict(entry.body))
    with pytest.raises(Conflict, match="is there already"):
        put(ward, tmp_path / "rows.json")
    with pytest.raises(UsageError, match="is in the store"):
        put(ward, ward.project.folder / ".tunesmith" / "rows.json")
    with pytest.raises(UsageError, match="no format 'csv'"):
        put(ward, tmp_path / "other.json", "csv")
    with pytest.raises(NotFound, match="there is no folder"):
        put(ward, tmp_path / "missing" / "rows.json")
    with ward.project.runner.database.read() as connection:
        assert len(list(evidence.entries(connection, "review.exported"))) == 1


def test_what_label_studio_itself_exports_is_read(tasks, ward):
    """Numbers for people, a task that was skipped, time beyond idling, other fields beside."""

    def change(found):
        found[0]["annotations"] = [annotation("a", 7), annotation("a", {"id": 8, "email": "b@x"})]
        found[1]["annotations"] = [annotation("a", 7, was_cancelled=True, result=[])]
        found[2]["annotations"] = [annotation("b", 7, lead_time=10**400), annotation("b", 8)]
        found[2] |= {"file_upload": "a.json", "drafts": [], "predictions": [], "project": 1}

    made = take(ward, tasks(change), **{"7": "ann", "b@x": "bob", "8": "bob"})
    assert (made.num_added, made.num_skipped) == (4, 1)
    log = at_work(ward.project, "kinds").log
    assert [each.seconds for each in log.judged[log_row(ward, 2)].values()] == [60.0, 4.288]
    with ward.project.runner.database.read() as connection:
        bodies = [entry.body for entry in evidence.entries(connection, "review.judged")]
    assert {body["file"] for body in bodies} == {made.sha256}
    assert [body.get("os_user") for body in bodies] == [None, "ann", None, "ann"]


def log_row(ward, place: int) -> str:
    return at_work(ward.project, "kinds").rows[place]


def _set(place, **changes):
    def change(found):
        found[place]["annotations"] = [annotation("a", **changes)]

    return change


def _data(**changes):
    def change(found):
        found[0]["annotations"] = [annotation("a")]
        found[0]["data"] |= changes

    return change


def _twice(found):
    found[0]["annotations"] = [annotation("a"), annotation("a")]


def _one_good_one_bad(found):
    found[0]["annotations"] = [annotation("a")]
    found[1]["annotations"] = [annotation("c")]


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (_data(row="nothing"), NotFound, "task 1, annotation 1: there is no row 'nothing'"),
        (_data(guidelines="0" * 64), Conflict, "by other guidelines"),
        (_data(row=None), DataError, "the data of task 1 is without str 'row'"),
        (_one_good_one_bad, UsageError, "task 2, annotation 1: 'c' is no label"),
        (_twice, Conflict, "ann judged row .* twice in this file, first in task 1, annotation 1"),
        (_set(0, who=99), NotAllowed, "is by '99', who is no reviewer"),
        (_set(0, who={"email": "cat"}), NotAllowed, "is by 'cat', who is no reviewer"),
        (_set(0, lead_time=-1), DataError, "took -1 seconds"),
        (_set(0, lead_time=float("nan")), DataError, "took nan seconds"),
        (_set(0, lead_time=float("inf")), DataError, "took inf seconds"),
        (_set(0, lead_time="soon"), DataError, "took 'soon' seconds"),
        (_set(0, result="a"), DataError, "annotation 1 is without list 'result'"),
        (
            _set(0, result=[{**LABEL, "value": {"choices": ["a", "b"]}}]),
            DataError,
            "where one label is expected",
        ),
        (lambda found: found.insert(0, "task"), DataError, "task 1 is no object"),
        (lambda found: found[0].pop("annotations"), DataError, "without list 'annotations'"),
    ],
)
def test_a_file_with_one_bad_judgement_changes_nothing(tasks, ward, change, error, said):
    with pytest.raises(error, match=said):
        take(ward, tasks(change))
    assert judged(ward) == {}


def test_who_is_on_record_otherwise_does_not_say_it_anew(tasks, ward):
    ward.judge("ann", log_row(ward, 0), "b")
    with pytest.raises(Conflict, match="ann judged row"):
        take(ward, tasks(_set(0)))


def test_one_person_does_not_bring_in_what_two_are_to_say(tasks, ward):
    """Unless the project file trusts whoever imports to tell people apart."""

    def change(found):
        found[0]["annotations"] = [annotation("a"), annotation("a", {"email": "bob"})]

    path = tasks(change)
    ward.set("allow_as = true", "allow_as = false")
    with pytest.raises(NotAllowed, match="ann may not act as bob"):
        take(ward, path)
    assert judged(ward) == {}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"row,label\n1,a\n", "is no JSON"),
        (b"\xff\xfe\x00", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b'["\\uD83D"]', "is no JSON: .* surrogates not allowed"),
        (b'"task"', "is no array"),
        (b'{"id": 1}', "is no array|record 1 is without str 'id'"),
        (b'[{"id": "a", "data": {}, "annot', "is no JSON"),
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_what_is_no_export_is_refused(ward, tmp_path, form, data, said):
    ward.start()
    (tmp_path / "in.json").write_bytes(data)
    with pytest.raises(DataError, match=said):
        take(ward, tmp_path / "in.json", form)
    with pytest.raises(DataError, match="cannot be read"):
        take(ward, tmp_path / "none.json", form)


def test_what_argilla_itself_exports_is_read(ward, tmp_path):
    """Its own ids of users, an id of its server, responses to other questions."""
    row, *_ = ward.start()
    ann, bob = "2a7e0f1c-0001-4000-8000-000000000001", "2a7e0f1c-0001-4000-8000-000000000002"
    record = {
        "id": row,
        "fields": {"text": "as it was shown"},
        "metadata": {"guidelines": at_work(ward.project, "kinds").digest, "batch": 3},
        "suggestions": {"label": {"value": "b", "score": 0.9, "agent": "model"}},
        "responses": {
            "label": [{"value": "a", "user_id": ann}, {"value": None, "user_id": bob}],
            "comment": [{"value": "hm", "user_id": ann}],
        },
        "vectors": {},
        "_server_id": "2a7e0f1c-0001-4000-8000-000000000003",
    }
    path = tmp_path / "in.json"
    path.write_text(json.dumps([record]))
    with pytest.raises(NotAllowed, match="--who"):
        take(ward, path, "argilla")
    made = take(ward, path, "argilla", **{ann: "ann", bob: "bob"})
    assert (made.num_added, made.num_skipped) == (1, 1)
    assert judged(ward) == {row: {"ann": "a"}}

    for broken, said in (
        ({**record, "id": 5}, "record 1 is without str 'id'"),
        ({**record, "responses": "a"}, "record 1 is without dict 'responses'"),
        ({"id": row, "kind": "a"}, "metadata of record 1 is without str 'guidelines'"),
        ({**record, "responses": [{"user_id": ann}]}, "response 1 is without str 'status'"),
        (
            {
                **record,
                "responses": [{"user_id": ann, "status": "submitted", "values": {"label": "a"}}],
            },
            "response 1 is no object",
        ),
        ({**record, "responses": {"label": ["a"]}}, "record 1, response 1 is no object"),
        ({**record, "metadata": {}}, "metadata of record 1 is without str 'guidelines'"),
        (
            {**record, "responses": {"label": [{"value": ["a"], "user_id": ann}]}},
            "where one label is expected",
        ),
    ):
        path.write_text(json.dumps([broken]))
        with pytest.raises(DataError, match=said):
            take(ward, path, "argilla", **{ann: "ann", bob: "bob"})


def test_people_have_the_same_number_in_every_file():
    assert user_id("ann") == user_id("ann") != user_id("bob")


def test_the_interface_of_label_studio_is_xml_whatever_labels_are_called(ward):
    from xml.etree import ElementTree

    ward.cut([(f"{label} note {number}", label) for number in "12" for label in ('a"b', "c<d & e")])
    ward.start()
    found = ElementTree.fromstring(interface(ward.project, "kinds", form="label-studio"))
    choices = [each.get("value") for each in found.iter("Choice")]
    assert choices == ['a"b', "c<d & e", "unusable"]


def test_guidelines_that_were_edited_stop_both_ways(ward, tmp_path):
    ward.start()
    put(ward, tmp_path / "rows.json")
    ward.write_guidelines("# Other")
    with pytest.raises(Conflict, match="was edited"):
        put(ward, tmp_path / "more.json")
    start(ward.project, "kinds", ANN)
    path = tmp_path / "rows.json"
    found = json.loads(path.read_text())
    found[0]["annotations"] = [annotation("a")]
    path.write_text(json.dumps(found))
    with pytest.raises(Conflict, match="by other guidelines"):
        take(ward, path)
