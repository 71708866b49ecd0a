"""Re-compute what can be re-computed: the evidence chain, what it says of runs, every digest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from tunesmith.core import catalog, erasure, evidence
from tunesmith.core.blobs import Blobs
from tunesmith.core.canonical import fingerprint
from tunesmith.core.catalog import Run
from tunesmith.core.db import Database
from tunesmith.core.errors import BlobMissing, StoreError
from tunesmith.core.evidence import Entry
from tunesmith.core.tracked import files

ENDINGS = ("run.finished", "run.failed", "run.interrupted")


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What `verify` found."""

    num_entries: int
    num_blobs: int
    num_bytes: int
    num_erased: int
    """Blobs that are not there because somebody was forgotten, as the evidence says."""
    problems: tuple[str, ...]
    """A sentence each; none when all holds."""


def verify(database: Database, blobs: Blobs) -> Report:
    """Check the chain; that runs and aliases are what their entries say, each way; every blob."""
    with database.read() as connection:
        log = list(evidence.entries(connection))
        runs = catalog.all_runs(connection)
        needed = {b.sha256: b for run in runs for b in catalog.run_blobs(connection, run.id)}
        needed |= {blob.sha256: blob for blob in files.blobs(connection)}
        problems = [
            *evidence.broken_links(iter(log)),
            *_wrong_runs(connection, log, runs),
            *_wrong_aliases(connection, log),
        ]
    erased = erasure.erasures(log)
    problems += [
        f"the erasure that evidence {seq} says was begun is not finished"
        for seq in erased.unfinished
    ]
    num_erased = 0
    for blob in needed.values():
        try:
            blobs.check(blob, deep=True)
        except BlobMissing as error:
            if blob.sha256 in erased.purged:
                num_erased += 1
            else:
                problems.append(error.message)
        except StoreError as error:
            problems.append(error.message)
    if not erased.unfinished:
        back = erased.purged & set(blobs.digests())
        problems += [f"blob {digest[:12]} was erased and is there again" for digest in sorted(back)]
    return Report(
        num_entries=len(log),
        num_blobs=len(needed),
        num_bytes=sum(blob.num_bytes for blob in needed.values()),
        num_erased=num_erased,
        problems=tuple(problems),
    )


def _wrong_runs(connection: Connection, log: list[Entry], runs: list[Run]) -> Iterator[str]:
    said = {entry.body["run"]: entry.body for entry in log if entry.what in ENDINGS}
    ended = {run.id: run for run in runs if run.status != "running"}
    for run in ended.values():
        if run.id not in said:
            yield f"run {run.id} ({run.step}) has no evidence"
        elif fingerprint(catalog.run_facts(connection, run.id)) != said[run.id]["facts"]:
            yield f"run {run.id} ({run.step}) is not what its evidence says"
    for run_id in said.keys() - ended.keys():
        yield f"run {run_id} ({said[run_id]['step']}) is gone, though there is evidence of it"


def _wrong_aliases(connection: Connection, log: list[Entry]) -> Iterator[str]:
    said = [dict(entry.body) for entry in log if entry.what == "alias.moved"]
    if catalog.alias_moves(connection) != said:
        yield "the history of aliases is not what the evidence says"
