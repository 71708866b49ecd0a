"""Check a store against itself: evidence, tables, blobs and what crashes left; repair what can be.

The evidence chain is computed anew, and so is what it says of runs and aliases; every blob that a
run made is there with its digest, or the evidence says why not; every reference leads somewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tunesmith.core import catalog, erasure, evidence, lifecycle, quarantine, tables
from tunesmith.core.blobs import Blobs, FolderBlobs
from tunesmith.core.db import Database
from tunesmith.core.erasure import Erasures
from tunesmith.core.errors import StoreError
from tunesmith.core.evidence import Entry
from tunesmith.core.facts import facts
from tunesmith.core.owner import is_gone
from tunesmith.core.ref import Blob
from tunesmith.core.retention import DIGEST
from tunesmith.core.step import Progress
from tunesmith.core.tracked import files

REPAIRED = "store.repaired"
ENDINGS = ("run.finished", "run.failed", "run.interrupted")


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What `verify` found."""

    num_entries: int
    head: str
    """The newest entry of the evidence, "NUMBER:DIGEST"; kept elsewhere, it shows later that none
    was cut off; empty where there is none."""
    num_blobs: int
    num_bytes: int
    num_erased: int
    """Blobs that are not there because somebody was forgotten, as the evidence says."""
    num_collected: int
    """Blobs that were set aside or removed because nothing needs them, as the evidence says."""
    num_orphans: int
    """Blobs that nothing refers to: `tunesmith store gc` says which may go."""
    orphan_bytes: int
    problems: tuple[str, ...]
    """A sentence each; none when all holds."""
    leftovers: tuple[str, ...]
    """What crashed processes left; the next run clears it up, and so does `repair`."""
    damaged: tuple[Blob, ...]
    """Blobs that are missing or are not what their digest says."""


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What the database says, at one moment."""

    log: list[Entry]
    needed: dict[str, Blob]
    newest: dict[str, int]
    """Digest -> the evidence of the newest run that made it."""
    referred: set[str]
    """Digests of records that runs were given, and of what the evidence speaks of."""
    problems: list[str]


def verify(
    database: Database, blobs: Blobs, on_progress: Progress = lambda _done, _of, _what: None
) -> Report:
    """Check all of it; nothing is changed."""
    with database.read() as connection:
        seen = _look(connection)
        leftovers = [
            *_stale(connection),
            *(
                f"blobs were about to be set aside as {batch}, or removed, and the process ended"
                for batch in (
                    quarantine.unfinished(connection, blobs)
                    if isinstance(blobs, FolderBlobs)
                    else ()
                )
            ),
        ]
    erased, collected = erasure.erasures(seen.log), quarantine.gone(seen.log)
    aside = {each.sha256 for each in blobs.set_aside()} if isinstance(blobs, FolderBlobs) else set()
    problems, damaged = seen.problems, []
    problems += [
        f"the erasure that evidence {seq} says was begun is not finished"
        for seq in erased.unfinished
    ]
    here = set(blobs.digests())
    num_erased = num_collected = 0
    done, total = 0, sum(blob.num_bytes for blob in seen.needed.values())
    for blob in seen.needed.values():
        digest = blob.sha256
        if digest in aside or (
            digest not in here and collected.get(digest, 0) > seen.newest.get(digest, 0)
        ):
            num_collected += 1
        elif digest not in here and digest in erased.purged:
            num_erased += 1
        else:
            try:
                blobs.check(blob, deep=True)
            except StoreError as error:
                problems.append(error.message)
                damaged.append(blob)
        done += blob.num_bytes
        on_progress(done, total, "blobs")
    problems += _back_again(erased, here)
    orphans = [d for d in here - aside if d not in seen.needed and d not in seen.referred]
    sizes = {f.sha256: f.num_bytes for f in blobs.files()} if isinstance(blobs, FolderBlobs) else {}
    return Report(
        num_entries=len(seen.log),
        head=f"{seen.log[-1].seq}:{seen.log[-1].digest}" if seen.log else "",
        num_blobs=len(seen.needed),
        num_bytes=total,
        num_erased=num_erased,
        num_collected=num_collected,
        num_orphans=len(orphans),
        orphan_bytes=sum(sizes.get(digest, 0) for digest in orphans),
        problems=tuple(problems),
        leftovers=tuple(leftovers),
        damaged=tuple(damaged),
    )


def repair(
    database: Database,
    blobs: FolderBlobs,
    damaged: Iterable[Blob],
    copies: Blobs | None,
    actor: str,
) -> int:
    """Undo what was cut short, and take damaged blobs from `copies` of them, such as a backup's;
    how many of those were made good. Which ones is evidence.

    Raises:
        Conflict: another process collects garbage.
    """
    with quarantine.collecting(blobs):
        quarantine.finish(database, blobs)
    if copies is None:
        return 0
    good = []
    for blob in damaged:
        try:
            copies.check(blob, deep=True)
        except StoreError:
            continue  # the next look says that it is still damaged
        blobs.put(copies.path(blob), blob.media_type)
        good.append(blob.sha256)
    if good:
        body = {"blobs": good, "why": "missing or damaged; taken from a backup"}
        with database.write() as connection:
            evidence.append(connection, REPAIRED, actor, body)
    return len(good)


def _look(connection: Connection) -> _Seen:
    log = list(evidence.entries(connection))
    held, given = tables.run_blobs, tables.run_inputs
    ends = {entry.body["run"]: entry.seq for entry in log if entry.what == "run.finished"}
    needed: dict[str, Blob] = {}
    newest: dict[str, int] = {}
    columns = (held.c.run_id, held.c.sha256, held.c.num_bytes, held.c.media_type)
    for run_id, sha256, num_bytes, media_type in connection.execute(
        sa.select(*columns).order_by(held.c.run_id)
    ):
        needed[sha256] = Blob(sha256=sha256, num_bytes=num_bytes, media_type=media_type)
        newest[sha256] = max(ends.get(run_id, 0), newest.get(sha256, 0))
    for entry in log:
        for blob in lifecycle.kept_blobs(entry):
            needed[blob.sha256] = blob
            newest[blob.sha256] = entry.seq
    for blob in files.blobs(connection):  # what is in use there is never collected
        needed[blob.sha256] = blob
        newest[blob.sha256] = len(log)
    problems = [
        *evidence.broken_links(iter(log)),
        *_wrong_runs(connection, log),
        *_wrong_aliases(connection, log),
        *_dangling(connection),
    ]
    bodies = connection.execute(sa.select(tables.evidence.c.body)).scalars()
    return _Seen(
        log=log,
        needed=needed,
        newest=newest,
        referred={
            *connection.execute(sa.select(given.c.digest)).scalars(),
            *(digest for body in bodies for digest in DIGEST.findall(body)),
        },
        problems=problems,
    )


def _back_again(erased: Erasures, here: set[str]) -> Iterator[str]:
    if not erased.unfinished:
        for digest in sorted(erased.purged & here):
            yield f"blob {digest[:12]} was erased and is there again"


def _wrong_runs(connection: Connection, log: list[Entry]) -> Iterator[str]:
    said = {entry.body["run"]: entry.body for entry in log if entry.what in ENDINGS}
    ended = set()
    for stored in facts(connection):
        if stored.status == "running":
            continue
        ended.add(stored.run)
        if stored.run not in said:
            yield f"run {stored.run} ({stored.step}) has no evidence"
        elif stored.digest != said[stored.run]["facts"]:
            yield f"run {stored.run} ({stored.step}) is not what its evidence says"
    for run_id in said.keys() - ended:
        yield f"run {run_id} ({said[run_id]['step']}) is gone, though there is evidence of it"


def _wrong_aliases(connection: Connection, log: list[Entry]) -> Iterator[str]:
    said = [dict(entry.body) for entry in log if entry.what == lifecycle.MOVED]
    if catalog.alias_moves(connection) != said:
        yield "the history of aliases is not what the evidence says"


def _dangling(connection: Connection) -> Iterator[str]:
    """References that lead nowhere. The database refuses most; not one that was written past it."""
    runs = tables.runs
    for table in (t for t in tables.metadata.sorted_tables if "run_id" in t.c):
        lost = connection.execute(
            sa.select(table.c.run_id)
            .outerjoin(runs, table.c.run_id == runs.c.id)
            .where(runs.c.id.is_(None))
            .distinct()
        ).scalars()
        yield from (f"{table.name} refers to run {run_id}, which is not there" for run_id in lost)
    held = tables.run_blobs
    mine = sa.and_(held.c.run_id == runs.c.id, held.c.sha256 == runs.c.output)
    for run_id in connection.execute(
        sa.select(runs.c.id)
        .outerjoin(held, mine)
        .where(runs.c.output.is_not(None), held.c.sha256.is_(None))
    ).scalars():
        yield f"the record of run {run_id} is none of its blobs"


def _stale(connection: Connection) -> Iterator[str]:
    for run, lapsed in catalog.all_running(connection):
        if lapsed or is_gone(run.owner):
            yield f"run {run.id} ({run.step}) is said to run, and its process has ended"
