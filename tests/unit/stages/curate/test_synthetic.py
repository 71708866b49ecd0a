"""Synthetic rows: on the side of what they were made from, never tested on, counted and limited."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tunesmith.core.errors import DataError
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset, Dataset, Synthetic
from tunesmith.records.model import BaseModel
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.curate.rows import Dropped, Row
from tunesmith.stages.curate.run import curate
from tunesmith.stages.curate.synthetic import GENERATED, beside_their_seeds

MakeAsset = Callable[..., DataAsset]
RECORD = Synthetic(generator="model", prompt="asked", seeds="made_from")


def config(**settings: Any) -> DatasetConfig:
    given = {
        "name": "letters", "sources": ["mail", "made"], "base": "words", "num_labels": 2,
        "instruction": "Name it.", "train_per_label": 60, "test_per_label": 10, "min_chars": 5,
    }  # fmt: skip
    return DatasetConfig.model_validate(given | settings)


def written(number: int, first: int = 0) -> list[tuple[str, str]]:
    """Texts that share no word, of two labels."""
    return [
        (f"a{n} b{n} c{n} d{n}", "sales" if n % 2 else "returns")
        for n in range(first, first + number)
    ]


@pytest.fixture
def assets(ctx: Context, make_asset: MakeAsset) -> Callable[..., tuple[DataAsset, DataAsset]]:
    """assets(seeds) -> forty letters, and for each list of their numbers a row made from them."""

    def make(seeds: list[list[int]]) -> tuple[DataAsset, DataAsset]:
        mail = make_asset(written(40), name="mail")
        table = pq.read_table(io.BytesIO(ctx.blobs.get(mail.rows)))
        ids, labels = table["row_id"].to_pylist(), table["label"].to_pylist()
        rows = [
            (text, labels[of[0]]) for (text, _), of in zip(written(99, 100), seeds, strict=False)
        ]
        fields = [
            {"model": "writer-2", "asked": "Say it otherwise.", "made_from": [ids[at] for at in of]}
            for of in seeds
        ]
        made = make_asset(rows, name="made", fields=fields)
        return mail, dataclasses.replace(made, synthetic=RECORD)

    return make


def side(ctx: Context, dataset: Dataset, name: str) -> list[dict[str, Any]]:
    blob = dataset.dropped if name == "dropped" else getattr(dataset, name).rows
    return pq.read_table(io.BytesIO(ctx.blobs.get(blob))).to_pylist()


def test_they_are_trained_on_where_their_seeds_are_and_never_tested_on(
    ctx: Context, base: BaseModel, assets: Callable[..., tuple[DataAsset, DataAsset]]
) -> None:
    """None shares a word with its seed: without the ids, half of those of test rows would be
    trained on."""
    mail, made = assets([[number] for number in range(40)])
    found = curate(config(), ctx, assets=(mail, made), base=base)
    test = side(ctx, found, "test")
    assert {row["asset"] for row in test} == {"mail"}
    assert len(test) == 4  # of 20 letters with a label, in the ratio of 60 to 10
    tested = {row["row_id"] for row in test}
    rows = pq.read_table(io.BytesIO(ctx.blobs.get(made.rows))).to_pylist()
    beside = {
        row["row_id"] for row in rows if set(json.loads(row["attributes"])["made_from"]) & tested
    }
    assert {row["row_id"] for row in side(ctx, found, "train") if row["asset"] == "made"} == {
        row["row_id"] for row in rows
    } - beside
    assert {r["row_id"] for r in side(ctx, found, "dropped") if r["reason"] == GENERATED} == beside
    assert found.num_synthetic == 40 - len(beside)
    assert found.num_in == 80
    card = ctx.blobs.get(found.card).decode()
    assert f"{found.num_synthetic} of the {found.train.num_rows} rows to tune on (50.0%)" in card
    assert "| made | writer-2 |" in card
    assert "Say it otherwise" not in card


def test_they_are_tested_on_beside_their_seeds_if_asked_for(
    ctx: Context, base: BaseModel, assets: Callable[..., tuple[DataAsset, DataAsset]]
) -> None:
    mail, made = assets([[number] for number in range(40)])
    found = curate(config(test_synthetic=True), ctx, assets=(mail, made), base=base)
    test = side(ctx, found, "test")
    assert {row["asset"] for row in test} == {"mail", "made"}
    components = {row["component"] for row in test}
    assert components.isdisjoint(row["component"] for row in side(ctx, found, "train"))


def test_what_was_made_from_another_datasets_test_row_is_not_trained_on(
    ctx: Context, base: BaseModel, assets: Callable[..., tuple[DataAsset, DataAsset]]
) -> None:
    mail, made = assets([[number] for number in range(40)])
    other = curate(config(name="other", sources=["mail"]), ctx, assets=(mail,), base=base)
    settings = config(sources=["made"], test_synthetic=True, apart_from=["other"])
    found = curate(settings, ctx, assets=(made,), base=base, apart=(other,))
    assert found.dropped_by_reason["like another dataset's test row"] > 0
    tested = {row["row_id"] for row in side(ctx, other, "test")}
    rows = pq.read_table(io.BytesIO(ctx.blobs.get(made.rows))).to_pylist()
    seeds = {row["row_id"]: json.loads(row["attributes"])["made_from"][0] for row in rows}
    assert not {seeds[row["row_id"]] for row in side(ctx, found, "train")} & tested


def test_more_than_may_be_are_refused(
    ctx: Context, base: BaseModel, assets: Callable[..., tuple[DataAsset, DataAsset]]
) -> None:
    mail, made = assets([[number] for number in range(40)])
    with pytest.raises(DataError, match=r"rows to tune on are synthetic \(50.0%\)") as caught:
        curate(config(max_synthetic=0.3), ctx, assets=(mail, made), base=base)
    assert "max_synthetic is 0.3" in str(caught.value)
    assert caught.value.remedy
    found = curate(config(max_synthetic=0.5), ctx, assets=(mail, made), base=base)
    assert found.num_synthetic == found.train.num_rows / 2


def test_a_label_of_synthetic_rows_alone_cannot_be_tested(
    ctx: Context, base: BaseModel, make_asset: MakeAsset
) -> None:
    fields = [{"model": "m", "asked": "a"}] * 20
    rows = [(text, "praise") for text, _ in written(20, 100)]
    made = make_asset(rows, name="made", fields=fields)
    made = dataclasses.replace(made, synthetic=dataclasses.replace(RECORD, seeds=""))
    assets = (make_asset([(t, "sales") for t, _ in written(20)], name="mail"), made)
    with pytest.raises(DataError, match=r"'praise' cannot be .* all of its rows are synthetic"):
        curate(config(), ctx, assets=assets, base=base)
    found = curate(config(test_synthetic=True), ctx, assets=assets, base=base)
    assert found.num_synthetic == 20


def test_of_two_that_say_the_same_the_generated_one_goes(
    ctx: Context, base: BaseModel, make_asset: MakeAsset
) -> None:
    fields = [{"model": "m", "asked": "a"}] * 40
    made = make_asset(written(40), name="made", fields=fields)
    made = dataclasses.replace(made, synthetic=dataclasses.replace(RECORD, seeds=""))
    mail = make_asset(written(40), name="mail")
    found = curate(config(sources=["made", "mail"]), ctx, assets=(made, mail), base=base)
    assert found.num_synthetic == 0
    assert found.dropped_by_reason == {"exact duplicate": 40}


def test_a_seed_that_was_dropped_stands_for_the_row_that_stayed() -> None:
    def row(row_id: str, *seeds: str) -> Row:
        return Row(row_id=row_id, asset="", pointer="", text="", label="", seeds=seeds)

    def gone(row_id: str, reason: str, detail: str) -> Dropped:
        return Dropped(row_id=row_id, asset="", pointer="", reason=reason, detail=detail)

    rows = [row("a"), row("b"), row("made", "x"), row("other", "lost"), row("third", "lost", "b")]
    dropped = [gone("x", "near duplicate", "y"), gone("y", "exact duplicate", "a")]
    dropped += [gone("lost", "too long", "b")]
    edges = beside_their_seeds(rows, dropped, ("near duplicate", "exact duplicate"))
    assert sorted(edges) == [(0, 2), (1, 4), (3, 4)]
    ring = [gone("x", "exact duplicate", "y"), gone("y", "exact duplicate", "x")]
    assert beside_their_seeds(rows, ring, ("exact duplicate",))  # ends
    assert beside_their_seeds(rows[:2], dropped, ()) == []


def test_settings_that_are_not_asked_for_are_in_no_key() -> None:
    plain = config().model_dump()
    assert not {"max_synthetic", "test_synthetic"} & plain.keys()
    limited = config(max_synthetic=0.3, test_synthetic=True)
    assert DatasetConfig.model_validate_json(limited.model_dump_json()) == limited
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        config(max_synthetic=30)
