"""What an insert that may find its row there does, and the database's time in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from tunesmith.core.db import clock, moment

Rows = Sequence[Mapping[str, Any]]


def now_ms(connection: Connection) -> int:
    """The database's time: milliseconds since 1970."""
    return round(moment(clock(connection)).timestamp() * 1000)


def insert(connection: Connection, table: sa.Table) -> Any:
    """An insert of the connection's own dialect, which can say `on_conflict_do_...`."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table)


def put(connection: Connection, table: sa.Table, rows: Rows) -> None:
    """Write rows; one with the same primary key is written over."""
    if rows:
        adding = insert(connection, table)
        keys = [column.name for column in table.primary_key]
        values = {c.name: adding.excluded[c.name] for c in table.c if c.name not in keys}
        connection.execute(
            adding.on_conflict_do_update(index_elements=keys, set_=values), list(rows)
        )


def add(connection: Connection, table: sa.Table, rows: Rows) -> None:
    """Write rows; one that is there already stays as it is."""
    if rows:
        connection.execute(insert(connection, table).on_conflict_do_nothing(), list(rows))
