"""The database: SQLite by default, any SQLAlchemy URL by choice. One clock, one way to write.

Every write is one transaction that takes the write lock when it begins (`BEGIN IMMEDIATE`): in WAL
mode a transaction that reads first and writes later is refused at once, whatever the timeout says.
On a server the lock is an advisory one, which all that writes here takes first.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import time
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, Row
from sqlalchemy.exc import DBAPIError, IntegrityError

from tunesmith.core.errors import (
    ConfigError,
    StoreError,
    StoreFull,
    StoreLocked,
    TunesmithError,
)

NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre"}
    | {"gpfs", "beegfs", "gfs2", "ocfs2"}  # disks that machines share: locks yes, memory no
    | {"fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.ceph-fuse", "fuse.rclone"}
)
"""As Linux names them in /proc/mounts. What is not here is taken for local."""

SQLSTATES_LOCKED = ("55P03", "40P01", "40001")
"""A lock that was not given in time, a deadlock, a conflict of transactions."""

SQLSTATE_DISK_FULL = "53100"

WRITE_LOCK = 0x74756E65
"""Which of a server's advisory locks is the write lock; each of its databases has its own."""

LOOK_AGAIN_S = (0.001, 0.004)
"""How long a writer sleeps, at least and at most, before it looks again whether SQLite's write lock
is free. A commit holds it for about four milliseconds, most of it to wait for the disk."""

_DRAW = random.SystemRandom()
"""Apart from Python's own generator: what a step draws from that does not depend on who writes."""

IDS_AT_ONCE = 500
"""Ids in one query: less than any database minds."""

SqlError = sa.exc.SQLAlchemyError
"""What a program that opens a database of its own (MLflow) may raise."""

Transaction = Connection
"""What a caller was given by `Database.read` or `write`."""


class Database:
    """A URL, and the two ways to use it."""

    def __init__(self, url: str, *, busy_timeout_s: float = 60.0) -> None:
        try:
            self.engine = _engine(_with_driver(url), busy_timeout_s)
        except (sa.exc.ArgumentError, ModuleNotFoundError, ValueError) as error:
            # A ValueError is of a port that is none, and may repeat what should have been something
            # else.
            why = "its port is no number" if type(error) is ValueError else error
            raise ConfigError(
                "project.database",
                f"{without_password(url)!r} cannot be opened: {why}",
                remedy="leave it out for SQLite, or give a SQLAlchemy URL and install its driver",
            ) from error
        self._busy_timeout_s = busy_timeout_s

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is one local file."""
        return self.engine.dialect.name == "sqlite"

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that holds the write lock from its first moment.

        Raises:
            StoreLocked: another process held the lock longer than the timeout.
            StoreFull: no space; the transaction left no trace.
        """
        with self._translate(), self.engine.connect() as plain:
            connection = plain.execution_options(writes=True)
            with connection.begin():
                yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database throughout."""
        with self._translate(), self.engine.connect() as connection, connection.begin():
            yield connection

    def checkpoint(self) -> None:
        """Move SQLite's write-ahead log into the file and empty it, so that nothing which was
        removed stands there still; a server does as it does."""
        if self.is_sqlite:
            connection = self.engine.raw_connection()
            try:
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                connection.close()

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @contextlib.contextmanager
    def _translate(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:  # when a transaction was to begin
            raise self._translated(error) from error
        except sa.exc.TimeoutError as error:
            raise StoreLocked(
                f"every connection to the store {self.engine.url.database} stayed in use",
                remedy="try again, with fewer requests at a time",
            ) from error
        except DBAPIError as error:
            if isinstance(error, IntegrityError):
                raise  # a rule of the schema: the caller's to handle
            raise self._translated(error.orig) from error

    def _translated(self, error: BaseException | None) -> TunesmithError:
        """By SQLite's primary result code and a server's SQLSTATE; texts may say anything."""
        store, text = f"the store {self.engine.url.database}", str(error)
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        state = getattr(error, "sqlstate", None)
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or state in SQLSTATES_LOCKED:
            return StoreLocked(
                f"{store} stayed locked for {self._busy_timeout_s:g} s by another process",
                remedy="wait until that process is done, or end it, and try again",
            )
        if code == sqlite3.SQLITE_FULL or state == SQLSTATE_DISK_FULL:
            return StoreFull(
                f"no space left for {store}",
                remedy="free some space and run it again; nothing was half-written",
            )
        if code == sqlite3.SQLITE_IOERR:
            return StoreError(
                f"the disk refused to write {store}",
                remedy="check its space, quota and health, and run the same command again",
            )
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            return StoreError(
                f"{store} cannot be written: {text}",
                remedy="check the permissions of the folder .tunesmith and of its files",
            )
        return StoreError(
            f"{store} cannot be used: {text.strip()}",
            remedy="if it is damaged, restore a backup of it; otherwise check [project] database",
        )


def let_others_write() -> None:
    """Wait, without the write lock, until all who wait for it have looked once more: whoever takes
    it again and again has to call this in between."""
    time.sleep(2 * LOOK_AGAIN_S[1])


def without_password(url: str) -> str:
    """A database's URL as it may be printed: without its password, and without what follows "?",
    where a driver takes one, too.

    >>> without_password("postgresql://me:se/cret@db/tunesmith?sslmode=require")
    'postgresql://me:***@db/tunesmith'
    >>> without_password("postgresql://me:p@ss@db/tunesmith")
    '***'
    """
    if not url:
        return url
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        return "***"
    if parsed.get_backend_name() != "sqlite" and url.count("@") > 1:
        return "***"  # where the password ends is then a guess
    return parsed.set(query={}).render_as_string()


def clock(connection: Connection, *, plus_s: float = 0.0) -> str:
    """The database's time (UTC, ISO 8601, milliseconds), `plus_s` seconds from now.

    Text of this form sorts as time does. Clients' clocks are never asked.
    """
    if connection.dialect.name == "sqlite":
        statement = "SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now', :plus)"
        value = connection.execute(
            sa.text(statement), {"plus": f"{plus_s:+f} seconds"}
        ).scalar_one()
    else:
        statement = (
            "SELECT to_char((clock_timestamp() + make_interval(secs => :plus)) "
            "AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
        )
        value = connection.execute(sa.text(statement), {"plus": plus_s}).scalar_one()
    return str(value)


def in_parts(
    connection: Connection, query: sa.Select[Any], column: sa.Column[Any], ids: Collection[int]
) -> Iterator[Row[Any]]:
    """The rows of `query` whose `column` is among `ids`, a few hundred ids in one question."""
    every = list(ids)
    for start in range(0, len(every), IDS_AT_ONCE):
        yield from connection.execute(query.where(column.in_(every[start : start + IDS_AT_ONCE])))


def moment(text: str) -> datetime:
    """What `clock` said, as a time with its zone, UTC."""
    return datetime.fromisoformat(text)


def text_of(time_: datetime) -> str:
    """A time, which has a zone, as `clock` writes it.

    >>> text_of(moment("2026-11-26T06:00:00.250+01:00"))
    '2026-11-26T05:00:00.250Z'
    """
    plain = time_.astimezone(UTC).replace(tzinfo=None)
    return plain.isoformat(timespec="milliseconds") + "Z"


def refuse_network_disk(folder: Path, mounts: str | None = None) -> None:
    """Raise unless `folder` is on a local disk: WAL needs memory shared by every process.

    `mounts` is the text of /proc/mounts; where there is none, nothing is checked.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/mounts").read_text()
        except OSError:
            return
    here = folder.resolve()
    best = ("", "")
    for line in mounts.splitlines():
        _, point, kind, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        if here.is_relative_to(point) and len(point) > len(best[0]):
            best = (point, kind)
    if best[1] in NETWORK_FILE_SYSTEMS:
        raise StoreError(
            f"{folder} is on a network disk ({best[1]} at {best[0]}), where SQLite loses data",
            remedy="put the project on a local disk, or set [project] database to a Postgres URL",
        )


