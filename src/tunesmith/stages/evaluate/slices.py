"""Which rows a slice has: by their source, label, length, or a field of the source's record."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from tunesmith.core.blobs import Blobs
from tunesmith.core.errors import UsageError
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset, Dataset
from tunesmith.records.evaluation import OwnRows, Slice, Slices, TaskRows
from tunesmith.stages.evaluate.config import SliceConfig, SlicesConfig
from tunesmith.stages.evaluate.own_rows import fields_of, read_own, text_of
from tunesmith.stages.evaluate.task import TaskConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Described:
    """What slices are told apart by."""

    row_id: str
    source: str
    label: str
    num_chars: int
    fields: Mapping[str, Any]


def cut(
    config: SlicesConfig,
    ctx: Context,
    *,
    dataset: Dataset,
    assets: tuple[DataAsset, ...] = (),
    own: OwnRows | None = None,
    others: tuple[Dataset, ...] = (),
) -> Slices:
    """The rows of each slice; `assets` are those that the datasets were cut from, where a slice
    asks for a field of theirs, `own` the rows of tasks that slices are of, `others` the datasets
    whose test rows such tasks ask.

    Raises:
        UsageError: no row has the field that a slice names.
    """
    asked = {each.task: each.asked for each in config.slices if each.asked is not None}
    described = {
        rows.task: list(_of_task(rows, asked.get(rows.task))) for rows in (own.files if own else ())
    }
    if any(not sliced.task for sliced in config.slices):
        described[""] = list(_of_test_rows(dataset, assets, ctx.blobs))
    by_name = {other.name: other for other in others}
    for sliced in config.slices:
        if sliced.dataset:
            rows_of = _of_test_rows(by_name[sliced.dataset], assets, ctx.blobs)
            described[sliced.task] = list(rows_of)
    found = []
    for sliced in config.slices:
        rows, wanted = described[sliced.task], sliced.slice
        if wanted.field and not any(wanted.field in row.fields for row in rows):
            raise UsageError(
                f"no row has the field {wanted.field!r}, by which {wanted.said!r} is cut",
                remedy=f"there is: {', '.join(sorted({f for row in rows for f in row.fields}))}",
            )
        ids = tuple(row.row_id for row in rows if _is_in(row, wanted))
        found.append(Slice(task=sliced.task, said=wanted.said, row_ids=ids))
    return Slices(slices=tuple(found))


def _is_in(row: Described, wanted: SliceConfig) -> bool:
    return (
        wanted.source in ("", row.source)
        and wanted.label in ("", row.label)
        and (not wanted.field or text_of(row.fields.get(wanted.field)) == wanted.value)
        and row.num_chars >= wanted.min_chars
        and (not wanted.max_chars or row.num_chars <= wanted.max_chars)
    )


def _of_test_rows(
    dataset: Dataset, assets: tuple[DataAsset, ...], blobs: Blobs
) -> Iterator[Described]:
    columns = ["row_id", "asset", "text", "label"]
    rows = pq.read_table(blobs.path(dataset.test.rows), columns=columns).to_pylist()
    wanted = {(row["asset"], row["row_id"]) for row in rows}
    fields: dict[tuple[str, str], Mapping[str, Any]] = {}
    for asset in assets:
        file = pq.ParquetFile(blobs.path(asset.rows))
        for batch in file.iter_batches(columns=["row_id", "attributes"]):
            for row in batch.to_pylist():
                if (key := (asset.name, row["row_id"])) in wanted:
                    fields[key] = json.loads(row["attributes"])
    for row in rows:
        yield Described(
            row_id=row["row_id"],
            source=row["asset"],
            label=row["label"],
            num_chars=len(row["text"]),
            fields=fields.get((row["asset"], row["row_id"]), {}),
        )


def _of_task(rows: TaskRows, config: TaskConfig | None) -> Iterator[Described]:
    """The rows of a task's own file, by their fields; a row is as long as all of them. With the
    task they have labels, too: of the choices the right one."""
    labels = {row.row_id: row.right[0] for row in read_own(config, rows)} if config else {}
    for number, fields in fields_of(rows, f"the rows of task {rows.task}"):
        yield Described(
            row_id=f"{rows.task}:{number}",
            source="",
            label=labels.get(f"{rows.task}:{number}", ""),
            num_chars=sum(len(text_of(each)) for each in fields.values()),
            fields=fields,
        )
