"""Rows on their way into a dataset, those that dropped out, and their Parquet files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tunesmith.core.blobs import Blobs
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset, seeds_of
from tunesmith.records.review import ReviewedLabels

_STRING = pa.string()
_SPLIT = {
    "row_id": _STRING,
    "asset": _STRING,
    "pointer": _STRING,
    "text": _STRING,
    "label": _STRING,
    "content": _STRING,
    "component": _STRING,
    "num_tokens": pa.int32(),
}
_DROPPED = {
    "row_id": _STRING,
    "asset": _STRING,
    "pointer": _STRING,
    "reason": _STRING,
    "detail": _STRING,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A row that is still in the running."""

    row_id: str
    asset: str
    pointer: str
    text: str
    """What near duplicates are found by."""
    label: str
    """What the split is stratified by."""
    attributes: str = "{}"
    """The fields of the source's record, as a JSON object."""
    content: str = ""
    """Canonical JSON of the row in its format; empty until it is read."""
    num_tokens: int = 0
    """Of all that is trained on; 0 until it is counted."""
    component: str = ""
    """Smallest row_id of its component, of near duplicates and of what belongs together; empty
    until it is known."""
    pii: tuple[str, ...] = ()
    """The kind of each piece of personal data that was replaced in it."""
    is_late: bool = False
    """Whether it is of the time that is tested on, where the split is by time."""
    is_synthetic: bool = False
    """Whether its source says that its rows were generated."""
    seeds: tuple[str, ...] = ()
    """The ids of the rows that it was made from."""
    like: str = ""
    """The test row of another dataset that it resembles, so that it is not trained on."""
    holds: str = ""
    """The one that stands in it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dropped:
    """A row that is not in the dataset, and why."""

    row_id: str
    asset: str
    pointer: str
    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Applied:
    """What became of what a review settled. num_confirmed + num_corrected + num_unusable + num_gone
    rows were settled; the copies are others."""

    labels: ReviewedLabels
    num_confirmed: int
    num_corrected: int
    num_unusable: int
    num_gone: int
    """Rows that the sources do not have any more."""
    num_copies: int
    """Rows that nobody looked at, with the text of one that was: they are what it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """The rows that may be in the dataset, and what was found out on the way."""

    rows: list[Row]
    dropped: list[Dropped]
    labels: tuple[str, ...] = ()
    """Sorted; of labelled rows."""
    distinct: Mapping[str, int]
    """Distinct rows of each label, over all labels, before the commonest were chosen."""
    counted: str
    """What tokens are counted over, in words."""
    applied: Applied | None = None
    """What of a review's verdicts on rows without labels was found in the rows."""


def reporter(ctx: Context, note: str) -> Callable[[int, int], None]:
    """Tells how far a pass over the rows is."""
    return lambda done, total: ctx.progress(done, total, note)


def drop(row: Row, reason: str, detail: str) -> Dropped:
    """`row`, dropped for `reason`."""
    return Dropped(
        row_id=row.row_id, asset=row.asset, pointer=row.pointer, reason=reason, detail=detail
    )


def read_rows(assets: Sequence[DataAsset], blobs: Blobs) -> Iterator[Row]:
    """The rows of the data assets, in their order."""
    for asset in assets:
        table = pq.read_table(
            blobs.path(asset.rows), columns=["row_id", "pointer", "text", "label", "attributes"]
        )
        made = asset.synthetic
        for row in table.to_pylist():
            if made is None:
                yield Row(asset=asset.name, **row)
            else:
                seeds = seeds_of(json.loads(row["attributes"]).get(made.seeds))
                yield Row(asset=asset.name, is_synthetic=True, seeds=seeds, **row)


def write_split(rows: Sequence[Row], path: Path) -> Path:
    """One side of the dataset as Parquet, in the order of the row ids."""
    return _write(sorted(rows, key=lambda row: (row.row_id, row.asset)), _SPLIT, path)


def write_dropped(dropped: Sequence[Dropped], path: Path) -> Path:
    """The dropped rows as Parquet, in the order in which they dropped out."""
    return _write(dropped, _DROPPED, path)


def _write(
    rows: Sequence[Row] | Sequence[Dropped], columns: dict[str, pa.DataType], path: Path
) -> Path:
    """Equal rows give equal bytes."""
    table = pa.table(
        {
            name: pa.array([getattr(row, name) for row in rows], kind)
            for name, kind in columns.items()
        }
    )
    pq.write_table(table, path, compression="zstd", row_group_size=10_000)
    return path
