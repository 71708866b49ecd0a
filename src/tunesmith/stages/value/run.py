"""Dataset and its vectors -> what each training row, and each data asset, is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tunesmith.core.errors import DataError, UsageError
from tunesmith.core.ref import PARQUET, Blob
from tunesmith.core.step import Context
from tunesmith.records.data import Dataset, Split
from tunesmith.records.value import RowValues, Vectors
from tunesmith.stages.value.config import ValueConfig
from tunesmith.stages.value.shapley import (
    Array,
    Truths,
    by_nearness,
    nearest,
    shapley,
    utility,
    vote,
)

PAIRS_AT_ONCE = 1 << 21
"""Pairs of a test and a training row whose distance is held at a time."""


def value(config: ValueConfig, ctx: Context, *, dataset: Dataset, vectors: Vectors) -> RowValues:
    """What the training rows of `dataset` are worth to a vote on its test rows.

    Raises:
        UsageError, DataError: see `require_labelled`.
    """
    require_labelled(dataset)
    train, test = _side(ctx, dataset.train, vectors.train), _side(ctx, dataset.test, vectors.test)
    assets = sorted(set(train["asset"]))
    num_tests = len(test["row_id"])
    found = _worth(config.neighbours, ctx, train, test, assets)
    of_rows = {"row_id": train["row_id"], "asset": train["asset"], "value": found.of_rows}
    of_tests = {
        "row_id": np.repeat(test["row_id"], len(assets)),
        "asset": assets * num_tests,
        "value": found.of_tests.ravel(),
        "right": np.repeat(found.right, len(assets)),
        "right_without": found.right_without.ravel(),
    }
    return RowValues(
        dataset=dataset.name,
        base=vectors.base,
        is_encoder=vectors.is_encoder,
        neighbours=config.neighbours,
        num_train=len(train["row_id"]),
        num_test=num_tests,
        num_cut=vectors.num_cut,
        utility=float(found.utility.mean()),
        accuracy=float(found.right.mean()),
        rows=_put(ctx, "rows", of_rows),
        tests=_put(ctx, "tests", of_tests),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Worth:
    of_rows: Array
    """(num_rows,), on average over the test rows."""
    of_tests: Array
    """(num_tests, num_assets): of all rows of an asset, to a test row."""
    utility: Array
    """(num_tests,)"""
    right: Truths
    """(num_tests,): whether the vote is."""
    right_without: Truths
    """(num_tests, num_assets): ... without the rows of an asset."""


def _worth(
    neighbours: int,
    ctx: Context,
    train: Mapping[str, Any],
    test: Mapping[str, Any],
    assets: Sequence[str],
) -> _Worth:
    """A few test rows at a time, since each is compared with all training rows."""
    known = sorted({*train["label"], *test["label"]})
    numbers = {label: number for number, label in enumerate(known)}
    row_labels, test_labels = (
        np.array([numbers[label] for label in side["label"]]) for side in (train, test)
    )
    asset_of = np.array([assets.index(name) for name in train["asset"]])
    num_tests, num_rows = len(test_labels), len(row_labels)
    found = _Worth(
        of_rows=np.zeros(num_rows),
        of_tests=np.zeros((num_tests, len(assets))),
        utility=np.zeros(num_tests),
        right=np.zeros(num_tests, dtype=bool),
        right_without=np.zeros((num_tests, len(assets)), dtype=bool),
    )
    step = max(1, PAIRS_AT_ONCE // num_rows)
    for first in range(0, num_tests, step):
        ctx.progress(first, num_tests, "values rows")
        at = slice(first, first + step)
        order = by_nearness(test["vector"][at], train["vector"])
        labels, wanted = row_labels[order], test_labels[at]
        hits = labels == wanted[:, None]
        values = np.empty(order.shape)
        np.put_along_axis(values, order, shapley(hits, neighbours), axis=1)
        found.of_rows[:] += values.sum(axis=0) / num_tests
        found.utility[at] = utility(hits, neighbours)
        found.right[at] = vote(labels[:, :neighbours]) == wanted
        for number in range(len(assets)):
            found.of_tests[at, number] = values[:, asset_of == number].sum(axis=1)
            others = nearest(labels, asset_of[order] != number, neighbours)
            found.right_without[at, number] = vote(others) == wanted
    return found


def require_labelled(dataset: Dataset) -> None:
    """Refuse a dataset whose rows no vote can be taken on.

    Raises:
        UsageError: its rows have no labels.
        DataError: it has no training rows, or no test rows.
    """
    if dataset.format != "labels":
        raise UsageError(
            f"dataset {dataset.name!r} has no labels to vote on, so its rows cannot be valued: its "
            f"format is {dataset.format!r}",
            remedy="name a dataset of format 'labels'",
        )
    if not dataset.train.num_rows or not dataset.test.num_rows:
        raise DataError(
            f"dataset {dataset.name!r} has {dataset.train.num_rows} rows to train and "
            f"{dataset.test.num_rows} to test; to value the former takes some of each",
            remedy="see what was left out (`tunesmith data dropped`), or add rows to its sources",
        )


def _side(ctx: Context, split: Split, vectors: Blob) -> dict[str, Any]:
    """Columns of one side, and its vectors as an array, (num_rows, dims)."""
    columns = ["row_id", "asset", "label"]
    rows = pq.read_table(ctx.blobs.path(split.rows), columns=columns).to_pydict()
    table = pq.read_table(ctx.blobs.path(vectors))
    assert table["row_id"].to_pylist() == rows["row_id"]
    flat = table["vector"].combine_chunks().flatten().to_numpy()
    as_array: Array = flat.reshape(len(table), -1).astype(np.float64)
    return {**rows, "vector": as_array}


def _put(ctx: Context, name: str, columns: dict[str, Any]) -> Blob:
    path = ctx.workdir / name
    pq.write_table(pa.table(columns), path, compression="zstd")
    return ctx.blobs.put(path, PARQUET)
