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
_ROWS_AT_ONCE = 100
"""Turned into Arrow together, while they are in the processor's cache: thousands of strings are
memory that is new each time."""


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
        """The last rows, which are strings still."""
        self._arrays: list[list[pa.Array]] = [[] for _ in columns]
        """The rows of the group before these."""
        self._room = ROWS_PER_GROUP
        """Rows that the group still lacks."""
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
        self._added(1)

    def extend(self, columns: Sequence[Sequence[str]]) -> None:
        """Add many rows, by columns."""
        num_rows, at = len(columns[0]), 0
        while at < num_rows:
            past = min(num_rows, at + self._room)
            for column, values in zip(self._columns, columns, strict=True):
                column += values[at:past]
            self._added(past - at)
            at = past

    def _added(self, num_rows: int) -> None:
        self.num_rows += num_rows
        self._room -= num_rows
        if self._room == 0 or len(self._columns[0]) >= _ROWS_AT_ONCE:
            self._pack()
        if self._room == 0:
            self._hand_over()

    def _pack(self) -> None:
        for arrays, column in zip(self._arrays, self._columns, strict=True):
            arrays.append(pa.array(column, pa.string()))
            column.clear()

    def _hand_over(self) -> None:
        if self._written is not None:
            self._written.result()
        self._written = self._thread.submit(self._write, self._arrays)
        self._arrays = [[] for _ in self._columns]
        self._room = ROWS_PER_GROUP

    def _write(self, columns: list[list[pa.Array]]) -> None:
        chunked = [pa.chunked_array(arrays) for arrays in columns]
        columns.clear()
        # As one piece, since where pages end depends on it.
        table = pa.Table.from_arrays(chunked, schema=self._schema).combine_chunks()
        del chunked
        self._writer.write_table(table)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        with self._thread, self._writer:
            if kind is None and self._room < ROWS_PER_GROUP:
                self._pack()
                self._hand_over()
            if self._written is not None:
                self._written.result()
