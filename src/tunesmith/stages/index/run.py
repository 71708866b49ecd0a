"""Data asset -> index."""

from __future__ import annotations

import pyarrow.parquet as pq

from tunesmith.core.errors import DataError
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset
from tunesmith.records.index import Index
from tunesmith.retrieve.store import Store, build
from tunesmith.stages.index.calibrate import calibrate
from tunesmith.stages.index.config import IndexConfig
from tunesmith.stages.index.select import select, to_document


def index(
    config: IndexConfig, ctx: Context, *, asset: DataAsset, ranking: DataAsset | None = None
) -> Index:
    """Index the documents of `asset` whose labels are the commonest in `ranking`.

    Raises:
        DataError: a row has nothing to be called by, two have the same, or there is no text.
    """
    ctx.progress(0, 0, "reads the documents")
    rows = pq.read_table(
        ctx.blobs.path(asset.rows), columns=["pointer", "text", "label", "attributes"]
    ).to_pylist()
    documents = [to_document(row) for row in rows if row["text"].strip()]
    labels = (
        pq.read_table(ctx.blobs.path(ranking.rows), columns=["label"]).column("label").to_pylist()
        if ranking
        else ()
    )
    taken, left_out = select(documents, labels, config.num_documents)
    if not taken:
        raise DataError(
            f"data asset {asset.name!r} has no row with text to index",
            remedy="look at its quarantine, and at the source's `files`",
        )
    path = ctx.workdir / "index.sqlite"
    counts = build(path, taken, ctx.progress)
    with Store(path) as store:
        calibration = calibrate(store, left_out, seed=ctx.seed, progress=ctx.progress)
    return Index(
        name=config.name,
        database=ctx.blobs.put(path, "application/vnd.sqlite3"),
        num_documents=counts.num_documents,
        num_passages=counts.num_passages,
        num_sentences=counts.num_sentences,
        threshold=calibration.threshold,
        calibration=calibration.text,
    )
