"""Contracts of the Open Data Contract Standard, and what must hold of all rows together."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import duckdb
import open_data_contract_standard.model as oracle
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner

from tunesmith.asset.checks import TableCheck, evaluate, require
from tunesmith.asset.contract import FieldRule
from tunesmith.cli.main import app
from tunesmith.core.canonical import fingerprint
from tunesmith.core.errors import ConfigError, DataError
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.odcs import read, with_contract_file, write
from tunesmith.stages.ingest.run import ingest

HOW_TO = Path(__file__).parents[4] / "docs" / "how-to" / "write-a-data-contract.md"
FILE = """\
apiVersion: v3.1.0
kind: DataContract
id: 53581432-6c55-4ba2-a65f-72344a91553a
version: 1.0.0
status: active
description: {purpose: what the mail room sorts}
team: {name: mail room}
schema:
  - name: mail
    physicalType: file
    properties:
      - name: id
        logicalType: integer
        primaryKey: true
        logicalTypeOptions: {minimum: 1}
      - name: kind
        logicalType: string
        required: true
        quality:
          - {metric: invalidValues, arguments: {validValues: [bill, other]}, mustBe: 0}
      - name: code
        logicalType: string
        logicalTypeOptions: {minLength: 2, maxLength: 4, pattern: '^[A-Z]+$'}
        quality:
          - {metric: nullValues, mustBeLessThan: 50, unit: percent, severity: warning}
          - {type: text, description: codes are those of the plan of 2026}
      - name: at
        logicalType: timestamp
        quality: [{metric: nullValues, mustBe: 0}]
    quality:
      - {name: enough, metric: rowCount, mustBeBetween: [2, 1000]}
      - {metric: duplicateValues, arguments: {properties: [kind, code]}, mustBeLessOrEqualTo: 1}
      - {type: sql, query: 'SELECT max(id) FROM {object}', mustBeLessThan: 100}
"""


def test_a_file_becomes_rules_for_each_record_and_for_all():
    """No rule of it is passed over: complaint 7 of the data reference is of one that was."""
    said = read(FILE.encode(), "mail")
    checks = said.checks
    assert said.refresh_within is None
    assert said.contract == {
        "id": FieldRule(type="integer", unique=True, minimum=1),
        "kind": FieldRule(values=("bill", "other")),
        "code": FieldRule(required=False, min_chars=2, max_chars=4, pattern="^[A-Z]+$"),
        "at": FieldRule(type="date"),
    }
    assert [(check.what(), check.wanted(), check.severity) for check in checks] == [
        ("null_values of code in percent", "to be less than 50", "warning"),
        ("row_count", "to be from 2 to 1000", "error"),
        ("duplicate_values of kind, code", "to be at most 1", "error"),
        ("sql", "to be less than 100", "error"),
    ]
    assert checks[-1].query == "SELECT max(id) FROM rows"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("v3.1.0", "v2.2.2", "no DataContract of v3.0.0 to"),
        ("id: 53581432-6c55-4ba2-a65f-72344a91553a", "id: 7", "no id, or it is no string"),
        ("name: mail\n", "name: post\n  - name: other\n", "none of its 2 tables is 'mail'"),
        ("required: true", "required: yep", "required 'yep' is neither"),
        ("required: true", "requried: true", "did you mean 'required'?"),
        ("minimum: 1", "multipleOf: 5", "'multipleOf' is not read here"),
        ("minimum: 1", "minimum: .nan", "minimum Input should be a finite number"),
        ("[2, 1000]", "[2, .inf]", "must_be_between"),
        ("minLength: 2", "format: email", "'format' is not read here"),
        ("minLength: 2", "minLength: -2", "min_chars Input should be greater"),
        ("^[A-Z]+$", "[A-Z]+", "does not say where it begins and ends"),
        ("^[A-Z]+$", "^[A-Z+$", "no regular expression"),
        ("logicalType: timestamp", "logicalType: time", "logicalType 'time'"),
        ("logicalType: timestamp", "physicalType: TEXT", "logicalType None"),
        ("logicalType: timestamp", "logicalType: date\n        physicalName: a", "physicalName is"),
        ("metric: rowCount", "metric: freshness", "metric 'freshness'"),
        ("metric: rowCount", "rule: rowCount", "'rule' is not read here"),
        ("metric: rowCount", "metric: rowCount, unit: percent", "not a share of the rows"),
        ("mustBeBetween: [2, 1000]", "mustBeBetween: [2]", "must_be_between"),
        (", mustBeBetween: [2, 1000]", "", "say what it must be"),
        ("type: sql", "type: custom", "type 'custom'"),
        ("type: sql", "type: sql, schedule: 0 20 * * *", "'schedule' is not read here"),
        ("severity: warning", "severity: high", "severity 'high'"),
        ("FROM {object}", "FROM {object} WHERE {property} > 1", "it is of no property"),
        ("arguments: {properties", "arguments: {columns", "'columns' is not read here"),
        ("mustBe: 0}]", "mustBe: 0, mustBe: 1}]", "a key that is there twice"),
        ("team: {name: mail room}", "team: &a {name: b}\nprice: *a", "an alias"),
        ("kind: DataContract", "kind: [", "no YAML that is read here"),
    ],
)
def test_what_is_not_read_is_an_error_that_names_it(old, new, said):
    assert old in FILE
    with pytest.raises(DataError, match=re.escape(said)):
        read(FILE.replace(old, new).encode(), "mail")


SERVICE = """\
slaProperties:
  - {id: ga, property: generalAvailability, value: '2022-05-12T09:30:10-08:00', description: since}
  - {property: endOfSupport, value: '2032-05-12'}
  - {property: timeOfAvailability, value: '09:00', element: mail.at, driver: regulatory}
