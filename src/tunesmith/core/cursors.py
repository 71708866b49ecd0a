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
