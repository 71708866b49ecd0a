"""Rows that other programs tell: small taps, written here and run as they are, and real dlt."""

from __future__ import annotations

import dataclasses
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tunesmith.core import erasure
from tunesmith.core.errors import DataError, InputChanged, MissingExtra, NotFound, TunesmithError
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset, Erased
from tunesmith.records.landed import Landed
from tunesmith.stages.ingest import child
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.erased import keeper, stream_without
from tunesmith.stages.ingest.last_load import load_of
from tunesmith.stages.ingest.run import ingest
from tunesmith.stages.ingest.singer import problems
from tunesmith.stages.ingest.snapshot import everything
from tunesmith.stages.ingest.stream import goes_on, look, stream

FIELDS = {
    "id": {"type": "integer"},
    "body": {"type": ["null", "string"]},
    "at": {"type": "integer"},
}
SCHEMA = {"type": "object", "required": ["id"], "properties": FIELDS}
START = """\
import json, os, sys, time
def say(kind, **rest): print(json.dumps({"type": kind, **rest}), flush=True)
def schema(*key): say("SCHEMA", stream="users", schema=%r, key_properties=list(key or ["id"]))
def record(version=None, **fields):
    more = {"version": version} if version else {}
    say("RECORD", stream="users", record=fields, **more)
state = json.load(open(sys.argv[sys.argv.index("--state") + 1])) if "--state" in sys.argv else None
"""
# Tells of rows of table.json that were written since the bookmark, as an incremental tap does.
INCREMENTAL = """
since = state["bookmarks"]["users"]["at"] if state else 0
rows = json.load(open("table.json"))
schema()
for row in sorted(rows, key=lambda row: row["at"]):
    if row["at"] >= since: record(**row)
say("STATE", value={"bookmarks": {"users": {"at": max([row["at"] for row in rows] + [since])}}})
print("state was", json.dumps(state), file=sys.stderr)
"""


@pytest.fixture
def ctx(ctx: Context, tmp_path: Path) -> Context:
    (tmp_path / ".tunesmith").mkdir()
    return dataclasses.replace(ctx, project=tmp_path, cache=ctx.workdir / "cache")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "SECONDS_TO_END", 0.5)
    monkeypatch.setattr(child, "_TICK_S", 0.02)


@pytest.fixture
def tap(tmp_path: Path) -> Callable[..., SourceConfig]:
    """tap(code, **settings) -> a source of a tap of that code."""

    def make(code: str, **settings: Any) -> SourceConfig:
        path = tmp_path / "tap.py"
        path.write_text(f"#!{sys.executable} -IS\n{START % SCHEMA}{code}")
        path.chmod(0o755)
        given = {"name": "s", "origin": "singer:", "tap": ["./tap.py"], "stream": "users"}
        return SourceConfig(**given | settings)

    return make


def taken(
    ctx: Context, source: SourceConfig, last: tuple[Landed, str] | None = None
) -> tuple[Landed, str]:
    """What the program tells now, as a run takes it, and its digest."""
    seen = looked(ctx, source, last)
    (ctx.workdir / "rows").unlink(missing_ok=True)
    if source.erased:
        return stream_without(seen, ctx, erased=source.erased), seen.sha256
    return stream(seen.streaming(), ctx), seen.sha256


def looked(
    ctx: Context, source: SourceConfig, last: tuple[Landed, str] | None = None
) -> SourceConfig:
    assert ctx.project is not None
    assert ctx.cache is not None
    keeps = keeper(source, ctx.project, source.erased) if source.erased else everything
    base = load_of(*last, ctx.blobs) if last else None
    return look(source, ctx.project, ctx.cache, base, keeps, ctx.progress)[0]


def loaded(ctx: Context, source: SourceConfig, landed: Landed) -> tuple[DataAsset, list[Any]]:
    """The asset, and its rows' fields by pointer."""
    (ctx.workdir / "rows").unlink(missing_ok=True)
    (ctx.workdir / "quarantine").unlink(missing_ok=True)
    asset = ingest(source, ctx, package=landed)
    table = pq.read_table(ctx.blobs.path(asset.rows)).to_pylist()
    return asset, [(row["pointer"], json.loads(row["attributes"])) for row in table]


def rows(ctx: Context, source: SourceConfig, landed: Landed) -> list[Any]:
    return [fields for _, fields in loaded(ctx, source, landed)[1]]


