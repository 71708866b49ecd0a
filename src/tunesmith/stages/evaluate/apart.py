"""Whether test rows of another dataset, which a task asks, are among those that are tuned on."""

from __future__ import annotations

import pyarrow.parquet as pq
from pydantic import Field

from tunesmith.core.errors import DataError
from tunesmith.core.section import Section
from tunesmith.core.step import Context
from tunesmith.records.data import Dataset
from tunesmith.records.evaluation import Apart
from tunesmith.text.dedup import Thresholds, resembling


class ApartConfig(Section):
    """From where on two rows are alike: as the dataset that is tuned on says of its own split."""

    words: float = Field(gt=0, le=1)
    """The share of common words, where a row is short."""
    runs: float = Field(gt=0, le=1)
    """The share of common runs of five words, where none is."""


def check(config: ApartConfig, ctx: Context, *, dataset: Dataset, other: Dataset) -> Apart:
    """No test row of `other` is a training row of `dataset`, or resembles one.

    Raises:
        DataError: one does; what a model said of it would be what it was told.
    """
    ctx.progress(0, 0, f"compares the test rows of {other.name} with the training rows")
    columns = ["row_id", "pointer", "text"]
    asked, trained = (
        pq.read_table(ctx.blobs.path(split.rows), columns=columns).to_pylist()
        for split in (other.test, dataset.train)
    )
    left, right = ([row["text"] for row in rows] for rows in (asked, trained))
    pairs = resembling(left, right, Thresholds(words=config.words, runs=config.runs))
    found = [pair for pair in pairs if pair is not None]
    if found:
        one, of = asked[found[0].first], trained[found[0].second]
        raise DataError(
            f"{len(found)} of the {len(asked)} test rows of {other.name!r} are rows that "
            f"{dataset.name!r} tunes on, or resemble them: {one['pointer']} is {of['pointer']}, or "
            f"has {found[0].jaccard:.2f} of its {'words' if found[0].short else 'word 5-grams'}",
            remedy=f'keep them out of tuning: apart_from = ["{other.name}"] in '
            f"[dataset.{dataset.name}]",
        )
    return Apart(
        asked=other.name,
        trained=dataset.name,
        num_asked=len(asked),
        num_trained=len(trained),
        words=config.words,
        runs=config.runs,
    )
