"""What leaves: whole or not at all, over nothing that is somebody else's, and on record."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from tunesmith.cli.main import app
from tunesmith.core import catalog, erasure, evidence
from tunesmith.core.canonical import canonical_json, fingerprint
from tunesmith.core.copies import LEFT, Copy, put_on_record
from tunesmith.core.errors import Conflict, DataError, NotFound, UsageError
from tunesmith.core.publish import Publisher
from tunesmith.core.verify import verify
from tunesmith.lineage import query
from tunesmith.lineage.copies import copies
from tunesmith.lineage.forget import forget
from tunesmith.lineage.load_out import LOADED_OUT, load_out
from tunesmith.lineage.plan import plan
from tunesmith.lineage.trace import place
from tunesmith.lineage.versions import all_held, checkout, find, path_of
from tunesmith.records.data import Dataset, Split


@pytest.fixture
def project(folder):
    with folder.opened() as opened:
        yield opened


def cut(project, contents, format="labels"):
    """A dataset of notes whose last row is tested on; its rows are those of the data asset."""
    blobs = project.runner.blobs
    ids = pq.read_table(path_of(project, find(project, "notes"), "rows"))["row_id"].to_pylist()

    def split(begin, end):
        rows = [
            {"row_id": ids[n], "asset": "notes", "content": json.dumps(contents[n])}
            for n in range(begin, end)
        ]
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), sink)
        return Split(rows=blobs.put(sink.getvalue()), num_rows=len(rows), num_tokens=1)

    sink = io.BytesIO()
    pq.write_table(pa.table({name: pa.array([], pa.string()) for name in DROPPED}), sink)
    dataset = Dataset(
        name="triage",
        instruction="",
        labels=(),
        train=split(0, len(contents) - 1),
        test=split(len(contents) - 1, len(contents)),
        dropped=blobs.put(sink.getvalue()),
        num_in=len(contents),
        num_dropped=0,
        dropped_by_reason={},
        num_components=1,
        card=blobs.put(b"# Dataset triage\n"),
        licences=("Apache-2.0",),
        format=format,
    )
    output = blobs.put(canonical_json(dataset), "application/json")
    values = {"key": fingerprint(dataset), "step": "curate:triage", "kind": "curate@1",
              "identity": '{"config": {"sources": ["notes"]}, "inputs": {}}', "owner": "here",
              "actor": "me"}  # fmt: skip
    with project.runner.database.write() as connection:
        run_id = catalog.insert_run(connection, values, lease_s=60)
        catalog.record_blobs(
            connection, run_id, [output, dataset.train.rows, dataset.test.rows, dataset.card]
        )
        catalog.record_version(connection, "dataset", "triage", output.sha256, run_id)
        publisher = Publisher(database=project.runner.database, actor=project.runner.actor)
        assert publisher.end(
            connection, run_id, status="succeeded", output=output.sha256, usage=None
        )


DROPPED = ("row_id", "asset", "pointer", "reason", "detail")
LABELLED = [{"text": f'"=SUM({n})", she said', "label": "abc"[n % 3]} for n in range(6)]


def log(project):
    with project.runner.database.read() as connection:
        return [entry.body for entry in evidence.entries(connection, LOADED_OUT)]


def test_parquet_is_read_by_whoever_reads_parquet(project, folder, tmp_path):
    target = tmp_path / "out" / "notes"
    made = load_out(project, "notes", str(target), "parquet")
    assert sorted(made.files) == ["_card.md", "notes.parquet"]
    frame = pd.read_parquet(target / "notes.parquet")
    assert list(frame.columns) == ["row_id", "text", "label", "kind", "note", "who"]
    assert frame["text"][4] == frame["note"][4] == folder.said
    assert pq.read_table(target).num_rows == len(frame) == 12  # the folder, too
    with duckdb.connect() as connection:
        query = f"SELECT count(DISTINCT row_id) FROM '{target}/*.parquet'"
        assert connection.execute(query).fetchone() == (12,)
    (body,) = log(project)
    assert body == {
        "kind": "source", "version": "notes@1", "digest": find(project, "notes").version.digest,
        "format": "parquet", "where": str(target), "table": "", "num_rows": {"notes": 12},
        "files": fingerprint(made.files), "licences": ["not stated"], "is_new": True,
    }  # fmt: skip
    assert verify(project.runner.database, project.runner.blobs).problems == ()
    assert os.listdir(target.parent) == ["notes"], "nothing half-written is left"


def test_a_dataset_leaves_by_side_as_csv_and_json_lines_exactly(project, tmp_path):
    cut(project, LABELLED)
    for format in ("csv", "jsonl"):
        load_out(project, "triage@1", str(tmp_path / format), format)
    lines = (tmp_path / "jsonl" / "train.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [{"text": row["text"], "label": row["label"]} for row in rows] == LABELLED[:5]
    with (tmp_path / "csv" / "train.csv").open(newline="") as source:
        assert list(csv.DictReader(source)) == rows  # formulas stay as they are
    assert len((tmp_path / "csv" / "test.csv").read_text().splitlines()) == 2


def test_a_table_tells_what_is_empty_from_what_is_not_there(make_folder, tmp_path):
    made = make_folder()
    made.write([{"who": "w", "note": "n", "kind": "k", "more": more} for more in ("", "a", None)])
    made.run()
    with made.opened() as project:
        load_out(project, "notes", str(tmp_path / "csv"), "csv")
    head, *lines = (tmp_path / "csv" / "notes.csv").read_text().splitlines()
    place = next(csv.reader([head])).index("more")
    assert [line.split(",")[place] for line in lines] == ['""', '"a"', ""]


@pytest.mark.parametrize("format", ["labels", "chat"])
def test_hugging_face_loads_the_folder(project, tmp_path, monkeypatch, format):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    import datasets  # slow to import

    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    contents = LABELLED if format == "labels" else [{"messages": turns, "tools": []}] * 4
    cut(project, contents, format)
    target = tmp_path / "triage"
    load_out(project, "triage", str(target), "huggingface")
    datasets.disable_progress_bars()
    found = datasets.load_dataset(str(target), cache_dir=str(tmp_path / "cache"))
    assert {side: rows.num_rows for side, rows in found.items()} == {
        "train": len(contents) - 1,
        "test": 1,
    }
    assert set(found["train"].features) == {"row_id", "asset", *contents[0]} - {"tools"}
    if format == "labels":
        assert found["train"]["text"][:] == [each["text"] for each in contents[:-1]]
    else:
        assert found["train"][0]["messages"] == turns
    head, card = (target / "README.md").read_text().removeprefix("---\n").split("---\n", 1)
    assert yaml.safe_load(head)["license"] == "apache-2.0"
    assert card.strip().startswith("# Dataset triage\n\n## Frozen\n\ntriage@1, on 20")
    assert "- Merkle root of its files: `" in card


def test_hugging_face_loads_a_data_asset_whatever_it_is_called(make_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    import datasets  # slow to import

    made = make_folder()
    file = made.path / "tunesmith.toml"
    file.write_text(file.read_text().replace("[source.notes]", "[source.old-notes]"))
    made.write([{"who": w, "note": n, "kind": "k", "more": 1} for w, n in ("vm", "wn")])
    made.run()
    with made.opened() as project:
        load_out(project, "old-notes", str(tmp_path / "out"), "huggingface")
    datasets.disable_progress_bars()
    found = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert found.keys() == {"train"}
    assert sorted(found["train"]["text"][:]) == ["m", "n"]


# Tables of a database.


@pytest.fixture(params=["sqlite", "postgres"])
def database(request, tmp_path, monkeypatch):
    """(where, ask): an empty database, and what answers a query of it."""
    if request.param == "sqlite":
        path = tmp_path / "out.db"

        def ask(sql):
            with closing(sqlite3.connect(path)) as connection, connection:
                return connection.execute(sql).fetchall()

        return f"sqlite:{path}", ask
    import psycopg

    server = request.getfixturevalue("server")
    monkeypatch.setenv("PGUSER", "owner")
    monkeypatch.setenv("PGPASSWORD", "open")
    server.run("DROP DATABASE IF EXISTS load_out")
    server.run("CREATE DATABASE load_out")

    def ask(sql):
        where = f"host=127.0.0.1 port={server.port} dbname=load_out"
        with psycopg.connect(where, autocommit=True) as connection:
            found = connection.execute(sql)
            return found.fetchall() if found.description else []

    return f"postgresql://127.0.0.1:{server.port}/load_out", ask


def test_the_same_version_changes_nothing_and_a_new_one_replaces(folder, database):
    where, ask = database
    with folder.opened() as project:
        assert load_out(project, "notes", where, "sql").is_new
        assert not load_out(project, "notes", where, "sql").is_new
        assert len(log(project)) == 1
        ask("DELETE FROM notes WHERE kind = 'a'")
        assert load_out(project, "notes", where, "sql").is_new  # not what was loaded any more
    assert ask("SELECT count(*), count(DISTINCT row_id) FROM notes") == [(12, 12)]
    ask("CREATE INDEX by_kind ON notes (kind)")
    ask("CREATE TABLE theirs (x INT)")
    folder.write([{"who": "w", "note": f"n {n}", "kind": "k"} for n in range(3)])
    folder.run()
    with folder.opened() as project:
        assert load_out(project, "notes", where, "sql").version == "notes@2"
    assert ask("SELECT note, kind FROM notes ORDER BY note") == [(f"n {n}", "k") for n in range(3)]
    # Other columns, of other types.
    folder.write([{"who": "w", "note": "n", "kind": "k", "score": 2.5, "seen": True, "Ünits %": 1}])
    folder.run()
    with folder.opened() as project:
        load_out(project, "notes", where, "sql")
        load_out(project, "notes@1", where, "sql", table="old notes")
    assert ask('SELECT score, seen, "Ünits %" FROM notes') == [(2.5, True, 1)]
    assert ask('SELECT count(*) FROM "old notes"') == [(12,)]
    assert ask("SELECT name, num_rows FROM tunesmith_tables ORDER BY name") == [
        ("notes", 1),
        ("old notes", 12),
    ]


def test_a_table_that_is_not_ours_is_left_alone(folder, database):
    where, ask = database
    ask("CREATE TABLE notes (x INT)")
    ask("INSERT INTO notes VALUES (7)")
    with folder.opened() as project:
        with pytest.raises(Conflict, match=r"(?s)has no mark that says so.*--table"):
            load_out(project, "notes", where, "sql")
        assert log(project) == []
        load_out(project, "notes", where, "sql", table="ours")
        ask("ALTER TABLE ours ADD COLUMN opinion INT")
        folder.write([{"who": "w", "note": "n", "kind": "k"}])
    folder.run()
    with folder.opened() as project, pytest.raises(Conflict, match=r"other columns.*\(opinion\)"):
        load_out(project, "notes", where, "sql", table="ours")
    assert ask("SELECT x FROM notes") == [(7,)]
    assert ask("SELECT count(*) FROM ours") == [(12,)]


def test_both_sides_of_a_dataset_are_in_one_table(project, database):
    where, ask = database
    words = [{"tokens": ["a", "b"], "tags": ["X", "Y"]}] * 4
    cut(project, words, "tags")
    load_out(project, "triage", where, "sql")
    assert ask("SELECT split, count(*) FROM triage GROUP BY split ORDER BY split") == [
        ("test", 1),
        ("train", 3),
    ]
    assert json.loads(ask("SELECT tokens FROM triage")[0][0]) == ["a", "b"]


def test_what_cannot_be_written_changes_nothing(make_folder, database):
    """A value that the database refuses, in the middle of a table that is replaced."""
    where, ask = database
    made = make_folder()
    made.write([{"who": "w", "note": "n", "kind": "k"}])
    made.run()
    with made.opened() as project:
        load_out(project, "notes", where, "sql")
        before = log(project)
    if where.startswith("sqlite"):
        ask("CREATE TRIGGER no BEFORE INSERT ON notes WHEN NEW.note = 'n\\0' "
            "BEGIN SELECT RAISE(ABORT, 'no'); END")  # fmt: skip
        said, bad = "no", "n\\0"
    else:
        said, bad = "NUL", "n\0"
    made.write([{"who": "w", "note": note, "kind": "k"} for note in ("a", bad)])
    made.run()
    with made.opened() as project:
        with pytest.raises(DataError, match=f"could not be loaded into: .*{said}"):
            load_out(project, "notes", where, "sql")
        assert log(project) == before
    assert ask("SELECT note FROM notes") == [("n",)]


# What is refused.


def test_what_is_there_already_is_not_overwritten(project, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "notes.parquet").write_text("mine")
    with pytest.raises(Conflict, match="is not an empty folder"):
        load_out(project, "notes", str(theirs), "parquet")
    assert (theirs / "notes.parquet").read_text() == "mine"
    assert log(project) == []


@pytest.mark.parametrize(
    ("ref", "to", "format", "table", "error", "said"),
    [
        ("nothing", "out", "csv", "", NotFound, "no version of a source or dataset 'nothing'"),
        ("notes@", "out", "csv", "", UsageError, "is no version"),
        ("notes", "out", "csv", "t", UsageError, "only databases have tables"),
        ("notes", ".tunesmith/out", "csv", "", UsageError, "is in the store"),
        ("notes", "sqlite:.tunesmith/tunesmith.db", "sql", "", UsageError, "is in the store"),
        ("notes", "out", "sql", "", UsageError, "'out' is no database"),
        ("notes", "sqlite:out.db", "sql", "tunesmith_tables", UsageError, "name another table"),
        ("notes", "sqlite:out.db", "sql", "t" * 64, DataError, "longer than 63 bytes"),
        ("notes", "sqlite:notes.jsonl", "sql", "", DataError, "not a database"),
        ("notes", "postgresql://127.0.0.1:9/x", "sql", "", DataError, "could not be loaded into"),
        ("notes", "postgresql://db.invalid/x", "sql", "", DataError, "not among the hosts"),
    ],
)
def test_what_cannot_be_asked_for(project, monkeypatch, ref, to, format, table, error, said):
    monkeypatch.chdir(project.folder)
    with pytest.raises(error, match=said):
        load_out(project, ref, to, format, table)
    assert log(project) == []


def test_a_password_is_refused_and_not_repeated(folder, tmp_path):
    where = "postgresql://me:hunter2@localhost/crm"
    words = ["data", "load-out", "notes", "--to", where, "--as", "sql", "-p", str(folder.path)]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, UsageError)
    assert "PGPASSWORD" in str(done.exception)
    assert "hunter2" not in str(done.exception) + done.output


def test_fields_that_are_one_column_are_refused(make_folder, tmp_path):
    made = make_folder()
    made.write([{"who": "w", "note": "n", "kind": "k", "Kind": "K"}])
    made.run()
    with made.opened() as project, pytest.raises(DataError, match="'Kind' and 'kind' are one"):
        load_out(project, "notes", f"sqlite:{tmp_path / 'out.db'}", "sql")


def test_the_commands_of_the_how_to_do_what_it_says(folder, tmp_path, monkeypatch):
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "load-data-out.md").read_text()
    words = re.findall(r"^    tunesmith (data load-out .* --to (?!postgresql).*)$", page, re.M)
    assert len(words) == 4
    with folder.opened() as project:
        cut(project, LABELLED)
    monkeypatch.chdir(folder.path)
    for line in words:
        done = CliRunner().invoke(app, [*shlex.split(line), "--json"])
        assert done.exit_code == 0, (line, done.exception)
        made = json.loads(done.stdout)
        assert sum(made["num_rows"].values()) in (6, 12)
        assert Path(made["where"].removeprefix("sqlite:")).exists()
    text = CliRunner().invoke(app, shlex.split(words[-1])).stdout
    assert text.endswith("already; nothing was written\n")


# Who is forgotten.


def test_copies_are_in_the_plan_and_on_the_certificate(folder, tmp_path):
    with folder.opened() as project:
        cut(project, LABELLED)
        load_out(project, "notes", str(tmp_path / "notes"), "csv")
        load_out(project, "triage", f"sqlite:{tmp_path / 'out.db'}", "sql")
        load_out(project, "letters", str(tmp_path / "letters"), "jsonl")
        _, planned = plan(project, [folder.who])
    others = [each.partition(", in ")[0] for each in planned.copies]
    assert others == ["source notes@1", "dataset triage@1", "source letters@1"]
    assert f"{tmp_path / 'out.db'}, table triage since 20" in planned.copies[1]
    with folder.opened() as project:
        _, other = plan(project, ["person-0001"])
        assert [each.partition(",")[0] for each in other.copies] == others
        certificate = forget(project, [folder.who])
    assert certificate.copies == planned.copies
    with folder.opened() as project:
        # Whose rows stood in the same versions: nobody can look any more.
        _, later = plan(project, ["person-0001"])
        assert all("it may have them" in each for each in later.copies)
        assert len(later.copies) == 3
        with pytest.raises(NotFound, match="notes@1 was erased"):
            load_out(project, "notes@1", str(tmp_path / "again"), "csv")
        load_out(project, "notes", str(tmp_path / "again"), "csv")
    assert folder.said not in (tmp_path / "again" / "notes.csv").read_text().replace('""', '"')


def test_whatever_left_is_listed_with_who_let_it_and_what_is_left_to_do(folder, tmp_path):
    with folder.opened() as project:
        cut(project, LABELLED)
        checkout(project, "notes", tmp_path / "checked")
        runner = project.runner

        def put(**said):
            put_on_record(runner.database, "ann", Copy(digests=("0" * 64,), **said))

        put(form="GGUF", of=("model desk@1",), has="weights", where="/mnt/model")
        put(form="OpenLineage events", of=(), has="records", where="https://lineage.example")
        for what, body in (
            ("review.exported", {"review": "calls", "made": {"path": "/mnt/rows.json"}}),
            ("quarantine.exported", {"source": "notes", "file": "bad.csv", "records": []}),
            ("quarantine.exported", {"source": "elsewhere", "file": "other.csv", "records": []}),
        ):
            with runner.database.write() as connection:
                evidence.append(connection, what, "bob", body)
        _, planned = plan(project, [folder.who])
        every = all_held(project)
        with query.opened() as connection:
            placed = place(project, connection, every, planned.row_ids)
        learnt = copies(project, every, placed, {"notes"}, {"desk@1"})
        certificate = forget(project, [folder.who])
    assert [each.partition(" since ")[0] for each in planned.copies] == [
        f"source notes@1 as tables that were checked out, in {tmp_path / 'checked'}",
        "OpenLineage events, in https://lineage.example",
        "rows of review calls, in /mnt/rows.json",
        "quarantined records of source notes, in bad.csv",
    ]
    assert "Z, by ann: it has names, figures and digests" in planned.copies[1]
    assert planned.copies[0].endswith(": delete their rows there")
    assert certificate.copies == planned.copies
    (model,) = set(learnt) - set(planned.copies)  # no model here was tuned on them
    assert model.startswith("model desk@1 as GGUF, in /mnt/model since ")
    assert model.endswith("put a version in its place that was tuned without them")


def test_while_somebody_is_forgotten_no_weights_leave_and_records_may(folder):
    with folder.opened() as project:
        with project.runner.database.write() as connection:
            body = {"id": "x", "subject": "", "rows": {}, "key": "k", "blobs": []}
            evidence.append(connection, erasure.BEGUN, "me", body)
        left = {"form": "GGUF", "of": ("model desk@1",), "digests": ("0" * 64,), "where": "/x"}
        with pytest.raises(Conflict, match="being forgotten, and model desk@1 may have"):
            put_on_record(project.runner.database, "ann", Copy(has="weights", **left))
        put_on_record(project.runner.database, "ann", Copy(has="records", **left))
        put_on_record(project.runner.database, "ann", Copy(has="records", **left))
        with project.runner.database.read() as connection:
            assert len(list(evidence.entries(connection, LEFT))) == 1


def test_what_is_erased_while_it_is_written_does_not_leave(folder, tmp_path, monkeypatch):
    from tunesmith.lineage import load_out as module

    target, written = tmp_path / "notes", threading.Event()
    write = module.write_files

    def and_then_erased(*arguments, **more):
        write(*arguments, **more)
        with folder.opened() as other:
            forget(other, [folder.who])
        written.set()

    monkeypatch.setattr(module, "write_files", and_then_erased)
    with folder.opened() as project, pytest.raises(Conflict, match="somebody is being forgotten"):
        load_out(project, "notes", str(target), "csv")
    assert written.is_set()
    assert not target.exists()
    assert list(tmp_path.glob(".notes*")) == []
