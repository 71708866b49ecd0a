"""Which rows were made of which: through transforms, down and up, at any remove."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import duckdb

from tunesmith.lineage import query
from tunesmith.lineage.place import place_of
from tunesmith.lineage.versions import Held, readable
from tunesmith.project import Project
from tunesmith.records.data import DataAsset
from tunesmith.records.lineage import Ancestor

_COLUMNS = "row_id, pointer, text, label, attributes"


@dataclass(frozen=True, kw_only=True)
class Descent:
    """The rows that were made from some rows."""

    row_ids: tuple[str, ...]
    """Also of those that were quarantined."""
    mixed: frozenset[str]
    """Those among them that others' rows went into, too."""


def descend(
    project: Project,
    connection: duckdb.DuckDBPyConnection,
    every: Sequence[Held],
    row_ids: Collection[str],
) -> Descent:
    """What any version of a transform made of the rows `row_ids`."""
    paths = _edges(project, every)
    found: dict[str, set[str]] = {}  # row -> its parents
    front = list(row_ids)
    while front:
        made = {row for path in paths for row, _ in _edges_of(connection, path, front, "parent")}
        front = sorted(made - found.keys())
        for path in paths if front else ():
            for row, parent in _edges_of(connection, path, front, "row_id"):
                found.setdefault(row, set()).add(parent)
    mixed: set[str] = set()
    theirs, num_theirs = {*row_ids, *found}, -1
    while num_theirs != len(theirs):
        num_theirs = len(theirs)
        mixed |= {row for row, parents in found.items() if not parents <= theirs}
        theirs -= mixed
    return Descent(row_ids=tuple(found), mixed=frozenset(mixed))


def ancestors(
    project: Project,
    connection: duckdb.DuckDBPyConnection,
    every: Sequence[Held],
    row_ids: Sequence[str],
    words: str = "",
) -> list[Ancestor]:
    """The rows that the rows `row_ids` were made from, the nearest first, as the newest versions
    that are still there have them; and where in them `words` stand."""
    paths = _edges(project, every)
    order: dict[str, None] = {}
    parents: dict[str, list[str]] = {}
    front = list(row_ids)
    while front:
        pairs = [pair for path in paths for pair in _edges_of(connection, path, front, "row_id")]
        for row, parent in dict.fromkeys(pairs):
            parents.setdefault(row, []).append(parent)
        front = [parent for _, parent in pairs if parent not in order]
        order |= dict.fromkeys(front)
    found: dict[str, Ancestor] = {}
    for held, _, path in readable(project, every, "source", ("rows",)) if order else ():
        assert isinstance(held.record, DataAsset)
        for each in query.rows_with_ids(connection, path, list(order), columns=_COLUMNS):
            found[each["row_id"]] = Ancestor(
                name=held.ref,
                row_id=each["row_id"],
                pointer=each["pointer"],
                origin=held.record.origin,
                parents=tuple(parents.get(each["row_id"], ())),
                place=place_of(words, each),
            )
    return [found[row_id] for row_id in order if row_id in found]


def _edges(project: Project, every: Sequence[Held]) -> list[str]:
    return [path for _, _, path in readable(project, every, "source", ("edges",))]


def _edges_of(
    connection: duckdb.DuckDBPyConnection, path: str, row_ids: Sequence[str], end: str
) -> list[tuple[str, str]]:
    return query.edges_of(connection, path, row_ids, end=end)
