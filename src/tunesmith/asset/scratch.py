"""A database in memory to ask tables of data assets with SQL: it fetches no extension."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import duckdb


@contextlib.contextmanager
def scratch_database(**settings: str | int) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty one, with further settings of DuckDB's; gone when this ends."""
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            **settings,
        }
    )
    try:
        yield connection
    finally:
        connection.close()


def lock(connection: duckdb.DuckDBPyConnection) -> None:
    """Before somebody else's SQL: it reads and writes no file but its own from here on, and this
    cannot be changed."""
    for setting in ("enable_external_access = false", "lock_configuration = true"):
        connection.execute(f"SET {setting}")
