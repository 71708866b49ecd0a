"""What two evaluations of the same rows say of each other, and what one says of its model."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from scipy.stats import binomtest

from tunesmith.core.blobs import Blobs
from tunesmith.core.errors import DataError, UsageError
from tunesmith.records.evaluation import Comparison, Evaluation
from tunesmith.records.rivals import Estimate
from tunesmith.stages.evaluate.bootstrap import NUM_RESAMPLES, bootstrap_mean, paired_bootstrap
from tunesmith.stages.evaluate.metrics import f1_by_label, macro_f1
from tunesmith.stages.evaluate.paired import (
    FEW,
    PERMUTATION,
    is_right_or_wrong,
    macro_f1_interval,
    macro_f1_of_one,
    no_difference,
    of_few,
)
from tunesmith.stages.evaluate.predictions import Predictions, from_parquet

MACRO_F1 = "macro-F1"
BASE = "base"


@dataclass(frozen=True, kw_only=True, slots=True)
class Asking:
    """What of two evaluations is compared, and how surely."""

    confidence: float
    seed: int
    metric: str = ""
    """Without one the evaluations' first."""
    versus: str = BASE
    """What the first evaluation is of: "base", or a version."""
    left_out: Collection[str] = ()
    """Ids of rows that are not compared."""
    shared: bool = False
    """Whether rows that only one of them was asked are left out too; else they are an error."""


def compare(
    base: Evaluation, tuned: Evaluation, blobs: Blobs, *, confidence: float, seed: int
) -> Comparison:
    """The metric of `tuned` minus that of `base`.

    Raises:
        DataError: they are not of the same rows.
    """
    return compare_as(base, tuned, blobs, Asking(confidence=confidence, seed=seed))


def compare_as(base: Evaluation, tuned: Evaluation, blobs: Blobs, asking: Asking) -> Comparison:
    """What `asking` asks of `tuned` and `base`: the former minus the latter, paired.

    Raises:
        DataError: they are not of the same rows, or of another metric; or no row is left.
        UsageError: there is no such metric of both.
    """
    metric = asking.metric or tuned.metric
    if base.metric != tuned.metric:
        raise DataError(
            f"{base.model!r} was evaluated by {base.metric} and {tuned.model!r} by {tuned.metric}",
            remedy="compare models of the same objective",
        )
    before, after, num_left_out = _paired(base, tuned, blobs, asking)
    if metric == tuned.metric:
        interval = paired_bootstrap(
            before.scores, after.scores, confidence=asking.confidence, seed=asking.seed
        )
        low, high = interval.low, interval.high
        values = (_mean(before.scores), _mean(after.scores))
        test, p_value = no_difference(before.scores, after.scores, asking.seed)
        if asking.versus != BASE and (few := _few(before.scores, after.scores)):
            low, high = of_few(few, asking.confidence)
    elif metric == MACRO_F1 and MACRO_F1 in base.others and MACRO_F1 in tuned.others:
        labels = tuned.labels
        interval, p_value = macro_f1_interval(
            before, after, labels, confidence=asking.confidence, seed=asking.seed
        )
        low, high, test = interval.low, interval.high, PERMUTATION
        values = (_macro_f1(before, labels), _macro_f1(after, labels))
    else:
        known = ", ".join(each for each in (tuned.metric, MACRO_F1) if each in tuned.metrics())
        raise UsageError(f"{metric!r} cannot be compared row by row", remedy=f"there is: {known}")
    pairs = list(zip(before.scores, after.scores, strict=True))
    return Comparison(
        metric=metric,
        base=values[0],
        tuned=values[1],
        difference=interval.difference,
        low=low,
        high=high,
        confidence=asking.confidence,
        num_rows=len(pairs),
        num_resamples=NUM_RESAMPLES,
        detectable=interval.detectable,
        versus=asking.versus,
        test=test,
        p_value=p_value,
        num_won=sum(b < t for b, t in pairs),
        num_lost=sum(b > t for b, t in pairs),
        num_left_out=num_left_out,
    )


def _paired(
    base: Evaluation, tuned: Evaluation, blobs: Blobs, asking: Asking
) -> tuple[Predictions, Predictions, int]:
    """What both said of the rows that count, in one order; and how many do not count."""
    before = from_parquet(blobs.get(base.predictions))
    after = from_parquet(blobs.get(tuned.predictions))
    same = (before.row_ids, before.truth) == (after.row_ids, after.truth)
    if not same and not asking.shared:
        raise DataError(
            f"{base.model!r} ({base.subject}) and {tuned.model!r} ({tuned.subject}) were evaluated "
            "on different rows, so they cannot be compared",
            remedy="evaluate both on the same version of the dataset",
        )
    if same and not asking.left_out:
        return before, after, 0
    left_out = set(asking.left_out)
    places = {key: place for place, key in enumerate(zip(before.row_ids, before.truth))}  # noqa: B905
    pairs = [
        (places[key], place)
        for place, key in enumerate(zip(after.row_ids, after.truth, strict=True))
        if key in places and key[0] not in left_out
    ]
    if not pairs:
        raise DataError(
            f"there is no row on which {asking.versus} and {tuned.model} could be compared: the "
            "other was tuned on each, or was never asked",
            remedy="add rows to the dataset that neither model was tuned on",
        )
    kept = before.at([first for first, _ in pairs]), after.at([second for _, second in pairs])
    return *kept, len(after.row_ids) - len(pairs)


def _few(before: Sequence[float], after: Sequence[float]) -> list[float]:
    """The differences, where they are right or wrong and few; else none."""
    if not (is_right_or_wrong(before) and is_right_or_wrong(after)):
        return []
    rows = [second - first for first, second in zip(before, after, strict=True)]
    return rows if sum(row != 0 for row in rows) < FEW else []


def _mean(scores: Sequence[float]) -> float:
    return sum(scores) / len(scores)


def _macro_f1(said: Predictions, labels: Sequence[str]) -> float:
    return macro_f1(f1_by_label(said.truth, said.predicted, labels))


def floor_interval(
    evaluation: Evaluation, blobs: Blobs, *, metric: str, confidence: float, seed: int
) -> Estimate:
    """The metric of one evaluation and its interval: Wilson's of a share, else the bootstrap's.

    Raises:
        UsageError: it has no such metric that an interval could be given of.
    """
    found = from_parquet(blobs.get(evaluation.predictions))
    if metric in ("", evaluation.metric):
        if not is_right_or_wrong(found.scores):
            return bootstrap_mean(found.scores, confidence=confidence, seed=seed)
        num_rows = len(found.scores)
        within = binomtest(int(sum(found.scores)), num_rows).proportion_ci(confidence, "wilson")
        return Estimate(mean=_mean(found.scores), low=float(within.low), high=float(within.high))
    if metric == MACRO_F1 and MACRO_F1 in evaluation.others:
        return macro_f1_of_one(found, evaluation.labels, confidence=confidence, seed=seed)
    raise UsageError(
        f"a floor of {metric!r} cannot be judged",
        remedy=f"there is {evaluation.metric} and, of labels, {MACRO_F1}",
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
