"""Mixing weights, balance, and rows that are hardly prose."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tunesmith.core.errors import DataError
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset, Dataset
from tunesmith.records.model import BaseModel
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.curate.mix import mixed
from tunesmith.stages.curate.rows import Row
from tunesmith.stages.curate.run import curate
from tunesmith.stages.curate.split import Sides

MakeAsset = Callable[..., DataAsset]


def config(**settings: Any) -> DatasetConfig:
    given = {
        "name": "letters", "sources": ["mail", "calls"], "base": "words", "num_labels": 2,
        "instruction": "Name it.", "train_per_label": 60, "test_per_label": 10, "min_chars": 5,
    }  # fmt: skip
    return DatasetConfig.model_validate(given | settings)


def written(number: int, mark: str) -> list[tuple[str, str]]:
    """Texts that share no word, of two labels."""
    return [
        (f"alpha{mark}{n} beta{mark}{n} gamma{mark}{n}", "sales" if n % 2 else "returns")
        for n in range(number)
    ]


def column(ctx: Context, dataset: Dataset, side: str, name: str) -> list[str]:
    blob = dataset.dropped if side == "dropped" else getattr(dataset, side).rows
    found: list[str] = pq.read_table(io.BytesIO(ctx.blobs.get(blob)))[name].to_pylist()
    return found


def test_each_source_has_its_share(ctx: Context, base: BaseModel, make_asset: MakeAsset) -> None:
    assets = (make_asset(written(60, "m"), name="mail"), make_asset(written(20, "c"), name="calls"))
    plain = curate(config(), ctx, assets=assets, base=base)
    found = curate(config(shares={"mail": 0.5, "calls": 0.5}), ctx, assets=assets, base=base)
    counts = Counter(column(ctx, found, "train", "asset"))
    assert (
        counts["mail"] == counts["calls"] == Counter(column(ctx, plain, "train", "asset"))["calls"]
    )
    assert column(ctx, found, "test", "row_id") == column(ctx, plain, "test", "row_id")
    assert set(column(ctx, found, "train", "row_id")) < set(column(ctx, plain, "train", "row_id"))
    gone = found.dropped_by_reason["beyond its source's share"]
    assert gone == plain.train.num_rows - found.train.num_rows
    assert found.num_in == found.train.num_rows + found.test.num_rows + found.num_dropped
    card = ctx.blobs.get(found.card).decode()
    share = f"| mail | 60 | {counts['mail']} | "
    assert share in card
    assert "| 50.0% | 50.0% |" in card
    assert "as even as" in card


def test_a_source_without_rows_cannot_have_a_share(
    ctx: Context, base: BaseModel, make_asset: MakeAsset
) -> None:
    assets = (make_asset(written(60, "m"), name="mail"), make_asset([("x", "sales")], name="calls"))
    with pytest.raises(DataError, match="source 'calls' is to have a share"):
        curate(config(shares={"mail": 0.5, "calls": 0.5}), ctx, assets=assets, base=base)


@pytest.mark.parametrize(
    ("shares", "says"),
    [
        ({"mail": 0.5}, "names each of its sources"),
        ({"mail": 0.5, "calls": 0.4}, "add up to 0.9"),
        ({"mail": 1.0, "calls": 0.0}, "less than 1"),
        ({"mail": 0.5, "post": 0.5}, "names each of its sources"),
    ],
)
def test_bad_shares(shares: dict[str, float], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        config(shares=shares)


ROWS = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy")), min_size=1, max_size=60)


@given(ROWS, st.floats(0.05, 0.95), st.integers(0, 9))
def test_there_are_as_many_rows_as_the_shares_allow(
    drawn: list[tuple[str, str]], share: float, seed: int
) -> None:
    rows = tuple(
        Row(row_id=f"{n:04}", asset=asset, pointer="", text="", label=label)
        for n, (asset, label) in enumerate(drawn)
    )
    shares = {"a": share, "b": 1 - share}
    settings = config(sources=["a", "b"], shares=shares)
    have = Counter(row.asset for row in rows)
    try:
        found = mixed(settings, Sides(train=rows, test=(), surplus=()), seed)
    except DataError:
        labels = Counter(row.label for row in rows)
        assert len(have) < 2 or len(labels) > 1
        return
    counts = Counter(row.asset for row in found.train)
    assert sorted((*found.train, *found.unmixed), key=lambda row: row.row_id) == list(rows)
    whole = sum(counts.values())
    for name, wanted in shares.items():
        assert abs(counts[name] - wanted * whole) <= 1 + wanted
        assert counts[name] <= have[name]
    assert any(counts[name] + 1 > have[name] for name in shares), "one source is used up"


def test_rows_that_are_hardly_prose(ctx: Context, base: BaseModel, make_asset: MakeAsset) -> None:
    listed = [("- a1\n- a2\n- a3", "sales"), ("11 22 33 44 55 66", "returns")]
    assets = (make_asset([*written(30, "m"), *listed], name="mail"),)
    settings = config(sources=["mail"], quality=["bullets", "few-letters"])
    found = curate(settings, ctx, assets=assets, base=base)
    assert found.dropped_by_reason["low quality"] == 2
    assert {"few-letters, bullets", "few-letters"} <= set(column(ctx, found, "dropped", "detail"))
    with pytest.raises(ValidationError, match="quality"):
        config(quality=["nice"])


def test_the_same_of_other_formats(ctx: Context, base: BaseModel, make_asset: MakeAsset) -> None:
    rows = [(text, "") for text, _ in written(30, "m")] + [("- a1\n- a2\n- a3 and more", "")]
    settings = DatasetConfig(
        name="texts", sources=("mail",), base="words", format="text", min_chars=5,
        quality=("bullets",),
    )  # fmt: skip
    found = curate(settings, ctx, assets=(make_asset(rows, name="mail"),), base=base)
    assert found.dropped_by_reason["low quality"] == 1
