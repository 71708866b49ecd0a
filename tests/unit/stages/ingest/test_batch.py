"""Records that are read many at once: the same as one by one, whatever stands between them."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import astuple
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tunesmith.asset.contract import Contract
from tunesmith.asset.row import Row
from tunesmith.stages.ingest import batch
from tunesmith.stages.ingest.batch import BLOCK_BYTES, Blocks
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.container import File
from tunesmith.stages.ingest.entry import Quarantined
from tunesmith.stages.ingest.json_text import write, write_columns
from tunesmith.stages.ingest.repairs import Mending
from tunesmith.stages.ingest.rows import Rows
from tunesmith.stages.ingest.run import contract_of, rows_of

CONTRACTS: tuple[dict[str, Any], ...] = (
    {},
    {"a": {"type": "integer", "minimum": 2, "required": False}, "b": {"values": ["x", "7", ""]}},
    {"a": {"type": "number", "unique": True, "required": False}, "b": {"required": False}},
    {"a": {"type": "number", "maximum": 7}, "b": {"type": "integer", "required": False}},
    {"a": {"type": "number", "values": [1, 7], "required": False}, "b": {"required": False}},
    {"a": {"type": "boolean", "required": False}, "b": {"pattern": "[xy].*", "required": False}},
    {"a": {"type": "date", "required": False}, "b": {"type": "list", "required": False}},
)
VALUES = st.sampled_from(
    [
        "", "1", "7", "2.5", "true", "x", " x ", "yes, no", 'a "b"', "Ü", "2026-01-02", "1e400",
        "x\n", "x\r\ny", "a\\b", "100%s", "a\tb", "a\x01b", "a\x7fb", "\u2028", '"', '""', '"q',
        "1\x002", " 3 ", "-5", ".5", "1e3", "1,5", "+7.", "0x1", "1_0", "٣",
    ]
)  # fmt: skip
PLAIN = st.sampled_from(
    [
        None, "", "x", "7", " y", 'a "b"', "Ü", "x\n", "2026-01-02", True, False, 0, 1, 7, -3, 2.5,
        1.0, -0.0, 1e-7, 1e300, 2**64, 2**53, [1], {"c": 1}, [],
    ]
)  # fmt: skip


def quoted(value: str) -> str:
    is_plain = not set(value) & set('",\r\n')
    return value if is_plain else '"{}"'.format(value.replace('"', '""'))


CSV_LINES = st.one_of(
    st.tuples(VALUES, VALUES).map(lambda pair: ",".join(map(quoted, pair)).encode() + b"\n"),
    st.tuples(VALUES, VALUES).map(lambda pair: ",".join(map(quoted, pair)).encode() + b"\r\n"),
    st.sampled_from([b"\n", b"1\n", b"1,2,3\n", b'"1,2\n', b"\xff,1\n", b'1,"x\n', b"a\rb,1\n"]),
)


def json_line(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii="a" in fields).encode() + b"\n"


JSON_LINES = st.one_of(
    st.dictionaries(st.sampled_from(["a", "b", 'c"', "Ü"]), PLAIN, max_size=3).map(json_line),
    st.tuples(PLAIN, PLAIN).map(lambda pair: json_line(dict(zip("ab", pair, strict=True)))),
    st.sampled_from(
        [
            b"\n", b" \n", b"7\n", b"{\n", b'{"a": 1, "a": 2}\n', b'{"a": "\\u0022", "a": ""}\n',
            b'{"a": "\\ud800"}\n', b'{"a": "\xff"}\n', b'{"a": NaN}\n', b' {"a" : 1} \r\n',
            b'{"a": 1}, {"a": 2}\n', b'{"a": "x", "b": "x", "a": "y"}\n', b'{"a": 1e5}\n',
        ]
    ),
)  # fmt: skip
SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"text": "a", "remove": ["x"]},
    {"label": "b"},
    {"text": "b", "title": "a", "label": "a"},
    {"where": {"a": 1}},
    {"other_fields": "quarantine"},
)


def taken(config: SourceConfig, data: bytes) -> tuple[list[Any], int]:
    """What the records of a file are, each by itself, and how many rows came in batches."""
    strings = config.format == "csv"
    others = config.other_fields == "keep"
    contract = Contract(config.contract, allows_others=others, has_strings_only=strings)
    found: list[Any] = []
    num_batched = 0
    file = File(name="f", stream=io.BytesIO(data))
    for each in rows_of(config, contract, file, Mending(None)):
        if isinstance(each, Rows):
            num_batched += len(each.row_ids)
            found += map(Row._make, zip(*each, strict=True))
        else:
            found.append(astuple(each) if isinstance(each, Quarantined) else each)
    return found, num_batched


def configured(format: str, extra: dict[str, Any], contract: dict[str, Any]) -> SourceConfig:
    if not contract:
        extra = {name: value for name, value in extra.items() if name != "other_fields"}
    return SourceConfig(origin="file:x", format=format, contract=contract, **extra)


@settings(deadline=None, max_examples=300)
@given(
    lines=st.lists(JSON_LINES, max_size=12),
    extra=st.sampled_from(SETTINGS),
    contract=st.sampled_from(CONTRACTS),
    block=st.sampled_from([16, 40, 1 << 18]),
)
@example(lines=[b'{"a": 1}\n', b'{"a": true}\n'], extra={}, contract=CONTRACTS[1], block=99)
@example(lines=[b'{"a": "\\u0022", "a": ""}\n'], extra={}, contract={}, block=99)
def test_lines_of_json(
    lines: list[bytes], extra: dict[str, Any], contract: dict[str, Any], block: int
) -> None:
    compare(configured("jsonl", extra, contract), b"".join(lines), block)


@settings(deadline=None, max_examples=300)
@given(
    lines=st.lists(CSV_LINES, max_size=12),
    extra=st.sampled_from(SETTINGS),
    contract=st.sampled_from(CONTRACTS),
    block=st.sampled_from([16, 40, 1 << 18]),
)
@example(lines=[b"2,x\n", b"3,\n"], extra={}, contract=CONTRACTS[1], block=99)
@example(lines=[b"2,x\n", b"1,x\n", b"3,x\n"], extra={}, contract=CONTRACTS[1], block=99)
@example(lines=[b"1,2\n", b"8,3\n"], extra={}, contract=CONTRACTS[3], block=99)
def test_records_of_csv(
    lines: list[bytes], extra: dict[str, Any], contract: dict[str, Any], block: int
) -> None:
    compare(configured("csv", extra, contract), b"a,b\n" + b"".join(lines), block)


@given(
    names=st.lists(st.text(st.sampled_from('ab%s"\\Üé\n'), min_size=1), min_size=1, unique=True),
    rows=st.lists(st.text(st.sampled_from("a%s {}Ü\x7f'")), min_size=1),
)
def test_columns_are_written_as_records_are(names: list[str], rows: list[str]) -> None:
    columns = {name: [f"{value}{place}" for value in rows] for place, name in enumerate(names)}
    records = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    said = [write(record) for record in records]
    assert write_columns(columns, are_verbatim=False) == said
    assert write_columns(columns, are_verbatim=True) == said


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_a_record_longer_than_a_block_comes_with_others(format: str) -> None:
    lines = "a\n" * BLOCK_BYTES
    long = f'1,"{lines}"\n' if format == "csv" else json.dumps({"a": "1", "b": lines}) + "\n"
    short = "2,x\n" if format == "csv" else '{"a": "2", "b": "x"}\n'
    data = ("a,b\n" if format == "csv" else "") + short + long + short
    found, num_batched = taken(configured(format, {"text": "b"}, {}), data.encode())
    assert [row.text for row in found] == ["x", lines.strip("\n"), "x"]
    assert num_batched == 3


class Damaged(io.BytesIO):
    """A file that can be read up to where its damage begins."""

    def read(self, size: int | None = -1, /) -> bytes:
        if not (data := super().read(size)):
            raise zipfile.BadZipFile("Bad CRC-32")
        return data


@pytest.mark.parametrize(
    ("format", "data"),
    [("csv", b'a,b\n1,x\n2,"y\nz"\n3,"goes on\n'), ("jsonl", b'{"a": 1}\n{"a": 2}\n{"a": ')],
)
def test_what_stands_before_damage_is_read(format: str, data: bytes) -> None:
    config = configured(format, {}, {})
    file = File(name="f", stream=Damaged(data))
    *_, last = found = list(rows_of(config, contract_of(config), file, Mending(None)))
    assert sum(len(each.row_ids) for each in found if isinstance(each, Rows)) == 2
    assert isinstance(last, Quarantined)
    assert (last.rule, len(found)) == ("not-whole", 2)


def compare(config: SourceConfig, data: bytes, block: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(batch, "BLOCK_BYTES", block)
        at_once, _ = taken(config, data)
        patched.setattr(Blocks, "look", lambda _: b"")
        one_by_one, num_batched = taken(config, data)
    assert num_batched == 0
    assert at_once == one_by_one


@pytest.mark.parametrize(
    ("format", "head", "plain", "odd"),
    [
        ("csv", b"a,b\n", b'%d,"x, ""y""\nz"\n', b'%d,"x",y\n'),
        ("jsonl", b"", b'{"a": %d, "b": "x \\"y\\""}\n', b'{"a": [%d]}\n'),
        ("sql", b"", b'{"a": %d, "b": "x \\"y\\""}\n', b'{"a": [%d]}\n'),
    ],
)
def test_most_rows_come_in_batches(format: str, head: bytes, plain: bytes, odd: bytes) -> None:
    """What is unusual costs itself, and few beside it, whatever lies between."""
    num = 30_000
    given = {"origin": "sqlite:x.db", "query": "SELECT 1", "key": "a"} if format == "sql" else {}
    config = SourceConfig(**{"origin": "file:x", "format": format, **given})
    data = head + b"".join((odd if at % 1000 == 500 else plain) % at for at in range(num))
    found, num_batched = taken(config, data)
    assert len(found) == num
    assert num_batched > 0.9 * num
