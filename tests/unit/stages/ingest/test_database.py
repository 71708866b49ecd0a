"""Rows of databases: a file of SQLite, and a real server of Postgres on this machine's address."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import decimal
import io
import json
import socket
import sqlite3
import uuid
import zipfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.core.errors import ConfigError, DataError, InputChanged, MissingExtra, NotFound
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset, Package
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.database import as_it_answers_now, query
from tunesmith.stages.ingest.run import ingest
from tunesmith.stages.ingest.snapshot import line_of, read_snapshot

QUERY = "SELECT id, body, team FROM mail"


@pytest.fixture
def ctx(ctx: Context, tmp_path: Path) -> Context:
    return dataclasses.replace(ctx, project=tmp_path)


@pytest.fixture
def change(tmp_path: Path):
    """change(SQL) carries it out on the project's crm.db."""

    def run(sql: str) -> None:
        with contextlib.closing(sqlite3.connect(tmp_path / "crm.db")) as connection, connection:
            connection.executescript(sql)

    run(
        "CREATE TABLE mail (id INTEGER PRIMARY KEY, body TEXT, team TEXT, at TEXT);"
        "INSERT INTO mail VALUES (2, 'Zwei Müller', 'b', NULL), (10, 'ten', 'a', NULL),"
        "(1, 'one', 'a', '2026-01-02');"
    )
    return run


def source(query: str = QUERY, **settings: Any) -> SourceConfig:
    given = {"name": "mail", "origin": "sqlite:crm.db", "query": query, "key": "id"}
    return SourceConfig(**given | settings)


def taken(ctx: Context, config: SourceConfig) -> Package:
    """What the database answers now, as a run takes it."""
    assert ctx.project is not None
    (ctx.workdir / "rows").unlink(missing_ok=True)
    return query(as_it_answers_now(config, ctx.project, ()).querying(), ctx)


def lines(ctx: Context, package: Package) -> list[dict[str, Any]]:
    with zipfile.ZipFile(ctx.blobs.path(package.wheel)) as archive:
        (name,) = archive.namelist()
        return [json.loads(line) for line in archive.read(name).splitlines()]


def read(ctx: Context, asset: DataAsset, what: str = "rows") -> list[dict[str, Any]]:
    blob = getattr(asset, what)
    return pq.read_table(io.BytesIO(ctx.blobs.get(blob))).to_pylist()


def test_rows_are_pointed_at_by_their_key(ctx: Context, change: Any) -> None:
    config = source(text="body", label="team")
    asset = ingest(config, ctx, package=taken(ctx, config))
    found = [(row["pointer"], row["text"], row["label"]) for row in read(ctx, asset)]
    assert found == [
        ("crm.db#id=1", "one", "a"),
        ("crm.db#id=2", "Zwei Müller", "b"),
        ("crm.db#id=10", "ten", "a"),
    ]
    assert asset.origin == "sqlite:crm.db"


def test_equal_rows_are_equal_bytes_in_whatever_order_they_were_written(
    ctx: Context, change: Any
) -> None:
    first = taken(ctx, source())
    change("DELETE FROM mail; INSERT INTO mail VALUES (1, 'one', 'a', '2026-01-02');")
    change("INSERT INTO mail VALUES (10, 'ten', 'a', NULL), (2, 'Zwei Müller', 'b', NULL);")
    assert taken(ctx, source()) == first
    change("UPDATE mail SET body = 'TEN' WHERE id = 10")
    assert taken(ctx, source()) != first


def test_what_was_written_in_the_meantime_belongs_to_no_run(ctx: Context, change: Any) -> None:
    assert ctx.project is not None
    seen = as_it_answers_now(source(), ctx.project, ())
    change("INSERT INTO mail (id, body) VALUES (11, 'late')")
    with pytest.raises(InputChanged, match=r"not [0-9a-f]{64}"):
        query(seen.querying(), ctx)
    pinned = source(sha256="0" * 64)
    assert as_it_answers_now(pinned, ctx.project, ()) == pinned


def test_a_number_that_json_has_not_costs_its_row_alone(ctx: Context, change: Any) -> None:
    config = source("SELECT id, CASE id WHEN 2 THEN 9e999 END AS price FROM mail")
    asset = ingest(config, ctx, package=taken(ctx, config))
    assert asset.num_rows == 2
    (refused,) = read(ctx, asset, "quarantine")
    assert (refused["pointer"], refused["rule"]) == ("crm.db#2", "bad-json")


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("SELECT id, topic FROM mail", "no such column: topic"),
        ("SELEC id FROM mail", "syntax error"),
        ("SELECT body FROM mail", "no such column: id|gives no column 'id'"),
        ("SELECT 1 AS id FROM mail", "is 1 twice"),
        ("SELECT NULL AS id FROM mail", "has no value"),
        ("SELECT id, CAST('x' AS BLOB) AS photo FROM mail", "'photo' holds values of the type byt"),
        ("SELECT id FROM mail) AS m; DROP TABLE mail; --", "one statement|syntax error"),
        ("DELETE FROM mail RETURNING id", "syntax error"),
    ],
)
def test_a_query_that_cannot_be_used_is_said(
    ctx: Context, change: Any, tmp_path: Path, statement: str, said: str
) -> None:
    before = (tmp_path / "crm.db").read_bytes()
    with pytest.raises(DataError, match=said) as error:
        query(source(statement).querying(), ctx)
    assert error.value.remedy
    assert as_it_answers_now(source(statement), tmp_path, ()).sha256 == ""
    assert (tmp_path / "crm.db").read_bytes() == before
    assert not [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]


