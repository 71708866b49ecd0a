"""One person's records are cut out of files of every format; all else is read as it was."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from archives import zipped
from tunesmith.core.errors import DataError
from tunesmith.stages.ingest import erased
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.container import files_in
from tunesmith.stages.ingest.cutting.packed import packed
from tunesmith.stages.ingest.entry import ERASED
from tunesmith.stages.ingest.erased import records, without

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
REL = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
RELS = "http://schemas.openxmlformats.org/package/2006/relationships"
ROWS = [
    {"who": who, "said": f'{who} says: <{n}> \u00e4 \U0001f600 & "so"\\'}
    for n, who in enumerate(["ann", "bob", "ann", "cyd", "bob", "ann"])
]


def as_jsonl(rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_json(rows) -> bytes:
    return json.dumps(rows, indent=1).encode()


def as_json_under_a_key(rows) -> bytes:
    said = {"made": ["x", [1, "]}"]], "a": {"b": "{"}, "rows": rows, "num": len(rows)}
    return "\ufeff".encode() + json.dumps(said, ensure_ascii=False).encode()


def as_yaml(rows) -> bytes:
    return ("# about people\n" + yaml.safe_dump(rows, allow_unicode=True)).encode()


def as_parquet(rows, size: int = 2) -> bytes:
    sink = io.BytesIO()
    table = pa.table({name: [row[name] for row in rows] for name in ("who", "said")})
    table = table.append_column("kind", table["said"].dictionary_encode())
    pq.write_table(table, sink, row_group_size=size, compression="zstd")
    return sink.getvalue()


def as_mbox(rows) -> bytes:
    form = (
        "From {who}@a.org Fri\nFrom: {who}\nSubject: a\n"
        "Content-Type: text/plain; charset=utf-8\n\n{said}\n\n>From here\n\n"
    )
    return "".join(form.format(**row) for row in rows).encode()


def related(*targets: tuple[str, str]) -> str:
    rows = "".join(
        f'<Relationship Id="r{n}" Type="{REL}/{kind}" Target="{target}"/>'
        for n, (kind, target) in enumerate(targets)
    )
    return f'<Relationships xmlns="{RELS}">{rows}</Relationships>'


def as_xlsx(rows, tab: str = "People", **others: str) -> bytes:
    """A workbook as office programs write it: texts in the table of strings, rows with gaps."""
    strings = ["who", "said", *dict.fromkeys(v for row in rows for v in row.values())]
    written = ['<row r="2"><c r="B2" t="s"><v>0</v></c><c r="D2" t="s"><v>1</v></c></row>']
    for n, row in enumerate(rows):
        at = 3 + 2 * n
        cells = [
            f'<c r="{column}{at}" t="s"><v>{strings.index(row[name])}</v></c>'
            for column, name in (("B", "who"), ("D", "said"))
        ]
        written.append(f'<row r="{at}">{"".join(cells)}</row>')
    shared = "".join(f'<si><t xml:space="preserve">{escape(s)}</t></si>' for s in strings)
    return zipped(
        {
            "xl/workbook.xml": f'<workbook xmlns="{MAIN}" xmlns:r="{REL}"><sheets>'
            f'<sheet name="{tab}" sheetId="1" r:id="r0"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": related(("worksheet", "worksheets/sheet1.xml")),
            "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{MAIN}"><sheetData>'
            f"{''.join(written)}</sheetData></worksheet>",
            "xl/sharedStrings.xml": f'<sst xmlns="{MAIN}">{shared}</sst>',
            **others,
        }
    )


def tarred(members) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return sink.getvalue()


OTHERS = {"b/two.jsonl": as_jsonl(ROWS[3:5]), ".hidden": b"of ann"}
FORMS = {
    "jsonl": ("a.jsonl", as_jsonl),
    "json": ("a.json", as_json),
    "json ": ("a.json", as_json_under_a_key),
    "yaml": ("a.yaml", as_yaml),
    "parquet": ("a.parquet", as_parquet),
    "mbox": ("a.mbox", as_mbox),
    "xlsx": ("a.xlsx", as_xlsx),
}
PACKED = {
    "a.zip": lambda data: zipped({"one.jsonl": data, **OTHERS}),
    "a.tar": lambda data: tarred({"one.jsonl": data, **OTHERS}),
    "a.tgz": lambda data: gzip.compress(tarred({"one.jsonl": data, **OTHERS})),
    "a.tar.bz2": lambda data: bz2.compress(tarred({"one.jsonl": data, **OTHERS})),
    "a.txz": lambda data: lzma.compress(tarred({"one.jsonl": data, **OTHERS})),
    "a.jsonl.gz": gzip.compress,
}


def config_of(form: str, name: str, **more) -> SourceConfig:
    subject = "from" if form == "mbox" else "who"
    return SourceConfig(
        name="s", origin=f"file:{name}", format=form.strip(), subject=subject, **more
    )


def whose(config, record) -> str:
    return record.entry.fields[config.subject] if record.entry else ""


def cut(config, name, data, who):
    return without(config, name, data, lambda _, record: whose(config, record) == who)


def read(config, name, data):
    """(pointer, what stands there) of all records."""
    return [
        (record.pointer, record.data, whose(config, record))
        for file in files_in(name, data, ())
        for record in records(config, file.name, file.stream.read())
    ]


@pytest.mark.parametrize("form", FORMS)
def test_one_persons_records_go_and_the_others_keep_what_they_say_and_where(form):
    name, write = FORMS[form]
    config, data = config_of(form, name), write(ROWS)
    before = read(config, name, data)
    assert [who for *_, who in before] == [row["who"] for row in ROWS]
    left, gone = cut(config, name, data, "ann")
    assert read(config, name, left) == [each for each in before if each[2] != "ann"]
    assert [record.pointer for record in gone] == [before[n][0] for n in (0, 2, 5)]
    assert b"ann" not in left
    # What is there is cut again, as objects of a bucket are: with the places of the first time.
    again, _ = cut(config, name, left, "bob")
    assert read(config, name, again) == [each for each in before if each[2] == "cyd"]
    none, _ = cut(config, name, again, "cyd")
    assert read(config, name, none) == []
    assert cut(config, name, left, "ann") == (left, []), "a second time nothing changes"
    assert cut(config, name, data, "ann")[0] == left, "the same bytes each time"


@pytest.mark.parametrize("name", PACKED)
def test_members_of_an_archive_are_cut_and_it_is_packed_anew(name):
    config, data = config_of("jsonl", name), PACKED[name](as_jsonl(ROWS))
    before = read(config, name, data)
    left, gone = cut(config, name, data, "ann")
    assert len(gone) == 3
    assert read(config, name, left) == [each for each in before if each[2] != "ann"]
    files = {file.name: file.stream.read() for file in files_in(name, left, ("**",))}
    assert not any(b"ann" in inside for inside in files.values())
    assert cut(config, name, data, "ann")[0] == left
    assert packed(name, files) == left
    assert cut(config, name, data, "nobody") == (data, []), "nothing is packed anew for nothing"


def test_a_member_that_is_one_row_leaves_the_archive_and_an_empty_archive_goes():
    mail = "From: {0}\nSubject: a\n\nI am {0}.\n"
    data = zipped({f"{who}.eml": mail.format(who) for who in ("ann", "bob")})
    config = config_of("mbox", "a.zip").model_copy(update={"format": "eml"})
    left, _ = cut(config, "a.zip", data, "ann")
    assert zipfile.ZipFile(io.BytesIO(left)).namelist() == ["bob.eml"]
    assert cut(config, "a.zip", left, "bob")[0] is None


def test_every_byte_of_json_beside_the_cut_stays():
    data = (
        b'\xef\xbb\xbf{ "n" : 1e2,\n "rows":[ {"who":"ann"} ,\t{"who" : "b\\u006fb"}], "z":[1] }\n'
    )
    left, _ = cut(config_of("json", "a.json"), "a.json", data, "ann")
    assert left == data.replace(b'{"who":"ann"}', b'"tunesmith:erased"')


def test_a_file_that_is_one_record_of_json_has_none_afterwards():
    config = config_of("json", "a.json")
    left, _ = cut(config, "a.json", b'{"who": "ann", "tags": ["x"]}', "ann")
    assert read(config, "a.json", left) == []


def test_of_parquet_schema_metadata_compression_and_the_other_groups_stay():
    schema = pa.schema(
        [
            pa.field("who", pa.string(), nullable=False, metadata={"unit": "name"}),
            ("at", pa.timestamp("ns", "Europe/Paris")),
            ("price", pa.decimal128(12, 3)),
            ("kind", pa.dictionary(pa.int8(), pa.string())),
            ("tags", pa.list_(pa.struct([("k", pa.string()), ("v", pa.float32())]))),
        ],
        metadata={"made": "by hand"},
    )
    rows = [
        {"who": who, "at": 1_700_000_000_000_000_001 + n, "price": n, "kind": f"of {who}",
         "tags": [{"k": f"tag {n}", "v": n / 2}]}
        for n, who in enumerate(["ann", "bob", "bob", "cyd", "ann", "ann"])
    ]  # fmt: skip
    sink = io.BytesIO()
    table = pa.Table.from_pylist(rows, schema)
    pq.write_table(table, sink, row_group_size=2, compression={"who": "gzip", "price": "none"})
    data = sink.getvalue()
    config = config_of("parquet", "a.parquet")
    left, gone = cut(config, "a.parquet", data, "ann")
    assert len(gone) == 3
    was, now = (pq.ParquetFile(io.BytesIO(each)) for each in (data, left))
    assert now.schema.equals(was.schema)
    assert now.schema_arrow.field("who").metadata[b"unit"] == b"name"
    assert now.metadata.metadata[b"made"] == b"by hand"
    assert json.loads(now.metadata.metadata[ERASED.encode()]) == [1, 5, 6]
    # The third group was all theirs; of the first one row is left; the second is as it was.
    assert [now.metadata.row_group(n).num_rows for n in range(2)] == [1, 2]
    assert now.num_row_groups == 2
    for at in range(was.metadata.num_columns):
        before, after = (each.metadata.row_group(1).column(at) for each in (was, now))
        assert after.compression == before.compression
        assert after.statistics == before.statistics
    assert now.read_row_group(1).to_pylist() == was.read_row_group(1).to_pylist()
    # A dictionary keeps what no row says any more, if it is not made anew.
    for column in ("kind", "who"):
        words = pq.read_table(io.BytesIO(left), read_dictionary=[column])[column]
        assert not any(
            "ann" in said for chunk in words.chunks for said in chunk.dictionary.to_pylist()
        )


def test_of_a_workbook_only_what_is_read_is_written():
    """A chart keeps the values that it shows, and another sheet the same strings."""
    chart = {"xl/charts/chart1.xml": "<c><v>ann says</v></c>", "docProps/core.xml": "<p>ann</p>"}
    config = config_of("xlsx", "a.xlsx", sheet="People")
    left, _ = cut(config, "a.xlsx", as_xlsx(ROWS, **chart), "ann")
    with zipfile.ZipFile(io.BytesIO(left)) as archive:
        assert not any(b"ann" in archive.read(name) for name in archive.namelist())


def test_cells_of_a_workbook_keep_their_kinds_and_formats():
    cells = (
        '<row r="1"><c t="str"><v>who</v></c><c t="inlineStr"><is><t>day</t></is></c>'
        '<c t="str"><v>is</v></c><c t="str"><v>odd</v></c></row>'
        '<row r="4"><c t="inlineStr"><is><t>ann</t></is></c></row>'
        '<row r="7"><c t="s"><v>0</v></c><c s="1"><f>1+1</f><v>45292</v></c><c t="b"><v>1</v></c>'
        '<c t="e"><v>#N/A</v></c></row>'
    )
    styles = f'<styleSheet xmlns="{MAIN}"><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs>'
    parts = {
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{MAIN}"><sheetData>{cells}</sheetData>'
        "</worksheet>",
        "xl/sharedStrings.xml": f'<sst xmlns="{MAIN}"><si><t>b_x0009__x005F_x0041_&#13;&lt;</t>'
        "</si></sst>",
        "xl/styles.xml": styles + "</styleSheet>",
    }
    with zipfile.ZipFile(io.BytesIO(as_xlsx(ROWS))) as archive:
        there = {name: archive.read(name) for name in archive.namelist()}
    data, config = zipped({**there, **parts}), config_of("xlsx", "a.xlsx")
    left, _ = cut(config, "a.xlsx", data, "ann")
    (record,) = records(config, "a.xlsx", left)
    assert record.pointer == "a.xlsx#People!7"
    assert record.entry.fields == {
        "who": "b\t_x0041_\r<", "day": "2024-01-01", "is": True, "odd": "#N/A",
    }  # fmt: skip


BAD = {
    "json": (b'[{"who": "bob"}, "of ann", {"who": "cyd"}]', "a.json#2"),
    "yaml": (b"- who: bob\n- of ann\n- who: cyd\n", "a.yaml#2"),
    "mbox": (
        b"From x\nFrom: bob\n\nHi.\n\nFrom y\nof ann\n\nFrom z\nFrom: cyd\n\nHi.\n",
        "a.mbox#2",
    ),
}


@pytest.mark.parametrize("form", BAD)
def test_a_record_that_cannot_be_read_goes_if_it_tells_of_them(form):
    data, pointer = BAD[form]
    name, config = FORMS[form][0], config_of(form, FORMS[form][0])
    left, gone = without(config, name, data, lambda _, record: b"of ann" in record.data)
    assert [record.pointer for record in gone] == [pointer]
    assert [whose(config, each) for each in records(config, name, left)] == ["bob", "cyd"]


@pytest.mark.parametrize(("form", "data"), [("json", b'[{"who": "of ann"'), ("yaml", b"of ann: [")])
def test_a_file_that_cannot_be_read_at_all_goes_if_it_tells_of_them(form, data):
    name, config = FORMS[form][0], config_of(form, FORMS[form][0])
    left, gone = without(config, name, data, lambda _, record: b"of ann" in record.data)
    assert (left, [record.data for record in gone]) == (None, [data])


def test_of_parquet_no_dictionary_and_no_statistics_are_made_that_were_not_there():
    sink = io.BytesIO()
    settings = {"use_dictionary": False, "write_statistics": False, "compression": "none"}
    pq.write_table(pa.Table.from_pylist(ROWS), sink, **settings)
    left, _ = cut(config_of("parquet", "a.parquet"), "a.parquet", sink.getvalue(), "ann")
    column = pq.ParquetFile(io.BytesIO(left)).metadata.row_group(0).column(1)
    assert (column.compression, column.is_stats_set) == ("UNCOMPRESSED", False)
    assert "RLE_DICTIONARY" not in column.encodings


def test_what_cannot_be_cut_is_refused_and_nothing_is_half_cut():
    """The second row group is damaged: whom it is about nobody can tell."""
    data = bytearray(as_parquet(ROWS * 400, 1200))
    group = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(1).column(0)
    at = group.dictionary_page_offset
    data[at : at + group.total_compressed_size] = bytes(group.total_compressed_size)
    with pytest.raises(DataError, match=r"a\.parquet#1 is to be forgotten, and cannot be cut out"):
        cut(config_of("parquet", "a.parquet"), "a.parquet", bytes(data), "ann")


def test_an_archive_with_a_damaged_member_is_refused_if_it_has_them():
    data = zipped({"a.jsonl": as_jsonl(ROWS), "b.jsonl": as_jsonl(ROWS)})
    at = data.rindex(as_packed(as_jsonl(ROWS)))
    broken = data[:at] + bytes(8) + data[at + 8 :]
    config = config_of("jsonl", "a.zip")
    with pytest.raises(DataError, match=r"a\.zip/b\.jsonl is to be forgotten"):
        cut(config, "a.zip", broken, "ann")
    assert cut(config, "a.zip", broken, "nobody") == (broken, [])


def as_packed(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(zipped({"x": data}))) as archive:
        member = archive.infolist()[0]
        raw = archive.fp.getvalue()
    start = 30 + len("x")
    return raw[start : start + member.compress_size]


@pytest.mark.parametrize("said", [b"{}", b"[true]", b"[", b"[1.5]"])
def test_metadata_that_says_nothing_of_rows_costs_the_file(said):
    table = pq.read_table(io.BytesIO(as_parquet(ROWS)))
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({ERASED: said}), sink)
    (record,) = records(config_of("parquet", "a.parquet"), "a.parquet", sink.getvalue())
    assert record.entry is None


TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])
    | st.sampled_from("\n\t\u00e4'\"\\"),
    max_size=12,
)
PEOPLE = st.sampled_from(["ann", "bob", "\u00e4\U0001f600 e", "x'\"\\y"])
RECORDS = st.lists(st.fixed_dictionaries({"who": PEOPLE, "said": TEXTS}), min_size=1, max_size=8)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "mbox"])
@settings(max_examples=40, deadline=None)
@given(rows=RECORDS, who=PEOPLE)
def test_what_is_left_is_what_was_there_of_others(form, rows, who):
    name, write = FORMS[form]
    config, data = config_of(form, name), write(rows)
    left, gone = cut(config, name, data, who)
    before = read(config, name, data)
    assert read(config, name, left) == [each for each in before if each[2] != who]
    assert len(gone) == sum(row["who"] == who for row in rows)
    again = cut(config, name, left, who)
    assert again == (left, [])


@settings(max_examples=40, deadline=None)
@given(
    bodies=st.lists(
        st.tuples(st.sampled_from(["ann", "bob"]), st.text("abF: rom>\n", max_size=20)), min_size=1
    )
)
def test_what_is_left_of_a_mailbox_is_what_was_there_of_others(bodies):
    """Also where a text has lines that look like the beginning of a message."""
    data = "".join(f"From x\nFrom: {who}\n\n{said}\n\n" for who, said in bodies).encode()
    config = config_of("mbox", "a.mbox")
    before = read(config, "a.mbox", data)
    left, _ = cut(config, "a.mbox", data, "ann")
    assert read(config, "a.mbox", left) == [each for each in before if each[2] != "ann"]


@pytest.mark.parametrize("wrong", [b"[]", as_json(ROWS), as_json(ROWS[::-1]), b"["])
def test_what_is_not_left_as_it_was_is_refused(monkeypatch, wrong):
    """Whatever a writer got wrong: rows that are gone, still there, in other places, unreadable."""
    monkeypatch.setattr(erased, "cut_out", lambda *_: wrong)
    config = SourceConfig(name="s", origin="file:a.json", format="json", text="said", subject="who")

    with pytest.raises(DataError, match=r"a.json#1 is to be forgotten, and cannot be cut out"):
        cut(config, "a.json", as_json(ROWS), "ann")
