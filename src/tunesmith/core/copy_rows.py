"""Copy a store's tables between two databases, of whichever kind, that have the same schema."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tunesmith.core import tables
from tunesmith.core.catalog import without_nul

BATCH_ROWS = 1000
_ALEMBIC = "alembic_version"


def copy_rows(source: Connection, target: Connection) -> int:
    """Copy every row of every table that `target` has; how many there were.

    `target` is empty but for its schema. Its tables are asked for rather than known, so that a
    store of an older version is copied as it is.
    """
    there = sa.MetaData()
    there.reflect(target)
    num_rows = 0
    for table in there.sorted_tables:
        if table.name == _ALEMBIC:
            continue
        rows = source.execute(sa.select(table), execution_options={"yield_per": BATCH_ROWS})
        for batch in rows.mappings().partitions():
            target.execute(table.insert(), [_as_kept(table.name, dict(row)) for row in batch])
            num_rows += len(batch)
        if target.dialect.name == "postgresql":
            _go_on_counting(target, table)
    return num_rows


def _as_kept(table: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row; a trace of an older version may have a NUL, which a server cannot keep."""
    if table != tables.traces.name:
        return row
    return {name: without_nul(value) for name, value in row.items()}


def _go_on_counting(connection: Connection, table: sa.Table) -> None:
    """Let a server number its next row after those that came with their numbers."""
    for column in table.primary_key:
        sequence = connection.execute(
            sa.select(sa.func.pg_get_serial_sequence(table.name, column.name))
            if isinstance(column.type, sa.Integer)
            else sa.select(sa.null())
        ).scalar()
        if sequence is not None:
            last = connection.execute(sa.select(sa.func.max(column))).scalar()
            if last is not None and last > 0:  # no sequence takes the 0 of the first experiment
                connection.execute(sa.select(sa.func.setval(sequence, last)))
