"""What a transform promises of its rows: of each, and of all together."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunesmith.core.errors import DataError
from tunesmith.stages.transform.config import TransformConfig

VISITS = [
    {"id": 1, "minutes": 10, "kind": "cough", "text": "One."},
    {"id": 2, "minutes": -3, "kind": "cough", "text": "Two."},
    {"id": 3, "minutes": 20, "kind": "rush", "text": "Three."},
    {"id": 4, "minutes": 30, "kind": "rash", "text": "Four."},
    {"id": 5, "minutes": None, "kind": "rash", "text": "Five."},
]
CONTRACT: dict[str, Any] = {
    "id": {"type": "integer", "unique": True},
    "minutes": {"type": "integer", "minimum": 0},
    "kind": {"values": ["cough", "rash"]},
    "text": {},
}
SQL = "SELECT row_id, id, minutes, kind, text FROM visits"


def refused(desk, made) -> dict[str, tuple[str, str]]:
    rows = pq.read_table(io.BytesIO(desk.blobs.get(made.quarantine))).to_pylist()
    return {row["pointer"]: (row["rule"], row["reason"]) for row in rows}


@pytest.mark.parametrize("how", [{"sql": SQL}, {"python": "def tidy(row): return row"}])
def test_a_row_that_breaks_it_is_quarantined_with_the_rule(desk, how):
    made = desk.run(desk.asset("visits", *VISITS), contract=CONTRACT, **how)
    assert refused(desk, made) == {
        "visits.jsonl#2": ("out-of-range", "the field 'minutes' is -3, and less than 0"),
        "visits.jsonl#3": (
            "unknown-value", "the field 'kind' is \"rush\", and none of \"cough\", \"rash\"",
        ),
        "visits.jsonl#5": ("missing-field", "the field 'minutes' is missing or empty"),
    }  # fmt: skip
    assert sorted(row["attributes"]["id"] for row in desk.rows(made)) == [1, 4]
    assert (made.num_in, made.num_rows, made.num_quarantined) == (5, 2, 3)
    assert (made.num_used, made.num_refused, made.num_unused) == (2, 3, 0)


def test_a_row_of_two_is_not_unique_and_says_where_the_first_is(desk):
    same = "def tidy(row): return row"  # row by row, in the order of the source
    # The third, which is refused for its kind, does not count as seen.
    rows = [*VISITS, {**VISITS[3], "id": 3}, {**VISITS[0], "minutes": 4}]
    made = desk.run(desk.asset("visits", *rows), contract=CONTRACT, python=same)
    assert refused(desk, made)["visits.jsonl#7"] == (
        "not-unique",
        "the field 'id' is 1 in visits.jsonl#1, too",
    )
    assert [row["attributes"]["id"] for row in desk.rows(made)] == [1, 4, 3]


def test_a_field_that_is_not_named_is_kept_or_not(desk):
    sql = "SELECT row_id, id, text, 7 AS more FROM visits WHERE id = 1"
    some = {"id": {"type": "integer"}, "text": {}}
    visits = desk.asset("visits", *VISITS)
    assert desk.run(visits, contract=some, sql=sql).num_rows == 1
    with pytest.raises(DataError, match=r"makes no usable row.*no field 'more'"):
        desk.run(visits, contract=some, sql=sql, other_fields="quarantine")
    with_title = {**some, "more": {"type": "integer"}}
    made = desk.run(visits, contract=with_title, sql=sql, title="text", other_fields="quarantine")
    assert made.num_rows == 1  # the attribute `title` is this program's, and no field of theirs


def test_too_many_bad_rows_stop_the_run(desk):
    with pytest.raises(DataError, match="3 of 5 rows would be quarantined"):
        desk.run(desk.asset("visits", *VISITS), contract=CONTRACT, sql=SQL, max_quarantined=0.5)


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (
            {"metric": "row_count", "must_be_greater_than": 2},
            "is 2, and has to be greater",
        ),
        ({"metric": "sql", "query": "SELECT sum(minutes) FROM rows", "must_be": 41}, "sql is 40"),
        ({"metric": "sql", "query": "DROP TABLE rows", "must_be": 0}, "not one SELECT"),
        ({"metric": "sql", "query": "SELECT count(*) FROM 'x.csv'", "must_be": 0}, "x.csv"),
    ],
)
def test_what_does_not_hold_of_all_rows_stops_the_run(desk, check, said):
    with pytest.raises(DataError) as caught:
        desk.run(desk.asset("visits", *VISITS), contract=CONTRACT, sql=SQL, checks=[check])
    assert said in str(caught.value)


def test_a_warning_stands_in_the_record(desk):
    made = desk.run(
        desk.asset("visits", *VISITS),
        contract=CONTRACT,
        sql=SQL,
        checks=[
            {"name": "enough", "metric": "row_count", "must_be_greater_than": 2,
             "severity": "warning"},
            {"metric": "duplicate_values", "fields": ["id"], "must_be": 0},
        ],
    )  # fmt: skip
    assert made.warnings == ("enough: row_count is 2, and has to be greater than 2",)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"other_fields": "quarantine"}, "other_fields is not read without a contract"),
        ({"contract": {"id": {"type": "int"}}}, "contract.id.type"),
        ({"contract": {"id": {"minimum": 1}}}, "minimum is not read with type 'string'"),
        ({"checks": [{"metric": "row_count"}]}, "say what it must be"),
    ],
)
def test_settings_that_are_wrong(settings, said):
    with pytest.raises(ValueError, match=said):
        TransformConfig(name="made", sources=("visits",), sql=SQL, **settings)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    numbers=st.lists(st.integers(-3, 3), min_size=1, max_size=12),
    least=st.integers(-3, 3),
    is_unique=st.booleans(),
)
def test_what_is_kept_is_what_a_plain_loop_keeps(desk, numbers: Sequence[int], least, is_unique):
    kept: list[int] = []
    for number in numbers:
        if number >= least and not (is_unique and number in kept):
            kept.append(number)
    rows = [{"n": number, "text": "x"} for number in numbers]
    rule = {"type": "integer", "minimum": least, "unique": is_unique}
    run = {"contract": {"n": rule}, "sql": "SELECT row_id, n, text FROM visits"}
    if not kept:
        with pytest.raises(DataError, match="makes no usable row"):
            desk.run(desk.asset("visits", *rows), **run)
        return
    made = desk.run(desk.asset("visits", *rows), **run)
    # In which order a query answers is not said; equal rows are equal here.
    assert sorted(row["attributes"]["n"] for row in desk.rows(made)) == sorted(kept)
