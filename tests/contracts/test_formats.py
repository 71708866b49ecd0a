"""Every format of a source keeps the same promises, whatever is in the file.

A file becomes rows and quarantined entries, each with a pointer of its own; a bad file costs itself
alone; nothing but a `DataError` is ever raised, and then no data asset is left.
"""

from __future__ import annotations

import io
import json
import random
import typing
import warnings
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.errors import DataError
from tunesmith.core.step import Context
from tunesmith.records.data import Package
from tunesmith.stages.ingest import entry, formats
from tunesmith.stages.ingest.config import DOCUMENTS, SourceConfig
from tunesmith.stages.ingest.run import ingest
from tunesmith.text.normalise import normalise

NAMES = typing.get_args(SourceConfig.model_fields["format"].annotation)
ZIPS = ("xlsx", "docx", "pptx", "odt", "epub")
PLAIN = (
    "front-matter",
    "text",
    "jsonl",
    "csv",
    "tsv",
    "json",
    "yaml",
    "markdown",
    "html",
    "document",
    "sql",
    "api",
    "stream",
)


@pytest.fixture
def read(tmp_path: Path):
    """read(format, {name: bytes}) -> (rows, quarantined entries)."""
    blobs = FolderBlobs(tmp_path / "blobs")
    (tmp_path / "work").mkdir()
    ctx = Context(blobs=blobs, seed=1, workdir=tmp_path / "work", keep=tmp_path)

    def run(format: str, members: dict[str, bytes], **settings):
        sink = io.BytesIO()
        with zipfile.ZipFile(sink, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        package = Package(requirement="x", filename="x.whl", wheel=blobs.put(sink.getvalue()))
        settings |= {"label": "key"} if format == "front-matter" else {}
        settings |= {"query": "SELECT 1 AS id", "key": "id"} if format == "sql" else {}
        settings |= {"key": "id"} if format == "api" else {}
        settings |= {"tap": ["tap"], "stream": "x"} if format == "stream" else {}
        origin = {"sql": "sqlite:x", "api": "https://x/x", "stream": "singer:"}.get(
            format, "file:x"
        )
        config = SourceConfig(name="x", origin=origin, format=format, **settings)
        before = set((tmp_path / "blobs").rglob("*"))
        try:
            asset = ingest(config, ctx, package=package)
        except DataError:
            assert set((tmp_path / "blobs").rglob("*")) == before, "no half of an asset is left"
            return [], None
        rows, refused = (
            pq.read_table(io.BytesIO(blobs.get(blob))).to_pylist()
            for blob in (asset.rows, asset.quarantine)
        )
        assert asset.num_in == len(rows) + len(refused) + asset.num_filtered
        pointers = [row["pointer"] for row in (*rows, *refused)]
        assert len(set(pointers)) == len(pointers)
        assert len({row["row_id"] for row in rows}) == len(rows)
        assert all(row["rule"] and row["reason"] for row in refused)
        for row in rows:
            assert isinstance(json.loads(row["attributes"]), dict)
            if format in DOCUMENTS:
                check_places(row)
        return rows, refused

    return run


def check_places(row: dict[str, str]) -> None:
    """The text is canonical, and the map is in order, disjoint and inside it."""
    assert normalise(row["text"]) == row["text"]
    at = 0
    for start, end, name in json.loads(row["attributes"])["pages"]:
        assert at <= start < end <= len(row["text"])
        assert row["text"][start:end].strip()
        assert name
        at = end


@pytest.fixture
def beside(read, files):
    """beside(format, bytes) -> (rows, refused) of a bad file; a good one beside it is read as if it
    were alone."""

    def run(name: str, data: bytes):
        good, bad = f"good{files.suffix[name]}", f"bad{files.suffix[name]}"
        alone, none = read(name, {good: files.samples[name]})
        assert none == []
        rows, refused = read(name, {bad: data, good: files.samples[name]})
        assert [row for row in rows if row["pointer"].startswith("good")] == alone
        assert all(row["pointer"].startswith("bad") for row in refused)
        return [row for row in rows if row["pointer"].startswith("bad")], refused

    return run


def test_every_format_has_a_reader_and_a_sample(files):
    assert set(NAMES) == set(formats.FORMATS) == set(files.samples) == set(files.suffix)


def test_every_format_has_a_sample_of_bad_input(files):
    assert set(formats.FORMATS) == {name for name, samples in files.bad.items() if samples}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_bad_in_its_own_way_says_which_rule_it_breaks(beside, files, name):
    for data, rules in files.bad[name].items():
        rows, refused = beside(name, data)
        assert rows == []
        assert {row["rule"] for row in refused} == rules


@pytest.mark.parametrize("name", NAMES)
def test_a_good_file(read, files, name):
    rows, refused = read(name, {f"good{files.suffix[name]}": files.samples[name]})
    assert refused == []
    assert any("Müller" in row["text"] + row["attributes"] for row in rows)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_file_is_no_row(beside, read, name):
    rows, refused = beside(name, b"")
    assert rows == []
    assert len(refused) == (name not in ("csv", "tsv", "jsonl", "mbox", "sql", "api", "stream")), (
        "of no record, none is bad"
    )
    assert read(name, {"bad": b""}) == ([], None)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_cut_off_anywhere(beside, files, name):
    data = files.samples[name]
    draw = random.Random(1)
    for cut in [1, len(data) - 1, *draw.sample(range(2, len(data) - 1), 5)]:
        beside(name, data[:cut])


@pytest.mark.parametrize("name", [*ZIPS, "parquet", "json"])
def test_half_of_a_file_that_only_exists_whole_is_refused(beside, files, name):
    rows, refused = beside(name, files.samples[name][: len(files.samples[name]) * 2 // 3])
    assert rows == []
    assert len(refused) == 1


@pytest.mark.parametrize("name", NAMES)
def test_bytes_that_were_changed(beside, files, name):
    draw = random.Random(2)
    for _ in range(8):
        data = bytearray(files.samples[name])
        for _ in range(draw.randint(1, 5)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        beside(name, bytes(data))


OTHERS = [b"\xff\xfe\xfd\x00\x81" * 50, b"\0" * 500, b"%PDF-1.7\n%%EOF", b"PK\3\4" + b"\1" * 99]


@pytest.mark.parametrize("name", NAMES)
def test_bytes_that_are_something_else_are_refused(beside, name):
    for data in OTHERS:
        rows, refused = beside(name, data)
        assert rows == [] or name in PLAIN
        assert rows or refused or name in ("csv", "tsv"), "a line of names alone is no record"


@pytest.mark.parametrize("name", PLAIN)
def test_text_in_another_encoding_is_refused_rather_than_guessed(beside, files, name):
    _, refused = beside(name, files.samples[name].decode().encode("latin-1"))
    assert {row["rule"] for row in refused} == {"not-text"}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_too_large_is_refused(beside, files, name, monkeypatch):
    """A file, a record, or the text of a document of more bytes than there may be."""
    from tunesmith.stages.ingest import delimited, json_lines, json_text, singer
    from tunesmith.stages.ingest.documents import canonical, mail, pdf

    for module in (entry, json_lines, json_text, singer, delimited, canonical, mail, pdf):
        for limit in ("MAX_ROW_BYTES", "MAX_FILE_BYTES"):
            if hasattr(module, limit):
                monkeypatch.setattr(module, limit, 20_000)
    much = "Müller! " * 5000
    data = {
        "front-matter": f"---\nkey: a\n---\n{much * 500}",
        "text": much * 500,
        "jsonl": json.dumps({"a": much}),
        "yaml": f"- a: {much}",
        "csv": f"a,b\n1,{much}",
        "tsv": f"a\tb\n1\t{much}",
        "json": json.dumps([{"a": much}]),
        "parquet": files.parquet(a=[much, "b"]),
        "xlsx": files.xlsx(files.cells(["a", "b"], ["1", much])),
        "html": f"<p>{much}",
        "markdown": much,
        "pdf": files.pdf(*[[(h, "Müller! " * 9) for h in range(50, 800, 9)]] * 9),
        "docx": files.docx(f"<w:p><w:r><w:t>{much}</w:t></w:r></w:p>"),
        "pptx": files.pptx(much),
        "odt": files.odt(f"<text:p>{much}</text:p>"),
        "epub": files.epub(f"<html><p>{much}</p></html>"),
        "eml": f"Subject: a\n\n{much}",
        "mbox": f"From x\nSubject: a\n\n{much}",
        "document": f"<p>{much}",
        "sql": json.dumps({"id": 1, "a": much}),
        "api": json.dumps({"id": 1, "a": much}),
        "stream": json.dumps({"key": "id=1", "record": {"id": 1, "a": much}}),
    }[name]
    rows, refused = beside(name, data.encode() if isinstance(data, str) else data)
    assert {row["rule"] for row in refused} == {"too-large"}
    assert len(rows) == (name == "parquet")


@pytest.mark.parametrize("name", ["xlsx", "docx", "pptx", "odt", "epub"])
def test_xml_grows_nothing_and_reads_nothing(beside, files, name, tmp_path):
    """A billion laughs, an external entity, an external parameter entity, endless nesting."""
    secret = tmp_path / "secret.txt"
    secret.write_text("a secret of this machine")
    for xml in files.hostile_xml(secret):
        rows, refused = beside(name, files.entities[name](xml))
        assert rows == []
        assert [row["rule"] for row in refused] == ["hostile"]
        assert "secret of" not in str(refused)


@pytest.mark.parametrize("name", [*ZIPS, "parquet"])
def test_a_bomb_is_refused_before_it_is_unpacked(beside, files, name):
    rows, refused = beside(name, files.bombs[name]())
    assert rows == []
    assert [row["rule"] for row in refused] == ["hostile"]


@pytest.mark.parametrize("name", ZIPS)
@pytest.mark.parametrize("path", ["../evil", "/etc/passwd", "a\\b", "C:/x"])
def test_a_part_with_a_hostile_name_is_refused(beside, files, name, path):
    data = io.BytesIO(files.samples[name])
    with zipfile.ZipFile(data, "a") as archive:
        archive.writestr(zipfile.ZipInfo(path), "x")
    rows, refused = beside(name, data.getvalue())
    assert rows == []
    assert [row["rule"] for row in refused] == ["hostile"]


@pytest.mark.parametrize("name", ZIPS)
def test_a_part_that_is_a_link_or_there_twice_is_refused(beside, files, name):
    link = zipfile.ZipInfo("word/link")
    link.external_attr = 0o120777 << 16
    twice = zipfile.ZipInfo(zipfile.ZipFile(io.BytesIO(files.samples[name])).namelist()[0])
    for extra in (link, twice):
        data = io.BytesIO(files.samples[name])
        with warnings.catch_warnings(), zipfile.ZipFile(data, "a") as archive:
            warnings.simplefilter("ignore", UserWarning)  # "Duplicate name"
            archive.writestr(extra, "/etc/passwd")
        rows, refused = beside(name, data.getvalue())
        assert rows == []
        assert [row["rule"] for row in refused] == ["hostile"]


@pytest.mark.parametrize("name", ["html", "epub", "odt", "docx"])
def test_nesting_without_end_costs_one_file(beside, files, name):
    deep = 200_000
    data = {
        "html": b"<div>" * deep + b"words",
        "epub": files.epub("<div>" * deep + "words" + "</div>" * deep),
        "odt": files.odt("<text:p>" * deep + "words" + "</text:p>" * deep),
        "docx": files.docx("<w:p>" * deep + "</w:p>" * deep),
    }[name]
    rows, refused = beside(name, data)
    assert rows == []
    assert [row["rule"] for row in refused] == ["hostile"]


def test_a_document_is_what_the_end_of_its_name_says(read, files):
    kinds = ["html", "markdown", "pdf", "docx", "pptx", "odt", "epub", "eml", "mbox"]
    members = {f"a{files.suffix[kind]}": files.samples[kind] for kind in kinds}
    rows, refused = read("document", {**members, "a.exe": b"MZ", "plain.txt": b"Plain text."})
    assert [(row["pointer"], row["rule"]) for row in refused] == [("a.exe", "unknown-format")]
    assert {row["pointer"].partition("#")[0] for row in rows} == {*members, "plain.txt"}
    for kind in kinds:
        alone, _ = read(kind, {f"a{files.suffix[kind]}": files.samples[kind]})
        assert alone == [row for row in rows if row["pointer"].startswith(f"a{files.suffix[kind]}")]


def test_a_page_that_unpacks_to_a_thousand_times_its_size_says_nothing(beside, files):
    rows, refused = beside("pdf", files.zeros_in_a_pdf(8 << 20))
    assert rows == []
    assert [row["rule"] for row in refused] == ["empty-text"]


def test_a_part_that_is_not_as_long_as_the_file_says_is_refused(beside, files):
    data = files.lying(files.samples["xlsx"], "xl/worksheets/sheet1.xml", 10)
    rows, refused = beside("xlsx", data)
    assert rows == []
    assert [row["rule"] for row in refused] == ["not-whole"]
