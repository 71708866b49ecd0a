"""Whoever is in quarantine is forgotten, too: by whose record it is, not by what is shown of it."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tunesmith.cli.main import app
from tunesmith.core import erasure
from tunesmith.core.errors import NotFound
from tunesmith.core.verify import verify
from tunesmith.lineage import person
from tunesmith.lineage.forget import forget
from tunesmith.lineage.load_out import load_out
from tunesmith.lineage.plan import plan
from tunesmith.lineage.repair import quarantine
from tunesmith.lineage.versions import checkout, find, log, path_of

SHORT = "p-7"
SECRET = "What patient seven said in confidence."
LONG = f"{SECRET} {'So it went on. ' * 20}"


def note(number: int, **changes) -> dict:
    who = f"person-{number:04}"
    return {"who": who, "note": f"Note {number} of {who}.", "kind": "abc"[number % 3], **changes}


def bad(**changes) -> dict:
    """A record without its label, whose subject stands after more than a quarantine shows."""
    return {"note": LONG, "kind": "", **changes, "who": changes.get("who", SHORT)}


def left(folder, *words: str) -> list[str]:
    said = folder.everything()
    return [word for word in words if word.encode() in said]


def test_a_record_in_quarantine_goes_with_the_rows_of_a_short_name(folder):
    folder.write([note(1, who=SHORT, note="A usable note of theirs."), note(2), bad(), note(4)])
    folder.run()
    assert left(folder, SECRET)
    with folder.opened() as project:
        found, planned = plan(project, [SHORT])
        assert (len(found.row_ids), planned.num_quarantined) == (2, 1)
        made = forget(project, [SHORT])
        assert (made.found, made.num_quarantined) == ((), 1)
        newest = log(project, "notes")[-1]
        assert (newest.num_in, newest.num_rows, newest.num_erased) == (5, 2, 2)
        assert verify(project.runner.database, project.runner.blobs).problems == ()
        assert forget(project, [SHORT]) == made
    assert not left(folder, SECRET, "A usable note of theirs", f'"{SHORT}"')


@pytest.mark.parametrize("named_by", ["subject", "id"])
def test_somebody_who_is_only_in_quarantine_is_forgotten(folder, tmp_path, named_by):
    folder.write([note(1), bad(), note(2), bad()])  # written down twice
    folder.run()
    with folder.opened() as project:
        ids = [r.record for rule in quarantine(project, "notes").rules for r in rule.examples]
        wanted = SHORT if named_by == "subject" else next(each for each in ids if each)
        rows = path_of(project, find(project, "notes"), "rows").read_bytes()
        _, planned = plan(project, [wanted])
        (holder,) = planned.holders
        assert (holder.name, holder.how) == ("notes@2", "2 rows in quarantine")
        assert planned.files == ("notes.jsonl",)
        made = forget(project, [wanted])
        assert (made.found, made.num_quarantined, len(made.rows)) == ((), 2, 2)
        assert made.rewritten == ("source notes@3",)
        newest = log(project, "notes")[-1]
        assert (newest.num_rows, newest.num_quarantined, newest.num_erased) == (2, 1, 2)
        before = log(project, "notes@2")[0]
        assert (before.is_erased, before.gone) == (False, "quarantined rows")
        load_out(project, "notes@2", str(tmp_path / "notes"), "csv")  # its rows may leave
        with pytest.raises(NotFound, match="table 'quarantine' of notes@2 was erased"):
            checkout(project, "notes@2", tmp_path / "checked")
        # The rows of others are in no other table than before.
        assert path_of(project, find(project, "notes"), "rows").read_bytes() == rows
    assert not left(folder, SECRET)
    folder.write([note(1), note(2), bad()])
    folder.run()  # the file still has it
    assert not left(folder, SECRET)


def test_a_record_of_an_older_version_goes_though_the_file_has_it_no_more(folder):
    folder.write([note(1), bad()])
    folder.run()
    folder.write([note(1), note(2)])
    folder.run()
    with folder.opened() as project:
        assert forget(project, [SHORT]).num_quarantined == 1
    assert not left(folder, SECRET)


def test_other_peoples_quarantine_stays(folder):
    folder.write([note(1, who=SHORT), note(2), bad(who="p-8")])
    folder.run()
    with folder.opened() as project:
        assert plan(project, [SHORT])[1].num_quarantined == 0
        forget(project, [SHORT])
        assert quarantine(project, "notes").num_bad == 2
        with pytest.raises(NotFound, match=r"source\.notes\.subject = who"):
            forget(project, ["p-9"])
    assert left(folder, SECRET)


@pytest.mark.parametrize("is_shown", [True, False])
def test_what_an_older_erasure_left_in_quarantine_goes(folder, monkeypatch, is_shown):
    """It took what the version was read from: whose the record is can be shown, or not."""
    said = {"who": SHORT, **bad()} if is_shown else bad()
    folder.write([note(1, who=SHORT, note="A usable note of theirs."), note(2), said])
    folder.run()
    with monkeypatch.context() as older, folder.opened() as project:
        older.setattr(person, "refusals", lambda *_: [])
        forget(project, [SHORT])
    assert left(folder, SECRET)
    with folder.opened() as project:
        if not is_shown:  # nobody can tell any more: it goes with the next who is forgotten
            folder.write([note(1, who="p-8"), note(2)])
            folder.run()
        forget(project, [SHORT if is_shown else "person-0002"])
    assert not left(folder, SECRET)


def test_the_command_says_how_many_were_in_quarantine(folder):
    folder.write([note(1), bad(who="patient-only-here")])
    folder.run()

    def said(*words: str) -> str:
        done = CliRunner().invoke(app, ["data", *words, "-p", str(folder.path)])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert "1 rows (1 in quarantine), found by" in said("forget", "patient-only-here", "--plan")
    assert "erased 1 rows (1 in quarantine): 2 blobs" in said("forget", "patient-only-here")
    assert json.loads(said("forget", "patient-only-here", "--json"))["num_quarantined"] == 1
    (line,) = (each for each in said("log", "notes").splitlines() if "source notes@2" in each)
    assert line.endswith("(erased: its quarantined rows are gone)")


# One form of a name.

COMPOSED = "Zoë Ångström"
APART = unicodedata.normalize("NFD", COMPOSED)


@pytest.mark.parametrize(("written", "typed"), [(APART, COMPOSED), (COMPOSED, APART)])
def test_a_name_is_the_same_in_either_form(folder, written, typed):
    folder.write([note(1, who=written, note=f"Words of {written} alone."), note(2)])
    folder.run()
    with folder.opened() as project:
        made = forget(project, [typed])
        assert (made.found, len(made.rows)) == ((), 1)
    folder.write([note(1, who=typed, note="Later words."), note(2), note(3, who=written)])
    folder.run()
    with folder.opened() as project:
        assert (log(project, "notes")[-1].num_rows, log(project, "notes")[-1].num_erased) == (1, 2)
        assert forget(project, [written]) == made
    forms = (json.dumps(each, ensure_ascii=False)[1:-1] for each in (APART, COMPOSED))
    assert not left(folder, *forms, *(json.dumps(each)[1:-1] for each in (APART, COMPOSED)))


@given(st.text(min_size=1), st.sampled_from(["NFC", "NFD"]), st.sampled_from(["NFC", "NFD"]))
def test_digests_of_either_form_tell_either_form(name, erased, now):
    digest = erasure.keyed(b"key", "subject", unicodedata.normalize(erased, name))
    assert erasure.is_told(b"key", unicodedata.normalize(now, name), {digest})
    assert not erasure.is_told(b"key", f"{name}x", {digest})
    assert not erasure.is_told(b"key", "", {erasure.keyed(b"key", "subject", "")})
