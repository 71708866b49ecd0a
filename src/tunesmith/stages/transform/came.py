"""What came of the rows that a transform was given, before it is a row of its asset."""

from __future__ import annotations

import base64
import datetime
import decimal
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow.parquet as pq

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


def to_json(value: Any) -> Any:
    """A value of a database as JSON has it: times ISO 8601, exact decimals and bytes (base64) as
    strings, NaN null.

    Raises:
        ValueError: JSON has no such value, e.g. an infinite number.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            if math.isinf(value):
                raise ValueError("JSON has no infinite number")
            return None if math.isnan(value) else value
        case datetime.date() | datetime.time():
            return value.isoformat()
        case datetime.timedelta():
            return value.total_seconds()
        case decimal.Decimal():
            return format(value, "f")
        case uuid.UUID():
            return str(value)
        case bytes():
            return base64.b64encode(value).decode()
        case dict():
            return {str(name): to_json(inner) for name, inner in value.items()}
        case list() | tuple():
            return [to_json(inner) for inner in value]
    raise ValueError(f"JSON has no {type(value).__name__}")