def refused(ctx: Context, source: SourceConfig, error: type[TunesmithError] = DataError) -> str:
    """Why a run takes nothing, said by the step that was to take it."""
    seen = looked(ctx, source)
    assert seen.sha256 == ""
    with pytest.raises(error) as said:
        stream(seen.streaming(), ctx)
    assert said.value.remedy
    return str(said.value)


def memory(ctx: Context, landed: Landed) -> Any:
    return json.loads(ctx.blobs.get(landed.memory))


# What is told.


def test_records_become_rows_in_the_order_of_their_keys(ctx: Context, tap: Any) -> None:
    source = tap("""
schema()
record(id=10, body="Müller")
record(id=9)
say("RECORD", stream="teams", record={"id": 1})
record(id=9, body="again")
""")
    landed, _ = taken(ctx, source)
    assert loaded(ctx, source, landed)[1] == [
        ("users#id=9", {"body": "again", "id": 9}),
        ("users#id=10", {"body": "Müller", "id": 10}),
    ]


def test_a_key_of_several_fields_and_one_that_the_section_names(ctx: Context, tap: Any) -> None:
    code = (
        'schema("id", "at")\nrecord(id=1, at=2)\nrecord(id=1, at=1)\nrecord(id=1, at=2, body="b")'
    )
    landed, _ = taken(ctx, tap(code))
    assert [pointer for pointer, _ in loaded(ctx, tap(code), landed)[1]] == [
        "users#id=1,at=1", "users#id=1,at=2"]  # fmt: skip
    source = tap(code, key="id")
    assert rows(ctx, source, taken(ctx, source)[0]) == [{"at": 2, "body": "b", "id": 1}]


def test_a_record_that_breaks_its_schema_is_quarantined(ctx: Context, tap: Any) -> None:
    source = tap('schema()\nrecord(id=1, body=7)\nrecord(id=2)\nrecord(id="x")\nrecord(body="b")\n'
                 'record(id=3, big=1e999)\nrecord(body="b")')  # fmt: skip
    asset, found = loaded(ctx, source, taken(ctx, source)[0])
    assert [fields for _, fields in found] == [{"id": 2}]
    assert asset.num_in == asset.num_rows + asset.num_quarantined == 5
    table = pq.read_table(ctx.blobs.path(asset.quarantine)).to_pylist()
    said = {(row["pointer"].partition("?")[0], row["rule"], row["reason"]) for row in table}
    assert said == {
        ("users#id=1", "schema", "the field 'body' is integer, not null or string"),
        ("users#id=x", "schema", "the field 'id' is string, not integer"),
        ("users#", "schema", "the field 'id' is missing"),
        ("users#id=3", "schema", "bad-value: no JSON: Out of range float values are not JSON "
         "compliant"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "value", "said"),
    [
        ({}, {"a": object}, []),
        ({"type": "number"}, 1, []),
        ({"type": "integer"}, 1.0, []),
        ({"type": "integer"}, 1.5, ["the field 'f' is number, not integer"]),
        ({"type": "integer"}, True, ["the field 'f' is boolean, not integer"]),
        ({"type": ["string", "null"]}, None, []),
        ({"type": "array", "items": {"type": "string"}}, ["a", 1],
         ["the field 'f[1]' is integer, not string"]),
        ({"type": "object", "properties": {"a": {"type": "null"}}}, {"a": 1, "b": 2},
         ["the field 'f.a' is integer, not null"]),
        ({"type": "object", "required": ["a"]}, {}, ["the field 'f.a' is missing"]),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, "a", []),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, 1,
         ["the field 'f' is of none of the types that the schema allows"]),
    ],
)  # fmt: skip
def test_types_of_a_schema(schema: Any, value: Any, said: list[str]) -> None:
    assert list(problems(schema, value, "f")) == said


# What is told next time.


def test_any_sequence_of_changes_is_told_once_each(ctx: Context, tap: Any, tmp_path: Path) -> None:
    """Against the table itself: what a full read would be."""
    draw, table, last = random.Random(3), {}, None
    source = tap(INCREMENTAL)
    for now in range(1, 7):
        for _ in range(draw.randint(0, 3)):
            key = draw.randint(1, 5)
            table[key] = {"id": key, "body": f"{draw.random()}", "at": now}
        table.setdefault(1, {"id": 1, "body": "one", "at": now})
        (tmp_path / "table.json").write_text(json.dumps(list(table.values())))
        last = taken(ctx, source, last)
        assert rows(ctx, source, last[0]) == [table[key] for key in sorted(table)]
        assert memory(ctx, last[0])["state"] == {"bookmarks": {"users": {"at": max(
            row["at"] for row in table.values())}}}  # fmt: skip
    assert last is not None
    assert taken(ctx, source, last) == last, "what is unchanged is the same input"
    assert last[1] == looked(ctx, source).sha256, "and is what a full read would be"


