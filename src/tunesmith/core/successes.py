"""What ran well before, looked up for many steps at once: a plan of a thousand steps asks the
database a few times, not thousands."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tunesmith.core import catalog, tables, waiver
from tunesmith.core.catalog import Run
from tunesmith.core.db import Database, in_parts
from tunesmith.core.ref import Blob
from tunesmith.core.waiver import Waiver


class Successes:
    """The newest successful runs, by key and by step, as of now."""

    def __init__(self, database: Database, steps: Collection[str]) -> None:
        self._database = database
        self._by_key: dict[str, int] = {}
        self._by_step: dict[str, int] = {}
        self._runs: dict[int, Run] = {}
        self._blobs: dict[int, list[Blob]] = {}
        runs = tables.runs.c
        with database.read() as connection:
            # The newest is last, and stays.
            found = sa.select(runs.id, runs.key, runs.step).where(runs.status == "succeeded")
            for run_id, key, step in connection.execute(found.order_by(runs.id)):
                self._by_key[key] = self._by_step[step] = run_id
            self._waivers = {each.new_key: each for each in waiver.every(connection)}
            self._load(connection, [self._by_step[s] for s in steps if s in self._by_step])

    def of_step(self, step: str) -> Run | None:
        """The newest successful run of a step, whatever its key was."""
        return self.run(self._by_step.get(step))

    def of_key(self, key: str) -> Run | None:
        """The newest successful run of a key."""
        return self.run(self._by_key.get(key))

    def blobs(self, run: Run) -> list[Blob]:
        """What its output needs, its record among them."""
        return self._blobs[run.id]

    def waiver_of_key(self, key: str) -> Waiver | None:
        """The newest waiver by which an old result stands for a key."""
        return self._waivers.get(key)

    def run(self, run_id: int | None) -> Run | None:
        """A successful run."""
        if run_id is None:
            return None
        if run_id not in self._runs:
            with self._database.read() as connection:
                self._load(connection, [run_id])
        return self._runs[run_id]

    def _load(self, connection: Connection, ids: list[int]) -> None:
        held = tables.run_blobs
        wanted = sa.select(held).order_by(held.c.run_id, held.c.sha256)
        for row in in_parts(connection, wanted, held.c.run_id, ids):
            blob = Blob(sha256=row.sha256, num_bytes=row.num_bytes, media_type=row.media_type)
            self._blobs.setdefault(row.run_id, []).append(blob)
        of = {(run_id, blob.sha256): blob for run_id in ids for blob in self._blobs.get(run_id, ())}
        for row in in_parts(connection, sa.select(tables.runs), tables.runs.c.id, ids):
            self._runs[row.id] = catalog.run_of(row, of)