"""


@pytest.mark.parametrize(
    ("promise", "days"),
    [
        ("{property: availability, value: 99.9, unit: percent}", None),
        ("{property: freshness, value: 2}", 2),
        ("{property: freshness, value: '36', unit: d, element: mail.at, driver: analytics}", 36),
        ("{property: freshness, value: 48, unit: h, element: at}", 2),
        ("{property: freshness, value: 1, unit: week, element: mail}", 7),
        ("{property: freshness, value: 1, unit: y, element: 'mail.at, mail'}", 365),
    ],
)
def test_how_old_the_newest_row_may_be_is_the_sources_promise(promise, days):
    text = FILE + SERVICE + f"  - {promise}\n"
    assert oracle.OpenDataContractStandard.from_string(text).slaProperties, "it is the standard's"
    assert read(text.encode(), "mail").refresh_within == days


@pytest.mark.parametrize(
    ("promise", "said"),
    [
        ("{property: latency, value: 4, unit: d}", "nobody would look at property 'latency'"),
        ("{property: retention, value: 3, unit: y}", "nobody would look at property 'retention'"),
        ("{value: 3}", "property None"),
        ("{property: freshness, value: 12, unit: h}", "12 h is no whole number of days"),
        ("{property: freshness, value: 0}", "0 d is no whole number of days"),
        ("{property: freshness, value: .inf}", "is no whole number of days"),
        ("{property: freshness, value: .nan}", "is no whole number of days"),
        ("{property: freshness, value: soon}", "'soon' 'd' is no time"),
        ("{property: freshness, value: true}", "True 'd' is no time"),
        ("{property: freshness, value: 2, unit: m}", "2 'm' is no time"),
        ("{property: freshness, value: 2, unit: [d]}", "is no time"),
        ("{property: freshness, value: 2, element: mail.kind}", "'kind' is no date of mail"),
        ("{property: freshness, value: 2, element: post.at}", "'post.at' is of no table here"),
        ("{property: freshness, value: 2, element: [at]}", "is no string"),
        ("{property: freshness, value: 2, schedule: 0 30 * * *}", "'schedule' is not read here"),
        ("{property: freshness, value: 2}\n  - {property: freshness, value: 3}", "said twice"),
        ("3", "'3' where keys and values belong"),
    ],
)
def test_a_promise_that_nobody_looks_at_is_an_error_that_says_what_to_write(promise, said):
    with pytest.raises(DataError, match=re.escape(said)) as caught:
        read(f"{FILE}slaProperties:\n  - {promise}\n".encode(), "mail")
    assert "slaProperties." in caught.value.message


def test_of_several_tables_the_promise_about_the_other_is_passed_over():
    text = (
        FILE
        + "  - {name: post, properties: []}\n"
        + """\
