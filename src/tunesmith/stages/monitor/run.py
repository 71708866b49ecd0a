"""Traffic -> signal. A replay makes traffic of the project's own data; a monitor judges it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from tunesmith.core.errors import DataError
from tunesmith.core.ref import Blob
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset, Dataset
from tunesmith.records.service import Traffic
from tunesmith.records.signal import Check, Signal
from tunesmith.stages.monitor.config import CompareConfig, ReplayConfig
from tunesmith.stages.monitor.judge import Finding, judge, overall
from tunesmith.stages.monitor.length import compare_lengths
from tunesmith.stages.monitor.outputs import MOST_REFERENCE, compare_outputs, split_answers
from tunesmith.stages.monitor.sample import sample_keys
from tunesmith.stages.monitor.traffic import gather
from tunesmith.stages.monitor.vocabulary import compare_vocabulary
from tunesmith.stages.monitor.words import explain
from tunesmith.text.normalise import normalise

REFERENCE_OF_TEXTS = (
    "the reference is the train split: capped per label, and without near-duplicates"
)
REFERENCE_OF_ANSWERS = "the reference is the first answers of this traffic, not the train labels"


def replay_dataset(config: ReplayConfig, ctx: Context, *, dataset: Dataset) -> Traffic:
    """The test split of `dataset` as traffic. Drawn like the reference, it should be unchanged."""
    rows = _read(ctx, dataset.test.rows, ("row_id", "text"))
    texts = dict(zip(rows["row_id"], rows["text"], strict=True))
    chosen = sample_keys(list(texts), config.limit, ctx.seed)
    return _traffic(config, ctx, [texts[row_id] for row_id in chosen])


def replay_asset(config: ReplayConfig, ctx: Context, *, asset: DataAsset) -> Traffic:
    """Rows of `asset`, normalised as those of a dataset are, as traffic."""
    rows = _read(ctx, asset.rows, ("row_id", "text"))
    texts = dict(zip(rows["row_id"], rows["text"], strict=True))
    chosen = sample_keys(list(texts), config.limit, ctx.seed)
    found = []
    for done, row_id in enumerate(chosen):
        if done % 100 == 0:
            ctx.progress(done, len(chosen), f"reading {asset.name}")
        found.append(normalise(texts[row_id]))
    return _traffic(config, ctx, found)


def monitor(config: CompareConfig, ctx: Context, *, dataset: Dataset, traffic: Traffic) -> Signal:
    """Whether the texts of `traffic` are like the train split of `dataset`, and its later answers
    like its first ones.

    A dataset holds near-duplicates once, so each distinct text of the traffic, and each distinct
    pair of text and answer, counts once too: a request that is sent a hundred times is no change
    of what is asked, and is no hundred independent observations. The train split is capped per
    label, so that answers are compared within the traffic, whose rows are in order of time.

    Raises:
        DataError: the train split is empty.
    """
    train = _read(ctx, dataset.train.rows, ("text",))["text"]
    if not train:
        raise DataError(
            f"the train split of {dataset.name} is empty, so nothing can be compared with it",
            remedy="build the dataset again with sources that have rows",
        )
    asked = _read(ctx, traffic.rows, ("text", "answer"))
    reference = sample_keys(train, config.limit, ctx.seed)
    texts = sample_keys(asked["text"], config.limit, ctx.seed)
    requests = list(zip(asked["text"], asked["answer"], strict=True))
    first, later = split_answers(requests, config.limit)
    alpha = config.false_alarm_rate / (3 if first else 2)  # Bonferroni over the checks
    ctx.progress(0, 1, "comparing lengths")
    findings = [
        compare_lengths(
            reference,
            texts,
            alpha=alpha,
            tolerance=config.tolerance_length,
            acceptable=config.acceptable_length,
        ),
        compare_vocabulary(
            reference,
            texts,
            alpha=alpha,
            tolerance=config.tolerance_vocabulary,
            acceptable=config.acceptable_vocabulary,
            seed=ctx.seed,
            report=lambda share: ctx.progress(share, 1, "comparing words"),
        ),
    ]
    if first:
        findings.append(_compare_answers(config, dataset.labels, first, later, alpha))
    checks = tuple(judge(finding, alpha) for finding in findings)
    ctx.progress(1, 1, "compared")
    return Signal(
        monitor=config.name or dataset.name,
        traffic=traffic.name,
        verdict=overall(tuple(check.verdict for check in checks)),
        checks=tuple(_explained(check, reference, texts) for check in checks),
        false_alarm_rate=config.false_alarm_rate,
    )


def _compare_answers(
    config: CompareConfig,
    labels: Sequence[str],
    first: Sequence[str],
    later: Sequence[str],
    alpha: float,
) -> Finding:
    return compare_outputs(
        first,
        later,
        labels=labels,
        alpha=alpha,
        tolerance=config.tolerance_outputs,
        acceptable=config.acceptable_outputs,
        most_reference=min(MOST_REFERENCE, config.limit),
    )


def _explained(check: Check, reference: Sequence[str], texts: Sequence[str]) -> Check:
    found = explain(reference, texts) if _are_other_words(check) else ()
    against = REFERENCE_OF_TEXTS if check.layer == "inputs" else REFERENCE_OF_ANSWERS
    return dataclasses.replace(check, details=(*check.details, *found, against))


def _are_other_words(check: Check) -> bool:
    return check.name == "vocabulary" and check.verdict == "changed"


def _traffic(config: ReplayConfig, ctx: Context, texts: Sequence[str]) -> Traffic:
    # No model was asked, so there are no answers.
    return gather(config.name, [(text, "") for text in texts], "replayed", ctx.blobs)


def _read(ctx: Context, rows: Blob, columns: tuple[str, ...]) -> dict[str, list[str]]:
    table = pq.read_table(pa.BufferReader(ctx.blobs.get(rows)), columns=list(columns))
    return {column: table.column(column).to_pylist() for column in columns}
