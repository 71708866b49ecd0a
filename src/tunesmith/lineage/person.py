"""Whom to forget: their rows, wherever a version has them, also in its quarantine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from tunesmith.core.canonical import one_form
from tunesmith.core.errors import NotFound, UsageError
from tunesmith.lineage import query, words
from tunesmith.lineage.descent import ancestors, descend
from tunesmith.lineage.refused import Refusal, RefusedRecord, refusals
from tunesmith.lineage.scan import needles
from tunesmith.lineage.versions import Held, readable
from tunesmith.lineage.words import distinctive, subject_fields
from tunesmith.project import Project
from tunesmith.records.data import DataAsset

MIN_SUBJECT = 6
"""Characters from which a subject's value is not to be found by chance."""
_ROW_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row that is to be forgotten, as some version has it."""

    source: str
    row_id: str
    pointer: str
    text: str
    label: str
    values: tuple[str, ...]
    """Its text, and every string in its fields: a turn, an answer, an address."""
    is_made: bool
    """Whether a transform made it."""


@dataclass(frozen=True, kw_only=True)
class Person:
    """Whom to forget: a value of a subject field, or rows."""

    subject: str
    """Empty where rows were named."""
    rows: tuple[Row, ...]
    shared: frozenset[str]
    """What of theirs rows of others say, too, or that was made of others' rows as well."""
    made: tuple[str, ...] = ()
    """Ids of the rows that transforms made of theirs, also of those that were quarantined."""
    refused: tuple[Refusal, ...] = ()
    """Versions that have records of theirs in quarantine."""

    @property
    def row_ids(self) -> tuple[str, ...]:
        """The ids of the rows, each once."""
        return tuple(dict.fromkeys((*(row.row_id for row in self.rows), *self.made)))

    @property
    def said(self) -> tuple[str, ...]:
        """All that their rows say, string by string, but their name."""
        said = dict.fromkeys(value for row in self.rows for value in row.values)
        return tuple(each for each in said if one_form(each) != self.subject)

    @property
    def words(self) -> tuple[str, ...]:
        """What only they say, and is long enough."""
        return tuple(distinctive(self.said, self.shared))

    @property
    def names(self) -> tuple[str, ...]:
        """Their name, if it is long enough."""
        return (self.subject,) if len(self.subject) >= MIN_SUBJECT else ()

    @property
    def texts(self) -> tuple[str, ...]:
        """What is searched for."""
        return (*self.words, *self.names)

    @property
    def num_shared(self) -> int:
        """Texts that are not searched for since others say them, too."""
        return len(self.shared.intersection(self.said))

    @property
    def num_too_short(self) -> int:
        """Texts and names that only they have, and that are too short to be searched for."""
        names = {self.subject} - {""}
        return len(self.said) - self.num_shared - len(self.words) + len(names) - len(self.names)

    @property
    def sources(self) -> set[str]:
        """Names of the data assets that have, or had, something of theirs."""
        return {row.source for row in self.rows} | {each.held.version.name for each in self.refused}

    @property
    def num_quarantined(self) -> int:
        """Their records that some version has in quarantine."""
        return len(
            {(e.held.version.name, r.record or r.pointer) for e in self.refused for r in e.records}
        )


def person_of(
    project: Project,
    connection: duckdb.DuckDBPyConnection,
    every: Sequence[Held],
    wanted: Sequence[str],
) -> tuple[Person, str, list[Row], list[str]]:
    """Who is meant by `wanted`, one value of a subject field or row ids; how they were named; the
    rows of others that say the same as one of theirs; and why some could not be found.

    Raises:
        NotFound: no version that is still there has such rows.
        UsageError: several people were named.
    """
    rows, refused, named_by = _rows(project, connection, every, wanted)
    subject = wanted[0] if named_by != "row id" else ""
    rows, orphans = _with_origins(project, connection, every, rows, subject)
    made = descend(project, connection, every, [row.row_id for row in rows if not row.is_made])
    rows = list(dict.fromkeys([*rows, *_kept(project, connection, every, made.row_ids)]))
    own = [row for row in rows if row.row_id not in made.mixed]
    said = {value for row in rows for value in row.values}
    mixed = said - {value for row in own for value in row.values}
    ids = {row.row_id for row in rows}
    shared, others = words.of_others(project, connection, every, said - mixed, ids)
    person = Person(
        subject=subject,
        rows=tuple(rows),
        shared=frozenset(mixed | shared),
        made=made.row_ids,
        refused=tuple(refused),
    )
    return person, named_by, [_row(project, held, row) for held, row in others], orphans


