"""What two evaluations of the same rows say of each other, and what one says of its model."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from scipy.stats import binomtest

from tunesmith.core.blobs import Blobs
from tunesmith.core.errors import DataError, UsageError
from tunesmith.paired.bootstrap import (
    NUM_RESAMPLES,
    Interval,
    bootstrap_mean,
    paired_bootstrap,
)
from tunesmith.paired.difference import (
    FEW,
    PERMUTATION,
    is_right_or_wrong,
    no_difference,
    not_beyond,
    of_few,
    of_outcomes,
)
from tunesmith.paired.power import is_bounded
from tunesmith.paired.sums import of_one, of_seen, of_two
from tunesmith.records.evaluation import Comparison, Evaluation, Slice
from tunesmith.records.rivals import Estimate
from tunesmith.stages.evaluate.calibration import calibration_error, error_of_one, error_of_two
from tunesmith.stages.evaluate.measured import (
    CALIBRATION,
    by_rows,
    known,
    of_each_row,
    require_same_tokens,
    sums_of,
    sureness_of,
)
from tunesmith.stages.evaluate.predictions import Predictions, from_parquet

BASE = "base"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """What a comparison found in one metric."""

    metric: str
    values: tuple[float, float]
    interval: Interval
    test: str
    p_value: float
    rows: tuple[Sequence[float], Sequence[float]]
    """By what rows are won and lost."""


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
    found = (
        _of_rows((base, tuned), (before, after), asking, metric)
        or _of_sums((base, tuned), (before, after), asking, metric)
        or _of_sureness((before, after), asking, metric)
    )
    if found is None:
        shared = [name for name in known(tuned, after) if name in known(base, before)]
        raise UsageError(
            f"{metric!r} cannot be compared row by row",
            remedy=f"there is: {', '.join(shared)}",
        )
    return _comparison(tuned, asking, num_left_out, found)


def _of_rows(
    evaluations: tuple[Evaluation, Evaluation],
    said: tuple[Predictions, Predictions],
    asking: Asking,
    metric: str,
) -> _Found | None:
    """Of a metric that is the mean of what rows have; None of another."""
    (base, tuned), (before, after) = evaluations, said
    first, second = by_rows(base, before, metric), by_rows(tuned, after, metric)
    if first is None or second is None:
        return None
    test, p_value = no_difference(first.scores, second.scores, asking.seed)
    may_be = is_bounded(metric) or bool(tuned.task)
    interval = _of_scores(first.scores, second.scores, asking, may_be)
    return _Found(
        metric=metric,
        values=(_mean(first.scores), _mean(second.scores)),
        interval=interval,
        test=test,
        p_value=p_value,
        rows=(first.scores, second.scores),
    )


def _of_sums(
    evaluations: tuple[Evaluation, Evaluation],
    said: tuple[Predictions, Predictions],
    asking: Asking,
    metric: str,
) -> _Found | None:
    """Of a metric that is made of sums over the rows; None of another."""
    first, second = (sums_of(*each, metric) for each in zip(evaluations, said, strict=True))
    if first is None or second is None:
        return None
    require_same_tokens(*said, metric)
    if len(said[1].row_ids) < evaluations[1].num_rows:
        first, second = of_seen(first, second)
    interval, p_value = of_two(first, second, confidence=asking.confidence, seed=asking.seed)
    return _Found(
        metric=metric,
        values=(first.value, second.value),
        interval=interval,
        test=PERMUTATION,
        p_value=p_value,
        rows=(of_each_row(said[0], metric), of_each_row(said[1], metric)),
    )


def _of_sureness(
    said: tuple[Predictions, Predictions], asking: Asking, metric: str
) -> _Found | None:
    """Of the calibration error; None of another metric."""
    first, second = (sureness_of(each) for each in said)
    if metric != CALIBRATION or first is None or second is None:
        return None
    interval, p_value = error_of_two(first, second, confidence=asking.confidence, seed=asking.seed)
    sure = (calibration_error(each.sure.tolist(), each.right.tolist()) for each in (first, second))
    return _Found(
        metric=metric,
        values=(next(sure), next(sure)),
        interval=interval,
        test=PERMUTATION,
        p_value=p_value,
        rows=(of_each_row(said[0], metric), of_each_row(said[1], metric)),
    )


def _comparison(tuned: Evaluation, asking: Asking, num_left_out: int, found: _Found) -> Comparison:
    interval = not_beyond(found.interval, found.p_value, asking.confidence)
    falls = tuned.falls(found.metric)
    better = [(b > t) if falls else (b < t) for b, t in zip(*found.rows, strict=True)]
    same = sum(b == t for b, t in zip(*found.rows, strict=True))
    return Comparison(
        metric=found.metric,
        base=found.values[0],
        tuned=found.values[1],
        difference=interval.difference,
        low=interval.low,
        high=interval.high,
        confidence=asking.confidence,
        num_rows=len(better),
        num_resamples=NUM_RESAMPLES,
        detectable=interval.detectable,
        versus=asking.versus,
        test=found.test,
        p_value=found.p_value,
        num_won=sum(better),
        num_lost=len(better) - sum(better) - same,
        num_left_out=num_left_out,
        task=tuned.task,
        slice=asking.only.said if asking.only else "",
        lower_is_better=falls,
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


def _of_scores(
    before: Sequence[float], after: Sequence[float], asking: Asking, may_be_bounded: bool
) -> Interval:
    """The interval of the difference of two means of the same rows; `may_be_bounded` says that they
    may be of scores between 0 and 1, which a loss is by chance alone."""
    rows = [second - first for first, second in zip(before, after, strict=True)]
    if is_right_or_wrong(before) and is_right_or_wrong(after):
        return of_outcomes(rows.count(1), rows.count(-1), len(rows), asking.confidence)
    interval = paired_bootstrap(before, after, confidence=asking.confidence, seed=asking.seed)
    is_between = may_be_bounded and all(0 <= score <= 1 for score in (*before, *after))
    if is_between and sum(row != 0 for row in rows) < FEW:
        low, high = of_few(rows, asking.confidence)
        interval = replace(interval, low=low, high=high)
    return interval


def _mean(scores: Sequence[float]) -> float:
    return sum(scores) / len(scores)


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
    if (sums := sums_of(evaluation, found, metric)) is not None:
        if only is not None:
            (sums,) = of_seen(sums)
        return of_one(sums, confidence=confidence, seed=seed), num_rows
    if metric == CALIBRATION and (sure := sureness_of(found)) is not None:
        return error_of_one(sure, confidence=confidence, seed=seed), num_rows
    scored = by_rows(evaluation, found, metric)
    if scored is None:
        raise UsageError(
            f"a floor of {metric!r} cannot be judged",
            remedy=f"there is: {', '.join(known(evaluation, found))}",
        )
    found = scored
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
