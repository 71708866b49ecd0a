"""What came first is tuned on, and what came later is tested on."""

from __future__ import annotations

import dataclasses
import datetime
import io
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tunesmith.core.errors import DataError
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset, Dataset
from tunesmith.records.model import BaseModel
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.curate.dates import moment
from tunesmith.stages.curate.run import curate

MakeAsset = Callable[..., DataAsset]
FROM = "2026-07-01"


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
            "date": "closed",
            "test_from": FROM,
            **settings,
        }
    )


def letters(number: int) -> list[tuple[str, str]]:
    """Texts that share no word, of two labels."""
    return [(f"a{n} b{n} c{n} d{n}", "sales" if n % 2 else "returns") for n in range(number)]


def days(number: int) -> list[dict[str, Any]]:
    """A day after another, ten of them from the first of July on."""
    first = datetime.date.fromisoformat(FROM) - datetime.timedelta(days=number - 10)
    return [{"closed": (first + datetime.timedelta(days=n)).isoformat()} for n in range(number)]


def numbers(ctx: Context, dataset: Dataset) -> tuple[list[int], list[int]]:
    """Which rows of the asset are on each side."""
    train, test = (
        sorted(
            int(pointer.rpartition("/")[2])
            for pointer in pq.read_table(io.BytesIO(ctx.blobs.get(side.rows)))[
                "pointer"
            ].to_pylist()
        )
        for side in (dataset.train, dataset.test)
    )
    return train, test


@pytest.mark.parametrize("seed", [1, 2])
def test_the_later_rows_are_tested_on(
    ctx: Context, base: BaseModel, make_asset: MakeAsset, seed: int
) -> None:
    asset = make_asset(letters(40), "mail", days(40))
    drawn = dataclasses.replace(ctx, seed=seed)
    dataset = curate(config(), drawn, assets=(asset,), base=base)
    assert numbers(ctx, dataset) == (list(range(30)), list(range(30, 40)))
    card = ctx.blobs.get(dataset.card).decode()
    assert f"assigned by closed: what is of {FROM} or later is tested on" in card
    capped = curate(config(test_per_label=2, train_per_label=3), drawn, assets=(asset,), base=base)
    train, test = numbers(ctx, capped)
    assert (len(train), len(test)) == (6, 4)
    assert max(train) < 30 <= min(test)


def test_a_later_row_that_belongs_to_an_earlier_one_is_left_out(
    ctx: Context, base: BaseModel, make_asset: MakeAsset
) -> None:
    """By its case's number, or because it says nearly the same."""
    rows = letters(40)
    rows[35] = (f"{rows[3][0]} again", rows[3][1])
    fields = [{**day, "case": n} for n, day in enumerate(days(40))]
    fields[38]["case"] = 8
    dataset = curate(
        config(together=["case"], similarity=1.0),
        ctx,
        assets=(make_asset(rows, "mail", fields),),
        base=base,
    )
    train, test = numbers(ctx, dataset)
    assert train == list(range(30))
    assert test == [30, 31, 32, 33, 34, 36, 37, 39]
    assert dataset.dropped_by_reason == {"belongs to an earlier row": 2}
    assert "2 later rows\nwere left out" in ctx.blobs.get(dataset.card).decode()


def test_rows_without_a_date_are_dropped_and_counted(
    ctx: Context, base: BaseModel, make_asset: MakeAsset
) -> None:
    fields = days(40)
    fields[0], fields[1], fields[2] = {}, {"closed": "soon"}, {"closed": 20260101.5}
    asset = make_asset(letters(40), "mail", fields)
    dataset = curate(config(), ctx, assets=(asset,), base=base)
    assert dataset.dropped_by_reason == {"no date": 3}
    dropped = pq.read_table(io.BytesIO(ctx.blobs.get(dataset.dropped)))["detail"].to_pylist()
    assert "closed is 'soon'" in dropped
    assert dataset.num_in == 40

    asset = make_asset(letters(4), "mail", [{"closed": "soon"}] * 4)
    with pytest.raises(DataError, match=r"no row has a date in 'closed', e\.g\. mail/0000"):
        curate(config(), ctx, assets=(asset,), base=base)


@pytest.mark.parametrize(
    ("test_from", "where"), [("2027-01-01", "on or after test_from"), ("2025-01-01", "before it")]
)
def test_a_date_that_leaves_a_side_empty_is_refused(
    ctx: Context, base: BaseModel, make_asset: MakeAsset, test_from: str, where: str
) -> None:
    asset = make_asset(letters(40), "mail", days(40))
    with pytest.raises(DataError, match=f"label 'returns' cannot be on both sides.* {where}"):
        curate(config(test_from=test_from), ctx, assets=(asset,), base=base)


def test_other_formats_take_every_later_row_to_test_on(
    ctx: Context, base: BaseModel, records: Callable[..., DataAsset]
) -> None:
    fields = [
        {**day, "prompt": f"a{n} b{n} c{n}", "completion": f"d{n} e{n}"}
        for n, day in enumerate(days(40))
    ]
    settings = DatasetConfig(
        name="letters",
        sources=("rows",),
        base="words",
        format="completion",
        date="closed",
        test_from=FROM,
    )
    dataset = curate(settings, ctx, assets=(records(fields),), base=base)
    assert (dataset.train.num_rows, dataset.test.num_rows) == (30, 10)


def test_moments_of_other_zones_are_compared() -> None:
    assert moment("2026-07-01T01:30:00+02:00") < moment(FROM)
    assert moment("2026-06-30T23:30:00-02:00") > moment(FROM)


def test_a_date_of_toml_is_one() -> None:
    assert config(test_from=datetime.date(2026, 7, 1)) == config()
    assert config().model_dump()["test_from"] == FROM


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"test_from": "July"}, "'July' is no date"),
        ({"test_from": ""}, "date and test_from go together"),
        ({"date": ""}, "date and test_from go together"),
    ],
)
def test_half_a_cut_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(**settings)
    given = {**config().model_dump(), "format": "completion", "test_share": 0.2}
    for key in (
        "instruction",
        "num_labels",
        "labels",
        "train_per_label",
        "test_per_label",
        "min_chars",
    ):
        given.pop(key, None)
    with pytest.raises(ValidationError, match="test_share is not read with test_from"):
        DatasetConfig(**given)
