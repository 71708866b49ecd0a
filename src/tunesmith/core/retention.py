"""What in a store is kept, and by what: each blob has a path to it from something that needs it.

Records, which are small, are always kept: the evidence, the ledger and lineage speak of them. What
a setting can let go is what the records point at: rows, weights, tables.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.engine import Connection

from tunesmith.core import catalog, data_tags, evidence, tables
from tunesmith.core.db import moment
from tunesmith.core.owner import is_gone
from tunesmith.core.section import Section
from tunesmith.core.tracked import files

DIGEST = re.compile(r'"([0-9a-f]{64})"')
CLOCKS_APART_S = 3600.0
"""How far the clocks of the database and of this machine may be apart."""


class StoreSection(Section):
    """What `tunesmith store gc` may remove. It removes nothing by itself."""

    keep_runs: int = Field(default=0, ge=0)
    """Of each step, the newest this many successful runs keep what they made, with all that it was
    made from; 0: every run does. What the project file uses now is always kept."""
    keep_aliases: int = Field(default=2, ge=1)
    """Of each alias, the newest this many places where it pointed are kept: 2 for one way back."""
    min_age_hours: float = Field(default=24.0, gt=0)
    """What was stored in the last hours is kept, whoever needs it: a run may be about to."""
    grace_days: float = Field(default=7.0, gt=0)
    """How long what is set aside can be had back before it is removed."""


Why = tuple[str, ...]
"""What keeps a blob, from its root on."""


@dataclass(kw_only=True)
class _Runs:
    """The rows that references are followed through."""

    step: dict[int, str] = field(default_factory=dict)
    output: dict[int, str] = field(default_factory=dict)
    made_by: dict[str, int] = field(default_factory=dict)
    """Digest of a record -> the newest run that made it."""
    newest: dict[str, list[int]] = field(default_factory=dict)
    """Step -> its successful runs, the newest last."""
    held: dict[int, list[str]] = field(default_factory=dict)
    given: dict[int, list[str]] = field(default_factory=dict)

    def name(self, run_id: int) -> str:
        return f"run {run_id} ({self.step[run_id]})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Marks:
    """What is needed, and what needed it once."""

    why: Mapping[str, Why]
    """Digest -> what keeps it."""
    last: Mapping[str, str]
    """Digest -> the newest run that made it, kept or not."""
    as_of: tuple[int, int]
    """Numbers of the newest entry of the evidence and of the newest run that they know of."""
    live_since: float | None
    """When the oldest run that still runs began, by this machine's clock, or before."""


def mark(connection: Connection, settings: StoreSection, in_use: Collection[int]) -> Marks:
    """Follow every reference from what is to be kept; `in_use` are runs that the project uses."""
    runs = _read(connection)
    live = [
        run for run, lapsed in catalog.all_running(connection) if not (lapsed or is_gone(run.owner))
    ]
    why: dict[str, Why] = {}
    for run_id, digest in runs.output.items():
        why[digest] = (runs.name(run_id), "its record")
    for run_id, digests in runs.given.items():
        why |= {
            digest: (runs.name(run_id), "what it was given")
            for digest in digests
            if digest not in why
        }
    for seq, what, body in connection.execute(
        sa.select(tables.evidence.c.seq, tables.evidence.c.what, tables.evidence.c.body)
    ):
        if not what.startswith(_NOT_REFERENCES):
            for digest in DIGEST.findall(body):
                why.setdefault(digest, (f"evidence {seq} ({what})",))
    for owner, path, blob in files.in_use(connection):
        why.setdefault(blob.sha256, (f"{owner} of another program", path))
    _follow(runs, _roots(connection, settings, runs, in_use, [run.id for run in live]), why)
    started = [moment(run.started_at).timestamp() - CLOCKS_APART_S for run in live]
    return Marks(
        as_of=_as_of(connection),
        why=why,
        last={
            digest: runs.name(run_id)
            for run_id in sorted(runs.held)
            for digest in runs.held[run_id]
        },
        live_since=min(started, default=None),
    )


def mark_again(
    connection: Connection, settings: StoreSection, in_use: Collection[int], marks: Marks
) -> Marks:
    """Marks as they are now: these, unless a run began or ended since, or an alias moved."""
    if marks.as_of == _as_of(connection):
        return marks
    return mark(connection, settings, in_use)


def _as_of(connection: Connection) -> tuple[int, int]:
    newest = connection.execute(sa.select(sa.func.max(tables.runs.c.id))).scalar() or 0
    return evidence.length(connection), newest


# What runs, aliases and tags refer to is followed from where they point now; what was set aside is
# no reference.
_NOT_REFERENCES = ("run.", "alias.moved", "store.", "data.tagged", "data.untagged")


def _roots(
    connection: Connection,
    settings: StoreSection,
    runs: _Runs,
    in_use: Collection[int],
    live: Collection[int],
) -> Iterator[tuple[int, str]]:
    """(run, why it is kept)"""
    places: dict[tuple[str, str, str], list[int]] = {}
    for move in reversed(catalog.alias_moves(connection)):
        at = places.setdefault((move["kind"], move["name"], move["alias"]), [])
        if move["run_id"] not in at and len(at) < settings.keep_aliases:
            at.append(move["run_id"])
    for (kind, name, alias), at in places.items():
        for back, run_id in enumerate(at):
            yield run_id, f"alias {alias} of {kind} {name}" + (f", {back} back" if back else "")
    for tag in data_tags.standing(connection):
        if tag.digest in runs.made_by:
            yield runs.made_by[tag.digest], f"tag {tag.tag} of {tag.kind} {tag.name}"
    yield from ((run_id, "the project file, as it is now") for run_id in sorted(in_use))
    yield from ((run_id, "it runs") for run_id in live)
    for step, made in runs.newest.items():
        reason = f"the newest runs of {step}" if settings.keep_runs else "every run is kept"
        yield from ((run_id, reason) for run_id in reversed(made[-settings.keep_runs :]))


def _follow(runs: _Runs, roots: Iterator[tuple[int, str]], why: dict[str, Why]) -> None:
    """Add to `why` what the roots hold, and what they were made from."""
    seen: set[int] = set()
    for root, reason in roots:
        queue: list[tuple[int, Why]] = [(root, (reason,))]
        while queue:
            run_id, path = queue.pop()
            if run_id in seen or run_id not in runs.step:
                continue
            seen.add(run_id)
            path = (*path, runs.name(run_id))
            for digest in runs.held.get(run_id, ()):
                why.setdefault(digest, path)
            for digest in runs.given.get(run_id, ()):
                if digest in runs.made_by:
                    queue.append((runs.made_by[digest], path))


def _read(connection: Connection) -> _Runs:
    runs, found = tables.runs.c, _Runs()
    for run_id, step, status, output in connection.execute(
        sa.select(runs.id, runs.step, runs.status, runs.output).order_by(runs.id)
    ):
        found.step[run_id] = step
        if status == "succeeded":
            found.output[run_id] = output
            found.made_by[output] = run_id
            found.newest.setdefault(step, []).append(run_id)
    held, given = tables.run_blobs.c, tables.run_inputs.c
    for run_id, digest in connection.execute(sa.select(held.run_id, held.sha256)):
        found.held.setdefault(run_id, []).append(digest)
    for run_id, digest in connection.execute(sa.select(given.run_id, given.digest)):
        found.given.setdefault(run_id, []).append(digest)
    return found
