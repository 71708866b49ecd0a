"""What came of the rows that a transform was given, before it is a row of its asset."""

from __future__ import annotations

import decimal
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from tunesmith.asset import json_value
from tunesmith.core.blobs import Blobs
from tunesmith.records.data import DataAsset


class Came(NamedTuple):
    """One thing that came: fields of a row, why there is none, or nothing."""

    parents: tuple[int, ...]
    """Places of the rows that it was made from, each once."""
    fields: Mapping[str, Any] | None
    """None where there is no row."""
    problem: str = ""
    """Why not; empty where the row was left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """The rows that a transform is given: those of its sources, one after the other."""

    row_ids: list[str]
    pointers: list[str]


def given_rows(assets: Sequence[DataAsset], blobs: Blobs) -> Given:
    """The ids and pointers of the rows of data assets."""
    row_ids: list[str] = []
    pointers: list[str] = []
    for asset in assets:
        table = pq.read_table(blobs.path(asset.rows), columns=["row_id", "pointer"])
        row_ids += table["row_id"].to_pylist()
        pointers += table["pointer"].to_pylist()
    return Given(row_ids=row_ids, pointers=pointers)


def read_rows(
    assets: Sequence[DataAsset], blobs: Blobs, columns: Sequence[str]
) -> Iterator[dict[str, str]]:
    """Some columns of the rows of data assets, in the order of `given_rows`."""
    for asset in assets:
        table = pq.ParquetFile(blobs.path(asset.rows))
        for batch in table.iter_batches(batch_size=1000, columns=list(columns)):
            yield from batch.to_pylist()


to_json = partial(
    json_value.to_json, texts={decimal.Decimal: lambda value: format(value, "f"), uuid.UUID: str}
)
"""A value of a database as JSON has it: exact decimals and UUIDs are strings."""
