"""Re-compute what can be re-computed: the evidence chain, what it says of runs, every digest."""

from __future__ import annotations

from dataclasses import dataclass

from tunesmith.core import catalog, evidence
from tunesmith.core.blobs import Blobs
from tunesmith.core.db import Database
from tunesmith.core.errors import StoreError


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What `verify` found."""

    num_entries: int
    num_blobs: int
    num_bytes: int
    problems: tuple[str, ...]
    """A sentence each; none when all holds."""


def verify(database: Database, blobs: Blobs) -> Report:
    """Check the chain, each successful run against its entry, and every blob that a run needs."""
    with database.read() as connection:
        log = list(evidence.entries(connection))
        runs = catalog.all_runs(connection)
        needed = {b.sha256: b for run in runs for b in catalog.run_blobs(connection, run.id)}
    problems = list(evidence.broken_links(iter(log)))
    shown = {entry.body["run"]: entry.body for entry in log if entry.what == "run.finished"}
    for run in runs:
        if run.output and shown.get(run.id, {}).get("output") != run.output.sha256:
            problems.append(f"run {run.id} ({run.step}) is not what its evidence says")
    for blob in needed.values():
        try:
            blobs.check(blob, deep=True)
        except StoreError as error:
            problems.append(error.message)
    return Report(
        num_entries=len(log),
        num_blobs=len(needed),
        num_bytes=sum(blob.num_bytes for blob in needed.values()),
        problems=tuple(problems),
    )
