"""TSV, JSON, Parquet and XLSX: values keep their types, and each record stands for itself."""

from __future__ import annotations

import datetime
import decimal
import io
import zipfile
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.stages.ingest import workbook
from tunesmith.stages.ingest.columnar import to_json
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.container import File
from tunesmith.stages.ingest.entry import Entry, Quarantined
from tunesmith.stages.ingest.formats import read_file

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
REL = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def found(format: str, data: bytes, **settings: Any) -> list[Entry | Quarantined]:
    config = SourceConfig(origin="file:x", format=format, **settings)
    return list(read_file(config, File(name="a", stream=io.BytesIO(data))))


def fields(format: str, data: bytes, **settings: Any) -> list[dict[str, Any]]:
    return [dict(one.fields) for one in found(format, data, **settings) if isinstance(one, Entry)]


def refused(format: str, data: bytes, **settings: Any) -> dict[str, str]:
    return {
        one.pointer: one.rule
        for one in found(format, data, **settings)
        if isinstance(one, Quarantined)
    }


def test_tabs_stand_between_the_fields() -> None:
    assert fields("tsv", b'a\tb\n1,5\t"x\ty"\n') == [{"a": "1,5", "b": "x\ty"}]


@pytest.mark.parametrize("data", [b"a,b\r1,2\r3,4\r", b"a,b\n1,2\n3,x\ry\n"])
def test_a_carriage_return_that_ends_no_line_is_said_in_words_of_ours(data: bytes) -> None:
    (bad,) = (one for one in found("csv", data) if isinstance(one, Quarantined))
    assert bad.rule == "bad-csv"
    assert bad.reason == (
        "a carriage return (CR) stands in it without a line feed; lines are to end in LF or CRLF"
    )


@pytest.mark.parametrize(
    ("text", "rows", "bad"),
    [
        ('[{"a": 1}, 7, {"a": null}]', [{"a": 1}, {"a": None}], {"a#2": "not-an-object"}),
        ('{"meta": [1, 2], "data": [{"a": 1}]}', [{"a": 1}], {}),
        ('{"a": 1}', [{"a": 1}], {}),
        ('{"x": [{"a": 1}], "y": [{"a": 2}]}', [], {"a": "bad-json"}),
        ('[{"a": 1, "a": 2}]', [], {"a": "bad-json"}),
        ('[{"a": 1e999}, {"a": "\\ud800"}]', [], {"a#1": "bad-value", "a#2": "not-text"}),
        ("7", [], {"a": "not-an-object"}),
        ("[" * 100_000, [], {"a": "bad-json"}),
        ("[]", [], {}),
    ],
)
def test_an_array_of_objects(text: str, rows: list[Any], bad: dict[str, str]) -> None:
    assert fields("json", text.encode()) == rows
    assert refused("json", text.encode()) == bad


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=3)
    return sink.getvalue()


def test_values_of_parquet_become_json() -> None:
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=datetime.UTC)
    table = pa.table(
        {
            "int": [1],
            "float": [0.5],
            "nan": [float("nan")],
            "none": pa.array([None], pa.string()),
            "bool": [True],
            "text": ["é"],
            "bytes": [b"\xff"],
            "date": [datetime.date(2026, 1, 2)],
            "moment": pa.array([moment], pa.timestamp("us", "UTC")),
            "time": [datetime.time(3, 4)],
            "span": [datetime.timedelta(hours=1)],
            "exact": [decimal.Decimal("1.10")],
            "list": [[1, 2]],
            "inner": [{"a": [moment.date()]}],
            "word": pa.array(["x"]).dictionary_encode(),
        }
    )
    (row,) = fields("parquet", parquet(table))
    assert row == {
        "int": 1, "float": 0.5, "nan": None, "none": None, "bool": True, "text": "é",
        "bytes": "/w==", "date": "2026-01-02", "moment": "2026-01-02T03:04:05.000600+00:00",
        "time": "03:04:00", "span": 3600.0, "exact": "1.10", "list": [1, 2],
        "inner": {"a": ["2026-01-02"]}, "word": "x",
    }  # fmt: skip


