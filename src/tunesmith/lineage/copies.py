"""Copies that left the store and have, or may have, something of somebody: for others to erase."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tunesmith.core import evidence
from tunesmith.core.copies import LEFT, REVIEWED
from tunesmith.core.evidence import Entry
from tunesmith.lineage.load_out import LOADED_OUT
from tunesmith.lineage.repair import EXPORTED as QUARANTINED
from tunesmith.lineage.trace import Placed
from tunesmith.lineage.versions import GONE, ROWS, Held
from tunesmith.project import Project

TASKS = {
    "rows": "delete their rows there",
    "weights": "delete it there, or put a version in its place that was tuned without them",
    "records": "it has names, figures and digests, and no rows: look whether it names them",
}
"""By what a copy has, what is left to do."""


@dataclass(frozen=True, kw_only=True)
class _Sought:
    """What copies are looked for."""

    project: Project
    every: Mapping[str, Held]
    """Versions of data by the digest of their record."""
    holding: Collection[str]
    """Digests of those of them that have the rows."""
    refusing: Collection[str]
    """... and of those that have records of theirs in quarantine, which only a checkout copies."""
    sources: Collection[str]
    models: Collection[str]


def copies(
    project: Project,
    every: Collection[Held],
    placed: Collection[Placed],
    sources: Collection[str],
    models: Collection[str],
) -> list[str]:
    """What left, a line each, with who let it and what is left to do: of versions of data that have
    the rows `placed`, and of versions of the same `sources` whose rows are gone from the store, so
    that nobody can tell any more; of `models` ("desk@2") that learnt from them; what was taken out
    for people to look at; and records of what ran."""
    sought = _Sought(
        project=project,
        every={held.version.digest: held for held in every},
        holding={
            each.held.version.digest
            for each in placed
            if each.counts.keys() & {"rows", "train", "test"}
        },
        refusing={e.held.version.digest for e in placed if "quarantine" in e.counts},
        sources=sources,
        models=models,
    )
    with project.runner.database.read() as connection:
        log = list(evidence.entries(connection, LOADED_OUT, LEFT, REVIEWED, QUARANTINED))
    return list(dict.fromkeys(line for entry in log for line in _lines(sought, entry)))


def _lines(sought: _Sought, entry: Entry) -> Iterator[str]:
    body: Mapping[str, Any] = entry.body
    since = f"since {entry.at}, by {entry.actor}"
    if entry.what == LOADED_OUT:
        table = f", table {body['table']}" if body["table"] else ""
        what = f"{body['kind']} {body['version']}, in {body['where']}{table} {since}"
        doubt = _doubt(sought, body["digest"], has=(ROWS,))
        if doubt is not None:
            yield f"{what}{doubt}: {TASKS['rows']}"
    elif entry.what == REVIEWED:
        # Which rows were open then, nobody can tell any more.
        made = body["made"]
        yield (
            f"rows of review {body['review']}, in {made['path']} {since} (it may have theirs): "
            f"{TASKS['rows']}"
        )
    elif entry.what == QUARANTINED:
        if body["source"] in sought.sources:
            yield (
                f"quarantined records of source {body['source']}, in {body['file']} {since} (it "
                f"may have theirs): {TASKS['rows']}"
            )
    else:
        yield from _left(sought, body, since)


def _left(sought: _Sought, body: Mapping[str, Any], since: str) -> Iterator[str]:
    where = f"in {body['where']} {since}"
    if body["has"] == "rows":
        for name, digest in zip(body["of"], body["digests"], strict=True):
            doubt = "" if digest in sought.refusing else _doubt(sought, digest)
            if doubt is not None:
                yield f"{name} as {body['form']}, {where}{doubt}: {TASKS['rows']}"
        return
    learnt = [name for name in body["of"] if name.partition(" ")[2] in sought.models]
    if body["has"] == "weights" and learnt:
        yield f"{', '.join(learnt)} as {body['form']}, {where}: {TASKS['weights']}"
    elif body["has"] == "records":
        yield f"{body['form']}, {where}: {TASKS['records']}"


def _doubt(
    sought: _Sought, digest: str, has: Collection[str] = frozenset(GONE.values())
) -> str | None:
    """Whether a copy of a version of data has the rows: yes (""), perhaps (why), or no (None);
    `has` is what was copied of it."""
    if digest in sought.holding:
        return ""
    held = sought.every.get(digest)
    if held is not None and held.gone in has and _draws_on(sought, held):
        return f" (its {held.gone} are gone from the store: it may have them)"
    return None


def _draws_on(sought: _Sought, held: Held) -> bool:
    """Whether a version may have had rows of one of the sources."""
    if held.kind == "source":
        return held.version.name in sought.sources
    now = sought.project.file.dataset.get(held.version.name)
    then = held.run.identity.get("config", {}).get("sources", ())
    return bool({*then, *(now.sources if now else ())} & set(sought.sources))
