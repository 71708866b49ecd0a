"""A table of somebody else's database, which is ours to replace only if it says so.

A table `tunesmith_tables` beside it has a line for each that was loaded here: from which version,
with which columns. One that has no such line, or other columns than that says, is left alone.
"""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from tunesmith.core.errors import Conflict, DataError, MissingExtra, UsageError
from tunesmith.stages.load_out.table import Table

SQLITE, POSTGRES = "sqlite:", "postgresql://"
MARKS = "tunesmith_tables"
_SERVER = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9.-]{0,250}[A-Za-z0-9])?(:[0-9]{1,5})?/[A-Za-z0-9_-]{1,63}"
)
_CONNECT_S = 10
_MAX_NAME_BYTES = 63
"""Of a name in Postgres."""
_TYPES: Mapping[pa.DataType, type[sa.types.TypeEngine[Any]]] = {
    pa.string(): sa.Text,
    pa.bool_(): sa.Boolean,
    pa.int64(): sa.BigInteger,
    pa.float64(): sa.Double,
}


def write_table(
    where: str,
    name: str,
    sides: Mapping[str, Table],
    *,
    digest: str,
    server: Mapping[str, str],
    before_it_shows: Callable[[], None],
) -> bool:
    """Write the rows of `sides` into the table `name`, in one transaction; False if it has them.

    `digest` is that of the version; `server` says how a driver reaches a server of Postgres. Where
    there are several sides, the column `split` says which a row is on. `before_it_shows` is called
    when all is written and nobody sees it yet.

    Raises:
        UsageError: `where` is no database, or has a user or a password in it.
        Conflict: there is a table of that name that is not ours, or was changed.
        DataError: the database cannot be reached or written, or cannot hold these columns.
        MissingExtra: its driver is not installed.
    """
    fields = list(next(iter(sides.values())).flat_schema)
    columns = {field.name: _TYPES[field.type]().__class__.__name__ for field in fields}
    if len(sides) > 1:
        columns = {"split": "Text", **columns}
    _check_names(where, name, columns)
    num_rows = sum(table.num_rows for table in sides.values())
    with _said_of(where), _transaction(where, server) as connection:
        marks = _marks()
        marks.create(connection, checkfirst=True)
        mark = _mark_of(connection, marks, name)
        target = _target(name, columns)
        if mark is not None:
            _require_ours(connection, where, name, json.loads(mark.columns))
            count = connection.execute(sa.select(sa.func.count()).select_from(target)).scalar_one()
            if (mark.digest, mark.num_rows, json.loads(mark.columns)) == (digest, count, columns):
                return False
            if json.loads(mark.columns) == columns:
                connection.execute(target.delete())
            else:
                target.drop(connection)
                target.create(connection)
            connection.execute(marks.delete().where(marks.c.name == name))
        elif sa.inspect(connection).has_table(name):
            raise _not_ours(where, name, "has no mark that says so")
        else:
            target.create(connection)
        _insert(connection, target, sides)
        connection.execute(
            marks.insert().values(
                name=name, digest=digest, num_rows=num_rows, columns=json.dumps(columns)
            )
        )
        before_it_shows()
    return True


def check_address(where: str) -> None:
    """Raise UsageError unless `where` is a database of a file or a server, with no secret in it."""
    if where.startswith(POSTGRES) and _SERVER.fullmatch(where.removeprefix(POSTGRES)):
        return
    if where.startswith(SQLITE) and where.removeprefix(SQLITE):
        return
    shown = where.partition("://")[0] + "://..." if "@" in where else repr(where)
    raise UsageError(
        f"{shown} is no database to load into",
        remedy="write sqlite:PATH, or postgresql://HOST:PORT/DATABASE without user and password: "
        "those are taken from PGUSER and PGPASSWORD, or from the password file, as psql does",
    )


