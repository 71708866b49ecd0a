"""How large a dataset that was not cut would be: a sample of the rows of its sources, measured as
all would be."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy
import pyarrow as pa
import pyarrow.parquet as pq

from tunesmith.core.blobs import Blobs
from tunesmith.core.canonical import plain
from tunesmith.core.errors import DataError
from tunesmith.expected.size import DatasetPreview
from tunesmith.records.data import DataAsset
from tunesmith.records.model import BaseModel
from tunesmith.records.rows import Content, Labelled, Text
from tunesmith.stages.curate.config import READ_BY, DatasetConfig
from tunesmith.stages.curate.content import NotInFormat, to_content
from tunesmith.stages.curate.count import Length, counter
from tunesmith.stages.curate.filters import low_quality, other_language
from tunesmith.stages.curate.formatted import NOT_IN_FORMAT, fields_of
from tunesmith.stages.curate.privacy import texts_of
from tunesmith.stages.curate.rows import Row
from tunesmith.stages.curate.split import caps_of_all, caps_per_label
from tunesmith.text.normalise import normalise

NUM_SAMPLED = 400
"""Rows of a dataset's sources that are looked at; a row takes about a millisecond."""
_FITS = ""
_95 = 1.96


def estimated(
    config: DatasetConfig, seed: int, assets: Sequence[DataAsset], base: BaseModel, blobs: Blobs
) -> DatasetPreview:
    """How large the dataset would be at most: what it drops for other rows, such as duplicates, is
    not looked at.

    Raises:
        DataError: the base model's tokenizer cannot be read, or has no template that is needed.
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
    measured = [_measured(config, row, count) for row in rows]
    reasons = Counter(reason for reason, _ in measured)
    tokens = [num_tokens for reason, num_tokens in measured if reason == _FITS]
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
            reason: round(times * scale) for reason, times in sorted(reasons.items()) if reason
        },
    )


def _wanted(config: DatasetConfig, counts: Counter[str]) -> frozenset[str]:
    """Labels that are kept, as it looks before duplicates are gone; none where all rows are."""
    if config.format != "labels":
        return frozenset()
    commonest = sorted(counts, key=lambda label: (-counts[label], label))[: config.num_labels]
    return frozenset(config.labels or commonest)


def _taken(asset: DataAsset, path: Path, at: Sequence[int]) -> Iterator[Row]:
    columns = ["row_id", "pointer", "text", "label", "attributes"]
    table = pq.read_table(path, columns=columns).take(pa.array(at, pa.int64()))
    return (Row(asset=asset.name, **row) for row in table.to_pylist())


def _measured(
    config: DatasetConfig, row: Row, count: Callable[[Content], Length]
) -> tuple[str, int]:
    """Why a row would be dropped on its own account, as curation says it, and its tokens."""
    content: Content
    if config.format == "labels":
        content = Labelled(text=normalise(row.text), label=row.label)
    else:
        try:
            content = to_content(config.format, config.columns, fields_of(row))
        except (NotInFormat, TypeError):
            return NOT_IN_FORMAT, 0
    if isinstance(content, Labelled | Text) and len(content.text) < config.min_chars:
        return "too short", 0
    if config.languages or config.quality:
        said = "\n".join(texts_of(plain(content)))
        gone = other_language(row, said, config.languages)
        if gone := gone or low_quality(row, said, config.quality):
            return gone.reason, 0
    try:
        length = count(content)
    except DataError:
        return "the template refuses it", 0
    if config.format in READ_BY["max_tokens"] and length.longest > config.max_tokens:
        return "too long", 0
    return _FITS, length.total


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
