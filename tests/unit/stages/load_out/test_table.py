"""The type of a column follows from the data alone, and no value becomes another."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.stages.load_out import table
from tunesmith.stages.load_out.table import Table, alike, asset_table, dataset_table

VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.integers(-9, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    | st.lists(st.integers(0, 3), max_size=2)
    | st.dictionaries(st.sampled_from("ab"), st.text(max_size=2), max_size=2)
)


def asset(path: Path, records: list[dict]) -> Table:
    rows = [
        {"row_id": f"{n:032}", "text": "said", "label": "", "attributes": json.dumps(each)}
        for n, each in enumerate(records)
    ]
    schema = {name: pa.string() for name in ("row_id", "text", "label", "attributes")}
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(schema)), path)
    return asset_table(path)


def side(path: Path, format: str, contents: list[dict]) -> Table:
    rows = [
        {"row_id": f"{n:032}", "asset": "notes", "content": json.dumps(each)}
        for n, each in enumerate(contents)
    ]
    schema = pa.schema({name: pa.string() for name in ("row_id", "asset", "content")})
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    return dataset_table(path, format)


def column(made: Table, name: str) -> tuple[str, list]:
    found = pa.Table.from_batches(made.batches(), made.schema).column(name)
    return str(found.type), found.to_pylist()


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([True, None, False], "bool", [True, None, False]),
        ([1, None, 2**62], "int64", [1, None, 2**62]),
        ([1, 2.5], "double", [1.0, 2.5]),
        ([2**53 + 1, 2.5], "string", ["9007199254740993", "2.5"]),  # as a float it is another
        ([2**63, 1], "string", ["9223372036854775808", "1"]),
        (["007", "1"], "string", ["007", "1"]),  # what looks like a number is a text
        (["a", 1, True], "string", ["a", "1", "true"]),
        ([True, 1], "string", ["true", "1"]),
        ([None, None], "string", [None, None]),
        ([["a"], {"b": "ä"}], "string", ['["a"]', '{"b": "ä"}']),
    ],
)
def test_types(tmp_path, values, kind, expected):
    made = asset(tmp_path / "rows", [{"v": value} for value in values])
    assert column(made, "v") == (kind, expected)


@settings(max_examples=50)
@given(values=st.lists(VALUES, max_size=8), order=st.randoms())
def test_no_value_is_changed_and_the_order_of_rows_does_not_matter(tmp_path_factory, values, order):
    path = tmp_path_factory.mktemp("types") / "rows"
    made = asset(path, [{"v": value} for value in values])
    _, found = column(made, "v") if values else ("", [])
    for value, cell in zip(values, found, strict=True):
        if isinstance(cell, str) and not isinstance(value, str):
            assert json.loads(cell) == value
        else:
            assert cell == value
    shuffled = list(values)
    order.shuffle(shuffled)
    assert asset(path, [{"v": value} for value in shuffled]).schema == made.schema


def test_fields_are_sorted_and_none_hides_a_column_of_ours(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "_BATCH_ROWS", 1)  # types are those of all batches
    records = [{"z": 1, "text": "raw"}, {"row_id": 7, "text_field": 1, "z": 2.5}]
    made = asset(tmp_path / "rows", records)
    assert made.schema.names == [
        "row_id", "text", "label", "row_id_field", "text_field_field", "text_field", "z",
    ]  # fmt: skip
    assert column(made, "row_id_field") == ("int64", [None, 7])
    assert column(made, "text_field") == ("int64", [None, 1])
    assert column(made, "text_field_field") == ("string", ["raw", None])
    assert column(made, "z") == ("double", [1.0, 2.5])


def test_a_conversation_has_what_some_turn_says_on_either_side(tmp_path):
    call = {"name": "f", "arguments": {"x": 1}, "id": "c1"}
    bare = {"tool_calls": [], "tool_call_id": "", "weight": 1.0}
    hello = {"role": "user", "content": "hello", **bare}
    train = side(tmp_path / "train", "chat", [{"messages": [hello], "tools": []}])
    test = side(
        tmp_path / "test",
        "chat",
        [{"messages": [hello, {**bare, "role": "assistant", "content": "", "tool_calls": [call]}],
          "tools": [{"name": "f"}]}],
    )  # fmt: skip
    assert [f.name for f in train.schema.field("messages").type.value_type] == ["role", "content"]
    both = alike({"train": train, "test": test})
    assert both["train"].schema == both["test"].schema
    (row,) = pa.Table.from_batches(both["test"].batches()).to_pylist()
    made = {"name": "f", "arguments": '{"x": 1}'}
    assert row["messages"][1]["tool_calls"] == [{"id": "c1", "type": "function", "function": made}]
    assert json.loads(row["tools"]) == [{"name": "f"}]
    (flat,) = pa.Table.from_batches(both["train"].flat_batches()).to_pylist()
    assert json.loads(flat["messages"]) == [{"role": "user", "content": "hello"}]


@pytest.mark.parametrize(
    ("format", "content", "types"),
    [
        ("labels", {"text": "t", "label": "l"}, ["string", "string"]),
        ("feedback", {"prompt": "p", "completion": "c", "label": True}, ["string"] * 2 + ["bool"]),
        ("tags", {"tokens": ["a"], "tags": ["B"]}, ["list<item: string>"] * 2),
        ("pairs", {"anchor": "a", "positive": "b", "negatives": []},
         ["string", "string", "list<item: string>"]),
    ],
)  # fmt: skip
def test_columns_of_a_dataset_are_those_of_its_format(tmp_path, format, content, types):
    made = side(tmp_path / "rows", format, [dict(sorted(content.items()))])
    assert made.schema.names == ["row_id", "asset", *content]
    assert [str(field.type) for field in made.schema][2:] == types
    assert next(made.rows()) == {"row_id": "0" * 32, "asset": "notes", **content}
