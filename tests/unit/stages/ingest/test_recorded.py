"""A synthetic row without its generator, its prompt and its seeds is quarantined."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tunesmith.core.errors import DataError
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset, Package, Synthetic
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.run import ingest

MakePackage = Callable[[Mapping[str, bytes]], Package]
MADE = {"generator": "model", "prompt": "asked", "seeds": "made_from", "of": ["mail"]}


def source(**changes: Any) -> SourceConfig:
    given = {"name": "made", "origin": "file:made.jsonl", "format": "jsonl", "text": "text"}
    return SourceConfig.model_validate(given | changes)


def read(
    ctx: Context, make_package: MakePackage, rows: list[Any], *seeds: DataAsset, **changes: Any
) -> DataAsset:
    data = "\n".join(json.dumps(row) for row in rows).encode()
    package = make_package({"made.jsonl": data})
    return ingest(source(**changes), ctx, package=package, seeds=seeds)


def table(ctx: Context, asset: DataAsset, name: str) -> list[dict[str, Any]]:
    return pq.read_table(io.BytesIO(ctx.blobs.get(getattr(asset, name)))).to_pylist()


def test_a_row_without_its_record_is_quarantined(ctx: Context, make_package: MakePackage) -> None:
    mail = read(ctx, make_package, [{"text": "one"}, {"text": "two"}])
    assert mail.synthetic is None
    one, two = (row["row_id"] for row in table(ctx, mail, "rows"))
    record = {"model": "writer-2", "asked": "Say it otherwise.", "made_from": [one]}
    nobody = "0" * 32
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, ""),
        ({"made_from": [one, two]}, ""),
        ({"made_from": f"{one}, {two}"}, ""),
        ({"model": ""}, "the field 'model', its generator, is missing, empty or no text"),
        ({"model": None}, "the field 'model', its generator, is missing, empty or no text"),
        ({"asked": " "}, "the field 'asked', its prompt, is missing, empty or no text"),
        ({"asked": 7}, "the field 'asked', its prompt, is missing, empty or no text"),
        ({"made_from": None}, "the field 'made_from', the ids of its seeds, is missing or empty"),
        ({"made_from": []}, "the field 'made_from', the ids of its seeds, is missing or empty"),
        ({"made_from": [one, nobody]}, f"its seeds {nobody} are no rows of mail"),
        ({"made_from": [7]}, "its seeds 7 are no rows of mail"),
        ({"made_from": list("abcde")}, "its seeds a, b, c and 2 more are no rows of mail"),
    ]
    rows = [{"text": f"text {n}", **record, **change} for n, (change, _) in enumerate(cases)]
    made = read(ctx, make_package, rows, mail, synthetic=MADE)
    assert made.num_rows == 3
    assert made.quarantined_by_rule == {"synthetic-unrecorded": 9}
    assert made.synthetic == Synthetic(generator="model", prompt="asked", seeds="made_from")
    reasons = [row["reason"] for row in table(ctx, made, "quarantine")]
    assert reasons == [said for _, said in cases if said]


def test_none_is_said_not_left_out(ctx: Context, make_package: MakePackage) -> None:
    rows = [{"text": "one", "model": "m", "asked": "p"}, {"text": "two", "model": "m"}]
    without = {"generator": "model", "prompt": "asked", "seeds": "none"}
    made = read(ctx, make_package, rows, synthetic=without)
    assert (made.num_rows, made.quarantined_by_rule) == (1, {"synthetic-unrecorded": 1})
    assert made.synthetic == Synthetic(generator="model", prompt="asked", seeds="")
    with pytest.raises(DataError, match=r"no usable row.*made_from"):
        read(ctx, make_package, rows[:1], synthetic=MADE)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"synthetic": {"generator": "model", "prompt": "asked"}}, "Field required"),
        ({"synthetic": MADE | {"of": []}}, "seeds and of go together"),
        ({"synthetic": MADE | {"seeds": "none"}}, "seeds and of go together"),
        ({"synthetic": MADE | {"generator": ""}}, "at least 1 character"),
        ({"synthetic": MADE, "format": "text", "text": ""}, "not read"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, Any], said: str) -> None:
    given = {"text": "text", **settings}
    with pytest.raises(ValidationError, match=said):
        source(**{name: value for name, value in given.items() if value != ""})


def test_other_sources_keep_their_keys() -> None:
    assert "synthetic" not in source().model_dump()
    made = source(synthetic=MADE)
    assert SourceConfig.model_validate_json(made.model_dump_json()) == made
