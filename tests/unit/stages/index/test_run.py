import dataclasses
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.errors import DataError
from tunesmith.core.file_digests import FileDigests
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset
from tunesmith.retrieve.answer import ask
from tunesmith.stages.index.config import IndexConfig
from tunesmith.stages.index.run import index
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.local import as_it_is_now, land
from tunesmith.stages.ingest.run import ingest


@pytest.fixture
def ctx(tmp_path):
    return Context(blobs=FolderBlobs(tmp_path / "blobs"), seed=1, workdir=tmp_path, keep=tmp_path)


def _asset(ctx, rows):
    """Of (label, text)."""
    table = pa.table(
        {
            "row_id": [f"{number:032x}" for number in range(len(rows))],
            "pointer": [label for label, _ in rows],
            "text": [text for _, text in rows],
            "label": [label for label, _ in rows],
            "attributes": [json.dumps({"name": label.title()}) for label, _ in rows],
        }
    )
    pq.write_table(table, ctx.workdir / "rows.parquet")
    return DataAsset(
        name="licences",
        rows=ctx.blobs.put(ctx.workdir / "rows.parquet"),
        quarantine=ctx.blobs.put(b""),
        num_in=len(rows),
        num_rows=len(rows),
        num_quarantined=0,
        num_filtered=0,
        quarantined_by_rule={},
        licence="",
        owner="",
        purpose="",
        origin="",
    )


TEXTS = [
    ("crane", "The name of the holder shall not be used to endorse products."),
    ("heron", "The copyright notice shall stand in every copy of the program."),
    ("stork", "Each contributor grants a patent licence to everybody."),
    ("empty", " "),
]


def test_an_index_of_the_commonest(ctx):
    config = IndexConfig(
        name="licences", source="licences", num_documents=2, commonest_in="notices"
    )
    ranking = _asset(ctx, [("stork OR heron", "a"), ("heron", "b"), ("crane-2", "c")])
    made = index(config, ctx, asset=_asset(ctx, TEXTS), ranking=ranking)
    assert (made.num_documents, made.num_passages, made.num_sentences) == (2, 2, 2)
    assert made.name == "licences"
    assert "not calibrated" in made.calibration
    path = ctx.blobs.path(made.database)
    answer = ask(made, path, "Does Heron want a copyright notice in every copy?")
    assert [citation.link for citation in answer.citations] == ["heron#0-62"]
    assert answer.citations[0].title == "Heron"
    assert not ask(made, path, "May I endorse products?").answered


def test_the_first_without_a_ranking(ctx):
    config = IndexConfig(source="licences", num_documents=1)
    made = index(config, ctx, asset=_asset(ctx, TEXTS))
    assert ask(made, ctx.blobs.path(made.database), "endorse products").citations


def test_no_text_at_all(ctx):
    with pytest.raises(DataError, match="no row with text"):
        index(IndexConfig(source="licences"), ctx, asset=_asset(ctx, [("empty", " ")]))


PLAIN = [
    ("returns policy", "A kettle may be sent back within thirty days. The box must be whole."),
    ("delivery_times", "A parcel takes three days to arrive. On islands it takes a week."),
    ("warranty", "A motor is replaced without charge for two years. Keep the receipt."),
]


def test_a_folder_of_plain_texts(ctx):
    """`format = "text"`: no label, no fields; as `tunesmith run` reads it, and with calibration."""
    folder = ctx.workdir / "docs"
    folder.mkdir()
    for number, (name, text) in enumerate(PLAIN):
        (folder / f"{number}_{name}.txt").write_text(text)
    there = dataclasses.replace(ctx, project=ctx.workdir)
    source = as_it_is_now(
        SourceConfig(name="docs", origin="file:docs", format="text"), ctx.workdir, FileDigests()
    )
    files = land(source.landing(), there)
    asset = ingest(source, there, package=files)

    made = index(IndexConfig(name="docs", source="docs", num_documents=2), ctx, asset=asset)

    assert (made.num_documents, made.calibration != "") == (2, True)
    path = ctx.blobs.path(made.database)
    answer = ask(made, path, "Within how many days may a kettle be sent back?")
    (citation,) = answer.citations[:1]
    assert citation.document == "0_returns policy.txt"
    assert citation.title == "0 returns policy"