slaProperties:
  - {property: freshness, value: 9, element: post}
  - {property: freshness, value: 2, element: 'post.at, mail.at'}
"""
    )
    assert read(text.encode(), "mail").refresh_within == 2


def test_a_promise_that_the_section_says_otherwise_is_refused(tmp_path):
    (tmp_path / "c.yaml").write_text(FILE + "slaProperties: [{property: freshness, value: 2}]\n")
    source = SourceConfig(name="mail", origin="file:m", format="jsonl", contract_file="c.yaml")
    assert with_contract_file(source, tmp_path).refresh_within == 2
    same = source.model_copy(update={"refresh_within": 2})
    assert with_contract_file(same, tmp_path).refresh_within == 2
    other = source.model_copy(update={"refresh_within": 3})
    with pytest.raises(ConfigError, match="it is 3 here and 2 days in the slaProperties"):
        with_contract_file(other, tmp_path)


def test_a_large_file_is_not_read():
    with pytest.raises(DataError, match="more than 1048576 bytes"):
        read(b"a" * (1 << 21), "mail")


NUMBERS = st.none() | st.integers(-9, 9).map(float) | st.just(0.5)


@st.composite
def sources(draw) -> SourceConfig:
    rules = {}
    for name in draw(st.lists(st.sampled_from(["a", "b c", "ü"]), unique=True, max_size=3)):
        kind = draw(st.sampled_from(["string", "integer", "number", "boolean", "date", "list"]))
        rule: dict[str, Any] = {"type": kind, "required": draw(st.booleans())}
        if kind == "string":
            rule |= {"pattern": draw(st.sampled_from(["", "[a-z]+", "^a|b$"])), "min_chars": 1}
        if kind in ("integer", "number"):
            rule |= {"minimum": draw(NUMBERS), "maximum": draw(NUMBERS)}
        if kind in ("string", "integer"):
            value = st.text("xy", min_size=1) if kind == "string" else st.integers(0, 9)
            rule |= {"values": draw(st.lists(value, max_size=2)), "unique": draw(st.booleans())}
        rules[name] = FieldRule(**rule)
    checks = [TableCheck(metric="row_count", must_be_greater_than=draw(st.integers(0, 9)))]
    for name in rules:
        more: dict[str, Any] = {"fields": [name], "severity": draw(st.sampled_from(SEVERITIES))}
        more |= {"must_be_less_than": 3, "unit": draw(st.sampled_from(["rows", "percent"]))}
        checks.append(TableCheck(metric="missing_values", values=["", "n/a"], **more))
        checks.append(TableCheck(metric="invalid_values", pattern="[0-9]+", **more))
    if len(rules) > 1:
        checks.append(TableCheck(metric="duplicate_values", fields=[*rules], must_be=0))
    return SourceConfig(
        name="mail",
        origin="file:m",
        format="jsonl",
        contract=rules,
        checks=tuple(checks),
        refresh_within=draw(st.none() | st.integers(1, 400)),
    )


SEVERITIES = ("error", "warning")


@given(sources())
def test_what_is_written_is_read_again_and_is_the_standards(source):
    """The oracle are the models of the standard's own package: they know each key."""
    text = write(source)
    said = read(text.encode(), "mail")
    assert said.contract == source.contract
    assert said.refresh_within == source.refresh_within
    assert sorted(map(fingerprint, said.checks)) == sorted(map(fingerprint, source.checks))
    known = oracle.OpenDataContractStandard.from_string(text)
    again = known.model_dump(exclude_none=True, by_alias=True)
    assert drop_nulls(again) == drop_nulls(yaml.safe_load(text))


