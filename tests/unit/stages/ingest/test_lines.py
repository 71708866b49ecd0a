"""JSONL, CSV and plain text: each record is a row or refused for a reason, and none is lost."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tunesmith.core.errors import DataError
from tunesmith.core.ref import Blob
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset, Package
from tunesmith.stages.ingest import batch, delimited, entry, json_lines
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.run import ingest

MakePackage = Callable[[dict[str, bytes]], Package]


def source(**changes: Any) -> SourceConfig:
    return SourceConfig(
        **{"name": "rows", "origin": "pypi:data==1.0", "files": ["*"], "format": "jsonl", **changes}
    )


def table(ctx: Context, blob: Blob) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = pq.read_table(io.BytesIO(ctx.blobs.get(blob))).to_pylist()
    return rows


def taken(ctx: Context, asset: DataAsset) -> tuple[list[dict[str, str]], dict[str, str]]:
    """The rows, and the rule of each refused record by its pointer; the books must balance."""
    rows, refused = table(ctx, asset.rows), table(ctx, asset.quarantine)
    assert asset.num_in == len(rows) + len(refused) + asset.num_filtered
    assert (asset.num_rows, asset.num_quarantined) == (len(rows), len(refused))
    assert sum(asset.quarantined_by_rule.values()) == len(refused)
    for row in refused:
        assert row["reason"]
        assert len(row["value"]) <= 200
    pointers = [row["pointer"] for row in (*rows, *refused)]
    assert len(set(pointers)) == len(pointers)
    assert len({row["row_id"] for row in rows}) == len(rows)
    return rows, {row["pointer"]: row["rule"] for row in refused}


def test_a_line_of_json_is_a_row_and_a_bad_one_costs_itself_alone(
    ctx: Context, make_package: MakePackage
) -> None:
    lines = [
        b'\xef\xbb\xbf{"body": "One.", "kind": "a", "score": 0.5}',
        b"{not json}",
        b'["a list"]',
        b"",
        b"   ",
        b'{"body": "\xff\xfe", "kind": "a"}',
        b'{"body": "No kind."}',
        b'{"kind": "a"}',
        b'{"body": 7, "kind": "a"}',
        b'{"body": " \\n", "kind": "a"}',
        b'{"body": "twice", "body": "twice", "kind": "a"}',
        b'{"body": "\\ud800", "kind": "a"}',
        b'{"body": "infinite", "kind": "a", "n": 1e999}',
        b'{"body": "no number", "kind": "a", "n": NaN}',
        b"[" * 100_000,
        b'{"body": "Number.", "kind": 3}',
        b'{"body": "Truth.", "kind": true}',
        b'{"body": "No label.", "kind": {}}',
        b'{"body": "Last, without a line end.", "kind": " b  c "}',
    ]
    package = make_package({"rows.jsonl": b"\n".join(lines)})
    asset = ingest(source(text="body", label="kind"), ctx, package=package)
    rows, refused = taken(ctx, asset)
    assert [(row["pointer"], row["text"], row["label"]) for row in rows] == [
        ("rows.jsonl#1", "One.", "a"),
        ("rows.jsonl#16", "Number.", "3"),
        ("rows.jsonl#17", "Truth.", "true"),
        ("rows.jsonl#19", "Last, without a line end.", "b c"),
    ]
    assert json.loads(rows[0]["attributes"]) == {"body": "One.", "kind": "a", "score": 0.5}
    assert refused == {
        "rows.jsonl#2": "bad-json",
        "rows.jsonl#3": "not-an-object",
        "rows.jsonl#6": "not-text",
        "rows.jsonl#7": "no-label",
        "rows.jsonl#8": "no-text",
        "rows.jsonl#9": "no-text",
        "rows.jsonl#10": "empty-text",
        "rows.jsonl#11": "bad-json",
        "rows.jsonl#12": "not-text",
        "rows.jsonl#13": "bad-value",
        "rows.jsonl#14": "bad-json",
        "rows.jsonl#15": "bad-json",
        "rows.jsonl#18": "no-label",
    }
    assert asset.num_in == 17, "blank lines are no rows"


def test_a_record_without_a_text_is_its_fields(ctx: Context, make_package: MakePackage) -> None:
    package = make_package({"a.jsonl": b'{"b": [1, {"c": "\xc3\xa9"}], "a": null}\n'})
    (row,), _ = taken(ctx, ingest(source(), ctx, package=package))
    assert row["text"] == row["attributes"] == '{"a":null,"b":[1,{"c":"é"}]}'
    assert row["label"] == ""


def test_equal_lines_are_two_rows_and_an_added_line_changes_no_other(
    ctx: Context, make_package: MakePackage
) -> None:
    def ids(*lines: str) -> list[str]:
        package = make_package({"a.jsonl": "\n".join(lines).encode()})
        rows, _ = taken(ctx, ingest(source(), ctx, package=package))
        return [row["row_id"] for row in rows]

    one, two = '{"a": 1}', '{"a": 2}'
    before = ids(one, two, one)
    assert len(set(before)) == 3
    assert set(before) < set(ids('{"a": 0}', one, two, one, ""))


def test_where_and_title_read_json(ctx: Context, make_package: MakePackage) -> None:
    lines = b'{"use": true, "head": "T", "n": 1}\n{"use": false, "n": 1}\n{"n": 1}\n{"use":"yes"}\n'
    config = source(where={"use": "yes"}, title="head")
    asset = ingest(config, ctx, package=make_package({"a.jsonl": lines}))
    rows, _ = taken(ctx, asset)
    assert [row["pointer"] for row in rows] == ["a.jsonl#1", "a.jsonl#4"]
    assert asset.num_filtered == 2
    assert json.loads(rows[0]["attributes"])["title"] == "T"


def test_a_row_that_is_too_large_costs_itself_alone(
    ctx: Context, make_package: MakePackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (entry, json_lines, delimited):
        monkeypatch.setattr(module, "MAX_ROW_BYTES", 100)
    for name in ("BLOCK_BYTES", "BUFFER_BYTES"):  # which are far less than a row may have
        monkeypatch.setattr(batch, name, 50)
    lines = b'{"a": "%s"}\n{"a": "small"}\n' % (b"x" * 1000)
    rows, refused = taken(ctx, ingest(source(), ctx, package=make_package({"a.jsonl": lines})))
    assert ([row["pointer"] for row in rows], refused) == (
        ["a.jsonl#2"],
        {"a.jsonl#1": "too-large"},
    )
    lines = b"a,b\n%s,1\n1,2\n%s,%s\n3,4\n" % (b"x" * 1000, b"y" * 70, b"z" * 70)
    config = source(format="csv")
    rows, refused = taken(ctx, ingest(config, ctx, package=make_package({"a.csv": lines})))
    assert [json.loads(row["attributes"]) for row in rows] == [
        {"a": "1", "b": "2"},
        {"a": "3", "b": "4"},
    ]
    assert refused == {"a.csv#2": "bad-csv", "a.csv#4": "too-large"}


def test_csv_with_everything_in_it(ctx: Context, make_package: MakePackage) -> None:
    text = (
        b'\xef\xbb\xbfbody,kind\r\n"One, with a ""quote"".",a\r\n\r\n"Two\nlines.",b\r\n'
        b'\xff,a\r\ntoo,many,fields\r\nfew\r\n"closed"wrongly,a\r\nThree.,c\r\n'
        b'"never closed,a\r\nFour.,d\r\nno label,\r\n'
    )
    config = source(format="csv", text="body", label="kind")
    rows, refused = taken(ctx, ingest(config, ctx, package=make_package({"a.csv": text})))
    assert [(row["pointer"], row["text"], row["label"]) for row in rows] == [
        ("a.csv#2", 'One, with a "quote".', "a"),
        ("a.csv#4", "Two\nlines.", "b"),
        ("a.csv#10", "Three.", "c"),
        ("a.csv#12", "Four.", "d"),
    ]
    assert refused == {
        "a.csv#6": "not-text",
        "a.csv#7": "bad-csv",
        "a.csv#8": "bad-csv",
        "a.csv#9": "bad-csv",
        "a.csv#11": "bad-csv",
        "a.csv#13": "no-label",
    }


def test_another_delimiter(ctx: Context, make_package: MakePackage) -> None:
    config = source(format="csv", delimiter=";")
    (row,), _ = taken(ctx, ingest(config, ctx, package=make_package({"a.csv": b"a;b\n1,5;x\n"})))
    assert json.loads(row["attributes"]) == {"a": "1,5", "b": "x"}


@pytest.mark.parametrize("header", [b"a,a\n1,2\n", b"a,\n1,2\n", b"\xff,b\n1,2\n", b'"a\n1,2\n'])
def test_a_csv_file_without_names_is_refused_and_the_others_are_read(
    ctx: Context, make_package: MakePackage, header: bytes
) -> None:
    package = make_package({"bad.csv": header, "good.csv": b"a,b\n1,2\n"})
    rows, refused = taken(ctx, ingest(source(format="csv"), ctx, package=package))
    assert [row["pointer"] for row in rows] == ["good.csv#2"]
    assert list(refused) == ["bad.csv#1"]
    with pytest.raises(DataError, match=r"no usable row.*bad\.csv#1"):
        ingest(source(format="csv"), ctx, package=make_package({"bad.csv": header}))


def test_a_text_file_is_a_row(ctx: Context, make_package: MakePackage) -> None:
    members = {"a.txt": b"One.\r\n\r\nTwo.\n", "b.txt": b"\xff", "c.txt": b" \n", "d.txt": b"\0"}
    rows, refused = taken(ctx, ingest(source(format="text"), ctx, package=make_package(members)))
    assert [(r["pointer"], r["text"], r["attributes"]) for r in rows] == [
        ("a.txt", "One.\n\nTwo.", "{}")
    ]
    assert refused == {"b.txt": "not-text", "c.txt": "empty-text", "d.txt": "not-text"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "front-matter"}, "(?s)label.*front-matter' needs it"),
        ({"format": "text", "label": "a"}, "label is not read with format 'text'"),
        ({"format": "text", "where": {"a": 1}}, "where is not read"),
        ({"format": "front-matter", "label": "a", "text": "b"}, "text is not read"),
        ({"delimiter": ";"}, "delimiter is not read with format 'jsonl'"),
        ({"remove": ["x"]}, "remove is not read without text"),
        ({"format": "xml"}, "front-matter"),
        ({"files": []}, "(?s)files.*a package needs it"),
    ],
)
def test_settings_that_nothing_reads_are_refused(changes: dict[str, Any], words: str) -> None:
    """Defect 36: settings that nothing reads."""
    with pytest.raises(ValidationError, match=words):
        source(**changes)


@pytest.mark.parametrize("format", ["front-matter", "jsonl", "csv", "text"])
def test_settings_written_out_are_read_again(format: str) -> None:
    changes = {"label": "a"} if format == "front-matter" else {}
    config = source(format=format, **changes)
    assert SourceConfig.model_validate(config.model_dump()) == config


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner),
    max_leaves=6,
)  # fmt: skip
OBJECTS = st.dictionaries(st.text("abc é", max_size=3), VALUES, max_size=4)
RECORDS = st.lists(st.one_of(OBJECTS, VALUES, st.binary(max_size=20)), max_size=10)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(RECORDS)
def test_no_line_of_json_is_lost_and_what_is_read_is_what_was_written(
    ctx: Context, make_package: MakePackage, records: list[Any]
) -> None:
    lines = [b'{"sure": true}']
    for record in records:
        raw = record if isinstance(record, bytes) else json.dumps(record).encode()
        lines.append(raw.replace(b"\n", b" "))
    asset = ingest(source(), ctx, package=make_package({"a.jsonl": b"\n".join(lines)}))
    rows, refused = taken(ctx, asset)
    assert asset.num_in == sum(bool(line.strip()) for line in lines)
    read = {row["pointer"]: json.loads(row["attributes"]) for row in rows}
    for number, record in enumerate(records, start=2):
        if isinstance(record, dict):
            assert read[f"a.jsonl#{number}"] == record
        elif not isinstance(record, bytes):
            assert refused[f"a.jsonl#{number}"] == "not-an-object"


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8))
def test_csv_is_read_as_the_csv_module_wrote_it(
    ctx: Context, make_package: MakePackage, cells: list[tuple[str, str]]
) -> None:
    sink = io.StringIO(newline="")
    csv.writer(sink).writerows([("a", "b"), *cells])
    package = make_package({"a.csv": sink.getvalue().encode()})
    rows, refused = taken(ctx, ingest(source(format="csv"), ctx, package=package))
    assert not refused
    read = [json.loads(row["attributes"]) for row in rows]
    assert [(row["a"], row["b"]) for row in read] == cells


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.binary(max_size=12) | st.sampled_from([b'"', b'""', b'"x', b'a"b,"'])))
def test_no_bytes_break_the_reading_of_csv(
    ctx: Context, make_package: MakePackage, lines: list[bytes]
) -> None:
    data = b"a,b\nsure,row\n" + b"\n".join(lines)
    asset = ingest(source(format="csv"), ctx, package=make_package({"a.csv": data}))
    rows, _ = taken(ctx, asset)
    assert json.loads(rows[0]["attributes"]) == {"a": "sure", "b": "row"}