def test_a_tap_that_is_killed_or_fails_changes_nothing_and_is_asked_the_same_again(
    ctx: Context, tap: Any, tmp_path: Path
) -> None:
    table = [{"id": 1, "body": "one", "at": 1}]
    (tmp_path / "table.json").write_text(json.dumps(table))
    last = taken(ctx, tap(INCREMENTAL), None)
    table += [{"id": 2, "body": "two", "at": 2}, {"id": 3, "body": "three", "at": 3}]
    (tmp_path / "table.json").write_text(json.dumps(table))
    for end in ("os.kill(os.getpid(), 9)", "sys.exit(3)", "raise ValueError(state)"):
        broken = tap(INCREMENTAL + end)
        assert looked(ctx, broken, last).sha256 == ""
    assert rows(ctx, tap(INCREMENTAL), taken(ctx, tap(INCREMENTAL), last)[0]) == table


def test_a_full_table_without_a_bookmark_replaces_what_there_was(
    ctx: Context, tap: Any, tmp_path: Path
) -> None:
    code = """
schema()
for n in json.load(open("table.json")): record(id=n)
say("STATE", value={"bookmarks": {"users": {}, "teams": {"at": 1}}})
assert state is None
"""
    (tmp_path / "table.json").write_text("[1, 2]")
    last = taken(ctx, tap(code))
    (tmp_path / "table.json").write_text("[2, 3]")
    landed, _ = taken(ctx, tap(code), last)
    assert rows(ctx, tap(code), landed) == [{"id": 2}, {"id": 3}]


@pytest.mark.parametrize(
    ("state", "is_more"),
    [(None, False), ({}, False), ({"bookmarks": {}}, False), ({"bookmarks": {"users": {}}}, False),
     ({"bookmarks": {"users": {"at": 1}}}, True), ({"users": "2026"}, True)],
)  # fmt: skip
def test_which_state_a_tap_goes_on_from(state: Any, is_more: bool) -> None:
    assert goes_on(state, "users") is is_more


def test_versions_that_are_activated_and_deletes(ctx: Context, tap: Any, tmp_path: Path) -> None:
    code = """
schema()
{}
say("STATE", value={{"bookmarks": {{"users": {{"version": 1}}}}}})
"""

    def then(what: str, last: Any = None) -> tuple[Any, Any]:
        source = tap(code.format(what))
        last = taken(ctx, source, last)
        return last, [row["id"] for row in rows(ctx, source, last[0])]

    activate = 'say("ACTIVATE_VERSION", stream="users", version={})'
    last, found = then("record(1, id=1); record(1, id=2); " + activate.format(1))
    assert found == [1, 2]
    last, found = then("record(2, id=2, body='new'); record(2, id=3)", last)
    assert found == [1, 2, 3], "until it is activated, the old ones are there"
    assert memory(ctx, last[0])["versions"] == {"id=2": 2, "id=3": 2}
    last, found = then(activate.format(2), last)
    assert found == [2, 3]
    last, found = then("record(2, id=3, _sdc_deleted_at='2026-11-26')", last)
    assert found == [2]
    assert memory(ctx, last[0])["versions"] == {}


def test_another_key_or_another_configuration_is_read_from_the_start(
    ctx: Context, tap: Any, tmp_path: Path
) -> None:
    (tmp_path / "tap.json").write_text('{"start": 1}')
    (tmp_path / "table.json").write_text('[{"id": 1, "body": "one", "at": 1}]')
    source = tap(INCREMENTAL, tap=["./tap.py", "--config", "tap.json"])
    last = taken(ctx, source)
    (tmp_path / "table.json").write_text('[{"id": 2, "body": "two", "at": 2}]')
    assert len(rows(ctx, source, taken(ctx, source, last)[0])) == 2, "it tells of no deletes"
    (tmp_path / "tap.json").write_text('{"start": 2}')
    assert len(rows(ctx, source, taken(ctx, source, last)[0])) == 1
    (tmp_path / "tap.json").write_text('{"start": 1}')
    source = tap(INCREMENTAL.replace("schema()", 'schema("at")'), tap=source.tap)
    assert len(rows(ctx, source, taken(ctx, source, last)[0])) == 1


