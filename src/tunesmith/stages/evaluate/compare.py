"""What two evaluations of the same rows say of each other, and what one says of its model."""

from __future__ import annotations

from tunesmith.core.blobs import Blobs
from tunesmith.core.errors import DataError
from tunesmith.records.evaluation import Comparison, Evaluation
from tunesmith.records.rivals import Estimate
from tunesmith.stages.evaluate.bootstrap import NUM_RESAMPLES, bootstrap_mean, paired_bootstrap
from tunesmith.stages.evaluate.predictions import from_parquet


def compare(
    base: Evaluation, tuned: Evaluation, blobs: Blobs, *, confidence: float, seed: int
) -> Comparison:
    """The metric of `tuned` minus that of `base`.

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
    interval = paired_bootstrap(before.scores, after.scores, confidence=confidence, seed=seed)
    return Comparison(
        metric=tuned.metric,
        base=base.value,
        tuned=tuned.value,
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
    """The mean loss of a row and the metric, each with its bootstrap interval."""
    found = from_parquet(blobs.get(evaluation.predictions))
    return (
        bootstrap_mean(found.losses, confidence=confidence, seed=seed),
        bootstrap_mean(found.scores, confidence=confidence, seed=seed),
    )