def drop_nulls(value):
    if isinstance(value, dict):
        return {key: drop_nulls(each) for key, each in value.items() if each is not None}
    return [drop_nulls(each) for each in value] if isinstance(value, list) else value


# All rows together.

RULES = {"n": FieldRule(type="integer", required=False), "who": FieldRule(required=False)}
RECORDS = [
    {"n": 1, "who": "ann"}, {"n": 2, "who": "ann"}, {"n": 2, "who": "bob"}, {"n": None, "who": ""},
    {"who": "n/a"}, {"n": 2, "who": "ann", 'x"y': True},
]  # fmt: skip


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"attributes": [json.dumps(each) for each in RECORDS]}), path)
    return path


def found(rows: Path, only_strings: bool = False, **check: Any) -> float:
    check.setdefault("must_be", 0)
    (result,) = evaluate([TableCheck(**check)], RULES, rows, has_strings_only=only_strings)
    return result.value


def test_what_is_counted_is_what_one_counts_by_hand(rows):
    assert found(rows, metric="row_count") == 6
    assert found(rows, metric="null_values", fields=["n"]) == 2
    assert found(rows, metric="null_values", fields=["who"]) == 0
    assert found(rows, only_strings=True, metric="null_values", fields=["who"]) == 1
    assert found(rows, metric="null_values", fields=['x"y']) == 5
    assert found(rows, metric="null_values", fields=["n"], unit="percent") == pytest.approx(100 / 3)
    nothing = {"metric": "missing_values", "fields": ["who"]}
    assert found(rows, **nothing, values=["", "n/a"]) == 2
    assert found(rows, metric="missing_values", fields=["n"], values=[1]) == 3
    assert found(rows, metric="missing_values", fields=["n"], values=[1], counts_nothing=False) == 1
    assert found(rows, metric="invalid_values", fields=["n"], values=[1]) == 3
    assert found(rows, metric="invalid_values", fields=["who"], pattern="[a-z]*") == 1
    assert found(rows, metric="invalid_values", fields=['x"y'], values=[False]) == 1
    assert found(rows, metric="duplicate_values", fields=["n"]) == 2
    assert found(rows, metric="duplicate_values", fields=["n", "who"]) == 1
    assert found(rows, metric="sql", query="SELECT sum(n) FROM rows;") == 7
    assert found(rows, metric="sql", query="SELECT bool_or(n > 5) FROM rows") == 0