def test_what_there_was_and_is_gone_is_told_again(ctx: Context, tap: Any, tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text('[{"id": 1, "body": "one", "at": 1}]')
    last = taken(ctx, tap(INCREMENTAL))
    ctx.blobs.remove(last[0].wheel.sha256)
    assert taken(ctx, tap(INCREMENTAL), last) == last


def test_a_pinned_source_is_told_whole(ctx: Context, tap: Any, tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text('[{"id": 1, "body": "one", "at": 1}]')
    digest = looked(ctx, tap(INCREMENTAL)).sha256
    pinned = tap(INCREMENTAL, sha256=digest)
    assert looked(ctx, pinned) is pinned
    bare = dataclasses.replace(ctx, cache=None)
    assert rows(ctx, pinned, stream(pinned.streaming(), bare)) != []
    (tmp_path / "table.json").write_text("[]")
    with pytest.raises(InputChanged, match=f"not {digest}"):
        stream(pinned.streaming(), bare)


# Who is forgotten stays away.


def test_the_forgotten_stay_away_and_make_no_other_version(
    ctx: Context, tap: Any, tmp_path: Path
) -> None:
    table = [{"id": 1, "body": "ann", "at": 1}, {"id": 2, "body": "bob", "at": 2},
             {"id": 3, "body": "ann", "at": 3, "bad": 1e999}]  # fmt: skip
    (tmp_path / "table.json").write_text(json.dumps(table))
    source = tap(INCREMENTAL, subject="body")
    last = taken(ctx, source)
    key = erasure.key_of(tmp_path / ".tunesmith", make=True)
    gone = Erased(digests=(erasure.keyed(key, "subject", "ann"),), key=erasure.key_name(key))
    without = source.without(gone)
    seen = source.model_copy(update={"sha256": last[1]}).without(gone)
    looked(ctx, source, last)
    (ctx.workdir / "rows").unlink()
    made = stream_without(seen, ctx, erased=gone)
    assert (made.num_erased, rows(ctx, without, made)) == (2, [table[1]])
    # The tap tells of the last one again: that is no change.
    assert looked(ctx, without, (made, last[1])).sha256 == last[1]
    assert ctx.cache is not None
    assert all(b"ann" not in path.read_bytes() for path in ctx.cache.iterdir())
    table.append({"id": 4, "body": "cyd", "at": 4})
    (tmp_path / "table.json").write_text(json.dumps(table))
    after, _ = taken(ctx, without, (made, last[1]))
    assert rows(ctx, without, after) == [table[1], table[3]]


# Programs that misbehave.


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("print('hello')", "is no JSON"),
        ("print('[1]')", "is no message of a Singer tap"),
        ('print(\'{"type": "RECORD"}\')', "is no message of a Singer tap"),
        ('print(\'{"type": "RECORD", "type": "RECORD"}\')', "'type' is there twice"),
        ("record(id=1)", "line 1 of the tap ./tap.py is a RECORD of 'users' before its SCHEMA"),
        ("schema(); say('RECORD', stream='users', record=[1])", "a RECORD without a record"),
        ("say('SCHEMA', stream='users', key_properties=['id'])", "a SCHEMA without a schema"),
        ("say('SCHEMA', stream='users', schema={'properties': {'uid': {}}})", "names no key"),
        ("say('SCHEMA', stream='teams', schema={})", "it tells of: teams"),
        ("schema(); sys.exit('no such host')", "ended with 1; it said:\nno such host"),
        ("schema(); os.kill(os.getpid(), 9)", "was ended by SIGKILL; it said nothing"),
        ("schema(); record(id=1); os.abort()", "was ended by SIGABRT"),
        ("os.close(1); os.close(2); time.sleep(9)", "closed its output and does not end"),
        ("print('x' * 300)", "prints a line of over 200 bytes"),
        ("schema(); time.sleep(9)", "said nothing for 0 s"),
    ],
)
def test_a_tap_that_misbehaves_is_an_error_and_nothing_is_taken(
    ctx: Context, tap: Any, code: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "300" in code:
        monkeypatch.setattr(child, "MAX_LINE_BYTES", 200)
    if "said nothing for" in said:
        monkeypatch.setattr(child, "SILENCE_S", 0.3)
    assert said in refused(ctx, tap(code))


def test_what_a_tap_started_is_ended_with_it(ctx: Context, tap: Any, tmp_path: Path) -> None:
    code = """
import subprocess
inner = subprocess.Popen(["/bin/sleep", "600"])
open("pid", "w").write(str(inner.pid))
schema(); record(id=1)
"""
    source = tap(code)
    assert len(rows(ctx, source, taken(ctx, source)[0])) == 1, "it ended well itself"
    number = int((tmp_path / "pid").read_text())
    until = time.monotonic() + 5
    while time.monotonic() < until and _runs(number):
        time.sleep(0.02)
    assert not _runs(number)


def _runs(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_when_we_are_stopped_the_tap_is_too(ctx: Context, tap: Any, tmp_path: Path) -> None:
    source = tap("open('pid', 'w').write(str(os.getpid())); schema(); time.sleep(600)")

    def stop(_done: float, _total: float, _note: str) -> None:
        if (tmp_path / "pid").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        looked(dataclasses.replace(ctx, progress=stop), source)
    assert not _runs(int((tmp_path / "pid").read_text()))


def test_a_tap_sees_nothing_but_what_is_named_and_secrets_are_not_repeated(
    ctx: Context, tap: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRM_TOKEN", "t0ken-of-the-crm")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nobody's business")
    (tmp_path / "tap.json").write_text('{"api_key": "k3y-of-the-crm", "start": "2026"}')
    names = '" ".join(sorted(os.environ))'
    code = f"""
schema(); record(id=1, body={names})
open(os.path.join(os.environ["HOME"], "left"), "w").write(os.environ["TMPDIR"])
assert sys.stdin.read() == ""
if "fail" in sys.argv: sys.exit(os.environ["CRM_TOKEN"] + " " + open("tap.json").read())
"""
    arguments = ["./tap.py", "--config", "tap.json"]
    source = tap(code, tap=arguments, environment=["CRM_TOKEN"])
    (row,) = rows(ctx, source, taken(ctx, source)[0])
    assert set(row["body"].split()) - {"LC_CTYPE"} == {
        "CRM_TOKEN", "HOME", "LANG", "PATH", "PYTHONUNBUFFERED", "TMPDIR"}  # fmt: skip
    said = refused(ctx, tap(code, tap=[*arguments, "fail"], environment=["CRM_TOKEN"]))
    assert '**** {"api_key": "****", "start": "2026"}' in said
    monkeypatch.delenv("CRM_TOKEN")
    assert "CRM_TOKEN is not set" in refused(ctx, source)


def test_programs_that_are_not_there_or_lead_away(ctx: Context, tap: Any, tmp_path: Path) -> None:
    source = tap("", tap=["tap-nobody-has"])
    assert "no program tap-nobody-has on PATH" in refused(ctx, source)
    (tmp_path / "tap").symlink_to("/bin/true")
    assert "leads out of the project's folder" in refused(ctx, tap("", tap=["./tap"]))
    (tmp_path / "text").write_text("no program")
    assert "cannot be started: Permission denied" in refused(ctx, tap("", tap=["./text"]))
    lacking = tap("", tap=["./tap.py", "--config=tap.json"])
    assert "there is no tap.json" in refused(ctx, lacking, NotFound)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tap": []}, "singer: needs tap"),
        ({"stream": ""}, "singer: needs stream"),
        ({"tap": ["../tap"]}, "name a program on PATH"),
        ({"tap": ["/bin/sh", "-c", "x"]}, "name a program on PATH"),
        ({"tap": ["tap; rm -rf x"]}, "name a program on PATH"),
        ({"tap": ["tap", "--config", "/etc/passwd"]}, "--config of tap must name a file inside"),
        ({"tap": ["tap", "--config=../x"]}, "--config of tap must name a file inside"),
        ({"tap": ["tap", "--catalog"]}, "--catalog of tap must name a file inside"),
        ({"tap": ["tap", "--state", "x"]}, "leave --state out"),
        ({"environment": ["A=b"]}, "should match pattern"),
        ({"format": "jsonl"}, "format 'stream' is that of singer: and dlt:"),
        ({"files": ["a"]}, "a program has no files"),
        ({"origin": "singer:users"}, "write pypi:"),
        ({"origin": "dlt:crm.py"}, "write dlt:PATH.py:RESOURCE"),
        ({"origin": "dlt:../crm.py:users"}, "must be plain"),
        ({"origin": "dlt:crm.py:users"}, "tap and stream are those of singer:"),
    ],
)
def test_what_the_section_says_is_checked(settings: dict[str, Any], said: str) -> None:
    given = {"origin": "singer:", "tap": ["tap-crm"], "stream": "users"}
    with pytest.raises(ValueError, match="error") as error:
        SourceConfig(**given | settings)
    assert said in str(error.value)


