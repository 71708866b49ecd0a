"""What two versions differ in beside their rows: licences, what they ask for, personal data."""

from __future__ import annotations

import random
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tunesmith.cli.main import app
from tunesmith.lineage import compare as comparing
from tunesmith.lineage import query
from tunesmith.lineage.compare import compare

IBAN = "DE89 3704 0044 0532 0130 00"


def row(number: int, said: str, **more: str) -> dict:
    return {"who": f"person-{number}", "note": f"Note {number}. {said}", "kind": "a", **more}


@pytest.fixture
def shifted(make_folder):
    """One address goes, one is edited and stays, an account and a telephone number come; another
    field has an address from the beginning; and the licence is another one."""
    folder = make_folder()
    settings = folder.path / "tunesmith.toml"
    text = settings.read_text()
    settings.write_text(text.replace("[source.notes]", '[source.notes]\nlicence = "MIT"'))
    rows = [row(n, "Nothing of note.", desk="desk@example.org") for n in range(8)]
    rows[1] |= {"note": "Write to ann@example.org, please."}
    rows[2] |= {"note": "Write to bob@example.org, please."}
    rows[3] |= {"note": "Write to cem@example.org, and to cem2@example.org."}
    folder.write(rows)
    folder.run()
    settings.write_text(text.replace("[source.notes]", '[source.notes]\nlicence = "CC-BY-SA-4.0"'))
    rows[1] |= {"note": "Write to her, please."}
    rows[2] |= {"note": "Write to bob@example.org, or pay into " + IBAN + "."}
    new = [row(20, f"My account is {IBAN}, or {IBAN}.", desk=""), row(21, "+49 30 901820", desk="")]
    folder.write([*rows, *new])
    folder.run()
    return folder


def test_rows_with_personal_data_are_counted_where_rows_changed(shifted):
    with shifted.opened() as project:
        found = compare(project, "notes@1", "notes@2")
    assert (found.num_edited, found.num_added, found.num_same) == (2, 2, 6)
    # Two edited rows as they were, two as they are, two new ones.
    assert (found.num_changed, found.num_looked_at) == (6, 6)
    by_kind = {each.of: (each.before, each.after) for each in found.pii}
    # The desk's address is in both edited rows, before and after.
    assert by_kind == {"email": (2, 2), "iban": (0, 2), "phone": (0, 1)}
    assert [each.of for each in found.pii] == ["iban", "phone", "email"]


def test_what_other_licences_ask_for_is_said(shifted):
    with shifted.opened() as project:
        found = compare(project, "notes@1", "notes@2")
        same = compare(project, "notes@2", "notes@2")
    licences = {each.of: (each.before, each.after) for each in found.licences}
    assert licences == {"MIT": (8, 0), "CC-BY-SA-4.0": (0, 10)}
    # By hand, from the two licences: MIT's notice goes; three things are asked for instead.
    assert found.obligations_new == ("attribution", "changes", "share-alike")
    assert found.obligations_gone == ("notice",)
    assert (same.obligations_new, same.obligations_gone, same.pii) == ((), (), ())
    assert (same.num_changed, same.num_looked_at) == (0, 0)


def test_people_read_both(shifted):
    def said(*words: str) -> str:
        done = CliRunner().invoke(app, ["data", "diff", *words, "-p", str(shifted.path)])
        assert done.exit_code == 0, done.output
        return " ".join(done.stdout.split())

    text = said("notes@1", "notes@2")
    assert "rows with before after change iban 0 2 +2 phone 0 1 +1 email 2 2 +0" in text
    assert "asked for no more: keep the copyright notice" in text
    assert "personal data in the 6 changed rows" in text
    assert IBAN not in text
    assert "licence, before and after: CC-BY-SA-4.0" in said("notes@2", "notes@2")


def test_where_much_changed_a_sample_is_looked_at_and_said_to_be_one(shifted, monkeypatch):
    monkeypatch.setattr(comparing, "MAX_LOOKED_AT", 1)
    with shifted.opened() as project:
        found, again = (compare(project, "notes@1", "notes@2") for _ in range(2))
    assert (found.num_changed, found.num_looked_at) == (6, 2)  # one of each version
    assert found.pii == again.pii
    done = CliRunner().invoke(app, ["data", "diff", "notes@1", "notes@2", "-p", str(shifted.path)])
    assert "2 of the 6 changed rows, picked by chance" in " ".join(done.stdout.split())


@pytest.mark.parametrize("seed", range(3))
def test_the_changed_texts_are_those_that_sets_tell(tmp_path, seed):
    draw = random.Random(seed)
    before = [f"{seed} {number} {'x' * draw.randrange(30)}" for number in range(200)]
    after = [text for text in before if draw.random() > 0.2] + [f"new {n}" for n in range(9)]
    draw.shuffle(after)
    for name, texts in (("before", before), ("after", after)):
        table = {"row_id": texts, "pointer": texts, "text": texts, "label": [""] * len(texts)}
        pq.write_table(pa.table({**table, "attributes": ["{}"] * len(texts)}), tmp_path / name)
    with query.opened() as connection:
        for name in ("before", "after"):
            query.load(connection, name, {"rows": tmp_path / name})
        query.compare(connection, in_file_order=False)
        sides = {"before": (before, after), "after": (after, before)}
        for name, (its, other) in sides.items():
            every, count = query.changed_texts(connection, name, 10**9)
            assert Counter(text for text, _ in every) == Counter(its) - Counter(other)
            assert count == len(every)
            some, of = query.changed_texts(connection, name, 40)
            assert of == count
            assert 0 < len(some) < count
            assert set(some) < set(every)
            # The last of them may reach over the limit, and no other.
            sizes = sorted(len(text.encode()) for text, _ in some)
            assert sum(sizes) - sizes[-1] <= 40