def _rows(
    project: Project,
    connection: duckdb.DuckDBPyConnection,
    every: Sequence[Held],
    wanted: Sequence[str],
) -> tuple[list[Row], list[Refusal], str]:
    """The rows that are meant, of every version, those in quarantine among them; the versions that
    have them there; and how they were named."""
    by_id = all(_ROW_ID.fullmatch(each) for each in wanted)
    if not by_id and len(wanted) > 1:
        raise UsageError(
            "name one person, or ids of rows", remedy="forget one person after the other"
        )
    fields: dict[str, None] = {}
    rows: list[Row] = []
    for held, _, path in readable(project, every, "source", ("rows",)):
        if by_id:
            found = query.rows_with_ids(connection, path, wanted)
            found = [copy for row in found for copy in query.copies_of(connection, path, row)]
        else:
            found = []
            for name in subject_fields(project, held):
                fields[f"{held.word}.{held.version.name}.subject = {name}"] = None
                is_label = name == held.run.identity["config"]["label"]
                of = query.rows_with_label if is_label else query.rows_of_subject
                found += of(connection, path, name, wanted[0])
        rows += [_row(project, held, row) for row in found]
    subject, ids = ("", wanted) if by_id else (wanted[0], ())
    refused = refusals(project, every, subject, ids)
    out = [_refused_row(each, record) for each in refused for record in each.records]
    rows += [row for row in out if row.row_id]
    rows += _kept(project, connection, every, [row.row_id for row in out if not row.is_made])
    if by_id and any(row.is_made for row in rows):
        _refuse_made(project, connection, every, [row for row in rows if row.is_made])
    if not (rows or out):
        where = f"a field that names subjects ({', '.join(fields)})" if fields else "its row ids"
        raise NotFound(
            f"no version of a data asset has {', '.join(wanted)!r} in {where}",
            remedy="name the field that tells people apart, `subject` of the source, and run the "
            "project; or give ids: `tunesmith data trace TEXT` finds those of rows, and `tunesmith "
            "data quarantine SOURCE` those of records in quarantine",
        )
    rows += _made_from(project, connection, every, [row.row_id for row in rows])
    return list(dict.fromkeys(rows)), refused, "row id" if by_id else ", ".join(fields)


def _made_from(
    project: Project,
    connection: duckdb.DuckDBPyConnection,
    every: Sequence[Held],
    row_ids: Sequence[str],
) -> Iterator[Row]:
    """The synthetic rows, of every version, that have one of the rows as a seed: they may say what
    it said. They go, too."""
    for held, _, path in readable(project, every, "source", ("rows",)):
        made = held.record.synthetic if isinstance(held.record, DataAsset) else None
        if made is not None and made.seeds:
            for row in query.rows_made_from(connection, path, made.seeds, row_ids):
                yield _row(project, held, row)


_COLUMNS = ("row_id", "pointer", "text", "label")


def _row(project: Project, held: Held, row: Mapping[str, Any]) -> Row:
    columns = {key: row[key] for key in _COLUMNS}
    values = words.of_row(project, held, row)
    is_made = held.word == "transform"
    return Row(source=held.version.name, values=values, is_made=is_made, **columns)


def _refused_row(refusal: Refusal, record: RefusedRecord) -> Row:
    """A record in quarantine as the row that it would be."""
    return Row(
        source=refusal.held.version.name,
        row_id=record.record,
        pointer=record.pointer,
        text=record.text,
        label=record.label,
        values=record.values,
        is_made=refusal.held.word == "transform",
    )


def _refuse_made(
    project: Project,
    connection: duckdb.DuckDBPyConnection,
    every: Sequence[Held],
    rows: Sequence[Row],
) -> None:
    """A row that was made would be made again: what it was made from has to be named."""
    first = rows[0]
    origins = [
        each.row_id
        for each in ancestors(project, connection, every, [first.row_id])
        if not each.parents
    ]
    more = f" and {len(origins) - 5} more" if len(origins) > 5 else ""
    raise UsageError(
        f"the row {first.row_id} was made by transform {first.source}, of: "
        f"{', '.join(origins[:5])}{more}",
        remedy="name those of them that are to be forgotten; what was made of them goes with them",
    )


def _with_origins(
    project: Project,
    connection: duckdb.DuckDBPyConnection,
    every: Sequence[Held],
    rows: Sequence[Row],
    subject: str,
) -> tuple[list[Row], list[str]]:
    """The rows, and where a transform alone says whom one is about, those rows of sources that it
    was made from and that name them; and why one could not be found."""
    theirs = [row.row_id for row in rows if not row.is_made]
    known = set(descend(project, connection, every, theirs).row_ids)
    found, orphans = list(rows), []
    wanted = needles([subject] if subject else [])
    for row in dict.fromkeys(row for row in rows if row.is_made and row.row_id not in known):
        made_from = ancestors(project, connection, every, [row.row_id])
        origins = [each.row_id for each in made_from if not each.parents]
        naming = [
            _row(project, held, copy)
            for held, _, path in readable(project, every, "source", ("rows",))
            for each in query.rows_with_ids(connection, path, origins)
            if wanted.are_in("\0".join((each["text"], each["label"], each["attributes"])).encode())
            for copy in query.copies_of(connection, path, each)
        ]
        found += naming
        if not naming:
            orphans.append(
                f"the row {row.row_id} of transform {row.source} is theirs, and none of those that "
                f"it was made from says so: forget those first, by their ids: {', '.join(origins)}"
            )
    return found, orphans


def _kept(
    project: Project,
    connection: duckdb.DuckDBPyConnection,
    every: Sequence[Held],
    row_ids: Sequence[str],
) -> Iterator[Row]:
    """Those of the rows `row_ids` that are in a data asset, and not quarantined."""
    for held, _, path in readable(project, every, "source", ("rows",)) if row_ids else ():
        for row in query.rows_with_ids(connection, path, row_ids):
            yield _row(project, held, row)
