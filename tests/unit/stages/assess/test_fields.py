"""The fields of a version, and what differs between those of two."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tunesmith.stages.assess import fields
from tunesmith.stages.assess.fields import field_changes, fields_of


def table(path, records: list[dict]):
    pq.write_table(pa.table({"attributes": [json.dumps(each) for each in records]}), path)
    return path


def test_the_types_are_those_of_all_values_and_null_is_one_only_where_nothing_else_is(tmp_path):
    records = [
        {"a": 1, "b": 1, "c": None, "d": True, "e": "x", "f": None, 'odd "name".$': 2**70},
        {"a": 2.5, "b": "1", "c": "x", "d": False, "e": "", "f": None, "g": [], "h": {"z": 1}},
    ]
    assert fields_of(table(tmp_path / "rows", records), 2) == {
        "a": "number", "b": "integer or text", "c": "text", "d": "boolean", "e": "text",
        "f": "null", "g": "list", "h": "object", 'odd "name".$': "integer",
    }  # fmt: skip


def test_of_many_rows_all_names_are_known_and_a_type_that_is_not_is_no_change(
    tmp_path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fields, "ROWS_FOR_TYPES", 10)
    rows = [{"id": number} | ({"rare": "x"} if number == 33 else {}) for number in range(100)]
    found = fields_of(table(tmp_path / "rows", rows), 100)
    assert found == {"id": "integer", "rare": ""}
    assert field_changes(found, {"id": "integer", "rare": "text"}) == ()
    (new,) = field_changes({"id": "integer"}, found)
    assert new.said() == "new field rare"


def test_what_came_went_and_changed_its_type_is_said_in_words():
    changed = field_changes(
        {"id": "integer", "y": "text", "same": "list"},
        {"x": "integer", "id": "text", "same": "list"},
    )
    assert [each.said() for each in changed] == [
        "new field x (integer)", "field y is gone", "id was integer, is text",
    ]  # fmt: skip
