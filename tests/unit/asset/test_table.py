"""Tables that grow by rows: their bytes are those of all rows, however they came."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tunesmith.asset import table
from tunesmith.asset.table import Table

COLUMNS = ("id", "text")


@pytest.mark.parametrize("num_rows", [0, 1, 99, 400, 1000, 2345])
def test_the_bytes_are_those_of_groups_written_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_rows: int
) -> None:
    monkeypatch.setattr(table, "ROWS_PER_GROUP", 400)
    pick = random.Random(num_rows)
    # Long enough for several pages of a column in one group.
    rows = [(str(at), str(at) + "é" * pick.choice([0, 9, 20_000])) for at in range(num_rows)]
    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    with pq.ParquetWriter(tmp_path / "whole", schema, compression="zstd") as writer:
        for at in range(0, num_rows, 400):
            columns = [list(column) for column in zip(*rows[at : at + 400], strict=True)]
            writer.write_table(pa.Table.from_arrays(list(map(pa.array, columns)), schema=schema))
    with Table(tmp_path / "grown", COLUMNS) as grown:
        at = 0
        while at < num_rows:
            past = at + pick.choice([1, 1, 1, 30, 150, 900])
            if past == at + 1:
                grown.add(rows[at])
            else:
                grown.extend(list(zip(*rows[at:past], strict=True)))
            at = past
    assert grown.num_rows == num_rows
    assert (tmp_path / "grown").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_group_that_cannot_be_written_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(OSError, match="No space"), Table(tmp_path / "rows", COLUMNS) as rows:
        rows.add(("1", "a"))