def test_text_that_is_none_and_a_file_that_is_no_database(
    ctx: Context, change: Any, tmp_path: Path
) -> None:
    change("UPDATE mail SET body = CAST(x'ff' AS TEXT) WHERE id = 2")
    with pytest.raises(DataError, match="decode to UTF-8"):
        query(source().querying(), ctx)
    (tmp_path / "crm.db").write_text("no database at all " * 100)
    with pytest.raises(DataError, match="not a database"):
        query(source().querying(), ctx)
    (tmp_path / "crm.db").unlink()
    with pytest.raises(NotFound, match=r"no crm\.db"):
        query(source().querying(), ctx)
    assert not (tmp_path / "crm.db").exists(), "to look must not make one"
    (tmp_path / "crm.db").symlink_to("/etc/passwd")
    with pytest.raises(DataError, match="leads out"):
        query(source().querying(), ctx)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"origin": "postgresql://ann:secret@db/crm"}, "PGPASSWORD"),
        ({"origin": "postgresql://db"}, "HOST:PORT/DATABASE"),
        ({"origin": "postgresql:///crm?host=/tmp"}, "HOST:PORT/DATABASE"),
        ({"origin": "sqlite:../crm.db"}, "inside the project"),
        ({"origin": "sqlite:/crm.db"}, "inside the project"),
        ({"origin": "sqlite:.tunesmith/tunesmith.db"}, "the store is no source"),
        ({"origin": "mysql://db/crm"}, "postgresql://HOST"),
        ({"query": " "}, "needs query and key"),
        ({"key": ""}, "needs query and key"),
        ({"files": ("a",)}, "has no files"),
        ({"format": "jsonl"}, "format 'sql'|query is not read"),
        ({"origin": "file:crm.db", "format": "jsonl"}, "query is not read"),
        ({"origin": "file:crm.db", "format": "sql"}, "format 'sql'"),
        ({"sheet": "1"}, "sheet is not read"),
    ],
)
def test_sections_that_are_wrong(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        source(**settings)


def test_a_labelled_dataset_needs_to_know_the_fields() -> None:
    with pytest.raises(ConfigError, match="label and text"):
        source().require_labelled("dataset.x.sources")


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"))
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)  # fmt: skip


@given(row=st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1), plain, min_size=1))
def test_a_row_is_read_as_it_was_written(row: dict[str, Any]) -> None:
    (entry,) = read_snapshot("db", io.BytesIO(line_of(row)), "no such key")
    assert entry.fields == row  # type: ignore[union-attr]


def test_what_json_has_no_type_for_is_a_string_or_refused() -> None:
    row = {
        "at": datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC),
        "day": datetime.date(2026, 1, 2),
        "price": decimal.Decimal("1E+2"),
        "id": uuid.UUID(int=1),
        "tags": ("a", datetime.time(3, 4)),
    }
    assert json.loads(line_of(row)) == {
        "at": "2026-01-02T03:04:00+00:00",
        "day": "2026-01-02",
        "price": "100",
        "id": "00000000-0000-0000-0000-000000000001",
        "tags": ["a", "03:04:00"],
    }
    with pytest.raises(TypeError, match="'photo' holds values of the type bytes"):
        line_of({"photo": b"\x00"})


# Postgres.


