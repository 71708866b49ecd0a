"""Which rows a model is asked: those of the test split, or training rows that it never saw."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tunesmith.core.blobs import Blobs
from tunesmith.core.canonical import draw
from tunesmith.core.errors import DataError
from tunesmith.paired.seen import trained_on
from tunesmith.records.data import Dataset
from tunesmith.records.model import ModelVersion
from tunesmith.stages.evaluate.config import EvaluateConfig

COLUMNS = ["row_id", "text", "label", "content"]


def asked_rows(
    config: EvaluateConfig,
    blobs: Blobs,
    dataset: Dataset,
    seed: int,
    model: ModelVersion | None = None,
) -> pa.Table:
    """The rows that `config` says, as `row_id`, `text` and `label`.

    What a `model` was trained on is read from its own log of steps; a base model saw none.

    Raises:
        DataError: there are none.
    """
    if config.unseen_training_rows:
        return _unseen(config.unseen_training_rows, blobs, dataset, seed, model)
    table = pq.read_table(blobs.path(dataset.test.rows), columns=COLUMNS)
    if not len(table):
        raise DataError(
            f"dataset {dataset.name!r} has no test rows",
            remedy="raise test_per_label, or add data",
        )
    return table


def _unseen(
    num_rows: int, blobs: Blobs, dataset: Dataset, seed: int, model: ModelVersion | None
) -> pa.Table:
    """Which of the rows that may be asked follows from the seed and their ids alone, so that models
    that were trained on the same rows are asked the same."""
    table = pq.read_table(blobs.path(dataset.train.rows), columns=[*COLUMNS, "component"])
    seen = trained_on(blobs, model) if model is not None else set()
    is_seen = pc.is_in(table["row_id"], pa.array(sorted(seen), pa.string()))
    near = pc.is_in(table["component"], table["component"].filter(is_seen).combine_chunks())
    unseen = table.filter(pc.invert(near)).select(COLUMNS)
    if not len(unseen):
        raise DataError(
            f"the model saw each training row of dataset {dataset.name!r}, or its near duplicate",
            remedy="lower share_of_rows, or add data",
        )
    drawn = [draw(f"{seed}/unseen/{row_id}") for row_id in unseen["row_id"].to_pylist()]
    order = sorted(range(len(drawn)), key=drawn.__getitem__)
    return unseen.take(sorted(order[:num_rows]))
