"""What a metric is made of: of scores that rows have, of sums over them, or of how sure a model is.

A rule of a gate can ask for each metric that is found here, on all rows or on some.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tunesmith.core.errors import DataError
from tunesmith.paired.power import MACRO_F1
from tunesmith.paired.sums import Sums, of_labels, of_tags, of_tokens
from tunesmith.records.evaluation import AT_RANK, RANKED, Evaluation
from tunesmith.stages.evaluate.calibration import Sureness
from tunesmith.stages.evaluate.corpus import COUNTS, of_counts
from tunesmith.stages.evaluate.metrics import UNTAGGED, of_rank
from tunesmith.stages.evaluate.predictions import Predictions

MICRO_F1 = "micro-F1"
LOSS = "loss"
PERPLEXITY = "perplexity"
CALIBRATION = "calibration error"


def known(evaluation: Evaluation, said: Predictions) -> list[str]:
    """The metrics that two models can be compared by, row by row, the first one first."""
    more = (MACRO_F1, MICRO_F1, LOSS, PERPLEXITY, CALIBRATION)
    found = [evaluation.metric, *said.by_row]
    return found + [
        name for name in more if name not in found and _is_made_of_it(evaluation, said, name)
    ]


def _is_made_of_it(evaluation: Evaluation, said: Predictions, metric: str) -> bool:
    return (
        by_rows(evaluation, said, metric) is not None
        or sums_of(evaluation, said, metric) is not None
        or (metric == CALIBRATION and sureness_of(said) is not None)
    )


def by_rows(evaluation: Evaluation, said: Predictions, metric: str) -> Predictions | None:
    """What was said, with what each row has of `metric` as its score; None where the metric is no
    mean of those."""
    if _counts(evaluation, said, metric):
        return None
    if metric in ("", evaluation.metric):
        return said
    if metric in said.by_row:
        return said.of(metric)
    if evaluation.metric == RANKED and AT_RANK.fullmatch(metric):
        ranks = (round(1 / score) for score in said.scores)
        return replace(said, scores=tuple(of_rank(metric, rank) for rank in ranks))
    if metric not in evaluation.others:
        return None
    if metric == LOSS and "nats" not in said.added:
        return replace(said, scores=said.losses)
    if metric == MICRO_F1 and evaluation.metric == "accuracy":  # one label a row: the same
        return said
    return None


def sums_of(evaluation: Evaluation, said: Predictions, metric: str) -> Sums | None:
    """What each row adds to the sums that `metric` is made of; None where it is made of none."""
    if counts := _counts(evaluation, said, metric):
        return of_counts(metric or evaluation.metric, counts)
    if metric not in evaluation.others:
        return None
    if metric in (LOSS, PERPLEXITY) and "nats" in said.added:
        return of_tokens(
            said.added["nats"], said.added["num_tokens"], perplexity=metric == PERPLEXITY
        )
    if metric not in (MACRO_F1, MICRO_F1):
        return None
    if "tag_counts" in said.added:
        meant = [place for place, tag in enumerate(evaluation.labels) if tag != UNTAGGED]
        return of_tags(said.added["tag_counts"], meant if metric == MICRO_F1 else None)
    if metric == MACRO_F1 and set(said.predicted) <= set(evaluation.labels):
        return of_labels(said.truth, said.predicted, evaluation.labels)
    return None


def _counts(
    evaluation: Evaluation, said: Predictions, metric: str
) -> Sequence[Sequence[int]] | None:
    """What each row adds to the counts of a metric of all answers together; None of another."""
    return said.added.get(COUNTS.get(metric or evaluation.metric, ""))


def sureness_of(said: Predictions) -> Sureness | None:
    """How sure a model was of each label that it said; None where it said none."""
    if "log_probability" not in said.added:
        return None
    return Sureness(
        sure=np.exp(np.asarray(said.added["log_probability"], dtype=np.float64)),
        right=np.asarray(said.scores, dtype=np.float64),
    )


def of_each_row(said: Predictions, metric: str) -> Sequence[float]:
    """By what rows are counted as won or lost where `metric` is no mean of them; less of it is
    better where less of the metric is."""
    if metric == CALIBRATION and (found := sureness_of(said)):
        return [float(gap) for gap in found.gaps]
    if metric in (LOSS, PERPLEXITY):
        return said.losses
    return said.by_row.get(metric, said.scores)


def require_same_tokens(before: Predictions, after: Predictions, metric: str) -> None:
    """Both models were asked in the same tokens.

    Raises:
        DataError: they were not, and `metric` is of a token.
    """
    counted = [each.added.get("num_tokens") for each in (before, after)]
    if metric in (LOSS, PERPLEXITY) and counted[0] != counted[1]:
        raise DataError(
            f"{metric} is of a token, and the two models cut the same rows into other tokens",
            remedy="compare them by what they answer (a task), or models of one base",
        )