@pytest.mark.parametrize(
    ("bound", "holds"),
    [
        ({"must_be": 6}, True), ({"must_be": 5}, False), ({"must_not_be": 6}, False),
        ({"must_be_greater_than": 6}, False), ({"must_be_greater_or_equal_to": 6}, True),
        ({"must_be_less_than": 6}, False), ({"must_be_less_or_equal_to": 6}, True),
        ({"must_be_between": (6, 7)}, True), ({"must_not_be_between": (5, 6)}, False),
        ({"must_be_greater_than": 5, "must_be_less_than": 6}, False),
    ],
)  # fmt: skip
def test_each_operator_says_what_it_says(rows, bound, holds):
    check = TableCheck(metric="row_count", **bound)
    (result,) = evaluate([check], RULES, rows, has_strings_only=False)
    assert result.holds is holds
    if holds:
        assert require([result], "mail") == ()
    else:
        with pytest.raises(DataError, match="row_count is 6, and has " + check.wanted()[:9]):
            require([result], "mail")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT n FROM rows", "does not say one number"),
        ("SELECT max(n) FROM rows WHERE n > 9", "does not say one number"),
        ("SELECT 1, 2", "does not say one number"),
        ("DROP TABLE rows", "not one SELECT"),
        ("SELECT 1; SELECT 2", "not one SELECT"),
        ("SELECT count(*) FROM mail", "mail"),
        ("SELECT count(*) FROM read_text('/etc/passwd')", "disabled"),
        ("SELECT", "Parser Error"),
    ],
)
def test_a_query_that_counts_nothing_is_told(rows, query, said):
    with pytest.raises(DataError, match=re.escape(said)):
        found(rows, metric="sql", query=query)


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ({"metric": "row_count", "fields": ["a"], "must_be": 1}, "is of 0 fields, not 1"),
        ({"metric": "null_values", "must_be": 1}, "is of 1 fields, not 0"),
        ({"metric": "duplicate_values", "must_be": 1}, "at least one field"),
        ({"metric": "row_count"}, "say what it must be"),
        ({"metric": "invalid_values", "fields": ["a"], "must_be": 1}, "say what is valid"),
        ({"metric": "sql", "must_be": 1}, "needs query"),
        ({"metric": "sql", "query": "SELECT 1", "unit": "percent", "must_be": 1}, "not a share"),
        ({"metric": "row_count", "values": [1], "must_be": 1}, "values is not read with metric"),
    ],
)
def test_a_check_that_says_nothing_is_refused(check, said):
    with pytest.raises(ValidationError, match=said):
        TableCheck(**check)


def test_a_pattern_that_sql_reads_otherwise_is_refused():
    with pytest.raises(Exception, match="does not understand as Python does"):
        TableCheck(metric="invalid_values", fields=["a"], pattern=r"\w+", must_be=0)


def test_a_run_stops_where_a_check_fails_and_says_where_one_warns(ctx, make_package):
    data = "\n".join(map(json.dumps, RECORDS)).encode()

    def taken(*checks: dict[str, Any]):
        source = SourceConfig(
            name="mail", origin="file:m", format="jsonl", contract=RULES, checks=checks
        )
        return ingest(source, ctx, package=make_package({"r": data}))

    few = {"metric": "row_count", "must_be_greater_than": 6, "name": "enough"}
    with pytest.raises(DataError, match="enough: row_count is 6, and has to be greater than 6"):
        taken({**few, "severity": "warning"}, few)
    asset = taken({**few, "severity": "warning"})
    assert asset.warnings == ("enough: row_count is 6, and has to be greater than 6",)
    assert taken().warnings == ()


VALUES = {
    "csv": b"n,s\n1,a\n,b\nx,c\n5,d\n2,e\n2.0,f\n",
    "jsonl": b'{"n":1}\n{"n":null}\n{"n":"x"}\n{"n":5}\n{"n":2}\n{"n":2.0}\n{}\n',
}


@pytest.mark.parametrize("form", VALUES)
def test_complaint_7_no_row_passes_that_breaks_a_rule_and_all_are_told_at_once(
    ctx, make_package, form
):
    """pandera#1830, #2034: rows that were to be dropped came through; #1835: null counted
    otherwise by the engine; #484: ten passes until all was told."""
    rules = {"n": FieldRule(type="integer", maximum=3)}
    source = SourceConfig(name="m", origin="file:m", format=form, contract=rules)
    asset = ingest(source, ctx, package=make_package({"r": VALUES[form]}))
    passed = pq.read_table(ctx.blobs.path(asset.rows)).column("attributes").to_pylist()
    assert [int(json.loads(each)["n"]) for each in passed] == [1, 2]
    told = pq.read_table(ctx.blobs.path(asset.quarantine)).column("rule").to_pylist()
    assert told[:4] == ["missing-field", "wrong-type", "out-of-range", "wrong-type"]
    assert len(told) == asset.num_quarantined == asset.num_in - 2


def test_the_key_of_a_source_without_checks_is_what_it_was():
    plain = SourceConfig(name="mail", origin="file:m", format="jsonl")
    assert not {"checks", "contract_file"} & plain.model_dump().keys()


# As users go.