def _check_names(where: str, name: str, columns: Mapping[str, str]) -> None:
    folded: dict[str, str] = {}
    for each in (name, *columns):
        if not each.strip() or "\0" in each or len(each.encode()) > _MAX_NAME_BYTES:
            raise DataError(
                f"{each!r} cannot be a name in {where}: it is empty, or longer than "
                f"{_MAX_NAME_BYTES} bytes",
                remedy="rename the field where the source is read, or load out as parquet",
            )
    for each in columns:
        if each.casefold() in folded:
            raise DataError(
                f"the fields {folded[each.casefold()]!r} and {each!r} are one column in {where}",
                remedy="rename one where the source is read, or load out as parquet",
            )
        folded[each.casefold()] = each
    if name == MARKS:
        raise UsageError(f"{MARKS} says what was loaded", remedy="name another table")


def _marks() -> sa.Table:
    return sa.Table(
        MARKS,
        sa.MetaData(),
        sa.Column("name", sa.String(_MAX_NAME_BYTES), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("num_rows", sa.BigInteger, nullable=False),
        sa.Column("columns", sa.Text, nullable=False),
    )


def _mark_of(connection: sa.Connection, marks: sa.Table, name: str) -> Any:
    """The line that says that a table is ours; of one that somebody dropped, none."""
    if not sa.inspect(connection).has_table(name):
        connection.execute(marks.delete().where(marks.c.name == name))
        return None
    return connection.execute(sa.select(marks).where(marks.c.name == name)).first()


def _target(name: str, columns: Mapping[str, str]) -> sa.Table:
    """Columns are keyed by their place: a field may have any name, and a parameter may not."""
    made = [
        sa.Column(column, getattr(sa, kind)(), key=f"c{place}", primary_key=column == "row_id")
        for place, (column, kind) in enumerate(columns.items())
    ]
    return sa.Table(name, sa.MetaData(), *made)


def _require_ours(
    connection: sa.Connection, where: str, name: str, columns: Mapping[str, str]
) -> None:
    there = [each["name"] for each in sa.inspect(connection).get_columns(name)]
    if there != list(columns):
        differ = ", ".join(sorted(set(there) ^ set(columns))) or "their order"
        raise _not_ours(where, name, f"has other columns than were loaded ({differ})")


def _not_ours(where: str, name: str, why: str) -> Conflict:
    return Conflict(
        f"the table {name!r} of {where} is not this program's to replace: it {why}",
        remedy="name another with --table, or drop it yourself if nobody needs it",
    )


def _insert(connection: sa.Connection, target: sa.Table, sides: Mapping[str, Table]) -> None:
    keys = [column.key for column in target.columns]
    for side, table in sides.items():
        for batch in table.flat_batches():
            cells = [column.to_pylist() for column in batch.columns]
            if len(sides) > 1:
                cells.insert(0, [side] * batch.num_rows)
            rows = [dict(zip(keys, row, strict=True)) for row in zip(*cells, strict=True)]
            connection.execute(target.insert(), rows)


@contextlib.contextmanager
def _transaction(where: str, server: Mapping[str, str]) -> Iterator[sa.Connection]:
    if where.startswith(POSTGRES):
        engine = sa.create_engine(
            where.replace("postgresql:", "postgresql+psycopg:", 1),
            poolclass=sa.NullPool,
            connect_args={
                **server,
                "connect_timeout": _CONNECT_S,
                "application_name": "tunesmith",
            },
        )
    else:
        path = Path(where.removeprefix(SQLITE)).absolute()
        engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool)
        # Tables are made in the transaction, too, which sqlite3 by itself would not do.
        sa.event.listen(engine, "connect", _by_hand)
        sa.event.listen(engine, "begin", _begin)
    with engine.connect() as connection, connection.begin():
        yield connection


def _by_hand(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextlib.contextmanager
def _said_of(where: str) -> Iterator[None]:
    """What a database or its driver says is wrong, as our own error."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "psycopg", "postgres") from error
    except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
        said = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        raise DataError(
            f"{where} could not be loaded into: {said}",
            remedy="nothing was written; check whether the database is there and lets you write "
            "(of Postgres: PGUSER, PGPASSWORD or the password file, PGSSLMODE), and if it refuses "
            "a value, leave that field out or load out as parquet",
        ) from error
