"""What belongs together is on one side of the split, whatever it says."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.core.errors import DataError
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset, Dataset
from tunesmith.records.model import BaseModel
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.curate.rows import Row
from tunesmith.stages.curate.run import curate
from tunesmith.stages.curate.together import joined, text_of
from tunesmith.text.dedup import components

MakeAsset = Callable[..., DataAsset]
VALUES = st.one_of(st.none(), st.just(""), st.integers(0, 5), st.sampled_from("abc"))


def config(**settings: Any) -> DatasetConfig:
    return DatasetConfig(
        **{
            "name": "letters",
            "sources": ["mail"],
            "base": "words",
            "instruction": "Name the department.",
            "num_labels": 2,
            "train_per_label": 60,
            "test_per_label": 20,
            "min_chars": 5,
            **settings,
        }
    )


def row(asset: str, attributes: str) -> Row:
    return Row(row_id="", asset=asset, pointer="", text="", label="", attributes=attributes)


def letters(number: int) -> list[tuple[str, str]]:
    """Texts that share no word, of two labels."""
    return [(f"a{n} b{n} c{n} d{n}", "sales" if n % 2 else "returns") for n in range(number)]


def sides(ctx: Context, dataset: Dataset) -> tuple[set[str], set[str]]:
    """The pointers of each side."""
    found = (
        set(pq.read_table(io.BytesIO(ctx.blobs.get(side.rows)))["pointer"].to_pylist())
        for side in (dataset.train, dataset.test)
    )
    train, test = found
    return train, test


@pytest.mark.parametrize(("together", "subject"), [(["customer"], ""), ([], "customer")])
def test_rows_of_one_customer_are_on_one_side(
    ctx: Context, base: BaseModel, make_asset: MakeAsset, together: list[str], subject: str
) -> None:
    """Of eighty rows of twenty customers none resembles another: without the field, customers
    are on both sides."""
    rows = letters(80)
    customers = [n % 20 for n in range(80)]
    fields = [{"customer": customer} for customer in customers]
    asset = make_asset(rows, "mail", fields, subject)
    dataset = curate(config(together=together), ctx, assets=(asset,), base=base)
    train, test = (
        {customers[int(pointer.rpartition("/")[2])] for pointer in side}
        for side in sides(ctx, dataset)
    )
    assert not train & test
    assert train | test == set(range(20))
    assert dataset.num_components == 20
    card = ctx.blobs.get(dataset.card).decode()
    assert "or have a value in common of: customer" in card

    plain = curate(config(), ctx, assets=(make_asset(rows, "mail", fields),), base=base)
    train, test = (
        {customers[int(pointer.rpartition("/")[2])] for pointer in side}
        for side in sides(ctx, plain)
    )
    assert train & test
    assert "or have a value in common" not in ctx.blobs.get(plain.card).decode()


def test_a_person_is_one_in_two_sources(
    ctx: Context, base: BaseModel, make_asset: MakeAsset
) -> None:
    """Whatever these call the field, and whether they write the number as one."""
    rows = letters(80)
    mail = make_asset(rows[:40], "mail", [{"who": n} for n in range(40)], "who")
    calls = make_asset(rows[40:], "calls", [{"caller": str(n)} for n in range(40)], "caller")
    dataset = curate(config(sources=["mail", "calls"]), ctx, assets=(mail, calls), base=base)
    train, test = ({pointer[-4:] for pointer in side} for side in sides(ctx, dataset))
    assert not train & test
    assert dataset.num_components == 40
    assert "who of mail, caller of calls" in ctx.blobs.get(dataset.card).decode()


def test_a_field_that_no_row_has_is_named(
    ctx: Context, base: BaseModel, make_asset: MakeAsset
) -> None:
    asset = make_asset(letters(8), "mail", [{"customer": 1}] * 8)
    with pytest.raises(DataError, match="no row has the field 'custommer'") as error:
        curate(config(together=["custommer"]), ctx, assets=(asset,), base=base)
    assert "customer" in error.value.remedy


def test_one_customer_alone_cannot_be_on_both_sides(
    ctx: Context, base: BaseModel, make_asset: MakeAsset
) -> None:
    asset = make_asset(letters(8), "mail", [{"customer": 1}] * 8)
    with pytest.raises(DataError, match="cannot be on both sides"):
        curate(config(together=["customer"]), ctx, assets=(asset,), base=base)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=30))
def test_what_is_joined_is_what_shares_a_value(values: list[tuple[Any, Any]]) -> None:
    """Against the definition: the closure, by brute force, of sharing a value of a field."""
    rows = [row("a", json.dumps({"x": x, "y": y})) for x, y in values]
    found = components(len(rows), joined(config(together=["x", "y"]), rows, {}))
    expected = list(range(len(rows)))
    for _ in rows:
        for one, (x, y) in enumerate(values):
            for other, (p, q) in enumerate(values):
                alike = (text_of(x) and text_of(x) == text_of(p)) or (
                    text_of(y) and text_of(y) == text_of(q)
                )
                if alike:
                    least = min(expected[one], expected[other])
                    expected[one] = expected[other] = least
    assert list(found) == expected
