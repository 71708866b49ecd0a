"""The Parquet files of a data asset, written while its rows are read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_GROUP = 10_000


class Table:
    """A Parquet file of strings that grows by a row at a time; equal rows give equal bytes.

    A thread of its own packs a group of rows while the next ones are read. Of the rows no more are
    in memory than three groups.
    """

    def __init__(
        self, path: Path, columns: Sequence[str], *, all_different: Collection[str] = ()
    ) -> None:
        """`all_different` are columns of which a dictionary would only make more."""
        self.path = path
        self.num_rows = 0
        self._schema = pa.schema([(name, pa.string()) for name in columns])
        self._columns: list[list[str]] = [[] for _ in columns]
        packed = [name for name in columns if name not in all_different]
        self._writer = pq.ParquetWriter(
            path,
            self._schema,
            compression="zstd",
            use_dictionary=(packed or False) if all_different else True,
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="parquet")
        self._written: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def add(self, row: Sequence[str]) -> None:
        """Add a row: its values in the order of the columns."""
        # By columns, as rows that are kept make Python look through all of them for garbage.
        for column, value in zip(self._columns, row, strict=True):
            column.append(value)
        self.num_rows += 1
        if len(self._columns[0]) == ROWS_PER_GROUP:
            self._hand_over()

    def extend(self, columns: Sequence[Sequence[str]]) -> None:
        """Add many rows, by columns."""
        num_rows, at = len(columns[0]), 0
        while at < num_rows:
            past = min(num_rows, at + ROWS_PER_GROUP - len(self._columns[0]))
            for column, values in zip(self._columns, columns, strict=True):
                column += values[at:past]
            at = past
            if len(self._columns[0]) == ROWS_PER_GROUP:
                self._hand_over()
        self.num_rows += num_rows

    def _hand_over(self) -> None:
        if self._written is not None:
            self._written.result()
        arrays = [pa.array(values, pa.string()) for values in self._columns]
        table = pa.Table.from_arrays(arrays, schema=self._schema)
        self._columns = [[] for _ in arrays]
        self._written = self._thread.submit(self._writer.write_table, table)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        with self._thread, self._writer:
            if kind is None and self._columns[0]:
                self._hand_over()
            if self._written is not None:
                self._written.result()
