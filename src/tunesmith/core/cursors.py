"""Up to which entry of the evidence another system was told what happened."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tunesmith.core.db import clock
from tunesmith.core.tables import export_cursors


def find(connection: Connection, target: str) -> int | None:
    """The number of the last entry that `target` was told; None where nothing is known of it."""
    of = export_cursors.c
    return connection.execute(sa.select(of.seq).where(of.target == target)).scalar()


def position(connection: Connection, target: str) -> int:
    """The number of the last entry that `target` was told; 0 if none."""
    return find(connection, target) or 0


def below(connection: Connection, prefix: str) -> dict[str, int]:
    """Of every target whose name begins with `prefix`, by the rest of its name: its position."""
    of = export_cursors.c
    rows = connection.execute(
        sa.select(of.target, of.seq).where(of.target.startswith(prefix, autoescape=True))
    )
    return {target.removeprefix(prefix): seq for target, seq in rows}


def forget(connection: Connection, target: str) -> None:
    """Nothing is known of `target` from now on."""
    connection.execute(export_cursors.delete().where(export_cursors.c.target == target))


def advance(connection: Connection, target: str, seq: int, *, before: int | None = None) -> int:
    """Say that `target` was told everything up to an entry; with `before`, only if it still is what
    was known. What is known then."""
    known = find(connection, target)
    now = {"seq": seq, "at": clock(connection)}
    if known is None:
        connection.execute(export_cursors.insert().values(target=target, **now))
    elif before in (None, known):
        connection.execute(
            export_cursors.update().where(export_cursors.c.target == target).values(now)
        )
    else:
        return known
    return seq
