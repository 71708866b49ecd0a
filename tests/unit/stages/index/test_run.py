import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.errors import DataError
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset
from tunesmith.retrieve.answer import ask
from tunesmith.stages.index.config import IndexConfig
from tunesmith.stages.index.run import index


@pytest.fixture
def ctx(tmp_path):
    return Context(blobs=FolderBlobs(tmp_path / "blobs"), seed=1, workdir=tmp_path, keep=tmp_path)


def _asset(ctx, rows):
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
