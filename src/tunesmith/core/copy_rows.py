"""Copy a store's tables between two databases, of whichever kind, that have the same schema."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

BATCH_ROWS = 1000
_ALEMBIC = "alembic_version"


def copy_rows(source: Connection, target: Connection) -> int:
    """Copy every row of every table that `target` has; how many there were.

    `target` is empty but for its schema. Its tables are asked for rather than known, so that a
    store of an older version is copied as it is.
    """
    tables = sa.MetaData()
    tables.reflect(target)
    num_rows = 0
    for table in tables.sorted_tables:
        if table.name == _ALEMBIC:
            continue
        rows = source.execute(sa.select(table), execution_options={"yield_per": BATCH_ROWS})
        for batch in rows.mappings().partitions():
            target.execute(table.insert(), [dict(row) for row in batch])
            num_rows += len(batch)
        if target.dialect.name == "postgresql":
            _go_on_counting(target, table)
    return num_rows


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
            if last is not None:
                connection.execute(sa.select(sa.func.setval(sequence, last)))
