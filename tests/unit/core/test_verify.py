"""A store that is wrong in one place is found out there; what a crash left is no damage."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.core import catalog, evidence
from tunesmith.core.canonical import canonical_json, fingerprint, parse
from tunesmith.core.db import Database
from tunesmith.core.errors import StoreError
from tunesmith.core.facts import facts, run_facts
from tunesmith.core.migrations import migrate
from tunesmith.core.step import Step
from tunesmith.core.verify import verify
from tunesmith.testing import EchoConfig


@pytest.fixture
def runner(make_runner):
    made, _ = make_runner()
    made.run(Step(name="one", kind="echo@1", config=EchoConfig(name="one", alias="best")))
    return made


def look(runner):
    return verify(runner.database, runner.blobs)


def write(runner, sql: str) -> None:
    """Past all rules of the schema, as somebody with another program could."""
    connection = runner.database.engine.raw_connection()
    connection.cursor().execute("PRAGMA foreign_keys=OFF")
    connection.cursor().execute(sql)
    connection.cursor().execute("PRAGMA foreign_keys=ON")
    connection.close()


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("INSERT INTO metrics VALUES (99, 'loss', 1, 0.5)", "metrics refers to run 99"),
        ("INSERT INTO run_blobs VALUES (99, 'x', 1, 'text')", "run_blobs refers to run 99"),
        ("UPDATE versions SET run_id = 99", "versions refers to run 99"),
        ("UPDATE aliases SET run_id = 99", "aliases refers to run 99"),
        ("DELETE FROM run_blobs", "the record of run 1 is none of its blobs"),
    ],
)
def test_references_that_lead_nowhere(runner, sql, problem):
    assert look(runner).problems == ()
    write(runner, sql)
    assert any(problem in each for each in look(runner).problems), look(runner).problems


def test_a_body_that_is_no_json_is_a_clear_error(runner):
    write(runner, "UPDATE evidence SET body = 'nonsense' WHERE seq = 1")
    with pytest.raises(StoreError, match=r"evidence 1 \(run.finished\) was edited"):
        look(runner)


def test_a_body_that_was_formatted_anew_counts_as_edited(runner):
    write(runner, "UPDATE evidence SET body = replace(body, ',', ', ') WHERE seq = 1")
    assert "evidence 1 (run.finished) was edited" in look(runner).problems[0]


def test_what_a_crash_left_is_said_and_is_no_damage(runner):
    values = {"key": "k", "step": "long", "kind": "echo@1", "identity": "{}", "actor": "me"}
    with runner.database.write() as connection:
        catalog.insert_run(connection, {**values, "owner": "elsewhere:1:1"}, lease_s=-1)
    report = look(runner)
    assert report.problems == ()
    assert report.leftovers == ("run 2 (long) is said to run, and its process has ended",)
    runner.sweep()
    assert (look(runner).problems, look(runner).leftovers) == ((), ())


def test_blobs_of_no_run_are_counted(runner):
    assert look(runner).num_orphans == 0
    orphan = runner.blobs.put(b"12345")
    report = look(runner)
    assert (report.num_orphans, report.orphan_bytes) == (1, 5)
    with runner.database.write() as connection:
        evidence.append(connection, "said", "me", {"blob": orphan})
    assert look(runner).num_orphans == 0


def test_the_head_is_the_last_entry(runner):
    with runner.database.read() as connection:
        last = list(evidence.entries(connection))[-1]
    assert look(runner).head == f"{last.seq}:{last.digest}"


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    folder = tmp_path_factory.mktemp("facts")
    opened = Database(f"sqlite:///{folder / 'tunesmith.db'}")
    migrate(opened, folder)
    yield opened
    opened.close()


@settings(max_examples=60)
@given(
    step=TEXT,
    actor=TEXT,
    error=st.none() | TEXT,
    config=st.dictionaries(TEXT, TEXT | st.floats(allow_nan=False, allow_infinity=False)),
    points=st.dictionaries(st.tuples(TEXT, st.integers(0, 99)), st.floats(-1e300, 1e300)),
)
def test_facts_and_entries_put_together_are_canonical(database, step, actor, error, config, points):
    identity = canonical_json(config).decode()
    values = {"key": "k", "step": step, "kind": "echo@1", "identity": identity, "owner": "o:1:1"}
    with database.write() as connection:
        run_id = catalog.insert_run(connection, {**values, "actor": actor}, lease_s=30)
        catalog.record_inputs(connection, run_id, {step: ["b" * 64, "a" * 64]})
        catalog.record_metrics(connection, run_id, points)
        catalog.close_run(connection, run_id, status="failed", error=error, usage='{"a":1}')
        found = run_facts(connection, run_id)
        assert canonical_json(parse(found.text.encode())).decode() == found.text
        assert found == list(facts(connection))[-1]
        assert parse(found.text.encode())["metrics"].keys() == {name for name, _ in points}
        digest = evidence.append(connection, step, actor, config)
        entry = list(evidence.entries(connection, step))[-1]
        signed = ("seq", "at", "actor", "what", "body", "previous")
        assert evidence.digest_of(entry) == digest
        assert fingerprint({name: getattr(entry, name) for name in signed}) == digest
        connection.execute(sa.text("DELETE FROM evidence"))
