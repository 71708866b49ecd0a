"""The quality of rows, counted by hand."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.canonical import canonical_json
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset, TrueSize
from tunesmith.records.quality import Quality
from tunesmith.stages.assess.config import AssessConfig
from tunesmith.stages.assess.run import assess


def assessed(folder: Path, rows: list[dict[str, Any]], *dates: str) -> Quality:
    blobs = FolderBlobs(folder / "blobs")
    columns = {
        "row_id": [f"{number:032x}" for number in range(len(rows))],
        "text": [row.pop("text", "") for row in rows],
        "label": [row.pop("label", "") for row in rows],
        "attributes": [json.dumps(row) for row in rows],
    }
    sink = io.BytesIO()
    pq.write_table(pa.table({k: pa.array(v, pa.string()) for k, v in columns.items()}), sink)
    asset = DataAsset(
        name="a", rows=blobs.put(sink.getvalue()), quarantine=blobs.put(b""), num_in=len(rows),
        num_rows=len(rows), num_quarantined=0, num_filtered=0, quarantined_by_rule={},
        licence="MIT", owner="us", purpose="tests", origin="file:a",
    )  # fmt: skip
    ctx = Context(blobs=blobs, seed=0, workdir=folder, keep=folder)
    return assess(AssessConfig(dates=dates), ctx, asset=asset)


def test_completeness_and_the_newest_date(tmp_path: Path) -> None:
    found = assessed(
        tmp_path,
        [
            {"text": "one", "label": "x", "seen": "2026-01-02", "note": ""},
            {"text": "two", "seen": "2026-03-01", "note": "n"},
            {"text": " ", "seen": None, "tags": []},
        ],
        "seen",
        "never",
    )
    assert {each.name: each.num_rows for each in found.fields} == {
        "text": 2, "label": 1, "field seen": 2, "field note": 1,
    }  # fmt: skip
    assert found.newest == {"seen": "2026-03-01"}


def test_a_thousand_rows_can_be_ten(tmp_path: Path) -> None:
    pairs = [f"{name} does not work. Turn the {name} off and on." for name in "abcdefghij"]
    rows = [{"text": pairs[number % 10].upper() if number % 3 else pairs[number % 10]}
            for number in range(1050)]  # fmt: skip
    assert assessed(tmp_path, rows).size.distinct == 10


def test_near_duplicates_and_labels(tmp_path: Path) -> None:
    words = [f"word{number}" for number in range(60)]
    near = " ".join([*words[:59], "other"])
    rows = [{"text": text, "label": label} for text, label in
            [(" ".join(words), "x"), (near, "x"), (" ".join(reversed(words)), "x")]]  # fmt: skip
    assert assessed(tmp_path, rows).size == TrueSize(rows=3, distinct=3, near_distinct=2)
    told_apart = [{"text": "the same", "label": label} for label in "xy"]
    assert assessed(tmp_path, told_apart).size.distinct == 2


def test_personal_data_and_licences_are_counted_and_not_kept(tmp_path: Path) -> None:
    found = assessed(
        tmp_path,
        [
            {"text": "Write to jane@example.org or joe@example.org."},
            {"text": "SPDX-License-Identifier: MIT"},
            {"text": "See https://creativecommons.org/licenses/by-nc/4.0/ and again "
                     "http://creativecommons.org/licenses/by-nc/4.0/"},
            {"text": "SPDX-License-Identifier: Jane-Doe"},
        ],
    )  # fmt: skip
    assert (found.pii, found.num_sampled) == ({"email": 1}, 4)
    assert found.licences == {"CC-BY-NC-4.0": 1, "MIT": 1, "another": 1}
    assert b"jane" not in canonical_json(found).lower()


@pytest.mark.parametrize("rows", [[], [{"text": ""}]])
def test_of_nothing_there_is_nothing(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    found = assessed(tmp_path, rows)
    assert found.fields == ()
    assert found.size.rows == len(rows)


def test_rows_that_are_hardly_prose_are_counted(tmp_path: Path) -> None:
    rows = [{"text": "- milk\n- bread\n- some eggs"}, {"text": "The clerk read the letter twice."}]
    assert assessed(tmp_path, rows).low == {"bullets": 1, "few-letters": 1, "odd-words": 1}
