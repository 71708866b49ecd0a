"""What a source's records must be, and what becomes of those that are not."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.asset.contract import Contract, FieldRule
from tunesmith.core.errors import DataError
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset, Package
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.run import ingest

MakePackage = Callable[[dict[str, bytes]], Package]
CONTRACT: dict[str, Any] = {
    "id": {"type": "integer", "unique": True, "minimum": 1},
    "kind": {"values": ["a", "b"]},
    "code": {"pattern": "[A-Z]{2}[0-9]+", "max_chars": 5, "required": False},
    "price": {"type": "number", "maximum": 99.5, "required": False},
    "at": {"type": "date", "required": False},
    "tags": {"type": "list", "required": False},
}


def source(**changes: Any) -> SourceConfig:
    given = {"name": "rows", "origin": "file:rows", "format": "jsonl", "contract": CONTRACT}
    return SourceConfig(**given | changes)


def refused(ctx: Context, asset: DataAsset) -> dict[str, tuple[str, str]]:
    rows = pq.read_table(io.BytesIO(ctx.blobs.get(asset.quarantine))).to_pylist()
    assert asset.num_in == asset.num_rows + len(rows) + asset.num_filtered
    return {row["pointer"]: (row["rule"], row["reason"]) for row in rows}


def taken(ctx: Context, make_package: MakePackage, records: list[Any], **changes: Any) -> DataAsset:
    data = "\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    return ingest(source(**changes), ctx, package=make_package({"r": data.encode()}))


@pytest.mark.parametrize(
    ("changes", "rule", "said"),
    [
        ({"id": None}, "missing-field", "'id' is missing or empty"),
        ({"kind": ""}, "missing-field", "'kind' is missing or empty"),
        ({"id": "7"}, "wrong-type", "'id' is \"7\", and no integer"),
        ({"id": 7.5}, "wrong-type", "no integer"),
        ({"id": True}, "wrong-type", "'id' is true, and no integer"),
        ({"id": 0}, "out-of-range", "less than 1"),
        ({"id": 1}, "not-unique", "'id' is 1 in r#1, too"),
        ({"kind": "c"}, "unknown-value", 'none of "a", "b"'),
        ({"code": "AB12345"}, "wrong-length", "7 characters"),
        ({"code": "ab1"}, "wrong-form", "does not match"),
        ({"code": "AB1\n"}, "wrong-form", "does not match"),
        ({"price": 99.6}, "out-of-range", "more than 99.5"),
        ({"price": "3"}, "wrong-type", "no number"),
        ({"at": "2026-13-01"}, "wrong-type", "no date"),
        ({"tags": {}}, "wrong-type", "no list"),
        ({"tags": "x" * 500}, "wrong-type", "…"),
    ],
)
def test_a_record_that_breaks_it_is_quarantined_with_the_rule(
    ctx: Context, make_package: MakePackage, changes: dict[str, Any], rule: str, said: str
) -> None:
    good = {"id": 1, "kind": "a", "code": "AB1", "price": 3, "at": "2026-01-02", "tags": []}
    bad = {**good, "id": 2, **changes}
    asset = taken(ctx, make_package, [good, bad, {"id": 3, "kind": "b", "more": 1}])
    assert asset.num_rows == 2
    ((pointer, (found, reason)),) = refused(ctx, asset).items()
    assert (pointer, found) == ("r#2", rule)
    assert said in reason


def test_what_is_quarantined_or_left_out_does_not_count_as_seen(
    ctx: Context, make_package: MakePackage
) -> None:
    records = [{"id": 1, "kind": "c"}, {"id": 1, "kind": "b"}, {"id": 1, "kind": "a"}]
    asset = taken(ctx, make_package, records, where={"kind": "a"})
    assert (asset.num_rows, asset.num_filtered, refused(ctx, asset)) == (1, 2, {})
    asset = taken(ctx, make_package, records)
    assert {p: rule for p, (rule, _) in refused(ctx, asset).items()} == {
        "r#1": "unknown-value",
        "r#3": "not-unique",
    }


def test_a_field_that_is_new_is_kept_or_not(ctx: Context, make_package: MakePackage) -> None:
    records = [{"id": 1, "kind": "a"}, {"id": 2, "kind": "a", "new": 1}]
    assert taken(ctx, make_package, records).num_rows == 2
    asset = taken(ctx, make_package, records, other_fields="quarantine")
    assert refused(ctx, asset)["r#2"] == ("unknown-field", "the contract has no field 'new'")


def test_a_renamed_field_stops_the_run_where_that_was_asked(
    ctx: Context, make_package: MakePackage
) -> None:
    records = [{"id": n, "kind" if n < 8 else "sort": "a"} for n in range(1, 11)]
    assert taken(ctx, make_package, records, max_quarantined=0.3).num_quarantined == 3
    with pytest.raises(
        DataError, match=r"3 of 10 records would be quar.*missing-field 3.*r#8"
    ) as e:
        taken(ctx, make_package, records, max_quarantined=0.29)
    assert "max_quarantined" in e.value.remedy


@pytest.mark.parametrize("format", ["csv", "tsv", "front-matter"])
def test_where_all_are_strings_what_they_say_counts(
    ctx: Context, make_package: MakePackage, format: str
) -> None:
    contract = {
        "id": {"type": "integer", "unique": True},
        "price": {"type": "number"},
        "done": {"type": "boolean"},
        "zip": {"pattern": "[0-9]{5}"},
    }
    rows = [("1", "2.50", "yes", "01234"), ("+1", ".5", "no", "01234"), ("x", "1", "no", "01234")]
    if format == "front-matter":
        files = {
            str(n): f"---\nid: {i}\nprice: {p}\ndone: {d}\nzip: '{z}'\n---\n\nText {n}.\n".encode()
            for n, (i, p, d, z) in enumerate(rows)
        }
    else:
        mark = "," if format == "csv" else "\t"
        lines = [mark.join(row) for row in [("id", "price", "done", "zip"), *rows]]
        files = {"r": "\n".join(lines).encode()}
    config = source(format=format, contract=contract, label="zip")
    asset = ingest(config, ctx, package=make_package(files))
    assert [rule for rule, _ in refused(ctx, asset).values()] == ["not-unique", "wrong-type"]
    (kept,) = pq.read_table(io.BytesIO(ctx.blobs.get(asset.rows))).to_pylist()
    assert kept["label"] == "01234", "a rule reads, and changes nothing"


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"pattern": "("}, "no regular expression"),
        ({"minimum": 1}, "minimum is not read with type 'string'"),
        ({"type": "integer", "pattern": "a"}, "pattern is not read with type 'integer'"),
        ({"type": "boolean", "values": [True]}, "values is not read"),
        ({"type": "integer", "values": ["1"]}, "'1' is no integer"),
        ({"typ": "integer"}, "extra|Extra"),
        ({"type": "text"}, "string"),
    ],
)
def test_rules_that_are_wrong(rule: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FieldRule(**rule)
    with pytest.raises(ValueError, match="not read without a contract"):
        source(contract={}, other_fields="quarantine")
    with pytest.raises(ValueError, match="contract is not read with format 'text'"):
        source(format="text")


def test_a_section_that_was_written_out_is_read_again() -> None:
    config = source(other_fields="quarantine", max_quarantined=0.5)
    assert SourceConfig.model_validate(json.loads(config.model_dump_json())) == config


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@given(
    value=json_values,
    type=st.sampled_from(("string", "integer", "number", "boolean", "date", "list", "object")),
    strings=st.booleans(),
)
def test_no_value_is_too_odd_to_be_judged(value: Any, type: Any, strings: bool) -> None:
    rules = {"a": FieldRule(type=type, unique=True)}
    contract = Contract(rules, allows_others=False, has_strings_only=strings)
    first = contract.problem({"a": value}, "r#1")
    assert (first is None) == (contract.problem({"a": value}, "r#2") == (
        "not-unique", contract.problem({"a": value}, "r#3")[1],  # type: ignore[index]
    ))  # fmt: skip
    assert contract.problem({"b": value}, "r#4") == (
        "unknown-field", "the contract has no field 'b'",
    )  # fmt: skip
