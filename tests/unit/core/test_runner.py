"""Steps are run once, used again while their key holds, and published whole or not at all."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from tunesmith import testing
from tunesmith.core import catalog, evidence, tables
from tunesmith.core.canonical import parse
from tunesmith.core.db import text_of
from tunesmith.core.errors import (
    Conflict,
    DataError,
    InputChanged,
    NotFound,
    OverBudget,
    StoreLocked,
)
from tunesmith.core.lease import is_lapsed
from tunesmith.core.meter import Forecast
from tunesmith.core.owner import owner
from tunesmith.core.ref import Blob
from tunesmith.core.step import Step
from tunesmith.core.verify import verify
from tunesmith.testing import EchoConfig


def step(text: str = "a", name: str = "echo", inputs: dict | None = None, **settings) -> Step:
    return Step(
        name=name,
        kind="echo@1",
        config=EchoConfig(text=text, **settings),
        inputs=inputs or {},
    )


def said(runner, a_step: Step) -> bytes:
    return runner.blobs.get(runner.run(a_step).text)


def what(events) -> list[str]:
    return [event.what for event in events if event.what not in ("progress", "forecast")]


def test_a_second_run_is_a_hit(make_runner):
    runner, events = make_runner()
    assert said(runner, step()) == b"a"
    again, events_again = make_runner()
    assert said(again, step()) == b"a"
    assert what(events) == ["started", "finished"]
    assert what(events_again) == ["hit"]


def test_inputs_flow_and_only_what_depends_runs_again(make_runner):
    def graph(first: str) -> Step:
        one, two = step(first, "one"), step("2", "two")
        return step("3", "sum", {"one": one, "two": two})

    runner, _ = make_runner()
    assert said(runner, graph("1")) == b"123"
    again, events = make_runner()
    assert said(again, graph("x")) == b"x23"
    assert [(e.step, e.what) for e in events if e.what in ("hit", "started")] == [
        ("one", "started"),
        ("two", "hit"),
        ("sum", "started"),
    ]


def test_a_record_can_be_given(make_runner):
    runner, _ = make_runner()
    made = runner.run(step("1"))
    assert said(runner, step("2", inputs={"one": made})) == b"12"


def test_a_plan_does_not_read_again_what_its_runner_has_verified(make_runner, monkeypatch):
    runner, _ = make_runner()
    first = step("a", "one")
    runner.run(first)
    checked = []
    check = runner.blobs.check
    monkeypatch.setattr(
        runner.blobs, "check", lambda blob, **how: (checked.append(blob), check(blob, **how))
    )
    (planned,) = runner.plan([step("b", "two", {"first": first})])
    assert planned.reason == "it never ran"
    assert checked == []
    other, _ = make_runner()
    monkeypatch.setattr(
        other.blobs, "check", lambda blob, **how: (checked.append(blob), check(blob, **how))
    )
    other.plan([step("b", "two", {"first": first})])
    assert checked  # nobody has verified it for this one


def test_plan_names_the_field_that_changed(make_runner):
    runner, _ = make_runner()
    one = step("1", "one")
    runner.run(step("2", "two", {"one": one}))
    planned = {p.step.name: p for p in make_runner()[0].plan([one, step("2", "two", {"one": one})])}
    assert [p.hit is not None for p in planned.values()] == [True, True]
    assert [p.key for p in planned.values()] == [p.hit.key for p in planned.values()]
    changed = step("9", "one")
    plan = make_runner()[0].plan([changed, step("2", "two", {"one": changed}), step("3", "new")])
    assert [p.reason for p in plan] == [
        "config.text: 1 -> 9",
        "one runs before it",
        "it never ran",
    ]
    assert [bool(p.key) for p in plan] == [True, False, True]


def test_a_failure_is_recorded_and_leaves_no_result(make_runner):
    runner, _ = make_runner()
    with pytest.raises(DataError, match="broken"):
        runner.run(step(error="broken"))
    with runner.database.read() as connection:
        (run,) = catalog.all_runs(connection)
        log = list(evidence.entries(connection))
    assert (run.status, run.output) == ("failed", None)
    assert run.usage is not None
    assert [entry.what for entry in log] == ["run.failed"]


def test_everything_of_a_run_is_there(make_runner):
    runner, _ = make_runner()
    runner.run(step("abc", alias="best"))
    with runner.database.read() as connection:
        (run,) = catalog.all_runs(connection)
        (version,) = catalog.all_versions(connection)
        alias = catalog.current_alias(connection, "echo", "echo", "best")
        curves = catalog.run_metrics(connection, run.id)
        log = list(evidence.entries(connection))
    assert run.output is not None
    assert parse(runner.blobs.get(run.output))["name"] == "echo"
    assert (version.number, version.digest) == (1, run.output.sha256)
    assert alias is not None
    assert alias.digest == run.output.sha256
    assert curves == {"length": [(0, 3.0)]}
    assert [entry.what for entry in log] == ["run.finished", "alias.moved"]
    assert run.forecast is not None
    assert run.forecast["basis"] == "as configured"


def test_versions_count_up_and_the_same_record_keeps_its_number(make_runner):
    runner, _ = make_runner()
    for text in ("a", "b", "a"):
        make_runner()[0].run(step(text))
    with runner.database.read() as connection:
        assert [v.number for v in catalog.all_versions(connection)] == [1, 2]


@pytest.mark.parametrize("damage", ["flip", "delete"])
def test_a_damaged_result_is_a_miss_and_is_made_again(make_runner, damage):
    runner, _ = make_runner()
    blob = runner.run(step("abc")).text
    path = runner.blobs.path(blob)
    path.chmod(0o644)
    if damage == "flip":
        path.write_bytes(b"abd")
    else:
        path.unlink()
    again, events = make_runner()
    assert said(again, step("abc")) == b"abc"
    assert what(events) == ["damaged", "started", "finished"]


def test_an_input_edited_while_the_step_runs_is_refused(make_runner):
    runner, _ = make_runner()
    blob = runner.run(step("1", "one")).text

    def edit(event):
        if event.step == "two" and event.note == "said":
            path = runner.blobs.path(blob)
            path.chmod(0o644)
            path.write_bytes(b"9")

    runner.on_event = edit
    with pytest.raises(InputChanged, match="changed while it ran"):
        runner.run(step("2", "two", {"one": step("1", "one")}))
    with runner.database.read() as connection:
        assert catalog.last_success(connection, step="two") is None
    again, _ = make_runner()
    assert said(again, step("2", "two", {"one": step("1", "one")})) == b"12"


def test_two_at_the_same_key_run_it_once(make_runner):
    first, _ = make_runner()
    second, events = make_runner()
    started = threading.Event()
    first.on_event = lambda event: started.set() if event.what == "progress" else None
    thread = threading.Thread(target=first.run, args=[step(seconds=2.0)])
    thread.start()
    assert started.wait(60)
    second.run(step(seconds=2.0))
    thread.join()
    assert set(what(events)) == {"waiting", "hit"}


def test_a_zombie_may_not_publish(make_runner):
    """A paused process whose lease lapsed wakes up after another has taken over."""
    zombie, _ = make_runner(lease_s=3600.0)

    def take_over(event):
        if event.note != "said":
            return
        with zombie.database.write() as connection:
            connection.execute(tables.runs.update().values(lease_until="2000-01-01T00:00:00.000Z"))
        thread = threading.Thread(target=make_runner()[0].run, args=[step("z")])
        thread.start()
        thread.join()

    zombie.on_event = take_over
    with pytest.raises(Conflict, match="taken over"):
        zombie.run(step("z"))
    with zombie.database.read() as connection:
        assert [run.status for run in catalog.all_runs(connection)] == ["interrupted", "succeeded"]


def test_the_heartbeat_keeps_a_long_step(make_runner):
    runner, _ = make_runner(lease_s=0.3)
    leases = []

    def look(event):
        with runner.database.read() as connection:
            leases.append(connection.execute(sa.select(tables.runs.c.lease_until)).scalar())

    runner.on_event = look
    runner.run(step(seconds=1.0))
    assert leases[-1] > leases[1]


def test_who_lives_and_could_not_say_so_is_not_lost(make_runner):
    """While another holds the write lock, no heartbeat can be written."""
    runner, _ = make_runner(lease_s=0.2)
    other, _ = make_runner()
    swept = []

    def look(event):
        if event.note != "said":
            return
        with other.database.write():
            time.sleep(0.6)  # the lease is over meanwhile
        swept.extend(other.sweep())

    runner.on_event = look
    assert runner.run(step("long", seconds=0.1)) is not None
    assert swept == []
    now = datetime.now(UTC)
    late = [text_of(now - timedelta(seconds=ago)) for ago in (60, 3600)]
    assert [is_lapsed(owner(), each, text_of(now)) for each in late] == [False, True]
    assert is_lapsed("elsewhere:1:1", late[0], text_of(now))


def test_sweep_marks_the_lost(make_runner):
    runner, _ = make_runner()
    values = {"key": "0" * 64, "step": "s", "kind": "echo@1", "identity": "{}", "actor": "t"}
    name = f"{os.uname().nodename}:{os.getpid()}:0-1"  # an earlier process of this number
    with runner.database.write() as connection:
        catalog.insert_run(connection, values | {"owner": name}, lease_s=3600)
    assert [run.step for run in runner.sweep()] == ["s"]
    assert runner.sweep() == []


def test_evidence_chain_shows_every_kind_of_tampering(make_runner):
    runner, _ = make_runner()
    for text in "abcd":
        runner.run(step(text))

    def broken(tamper: str) -> list[str]:
        with runner.database.write() as connection:
            transaction = connection.begin_nested()
            connection.execute(sa.text(tamper))
            found = list(evidence.broken_links(evidence.entries(connection)))
            transaction.rollback()
        return found

    assert broken("SELECT 1") == []
    assert broken("UPDATE evidence SET actor = 'someone' WHERE seq = 2")
    assert broken("UPDATE evidence SET body = '{}' WHERE seq = 3")
    assert broken("DELETE FROM evidence WHERE seq = 2")
    assert broken("UPDATE evidence SET at = '2020-01-01T00:00:00.000Z' WHERE seq = 1")


@pytest.mark.parametrize(
    "tamper",
    [
        "UPDATE runs SET usage = '{}' WHERE id = 2",
        "UPDATE runs SET identity = '{}' WHERE id = 1",
        "UPDATE runs SET status = 'failed', output = NULL WHERE id = 2",
        "UPDATE aliases SET reason = 'another'",
        "DELETE FROM aliases",
        "UPDATE versions SET number = 9 WHERE number = 2",
        "UPDATE metrics SET value = 0 WHERE run_id = 2",
        "UPDATE run_inputs SET digest = 'x'",
        "DELETE FROM evidence WHERE seq = 1",
    ],
)
def test_verify_finds_what_was_edited(make_runner, tamper):
    runner, _ = make_runner()
    runner.run(step("b", inputs={"one": step("a", "one")}, alias="best"))
    assert verify(runner.database, runner.blobs).problems == ()
    with runner.database.write() as connection:
        connection.execute(sa.text(tamper))
    assert verify(runner.database, runner.blobs).problems != ()


def test_verify_finds_a_run_that_was_removed(make_runner):
    runner, _ = make_runner()
    runner.run(step("a"))
    with runner.database.write() as connection:
        for table in ("metrics", "run_blobs", "run_inputs", "versions"):
            connection.execute(sa.text(f"DELETE FROM {table}"))
        connection.execute(sa.text("DELETE FROM runs"))
    assert any("gone" in problem for problem in verify(runner.database, runner.blobs).problems)


def test_settings_that_go_back_take_the_alias_back(make_runner):
    for text in ("a", "b", "a"):
        runner, events = make_runner()
        runner.run(step(text, alias="best"))
        assert runner.blobs.get(runner.current(step(text, alias="best")).text) == text.encode()
    assert what(events) == ["hit", "moved"]
    with runner.database.read() as connection:
        alias = catalog.current_alias(connection, "echo", "echo", "best")
        moves = catalog.alias_moves(connection)
    assert alias is not None
    assert alias.digest == moves[0]["digest"] != moves[1]["digest"]
    assert len(moves) == 3


def test_current_says_what_has_not_run(make_runner):
    runner, _ = make_runner()
    runner.run(step("a"))
    with pytest.raises(NotFound, match=r"config.text: a -> b"):
        runner.current(step("b"))


def test_a_store_that_is_locked_at_the_end_costs_no_usage(make_runner, monkeypatch):
    runner, _ = make_runner()
    failing = iter([StoreLocked("locked")])
    publish = catalog.record_blobs

    def locked_once(*arguments):
        for error in failing:
            raise error
        publish(*arguments)

    monkeypatch.setattr(catalog, "record_blobs", locked_once)
    with pytest.raises(StoreLocked):
        runner.run(step("a"))
    with runner.database.read() as connection:
        (run,) = catalog.all_runs(connection)
    assert (run.status, run.usage is not None) == ("failed", True)
    assert said(runner, step("a")) == b"a"


def test_a_curve_that_is_not_finite_is_refused(make_runner, monkeypatch):
    runner, _ = make_runner()
    monkeypatch.setattr(testing, "echo", lambda _config, ctx: ctx.metric("loss", float("nan"), 3))
    with pytest.raises(DataError, match="loss is nan at step 3"):
        runner.run(step("a"))


def test_what_would_use_too_much_is_not_begun(make_runner):
    runner, events = make_runner(limit=lambda used: "much" * isinstance(used, Forecast))
    with pytest.raises(OverBudget, match="run 1 is not begun: it would cost much") as refused:
        runner.run(step("a"))
    assert "stop_after" in refused.value.remedy
    assert [event.what for event in events] == ["started", "forecast"]  # it is shown, then refused
    with runner.database.read() as connection:
        (run,) = catalog.all_runs(connection)
    assert (run.status, run.forecast is not None) == ("interrupted", True)
    assert said(make_runner()[0], step("a")) == b"a"


def test_what_has_used_too_much_is_stopped(make_runner):
    runner, _ = make_runner(limit=lambda used: "much" * (not isinstance(used, Forecast)))
    with pytest.raises(OverBudget, match="run 1 is stopped: what it used so far costs much"):
        runner.run(step("a"))
    with runner.database.read() as connection:
        assert [run.status for run in catalog.all_runs(connection)] == ["interrupted"]


def test_missing_blob_of_a_record_is_named(make_runner):
    runner, _ = make_runner()
    with pytest.raises(Exception, match="is not in"):
        runner.blobs.get(Blob(sha256="0" * 64, num_bytes=1))