# dlt.

RESOURCES = """
import datetime, decimal, json, os
import dlt

def table():
    with open("table.json") as source:
        return json.load(source)

@dlt.resource(primary_key="id", write_disposition="merge",
              columns={"gone": {"hard_delete": True, "data_type": "bool"}})
def users(at=dlt.sources.incremental("at", initial_value=0)):
    print("no message")
    yield [row for row in table() if row["at"] >= at.last_value]

@dlt.resource(write_disposition="replace")
def everybody():
    yield from table()

@dlt.source
def crm():
    @dlt.resource(primary_key=["id", "at"])
    def visits():
        yield from table()
    @dlt.resource(primary_key="id")
    def typed():
        yield {"id": 1, "cost": decimal.Decimal("1.20"), "on": datetime.date(2026, 11, 26),
               "home": os.environ["HOME"], "more": sorted(os.environ)}
    return visits, typed

@dlt.resource(primary_key="id")
def broken():
    yield {"id": 1}
    raise ValueError("the server is away")

number = 7
"""


@pytest.fixture
def resource(tmp_path: Path) -> Callable[..., SourceConfig]:
    """resource(name, **settings) -> a source of a resource of RESOURCES."""
    (tmp_path / "pipes").mkdir()
    (tmp_path / "pipes" / "crm.py").write_text(RESOURCES)
    (tmp_path / "table.json").write_text('[{"id": 2, "at": 1}, {"id": 1, "at": 2}]')
    return lambda name, **settings: SourceConfig(
        name="s", origin=f"dlt:pipes/crm.py:{name}", **settings
    )