def _with_driver(url: str) -> str:
    """The URL as everybody writes it, with the driver that the extra "postgres" installs."""
    scheme, mark, rest = url.partition("://")
    return f"postgresql+psycopg{mark}{rest}" if scheme in ("postgres", "postgresql") else url


def _engine(url: str, busy_timeout_s: float) -> Engine:
    # A server may have been started anew since a connection was last used; a file is always there.
    engine = sa.create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _sqlite_settings(busy_timeout_s))
        sa.event.listen(engine, "begin", _sqlite_begin(busy_timeout_s))
    elif engine.dialect.name == "postgresql":
        sa.event.listen(engine, "begin", _postgres_begin(busy_timeout_s))
    return engine


def _postgres_begin(busy_timeout_s: float) -> Any:
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("writes", False):
            limit_ms = int(busy_timeout_s * 1000)
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {limit_ms}")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")
        else:  # by default each statement would see another state
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

    return begin


def _sqlite_settings(busy_timeout_s: float) -> Any:
    def settings(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun by _sqlite_begin, not by sqlite3
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={int(busy_timeout_s * 1000)}")
        # Of a new file, which several processes may have just opened, SQLite says at once that it
        # is locked, whatever the timeout.
        _insist(connection, "PRAGMA journal_mode=WAL", busy_timeout_s)
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    return settings


def _sqlite_begin(busy_timeout_s: float) -> Any:
    def begin(connection: Connection) -> None:
        plain = cast("sqlite3.Connection", connection.connection.dbapi_connection)
        if not connection.get_execution_options().get("writes", False):
            plain.execute("BEGIN")
            return
        plain.execute("PRAGMA busy_timeout=0")
        try:
            _insist(plain, "BEGIN IMMEDIATE", busy_timeout_s)
        finally:
            plain.execute(f"PRAGMA busy_timeout={int(busy_timeout_s * 1000)}")

    return begin


def _insist(connection: sqlite3.Connection, statement: str, timeout_s: float) -> None:
    """Execute what needs the database to be free, as soon as it is.

    SQLite's own waiting looks more and more rarely, ten times a second in the end, so that whoever
    has come just now is served before those who have waited for seconds. Here all look equally
    often, at moments that are drawn, so that none is behind another for long (docs/adr/032).
    """
    last_try = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute(statement)
        except sqlite3.OperationalError as error:
            is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() > last_try:
                raise
            time.sleep(_DRAW.uniform(*LOOK_AGAIN_S))
        else:
            return
