"""From a data asset to its quality: numbers alone, no text of a row.

A step of its own, kept by the version of the data asset: near duplicates of 200,000 rows take
half a minute or more, so nobody should wait for them twice, and no run has to. It runs when
somebody asks (`tunesmith data show`).
"""

from __future__ import annotations

import json
from collections import Counter

import pyarrow.parquet as pq

from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset, TrueSize
from tunesmith.records.quality import Filled, Quality
from tunesmith.stages.assess.config import AssessConfig
from tunesmith.text.dedup import Thresholds, duplicate_of, duplicates, exact_key
from tunesmith.text.licence_texts import tagged
from tunesmith.text.licences import licence_of
from tunesmith.text.pii import find_pii
from tunesmith.text.quality import broken

SAMPLE = 2_000
"""Rows in which personal data is looked for: those with the smallest ids, which are digests, so
that they are drawn at random and are always the same."""
SAME = Thresholds(words=0.8, runs=0.6)
"""As alike as this, two rows say the same: what a dataset drops unless it says otherwise."""


def assess(config: AssessConfig, ctx: Context, *, asset: DataAsset) -> Quality:
    """How complete, unique and recent the rows of `asset` are, and what stands in them."""
    columns = ["row_id", "text", "label", "attributes"]
    rows = pq.read_table(ctx.blobs.path(asset.rows), columns=columns).to_pylist()
    filled: Counter[str] = Counter({"text": sum(bool(row["text"].strip()) for row in rows)})
    filled["label"] = sum(bool(row["label"]) for row in rows)
    newest: dict[str, str] = {}
    for row in rows:
        fields = json.loads(row["attributes"])
        filled.update(f"field {name}" for name, value in fields.items() if value not in _EMPTY)
        for name in config.dates:
            if isinstance(value := fields.get(name), str):
                newest[name] = max(newest.get(name, ""), value)
    texts = [f"{row['text']}\n{row['label']}" for row in rows]
    distinct = list({exact_key(text): text for text in texts}.values())
    pairs = duplicates(
        distinct, SAME, progress=lambda done, all_: ctx.progress(done, all_, "compares rows")
    )
    near = sum(pair is not None for pair in duplicate_of(len(distinct), pairs))
    sample = sorted(rows, key=lambda row: row["row_id"])[:SAMPLE]
    return Quality(
        fields=tuple(
            Filled(name=name, num_rows=count) for name, count in sorted(filled.items()) if count
        ),
        size=TrueSize(rows=len(rows), distinct=len(distinct), near_distinct=len(distinct) - near),
        newest=dict(sorted(newest.items())),
        pii=_personal([row["text"] for row in sample]),
        num_sampled=len(sample),
        licences=_licences([row["text"] for row in rows]),
        low=_low([row["text"] for row in rows]),
    )


_EMPTY: tuple[object, ...] = (None, "", [], {})


def _personal(texts: list[str]) -> dict[str, int]:
    """How many of the texts have personal data of each kind."""
    found = Counter(kind for text in texts for kind in {each.kind for each in find_pii(text)})
    return dict(sorted(found.items()))


def _low(texts: list[str]) -> dict[str, int]:
    """How many texts break each of the rules of `text.quality`."""
    found = Counter(rule for text in texts for rule in broken(text))
    return dict(sorted(found.items()))


def _licences(texts: list[str]) -> dict[str, int]:
    """How many texts name a licence by a tag or an address; of what is no known one, no word."""
    found = Counter(
        name if licence_of(name).family != "unknown" else "another"
        for text in texts
        for name in set(tagged(text))
    )
    return dict(sorted(found.items()))