def test_a_value_that_json_has_not_costs_its_row_alone() -> None:
    table = pa.table({"a": [1.0, float("inf"), 2.0, 3.0]})
    assert fields("parquet", parquet(table)) == [{"a": 1.0}, {"a": 2.0}, {"a": 3.0}]
    assert refused("parquet", parquet(table)) == {"a#2": "bad-value"}
    nanoseconds = pa.table({"a": pa.array([1, 1000], pa.timestamp("ns"))})
    assert list(refused("parquet", parquet(nanoseconds)).values()) in ([], ["bad-value"])


def test_two_columns_of_one_name_are_refused() -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    assert refused("parquet", parquet(table)) == {"a": "bad-header"}


@given(
    st.lists(
        st.tuples(st.integers(-(2**60), 2**60), st.text(st.characters(exclude_categories=["Cs"])))
    )
)
def test_parquet_is_read_as_it_was_written(pairs: list[tuple[int, str]]) -> None:
    table = pa.table(
        {
            "n": pa.array([n for n, _ in pairs], pa.int64()),
            "s": pa.array([s for _, s in pairs], pa.string()),
        }
    )
    assert fields("parquet", parquet(table)) == [{"n": n, "s": s} for n, s in pairs]


def test_what_is_no_json_is_said() -> None:
    with pytest.raises(ValueError, match="infinite"):
        to_json([float("-inf")])
    with pytest.raises(ValueError, match="object"):
        to_json(object())


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def book(*sheets: tuple[str, str], strings: str = "", styles: str = "", of: str = "") -> bytes:
    listed = "".join(
        f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, (name, _) in enumerate(sheets)
    )
    related = "".join(
        f'<Relationship Id="r{n}" Type="{REL}/worksheet" Target="/xl/s{n}.xml"/>'
        for n, _ in enumerate(sheets)
    )
    return zipped(
        {
            "xl/workbook.xml": f'<workbook xmlns="{MAIN}" xmlns:r="{REL}">{of}'
            f"<sheets>{listed}</sheets></workbook>".encode(),
            "xl/_rels/workbook.xml.rels": f"<Relationships>{related}</Relationships>".encode(),
            **{
                f"xl/s{n}.xml": f"<worksheet><sheetData>{rows}</sheetData></worksheet>".encode()
                for n, (_, rows) in enumerate(sheets)
            },
            "xl/sharedStrings.xml": f"<sst>{strings}</sst>".encode(),
            "xl/styles.xml": f"<styleSheet>{styles}</styleSheet>".encode(),
        }
    )


def rows_of(*rows: str) -> str:
    return "".join(f"<row>{row}</row>" for row in rows)


def text(value: str) -> str:
    return f'<c t="inlineStr"><is><t>{value}</t></is></c>'


STYLES = (
    '<numFmts><numFmt numFmtId="164" formatCode="dd/mm/yyyy hh:mm"/>'
    '<numFmt numFmtId="165" formatCode="0.0 &quot;days&quot;"/></numFmts>'
    '<cellStyleXfs><xf numFmtId="14"/></cellStyleXfs>'
    '<cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="164"/><xf numFmtId="165"/>'
    "</cellXfs>"
)


def test_cells_have_the_types_that_they_show() -> None:
    """Days are worked out by hand: 46024 days after 30 December 1899 is 2 January 2026."""
    names = ["int", "float", "date", "moment", "time", "days", "bool", "shared", "error", "formula"]
    header = "".join(map(text, names))
    values = (
        '<c><v>3</v></c><c><v>0.25</v></c><c s="1"><v>46024</v></c><c s="2"><v>46024.5</v></c>'
        '<c s="2"><v>0.75</v></c><c s="3"><v>46024.5</v></c><c t="b"><v>1</v></c>'
        '<c t="s"><v>1</v></c><c t="e"><v>#N/A</v></c><c t="str"><f>A1</f><v>so</v></c>'
    )
    strings = "<si><t>no</t></si><si><r><t>Zwei </t></r><r><t>Teile_x000D_</t></r>"
    strings += "<rPh><t>x</t></rPh></si>"
    data = book(("S", rows_of(header, values)), strings=strings, styles=STYLES)
    (row,) = fields("xlsx", data)
    assert row == {
        "int": 3, "float": 0.25, "date": "2026-01-02", "moment": "2026-01-02T12:00:00",
        "time": "18:00:00", "days": 46024.5, "bool": True, "shared": "Zwei Teile\r",
        "error": "#N/A", "formula": "so",
    }  # fmt: skip
    assert isinstance(row["int"], int)


