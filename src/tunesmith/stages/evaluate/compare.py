"""What two evaluations of the same rows say of each other, and what one says of its model."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
import pyarrow.parquet as pq

from tunesmith.core.blobs import Blobs
from tunesmith.core.errors import DataError
from tunesmith.records.evaluation import Comparison, Evaluation
from tunesmith.records.rivals import Estimate
from tunesmith.stages.evaluate.bootstrap import NUM_RESAMPLES, bootstrap_mean, paired_bootstrap
from tunesmith.stages.evaluate.predictions import from_parquet

LEAST = float(np.finfo(np.float32).tiny)
"""A probability is kept in float32; a smaller one counts as this, 87 nats."""


def compare(
    base: Evaluation, tuned: Evaluation, blobs: Blobs, *, confidence: float, seed: int
) -> Comparison:
    """The accuracy of `tuned` minus that of `base`.

    Raises:
        DataError: they are not of the same rows.
    """
    before = from_parquet(blobs.get(base.predictions))
    after = from_parquet(blobs.get(tuned.predictions))
    if (before.row_ids, before.truth) != (after.row_ids, after.truth):
        raise DataError(
            f"{base.model!r} ({base.subject}) and {tuned.model!r} ({tuned.subject}) were evaluated "
            "on different rows, so they cannot be compared",
            remedy="evaluate both on the same version of the dataset",
        )
    interval = paired_bootstrap(before.right, after.right, confidence=confidence, seed=seed)
    return Comparison(
        metric="accuracy",
        base=base.accuracy,
        tuned=tuned.accuracy,
        difference=interval.difference,
        low=interval.low,
        high=interval.high,
        confidence=confidence,
        num_rows=len(before.row_ids),
        num_resamples=NUM_RESAMPLES,
        detectable=interval.detectable,
    )


def estimates(
    evaluation: Evaluation, blobs: Blobs, *, confidence: float, seed: int
) -> tuple[Estimate, Estimate]:
    """The mean negative log-likelihood of a row's label, in nats among the labels, and the
    accuracy, each with its bootstrap interval."""
    data = blobs.get(evaluation.predictions)
    return (
        bootstrap_mean(losses(data, evaluation.labels), confidence=confidence, seed=seed),
        bootstrap_mean(from_parquet(data).right, confidence=confidence, seed=seed),
    )


def losses(predictions: bytes, labels: Sequence[str]) -> list[float]:
    """The negative log-likelihood of each row's true label, in nats, among `labels`."""
    table = pq.read_table(io.BytesIO(predictions), columns=["label", "probabilities"])
    place = {label: index for index, label in enumerate(labels)}
    return [
        -math.log(max(LEAST, row["probabilities"][place[row["label"]]]))
        for row in table.to_pylist()
    ]
