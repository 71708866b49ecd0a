"""Find the run whose result can be used again: of the same key, or accepted in its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tunesmith.core import catalog, waiver
from tunesmith.core.blobs import Blobs
from tunesmith.core.catalog import Run
from tunesmith.core.db import Database
from tunesmith.core.errors import BlobCorrupt, BlobMissing
from tunesmith.core.event import Event
from tunesmith.core.ref import Blob
from tunesmith.core.successes import Successes
from tunesmith.core.waiver import Waiver


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What there is of a key."""

    hit: Run | None
    """The run to use again; its blobs are whole."""
    waiver: Waiver | None
    """By which it is used, if its key is another one."""
    seen: int
    """Id of the newest run of the key that was looked at, used or not; 0 if there is none."""

    def said(self) -> str:
        """Which run, and by whose leave."""
        assert self.hit is not None
        if self.waiver is None:
            return f"run {self.hit.id}"
        return f"run {self.hit.id}, as accepted by {self.waiver.actor}: {self.waiver.why}"


@dataclass(frozen=True, kw_only=True)
class Finder:
    """Looks, and checks that what it finds is whole."""

    database: Database
    blobs: Blobs
    on_event: Callable[[Event], None]

    def find(self, step: str, wanted: str) -> Found:
        """What there is of the key `wanted`. Every byte of it is read again: what was deleted or
        damaged is no hit."""
        with self.database.read() as connection:
            newest = catalog.last_success(connection, key=wanted)
            leave = None if newest else waiver.of_key(connection, wanted)
            run = catalog.run(connection, leave.run) if leave else newest
            needed = catalog.run_blobs(connection, run.id) if run else []
        return self._whole(step, newest, leave, run, needed)

    def find_among(self, before: Successes, step: str, wanted: str) -> Found:
        """The same, among runs that were looked up together."""
        newest = before.of_key(wanted)
        leave = None if newest else before.waiver_of_key(wanted)
        run = before.run(leave.run) if leave else newest
        return self._whole(step, newest, leave, run, before.blobs(run) if run else [])

    def _whole(
        self,
        step: str,
        newest: Run | None,
        leave: Waiver | None,
        run: Run | None,
        needed: list[Blob],
    ) -> Found:
        seen = newest.id if newest else 0
        try:
            for blob in needed:
                self.blobs.check(blob, deep=True)
        except (BlobMissing, BlobCorrupt) as error:
            self.on_event(Event(step=step, what="damaged", note=error.message))
            return Found(hit=None, waiver=None, seen=seen)
        return Found(hit=run, waiver=leave, seen=seen)
