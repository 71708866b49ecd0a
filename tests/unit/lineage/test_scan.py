"""The search: whatever a file is packed as, what is in it is found, and nothing else."""

from __future__ import annotations

import json
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tunesmith.lineage.scan import has_rows, holds, needles
from tunesmith.retrieve.store import Document, build

SAID = 'He wrote "fünf" and\na second line.'
PADDING = [f"line {number} of what other people said" for number in range(500)]


def table(path, text):
    rows = {"row_id": [f"{n:032}" for n in range(501)], "text": [*PADDING, text]}
    pq.write_table(pa.table(rows), path, compression="zstd", write_statistics=False)


def lists(path, text):
    pq.write_table(pa.table({"words": [PADDING, [text]]}), path, compression="zstd")


def dictionary(path, text):
    column = pa.array([*PADDING, text]).dictionary_encode()
    pq.write_table(pa.table({"text": column}), path, compression="zstd")


def zipped(path, text):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jsonl", "\n".join([*PADDING, json.dumps({"text": text})]))


def json_in_json(path, text):
    path.write_text(json.dumps({"attributes": json.dumps({"text": text})}))


def csv(path, text):
    path.write_text('a,"{}"\n'.format(text.replace('"', '""')), encoding="utf-8")


def index(path, text):
    long = " ".join(PADDING)  # longer than a page of the file, so that it stands there in pieces
    document = Document(key="one", title="One", names=("one",), text=f"{long} {text} {long}")
    build(path, [document], lambda *_: None)


@pytest.mark.parametrize("write", [table, lists, dictionary, zipped, json_in_json, csv, index])
def test_what_is_packed_is_found(tmp_path, write):
    write(tmp_path / "with", SAID)
    write(tmp_path / "without", "Nothing of this kind.")
    wanted = needles([SAID])
    assert holds(tmp_path / "with", wanted)
    assert not holds(tmp_path / "without", wanted)


def test_rows_are_found_by_their_ids(tmp_path):
    table(tmp_path / "rows", SAID)
    assert has_rows(tmp_path / "rows", {f"{7:032}"})
    assert not has_rows(tmp_path / "rows", {"f" * 32})
    (tmp_path / "other").write_bytes(b"PAR")
    assert not has_rows(tmp_path / "other", {f"{7:032}"})