def test_a_resource_goes_on_from_its_own_state(ctx: Context, resource: Any, tmp_path: Path) -> None:
    source = resource("users")
    last = taken(ctx, source)
    found = loaded(ctx, source, last[0])[1]
    assert found == [("users#id=1", {"at": 2, "id": 1}), ("users#id=2", {"at": 1, "id": 2})]
    assert taken(ctx, source, last)[1] == last[1]
    (tmp_path / "table.json").write_text('[{"id": 3, "at": 3}, {"id": 1, "at": 3, "gone": true}]')
    last = taken(ctx, source, last)
    assert rows(ctx, source, last[0]) == [{"at": 1, "id": 2}, {"at": 3, "id": 3}]
    (tmp_path / "pipes" / "crm.py").write_text(RESOURCES + "\n# edited")
    assert rows(ctx, source, taken(ctx, source, last)[0]) == [{"at": 3, "id": 3}], "from the start"
    left = [path for path in tmp_path.rglob("*") if ".dlt" in path.parts]
    assert left == []


def test_resources_of_other_kinds(ctx: Context, resource: Any) -> None:
    source = resource("crm.visits")
    assert [at for at, _ in loaded(ctx, source, taken(ctx, source)[0])[1]] == [
        "crm-visits#id=1,at=2", "crm-visits#id=2,at=1"]  # fmt: skip
    source = resource("everybody", key="id")
    assert len(rows(ctx, source, taken(ctx, source)[0])) == 2
    source = resource("crm.typed")
    (row,) = rows(ctx, source, taken(ctx, source)[0])
    assert (row["cost"], row["on"]) == ("1.20", "2026-11-26")
    assert not Path(row["home"]).exists(), "a folder of its own"
    assert set(row["more"]) - {"LC_CTYPE"} == {
        "DLT_DATA_DIR", "DO_NOT_TRACK", "HOME", "LANG", "PATH", "PYTHONUNBUFFERED",
        "RUNTIME__DLTHUB_TELEMETRY", "TMPDIR"}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nobody", "there is no nobody in crm.py"),
        ("crm", "crm is a DltSource, no dlt resource; name one of its resources behind a dot"),
        ("crm.users", "crm has the resources visits, typed, no users"),
        ("number", "number is a int, no dlt resource"),
        ("broken", "the server is away"),
        ("everybody", 'names no key\n  -> name the field that tells its records apart: key = "id"'),
    ],
)
def test_resources_that_misbehave(ctx: Context, resource: Any, name: str, said: str) -> None:
    assert said in refused(ctx, resource(name))


def test_without_dlt_it_is_said_how_to_install_it(
    ctx: Context, resource: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A Python that has none: this one, without its packages."""
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -IS "$@"\n')
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    assert "pip install 'tunesmith[dlt]'" in refused(ctx, resource("users"), MissingExtra)
