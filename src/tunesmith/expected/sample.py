"""How large a dataset that was not cut would be: a sample of the rows of its sources, measured as
all would be."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy
import pyarrow as pa
import pyarrow.parquet as pq

from tunesmith.core.blobs import Blobs
from tunesmith.expected.size import DatasetPreview
from tunesmith.records.data import DataAsset
from tunesmith.records.model import BaseModel
from tunesmith.records.review import ReviewedLabels
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.curate.count import counter
from tunesmith.stages.curate.filters import commonest_labels, unwanted
from tunesmith.stages.curate.fit import fitting
from tunesmith.stages.curate.privacy import Privacy, privacy_by
from tunesmith.stages.curate.pseudonym_key import KEY_BYTES
from tunesmith.stages.curate.rows import Row
from tunesmith.stages.curate.split import caps_of_all, caps_per_label

NUM_SAMPLED = 400
"""Rows of a dataset's sources that are looked at; a row takes about a millisecond."""
_95 = 1.96


def estimated(
    config: DatasetConfig,
    seed: int,
    assets: Sequence[DataAsset],
    base: BaseModel,
    blobs: Blobs,
    reviewed: ReviewedLabels | None = None,
) -> DatasetPreview:
    """How large the dataset would be at most: what it drops for other rows, such as duplicates, is
    not looked at.

    Raises:
        DataError: the base model's tokenizer cannot be read, or has no template that is needed; or
            what was `reviewed` is of another format.
    """
    labels = [
        pq.read_table(blobs.path(asset.rows), columns=["label"])["label"].to_pylist()
        for asset in assets
    ]
    wanted = _wanted(config, Counter(label for each in labels for label in each))
    places = [
        (number, at)
        for number, each in enumerate(labels)
        for at, label in enumerate(each)
        if not wanted or label in wanted
    ]
    num = min(NUM_SAMPLED, len(places))
    order = numpy.random.default_rng(seed).choice(len(places), num, replace=False)
    drawn = [places[at] for at in sorted(order)]
    count, _ = counter(config, base, blobs)
    rows = [
        row
        for number, asset in enumerate(assets)
        for row in _taken(asset, blobs.path(asset.rows), [at for n, at in drawn if n == number])
    ]
    kept, dropped = fitting(config, rows, count, _privacy(config), reviewed, blobs)
    reasons = Counter(row.reason for row in dropped)
    tokens = [row.num_tokens for row in kept]
    scale = len(places) / max(len(rows), 1)
    per_label = Counter(labels[number][at] for number, at in places) if wanted else Counter()
    num_train, num_test = _sides(config, round(len(tokens) * scale), per_label)
    mean = statistics.fmean(tokens) if tokens else 0.0
    spread = statistics.stdev(tokens) / len(tokens) ** 0.5 if len(tokens) > 1 else 0.0
    spread *= (1 - len(rows) / len(places)) ** 0.5 if places else 1.0  # of all, all is known
    return DatasetPreview(
        dataset=config.name,
        num_sampled=len(rows),
        num_in=len(places),
        num_train=num_train,
        num_test=num_test,
        num_train_tokens=round(mean * num_train),
        within=round(_95 * spread * num_train),
        dropped_by_reason={
            reason: round(times * scale) for reason, times in sorted(reasons.items())
        },
    )


def _wanted(config: DatasetConfig, counts: Counter[str]) -> frozenset[str]:
    """Labels that are kept, as it looks before duplicates are gone; none where all rows are."""
    if config.format != "labels":
        return frozenset()
    known = {label: n for label, n in counts.items() if not unwanted(label, config.labels)}
    return frozenset(config.labels or commonest_labels(known, config.num_labels))


def _privacy(config: DatasetConfig) -> Privacy:
    """Without the secret key, which a plan does not need, and without names, which take a model."""
    return privacy_by(config.model_copy(update={"pii_names": ()}), bytes(KEY_BYTES))


def _taken(asset: DataAsset, path: Path, at: Sequence[int]) -> Iterator[Row]:
    columns = ["row_id", "pointer", "text", "label", "attributes"]
    table = pq.read_table(path, columns=columns).take(pa.array(at, pa.int64()))
    return (Row(asset=asset.name, **row) for row in table.to_pylist())


def _sides(config: DatasetConfig, num_fit: int, per_label: Mapping[str, int]) -> tuple[int, int]:
    """Rows to train and to test, of as many as fit."""
    if not num_fit:
        return 0, 0
    if config.format == "labels":
        whole = max(sum(per_label.values()), 1)
        totals = {label: round(num_fit * num / whole) for label, num in per_label.items()}
        caps = caps_per_label(totals, config.train_per_label, config.test_per_label)
    else:
        totals = {"": num_fit}
        caps = caps_of_all(
            totals,
            train_rows=config.train_rows,
            test_rows=config.test_rows,
            test_share=config.test_share,
        )
    num_test = sum(min(caps.test[label], total) for label, total in totals.items())
    left = {label: max(total - caps.test[label], 0) for label, total in totals.items()}
    return sum(min(caps.train[label], left[label]) for label in totals), num_test