@pytest.fixture
def reader(server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("PGUSER", "reader")
    monkeypatch.setenv("PGPASSWORD", "read")
    server.run("DROP TABLE IF EXISTS mail")
    server.run(
        "CREATE TABLE mail (id uuid PRIMARY KEY, body text, price numeric(9, 2), at timestamptz,"
        " tags text[], more jsonb, photo bytea);"
        "INSERT INTO mail SELECT md5(n::text)::uuid, 'Müller ' || n || ' 100 % :sure', n / 4.0,"
        " timestamptz '2026-01-02 03:04:05+00', ARRAY['a', 'b'], '{\"n\": [1, null]}', '\\x00'"
        " FROM generate_series(1, 5000) AS n"
    )
    return server


def test_a_table_of_postgres(ctx: Context, reader: Any) -> None:
    config = source(
        "SELECT id, body, price, at, tags, more FROM mail WHERE body LIKE '%100 \\% :sure';",
        origin=reader.origin,
    )
    asset = ingest(config, ctx, package=taken(ctx, config))
    assert asset.num_rows == 5000
    rows = read(ctx, asset)
    assert rows == sorted(rows, key=lambda row: row["pointer"])
    (row,) = [row for row in rows if json.loads(row["attributes"])["body"].startswith("Müller 3 ")]
    fields = json.loads(row["attributes"])
    assert row["pointer"] == f"crm#id={fields['id']}"
    assert fields["price"] == "0.75"
    assert fields["tags"] == ["a", "b"]
    assert fields["more"] == {"n": [1, None]}
    at = datetime.datetime.fromisoformat(fields["at"])
    assert at == datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


def test_what_is_taken_does_not_depend_on_where_the_clock_hangs(
    ctx: Context, reader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = source("SELECT id, at FROM mail", origin=reader.origin)
    first = taken(ctx, config)
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    assert taken(ctx, config) == first
    assert lines(ctx, first)[0]["at"] == "2026-01-02T03:04:05+00:00"


@pytest.mark.parametrize("has_contract", [True, False])
def test_columns_that_change_follow_the_contract(
    ctx: Context, change: Any, has_contract: bool
) -> None:
    """A new, a missing and a retyped column; with `max_quarantined` each stops the run. Without a
    contract rows are what they are."""
    change("UPDATE mail SET at = '2026-01-02'")
    contract = {"contract": {"id": {"type": "integer"}, "at": {"type": "date"}, "body": {}}}
    cases = {
        "SELECT id, body, at FROM mail": None,
        "SELECT id, body, at, team FROM mail": "unknown-field",
        "SELECT id, body FROM mail": "missing-field",
        "SELECT id, body, 1767312000 AS at FROM mail": "wrong-type",
    }
    for statement, rule in cases.items():
        rules = contract | {"other_fields": "quarantine"} if has_contract else {}
        config = source(statement, **rules)
        package = taken(ctx, config)
        if rule is None or not has_contract:
            assert ingest(config, ctx, package=package).num_rows == 3
            continue
        with pytest.raises(DataError, match=f"{rule} 3|no usable row.*3 quarantined"):
            ingest(config, ctx, package=package)
        # As the columns of some rows alone, of a query that joins two tables.
        mixed = f"SELECT * FROM ({statement}) WHERE id = 1"
        good = "SELECT id + 100 AS id, body, at FROM mail"
        if rule == "wrong-type":
            config = source(f"{mixed} UNION ALL {good}", **rules)
            asset = ingest(config, ctx, package=taken(ctx, config))
            assert (asset.num_rows, dict(asset.quarantined_by_rule)) == (3, {rule: 1})
            config = source(f"{mixed} UNION ALL {good}", **rules, max_quarantined=0)
            with pytest.raises(DataError, match="1 of 4 records would be quarantined"):
                ingest(config, ctx, package=taken(ctx, config))
    # The other policies: keep what is new, do without what is missing.
    kept = {"contract": {"id": {"type": "integer"}, "at": {"type": "date", "required": False}}}
    for statement in list(cases)[:3]:
        config = source(statement, **kept)
        assert ingest(config, ctx, package=taken(ctx, config)).num_rows == 3


def test_postgres_is_only_read(ctx: Context, reader: Any, monkeypatch: Any) -> None:
    """Even by somebody who may write, and with a function that does."""
    monkeypatch.setenv("PGUSER", "owner")
    monkeypatch.setenv("PGPASSWORD", "open")
    reader.run(
        "CREATE OR REPLACE FUNCTION empties() RETURNS int LANGUAGE sql"
        " AS 'DELETE FROM mail RETURNING 1'"
    )
    with pytest.raises(DataError, match="read-only transaction"):
        query(source("SELECT empties() AS id", origin=reader.origin).querying(), ctx)
    assert len(lines(ctx, taken(ctx, source("SELECT id FROM mail", origin=reader.origin)))) == 5000


def test_what_postgres_refuses_is_said_without_the_password(
    ctx: Context, reader: Any, monkeypatch: Any
) -> None:
    with pytest.raises(DataError, match="'photo' holds values of the type bytes"):
        query(source("SELECT * FROM mail", origin=reader.origin).querying(), ctx)
    with pytest.raises(DataError, match='relation "post" does not exist'):
        query(source("SELECT * FROM post", origin=reader.origin).querying(), ctx)
    monkeypatch.setenv("PGPASSWORD", "a wrong secret")
    with pytest.raises(DataError, match="authentication failed") as error:
        query(source(origin=reader.origin).querying(), ctx)
    assert "wrong secret" not in str(error.value) + error.value.remedy
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(DataError, match="refused"):
        query(source(origin=f"postgresql://127.0.0.1:{port}/crm").querying(), ctx)


def test_without_the_driver(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(MissingExtra, match="psycopg") as error:
        query(source(origin="postgresql://127.0.0.1:1/crm").querying(), ctx)
    assert "tunesmith[postgres]" in error.value.remedy