def run_sql(sql: str, lines: list[str]) -> list[Any]:
    """What each statement says of the lines of a CSV, of which the first two are accepted."""
    connection = duckdb.connect()
    connection.execute("CREATE TABLE records (place BIGINT, pointer TEXT, fields TEXT)")
    records = [json.dumps(each) for each in csv.DictReader(lines)]
    rows = [[place, f"r{place}", each] for place, each in enumerate(records, start=1)]
    connection.executemany("INSERT INTO records VALUES (?, ?, ?)", rows)
    connection.execute("CREATE VIEW accepted AS SELECT fields AS attributes FROM records LIMIT 2")
    statements = connection.extract_statements(sql)
    return [connection.execute(each).fetchall() for each in statements]


def test_the_page_is_as_it_ran(tmp_path):
    """A file of the standard is what a source is read by; forms and verdicts, by the commands."""
    page = HOW_TO.read_text()
    (contract,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (settings, *_) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "mail.odcs.yaml").write_text(contract)
    (tmp_path / "tunesmith.toml").write_text(f'[project]\nname = "mail"\n\n{settings}')
    lines = ["id,kind,body", "1,bill,please pay", "2,other,hello", "2,bill,twice", "3,spam,buy"]
    (tmp_path / "mail.csv").write_text("\n".join(lines))

    def tunesmith(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, [*words, "-p", str(tmp_path)])
        assert done.exit_code == code, f"{done.output}{done.exception!r}"
        return done.stdout

    tunesmith("run")
    shown = [tunesmith("data", "contract"), tunesmith("data", "contract", "--check", code=1)]
    for each in shown:
        assert "".join(f"    {line}\n" for line in each.splitlines()) in page
    assert json.loads(tunesmith("data", "contract", "--check", "--json", code=1))["broken"] == {
        "not-unique": 1, "unknown-value": 1,
    }  # fmt: skip
    assert read(tunesmith("data", "contract", "--odcs").encode(), "mail") == read(
        contract.encode(), "mail"
    )
    verdicts, _, *counts = run_sql(
        json.loads(tunesmith("data", "contract", "--sql", "--json"))["sql"], lines
    )
    assert verdicts == [
        (1, "r1", None, None), (2, "r2", None, None), (3, "r3", "not-unique", "id"),
        (4, "r4", "unknown-value", "kind"),
    ]  # fmt: skip
    assert counts == [[(0.0, True)], [(2, True)], [(2, True)]]
    done = CliRunner().invoke(app, ["data", "contract", "--sql", "--odcs", "-p", str(tmp_path)])
    assert "one at a time" in str(done.exception)

    (tmp_path / "contracts" / "mail.odcs.yaml").write_text(contract.replace("1000]", "1]"))
    done = CliRunner().invoke(app, ["run", "-p", str(tmp_path)])
    assert "does not keep its contract" in str(done.exception)
    assert "fails: " in tunesmith("data", "contract", "--check", code=1)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("none.yaml", None, "there is no none.yaml"),
        ("../out.yaml", "", "leads out of the project's folder"),
        ("bad.yaml", "kind: x", "source.mail.contract_file: bad.yaml: the file: it is no Data"),
    ],
)
def test_a_file_that_is_none_is_told_by_its_key(tmp_path, name, text, said):
    folder = tmp_path / "project"
    folder.mkdir()
    if text is not None:
        (folder / name).write_text(text)
    (folder / "tunesmith.toml").write_text(
        '[project]\nname = "m"\n[source.mail]\norigin = "file:m"\nformat = "jsonl"\n'
        f'contract_file = "{name}"\n'
    )
    done = CliRunner().invoke(app, ["plan", "-p", str(folder)])
    assert isinstance(done.exception, ConfigError)
    assert said in str(done.exception)


def test_a_file_says_it_all():
    with pytest.raises(ValidationError, match="leave contract and checks out"):
        SourceConfig(
            name="m", origin="file:m", format="jsonl", contract_file="a.yaml", contract=RULES
        )
