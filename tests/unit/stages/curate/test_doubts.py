"""Doubtful labels of a dataset, with where they come from."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from tunesmith.core.errors import UsageError
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset
from tunesmith.records.model import BaseModel
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.curate.doubts import doubtful_rows
from tunesmith.stages.curate.run import curate


def text(label: str, draw: random.Random) -> str:
    topic = [f"{label}{draw.randrange(6)}" for _ in range(6)]
    return " ".join([*topic, *(f"word{draw.randrange(10**6)}" for _ in range(10))])


def config(**changes: Any) -> DatasetConfig:
    plain = {"name": "set", "sources": ["notices"], "base": "words", "instruction": "Name it."}
    return DatasetConfig.model_validate({**plain, "num_labels": 2, **changes})


def test_rows_of_both_sides_are_doubted_and_nothing_is_dropped(
    ctx: Context, base: BaseModel, make_asset: Callable[..., DataAsset]
) -> None:
    draw = random.Random(0)
    rows = [(text(label, draw), label) for label in ("mit", "gpl") for _ in range(40)]
    wrong = {3: "gpl", 17: "gpl", 50: "mit"}
    rows = [(said, wrong.get(row, label)) for row, (said, label) in enumerate(rows)]
    dataset = curate(config(), ctx, assets=(make_asset(rows),), base=base)
    found = doubtful_rows(dataset, ctx.blobs)
    assert {row.pointer for row in found} == {f"notices/{row:04}" for row in wrong}
    for row in found:
        assert row.label == wrong[int(row.pointer[-4:])]
        assert row.suggested == {"mit": "gpl", "gpl": "mit"}[row.label]
        assert row.text == rows[int(row.pointer[-4:])][0]
        assert row.probability < 0.5 < row.probability_of_suggested
    assert [row.probability for row in found] == sorted(row.probability for row in found)
    assert dataset.num_dropped == 0


def test_rows_without_labels_cannot_be_doubted(
    ctx: Context, base: BaseModel, records: Callable[..., DataAsset]
) -> None:
    draw = random.Random(0)
    rows = records([{"text": text("x", draw)} for _ in range(9)])
    settings = {"name": "set", "sources": ["rows"], "base": "words", "format": "text"}
    dataset = curate(DatasetConfig.model_validate(settings), ctx, assets=(rows,), base=base)
    with pytest.raises(UsageError, match="has no labels to doubt: its format is 'text'"):
        doubtful_rows(dataset, ctx.blobs)
