"""Up to which entry of the evidence another system was told what happened."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tunesmith.core.db import clock
from tunesmith.core.tables import export_cursors


def position(connection: Connection, target: str) -> int:
    """The number of the last entry that `target` was told; 0 if none."""
    of = export_cursors.c
    found = connection.execute(sa.select(of.seq).where(of.target == target)).scalar()
    return int(found or 0)


def advance(connection: Connection, target: str, seq: int) -> None:
    """Say that `target` was told everything up to an entry."""
    now = {"seq": seq, "at": clock(connection)}
    changed = connection.execute(
        export_cursors.update().where(export_cursors.c.target == target).values(now)
    )
    if changed.rowcount == 0:
        connection.execute(export_cursors.insert().values(target=target, **now))