def test_days_count_from_where_the_workbook_says() -> None:
    sheet = ("S", rows_of(text("day"), '<c s="1"><v>44562</v></c>'))
    later = book(sheet, styles=STYLES, of='<workbookPr date1904="1"/>')
    assert fields("xlsx", book(sheet, styles=STYLES)) == [{"day": "2022-01-01"}]
    assert fields("xlsx", later) == [{"day": "2026-01-02"}]
    for number, day in ((1, "1900-01-01"), (59, "1900-02-28"), (61, "1900-03-01")):
        early = ("S", rows_of(text("day"), f'<c s="1"><v>{number}</v></c>'))
        assert fields("xlsx", book(early, styles=STYLES)) == [{"day": day}]


def test_cells_stand_where_they_say_and_empty_rows_are_none() -> None:
    rows = (
        '<row r="3"><c r="B3" t="str"><v>b</v></c><c r="AA3" t="str"><v>aa</v></c></row>'
        '<row r="5"/><row r="7"><c r="AA7"><v>1</v></c></row><row><c r="C8"><v>2</v></c></row>'
    )
    data = book(("S", rows))
    assert fields("xlsx", data) == [{"b": None, "aa": 1}]
    assert [one.pointer for one in found("xlsx", data)] == ["a#S!7", "a#S!8"]
    assert refused("xlsx", data) == {"a#S!8": "bad-row"}


def test_every_sheet_is_a_table_or_the_one_that_is_asked_for() -> None:
    one, two = rows_of(text("a"), text("1")), rows_of(text("b"), text("2"))
    bad = rows_of(text("x") + text("x"), text("3"))
    data = book(("One", one), ("Two#", two), ("Bad", bad), ("Empty", ""))
    assert fields("xlsx", data) == [{"a": "1"}, {"b": "2"}]
    assert refused("xlsx", data) == {"a#Bad!1": "bad-header"}
    assert fields("xlsx", data, sheet="Two#") == [{"b": "2"}]
    assert refused("xlsx", data, sheet="None") == {"a": "no-sheet"}


@pytest.mark.parametrize(
    "cell",
    ['<c t="s"><v>9</v></c>', "<c><v>one</v></c>", '<c t="s"><v>-1</v></c>',
     '<c r="?"><v>1</v></c>',
     '<c r="XFE1"><v>1</v></c>', '<c s="x"><v>1</v></c>', "<c><v>nan</v></c>"],
)  # fmt: skip
def test_a_cell_that_is_none_is_refused(cell: str) -> None:
    data = book(("S", rows_of(text("a"), cell)), ("T", rows_of(text("b"), text("1"))))
    assert set(refused("xlsx", data).values()) == {"bad-value"}
    assert fields("xlsx", data) == [{"b": "1"}], "the other sheet is read"


def test_a_sheet_that_no_workbook_should_have_reads_nothing_of_this_machine() -> None:
    data = book(("S", rows_of(text("a"))))
    data = data.replace(b"/xl/s0.xml", b"/../../x.x")
    assert set(refused("xlsx", data)) in ({"a#S"}, {"a"})


@given(st.floats(0, 2_000_000))
def test_no_number_of_days_breaks_the_reading(days: float) -> None:
    shown = workbook._date(days, datetime.datetime(1899, 12, 30))
    assert isinstance(shown, str | float)
