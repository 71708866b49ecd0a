"""What two evaluations of the same rows say of each other, and what one says of its model."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from scipy.stats import binomtest

from tunesmith.core.blobs import Blobs
from tunesmith.core.errors import DataError, UsageError
from tunesmith.records.evaluation import Comparison, Evaluation, Slice
from tunesmith.records.rivals import Estimate
from tunesmith.stages.evaluate.bootstrap import (
    NUM_RESAMPLES,
    Interval,
    bootstrap_mean,
    paired_bootstrap,
)
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
class _Found:
    """What a comparison found in one metric."""

    metric: str
    values: tuple[float, float]
    interval: Interval
    test: str
    p_value: float


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
    only: Slice | None = None
    """The rows that are compared at all; None for each that was asked."""


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
    if metric in before.by_row and metric in after.by_row:
        before, after = before.of(metric), after.of(metric)
    elif metric != tuned.metric:
        return _of_macro_f1((base, tuned), (before, after), asking, num_left_out)
    interval = paired_bootstrap(
        before.scores, after.scores, confidence=asking.confidence, seed=asking.seed
    )
    test, p_value = no_difference(before.scores, after.scores, asking.seed)
    # Of all test rows beside the base, verdicts stay what they were before this was known.
    is_new = asking.only is not None or bool(tuned.task)
    is_asked = is_new or asking.versus != BASE
    if is_asked and (few := _few(before.scores, after.scores, is_new)):
        low, high = of_few(few, asking.confidence)
        interval = replace(interval, low=low, high=high)
    values = _mean(before.scores), _mean(after.scores)
    found = _Found(metric=metric, values=values, interval=interval, test=test, p_value=p_value)
    return _comparison(before, after, tuned, asking, num_left_out, found)


def _of_macro_f1(
    evaluations: tuple[Evaluation, Evaluation],
    said: tuple[Predictions, Predictions],
    asking: Asking,
    num_left_out: int,
) -> Comparison:
    (base, tuned), (before, after) = evaluations, said
    labels = tuned.labels
    if asking.metric != MACRO_F1 or not all(MACRO_F1 in each.others for each in (base, tuned)):
        raise UsageError(
            f"{asking.metric!r} cannot be compared row by row",
            remedy=f"there is: {', '.join(_known(tuned, after))}",
        )
    interval, p_value = macro_f1_interval(
        before, after, labels, confidence=asking.confidence, seed=asking.seed
    )
    values = _macro_f1(before, labels), _macro_f1(after, labels)
    found = _Found(
        metric=MACRO_F1, values=values, interval=interval, test=PERMUTATION, p_value=p_value
    )
    return _comparison(before, after, tuned, asking, num_left_out, found)


def _comparison(
    before: Predictions,
    after: Predictions,
    tuned: Evaluation,
    asking: Asking,
    num_left_out: int,
    found: _Found,
) -> Comparison:
    pairs = list(zip(before.scores, after.scores, strict=True))
    return Comparison(
        metric=found.metric,
        base=found.values[0],
        tuned=found.values[1],
        difference=found.interval.difference,
        low=found.interval.low,
        high=found.interval.high,
        confidence=asking.confidence,
        num_rows=len(pairs),
        num_resamples=NUM_RESAMPLES,
        detectable=found.interval.detectable,
        versus=asking.versus,
        test=found.test,
        p_value=found.p_value,
        num_won=sum(b < t for b, t in pairs),
        num_lost=sum(b > t for b, t in pairs),
        num_left_out=num_left_out,
        task=tuned.task,
        slice=asking.only.said if asking.only else "",
    )


def _known(evaluation: Evaluation, said: Predictions) -> list[str]:
    """The metrics that gates can ask for."""
    known = [evaluation.metric, *said.by_row]
    return [*known, MACRO_F1] if MACRO_F1 in evaluation.others else known


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
    if same and not asking.left_out and asking.only is None:
        return before, after, 0
    left_out = set(asking.left_out)
    only = set(after.row_ids if asking.only is None else asking.only.row_ids)
    places = {key: place for place, key in enumerate(zip(before.row_ids, before.truth))}  # noqa: B905
    pairs = [
        (places[key], place)
        for place, key in enumerate(zip(after.row_ids, after.truth, strict=True))
        if key in places and key[0] in only and key[0] not in left_out
    ]
    if not pairs:
        raise DataError(
            f"there is no row on which {asking.versus} and {tuned.model} could be compared: the "
            "other was tuned on each, or was never asked",
            remedy="add rows to the dataset that neither model was tuned on",
        )
    kept = before.at([first for first, _ in pairs]), after.at([second for _, second in pairs])
    return *kept, sum(row_id in only for row_id in after.row_ids) - len(pairs)


def _few(before: Sequence[float], after: Sequence[float], may_be_between: bool) -> list[float]:
    """The differences, where they are right or wrong, or between, and few; else none."""
    whole = is_right_or_wrong(before) and is_right_or_wrong(after)
    between = may_be_between and all(0 <= score <= 1 for score in (*before, *after))
    if not (whole or between):
        return []
    rows = [second - first for first, second in zip(before, after, strict=True)]
    return rows if sum(row != 0 for row in rows) < FEW else []


def _mean(scores: Sequence[float]) -> float:
    return sum(scores) / len(scores)


def _macro_f1(said: Predictions, labels: Sequence[str]) -> float:
    return macro_f1(f1_by_label(said.truth, said.predicted, labels))


def floor_interval(
    evaluation: Evaluation,
    blobs: Blobs,
    *,
    metric: str,
    confidence: float,
    seed: int,
    only: Slice | None = None,
) -> tuple[Estimate, int]:
    """The metric of one evaluation and its interval (Wilson's of a share, else the bootstrap's),
    and of how many rows.

    Raises:
        UsageError: it has no such metric that an interval could be given of.
    """
    found = from_parquet(blobs.get(evaluation.predictions))
    if only is not None:
        rows = set(only.row_ids)
        found = found.at([n for n, row_id in enumerate(found.row_ids) if row_id in rows])
    num_rows = len(found.row_ids)
    if metric == MACRO_F1 and MACRO_F1 in evaluation.others:
        labels = evaluation.labels
        return macro_f1_of_one(found, labels, confidence=confidence, seed=seed), num_rows
    if metric in found.by_row:
        found = found.of(metric)
    elif metric not in ("", evaluation.metric):
        raise UsageError(
            f"a floor of {metric!r} cannot be judged",
            remedy=f"there is: {', '.join(_known(evaluation, found))}",
        )
    if not is_right_or_wrong(found.scores):
        return bootstrap_mean(found.scores, confidence=confidence, seed=seed), num_rows
    within = binomtest(int(sum(found.scores)), num_rows).proportion_ci(confidence, "wilson")
    mean = _mean(found.scores)
    return Estimate(mean=mean, low=float(within.low), high=float(within.high)), num_rows


def estimates(
    evaluation: Evaluation, blobs: Blobs, *, confidence: float, seed: int
) -> tuple[Estimate, Estimate]:
    """The mean loss of a row and the metric, each with its bootstrap interval."""
    found = from_parquet(blobs.get(evaluation.predictions))
    return (
        bootstrap_mean(found.losses, confidence=confidence, seed=seed),
        bootstrap_mean(found.scores, confidence=confidence, seed=seed),
    )
