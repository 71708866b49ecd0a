"""Take what a database answers to a query into the store, as it is at this moment.

The database is only read: SQLite's file is opened for reading, and a session of Postgres is read
only. All that is asked at once sees one state of the database, so what is taken is never half of
a change.
"""

from __future__ import annotations

import contextlib
import sqlite3
import urllib.parse
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tunesmith.core.errors import DataError, InputChanged, MissingExtra, TunesmithError
from tunesmith.core.quoting import sql_name
from tunesmith.core.step import Context
from tunesmith.records.data import Package
from tunesmith.stages.ingest.asking import QueryConfig
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.kept import kept, place_of
from tunesmith.stages.ingest.local import plain_file
from tunesmith.stages.ingest.origin import POSTGRES, SQLITE
from tunesmith.stages.ingest.reach import postgres_server
from tunesmith.stages.ingest.snapshot import Keeps, digest_of, everything, line_of, pack

ROWS_AT_ONCE = 2_000
_CONNECT_S = 10
"""How long a server may take to answer at all."""


def query(config: QueryConfig, ctx: Context) -> Package:
    """The rows of a query, packed as one file of JSON lines in the order of their keys.

    Raises:
        DataError: the database cannot be reached or read, or the query is wrong; its rows have no
            such key, or two have the same; or a column has values that no text can stand for.
        MissingExtra: the driver of the database is not installed.
        InputChanged: the rows are not those that `config.sha256` says.
    """
    return take(config, ctx, everything)


def take(
    config: QueryConfig, ctx: Context, keeps: Keeps, *, without: Collection[str] = ()
) -> Package:
    """As `query`, but only the rows that `keeps` says: those that none of the digests `without`
    tells. What was looked at when the project was opened is not asked for again."""
    assert ctx.project is not None, "a database's path is relative to a project's folder"
    target = ctx.workdir / "rows"
    name = name_of(config)
    there = kept(place_of(ctx.cache, config), config.sha256, without) if ctx.cache else None
    if there is not None:
        _, num_erased = pack(there.lines(), target, name, keeps)
        num_erased += there.num_erased
    else:
        lines = _shown(ctx, config, _lines(ctx.project, config, ctx.hosts))
        digest, num_erased = pack(lines, target, name, keeps)
        if digest != config.sha256:
            raise InputChanged(
                f"what {config.origin} answers has the SHA-256 {digest}, not {config.sha256}",
                remedy="if rows were written just now, run again, or leave the newest out by a "
                "condition in the query; if it has a cursor, rows may have been edited without a "
                "new one: `tunesmith run --whole SOURCE`; if its section pins a sha256, find out "
                "why they changed",
            )
    return Package(
        requirement=config.origin,
        filename=name,
        wheel=ctx.blobs.put(target, "application/zip"),
        num_erased=num_erased,
    )


def name_of(config: QueryConfig) -> str:
    """What the rows are called: the file of the database, or its name."""
    return config.origin.rpartition("/")[2].removeprefix(SQLITE)


def _shown(ctx: Context, config: QueryConfig, lines: Iterator[bytes]) -> Iterator[bytes]:
    for number, line in enumerate(lines):
        if number % ROWS_AT_ONCE == 0:
            ctx.progress(number, 0, f"asks {config.origin}: {number} rows")
        yield line


def as_it_answers_now(source: SourceConfig, project: Path, hosts: Collection[str]) -> SourceConfig:
    """A source that pins its rows, or one with the digest of what its database answers now.

    Where it does not answer, the digest is empty; why not is said by `query`, when it is needed.
    """
    if source.sha256 or not source.is_database:
        return source
    try:
        digest = digest_of(_lines(project, source.querying(), hosts))
    except TunesmithError:
        return source
    return source.model_copy(update={"sha256": digest})


def _lines(project: Path, config: QueryConfig, hosts: Collection[str]) -> Iterator[bytes]:
    """The rows as lines, in the order of their keys."""
    with asked(project, config, hosts) as connection:
        for row in rows(connection, config):
            yield line(config, row)


Connection = sa.Connection
Row = Mapping[str, Any]
"""The columns of one row, as the driver has them."""


@contextlib.contextmanager
def asked(project: Path, config: QueryConfig, hosts: Collection[str]) -> Iterator[sa.Connection]:
    """A connection to the database, which can only read; all statements see one state of it.

    Raises:
        DataError, NotFound, MissingExtra: the database cannot or may not be reached, or a statement
            is wrong.
    """
    with _said_of(config), _connected(project, config, hosts) as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")  # else each statement sees what is there by then
        else:
            connection.exec_driver_sql("SET LOCAL TIME ZONE 'UTC'")  # not that of this machine
        yield connection.execution_options(
            stream_results=True, yield_per=ROWS_AT_ONCE, no_parameters=True
        )


def rows(
    connection: sa.Connection,
    config: QueryConfig,
    columns: Sequence[str] = (),
    only: str = "",
    values: Sequence[Any] = (),
) -> Iterator[Row]:
    """The rows of the query in the order of their keys, or those `columns` of them; `only` those
    of which a condition holds, in which each ? is one of the `values`.

    Raises:
        DataError: a row has no key, or two have the same.
    """
    asks = config.query.strip().removesuffix(";")
    which = ", ".join(map(column, columns)) or "*"
    condition = f" WHERE {only}" if only else ""
    if values and connection.dialect.name == "postgresql":
        asks, condition = asks.replace("%", "%%"), condition.replace("?", "%s")
    order = sql_name(config.key)
    statement = f'SELECT {which} FROM (\n{asks}\n) AS "asked"{condition} ORDER BY {order}'  # noqa: S608
    last: object = None
    with contextlib.closing(connection.exec_driver_sql(statement, tuple(values) or None)) as found:
        names = list(found.keys())
        _check_names(config, names)
        place = names.index(config.key)
        for row in found:
            value = row[place]
            if value is None or value == last:
                said = "has no value" if value is None else f"is {value!r} twice"
                raise DataError(
                    f"the key {config.key!r} of a row of {config.origin} {said}",
                    remedy="name a column that tells the rows of the query apart",
                )
            last = value
            yield dict(zip(names, row, strict=True))


def line(config: QueryConfig, row: Row) -> bytes:
    """A row as a line of JSON.

    Raises:
        DataError: it has a value that no text can stand for.
    """
    try:
        return line_of(row)
    except TypeError as error:
        raise DataError(
            f"{config.origin}, row {config.key}={row[config.key]}: {error}",
            remedy="leave the column out of the query, or cast it to text there",
        ) from None


def column(name: str) -> str:
    """A column of the query: SQLite takes a name that is none, alone, for a text."""
    return f'"asked".{sql_name(name)}'


def _check_names(config: QueryConfig, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"the query of {config.origin} gives two columns named {twice[0]!r}",
            remedy="name them apart with AS",
        )
    if config.key not in names:
        raise DataError(
            f"the query of {config.origin} gives no column {config.key!r}",
            remedy=f"its columns are {', '.join(names)}",
        )


def _connected(project: Path, config: QueryConfig, hosts: Collection[str]) -> sa.Connection:
    """A connection that reads."""
    if config.origin.startswith(POSTGRES):
        # User and password, and how the connection is secured, are libpq's to find, as for psql.
        engine = sa.create_engine(
            config.origin.replace("postgresql:", "postgresql+psycopg:", 1),
            poolclass=sa.NullPool,
            isolation_level="REPEATABLE READ",
            connect_args={
                **postgres_server(config.origin, hosts),
                "connect_timeout": _CONNECT_S,
                "options": "-c default_transaction_read_only=on",
                "application_name": "tunesmith",
            },
        )
    else:
        path = plain_file(project, project / config.origin.removeprefix(SQLITE))
        where = f"file:{urllib.parse.quote(str(path))}?mode=ro"
        engine = sa.create_engine(
            "sqlite://",
            poolclass=sa.NullPool,
            creator=lambda: sqlite3.connect(where, uri=True),
        )
    return engine.connect()


@contextlib.contextmanager
def _said_of(config: QueryConfig) -> Iterator[None]:
    """What a database or its driver says is wrong, as our own error."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "psycopg", "postgres") from error
    except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
        said = str(getattr(error, "orig", None) or error).strip()
        raise DataError(
            f"{config.origin} does not answer the query: {said}",
            remedy="check the query, and whether the database is there and lets you in (of "
            "Postgres: PGUSER, PGPASSWORD or the password file, PGSSLMODE)",
        ) from error
