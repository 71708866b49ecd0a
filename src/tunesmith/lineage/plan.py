"""Whom to forget: their rows, what holds them, and what each model's remedy costs. Nothing is
changed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from tunesmith.core import catalog, erasure
from tunesmith.core.errors import NotFound, TunesmithError, UsageError
from tunesmith.core.plan import Planned
from tunesmith.core.step import Step
from tunesmith.graph import build
from tunesmith.ledger.cost import zero
from tunesmith.ledger.plan import price_plan
from tunesmith.lineage import query
from tunesmith.lineage.copies import copies
from tunesmith.lineage.descent import ancestors, descend
from tunesmith.lineage.scan import holds_as_it_stands, needles
from tunesmith.lineage.trace import Placed, downwards, package_of, place
from tunesmith.lineage.versions import Held, all_held, readable
from tunesmith.project import Project
from tunesmith.records.data import DataAsset
from tunesmith.records.lineage import ErasurePlan, Holder, Remedy
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.local import local_files

MIN_TEXT, MIN_SUBJECT = 12, 6
"""Characters from which a text, or a subject's value, is not to be found by chance."""
_ONCE = "tuned on rows of theirs that its dataset no longer has, or taught by one that was"
_ROW_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row that is to be forgotten, as some version has it."""

    source: str
    row_id: str
    pointer: str
    text: str
    label: str
    is_made: bool
    """Whether a transform made it."""


@dataclass(frozen=True, kw_only=True)
class Person:
    """Whom to forget: a value of a subject field, or rows."""

    subject: str
    """Empty where rows were named."""
    rows: tuple[Row, ...]
    shared: tuple[str, ...]
    """Texts of theirs that rows of others say, too, or that were made of others' rows as well."""
    made: tuple[str, ...] = ()
    """Ids of the rows that transforms made of theirs, also of those that were quarantined."""

    @property
    def row_ids(self) -> tuple[str, ...]:
        """The ids of the rows, each once."""
        return tuple(dict.fromkeys((*(row.row_id for row in self.rows), *self.made)))

    @property
    def texts(self) -> tuple[str, ...]:
        """What is searched for: what only they say, and their name; what is long enough."""
        said = {row.text.strip(): None for row in self.rows if row.text.strip() not in self.shared}
        long = [text for text in said if len(text) >= MIN_TEXT]
        return (*long, *([self.subject] if len(self.subject) >= MIN_SUBJECT else ()))

    @property
    def num_too_short(self) -> int:
        """Texts and names that are not searched for."""
        said = {row.text.strip() for row in self.rows} | ({self.subject} - {""})
        return len(said) - len(self.texts)


def plan(project: Project, wanted: Sequence[str]) -> tuple[Person, ErasurePlan]:
    """What forgetting would take: `wanted` is one value of a subject field, or row ids.

    Raises:
        NotFound: no version that is still there has such rows.
        UsageError: several people were named.
    """
    every = all_held(project)
    with query.opened() as connection:
        rows, named_by = _rows(project, connection, every, wanted)
        subject = wanted[0] if named_by != "row id" else ""
        rows, orphans = _with_origins(project, connection, every, rows, subject)
        made = descend(project, connection, every, [row.row_id for row in rows if not row.is_made])
        rows = list(dict.fromkeys([*rows, *_kept(project, connection, every, made.row_ids)]))
        own = [row for row in rows if row.row_id not in made.mixed]
        others = _others(project, connection, every, own)
        mixed = {row.text.strip() for row in rows} - {row.text.strip() for row in own}
        person = Person(
            subject=subject,
            rows=tuple(rows),
            shared=tuple(sorted(mixed | {row.text.strip() for row in others})),
            made=made.row_ids,
        )
        placed = place(project, connection, every, person.row_ids)
    labels = {row.label for row in rows}
    holders = list(downwards(project, placed, project.runs(), person.row_ids, labels))
    with project.runner.database.read() as database:
        num_traces = len(list(erasure.traces_with(database, needles(person.texts).texts())))
    return person, ErasurePlan(
        subject=", ".join(wanted),
        named_by=named_by,
        row_ids=person.row_ids,
        shared=tuple(f"{row.source}: {row.pointer} ({row.row_id})" for row in others),
        holders=tuple(holders),
        remedies=tuple(_remedies(project, placed, holders)),
        num_traces=num_traces,
        files=tuple(_files(project, person)),
        obstacles=(*orphans, *_obstacles(project, placed)),
        copies=tuple(
            copies(
                project,
                placed,
                {row.source for row in rows},
                {holder.name for holder in holders if holder.kind == "model"},
            )
        ),
    )


def _rows(
    project: Project,
    connection: duckdb.DuckDBPyConnection,
    every: Sequence[Held],
    wanted: Sequence[str],
) -> tuple[list[Row], str]:
    """The rows that are meant, of every version, and how they were named."""
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
            for name in _subject_fields(project, held):
                fields[f"{held.word}.{held.version.name}.subject = {name}"] = None
                is_label = name == held.run.identity["config"]["label"]
                of = query.rows_with_label if is_label else query.rows_of_subject
                found += of(connection, path, name, wanted[0])
        rows += [_row(held, row) for row in found]
    if by_id and any(row.is_made for row in rows):
        _refuse_made(project, connection, every, [row for row in rows if row.is_made])
    if not rows:
        where = f"a field that names subjects ({', '.join(fields)})" if fields else "its row ids"
        raise NotFound(
            f"no version of a data asset has {', '.join(wanted)!r} in {where}",
            remedy="name the field that tells people apart, `subject` of the source, and run the "
            "project; or give row ids: `tunesmith data trace TEXT` finds them",
        )
    rows += _made_from(project, connection, every, [row.row_id for row in rows])
    return list(dict.fromkeys(rows)), "row id" if by_id else ", ".join(fields)


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
                yield _row(held, row)


_COLUMNS = ("row_id", "pointer", "text", "label")


def _row(held: Held, row: Mapping[str, Any]) -> Row:
    columns = {key: row[key] for key in _COLUMNS}
    return Row(source=held.version.name, is_made=held.word == "transform", **columns)


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
            _row(held, copy)
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
            yield _row(held, row)


def _subject_fields(project: Project, held: Held) -> list[str]:
    """What the section says is the subject, now and when the version was made."""
    now = project.file.assets.get(held.version.name)
    record = held.record
    then = record.subject if isinstance(record, DataAsset) else ""
    return list(dict.fromkeys(name for name in (now.subject if now else "", then) if name))


def _others(
    project: Project,
    connection: duckdb.DuckDBPyConnection,
    every: Sequence[Held],
    rows: Sequence[Row],
) -> list[Row]:
    """Rows of the newest versions that say the same as one of `rows`, and are none of them."""
    newest = {held.version.name: held for held in every if held.kind == "source"}
    texts = sorted({row.text.strip() for row in rows})
    ids = sorted({row.row_id for row in rows})
    return [
        _row(held, row)
        for held, _, path in readable(project, list(newest.values()), "source", ("rows",))
        for row in query.others_that_say(connection, path, texts, ids)
    ]


def _remedies(
    project: Project, placed: Sequence[Placed], holders: Sequence[Holder]
) -> Iterator[Remedy]:
    """What becomes of each model that was tuned on the rows, or asked about them."""
    graph = build(project.file)
    rates = project.file.ledger.rates
    newest: dict[str, int] = {}
    for version in project.versions():
        if version.kind == "model":
            newest[version.name] = max(version.number, newest.get(version.name, 0))
    counts = {each.held.version.name: each.counts for each in placed if each.held.kind == "dataset"}
    tuned: dict[str, list[str]] = {}
    for holder in holders:
        if holder.kind == "model":
            tuned.setdefault(holder.name.rpartition("@")[0], []).append(holder.name)
    asked = {h.name.partition(":")[2] for h in holders if h.kind == "evaluation"}
    for name in sorted(tuned.keys() | (asked & newest.keys())):
        versions = tuned.get(name, [])
        path = graph.models.get(name)
        is_current = f"{name}@{newest.get(name)}" in versions or not versions
        num_rows, why, verdict = 0, "no version that is in use was tuned on them", "retire"
        planned: list[Planned] = []
        if path is not None and is_current:
            of = project.file.model[name].dataset
            num_rows = counts.get(of, {}).get("train", 0)
            verdict = "retrain" if versions else "evaluate again"
            why = f"tuned on {num_rows} rows of theirs" if num_rows else _ONCE
            if not versions:
                why = "asked about them; the dataset changes, and what is tuned on it with it"
            planned = [_planned(project, step, why) for step in path.steps()]
        priced = price_plan(planned, rates) if planned else None
        yield Remedy(
            model=name,
            versions=tuple(versions),
            verdict=verdict,
            why=why,
            num_rows=num_rows,
            steps=tuple(each.step.name for each in planned),
            wall_s=priced.wall_s if priced else 0.0,
            cost=priced.cost if priced else zero(rates.currency),
            num_unknown=priced.num_unknown if priced else 0,
        )


def _planned(project: Project, step: Step, why: str) -> Planned:
    """The step as one that will run: its dataset will be another."""
    with project.runner.database.read() as connection:
        last = catalog.last_success(connection, step=step.name)
    return Planned(step=step, hit=None, reason=why, last=last)


def _files(project: Project, person: Person) -> Iterator[str]:
    """Files of the project's folder that still have a text or the name of the person; and the
    databases and APIs that their rows came from, which are not searched."""
    wanted = needles(person.texts)
    for name in sorted({row.source for row in person.rows} & project.file.source.keys()):
        source = project.file.source[name]
        if source.is_asked:
            yield source.origin
        for _, path in files_of(project, source):
            if holds_as_it_stands(path, wanted):
                yield path.relative_to(project.folder).as_posix()


def files_of(project: Project, source: SourceConfig) -> list[tuple[str, Path]]:
    """(name, path) of the files that a source is read from; none of what is not there."""
    if not source.is_local:
        return []
    try:
        return local_files(project.folder, source.landing())
    except TunesmithError:  # said as an obstacle, if the source is to be rewritten
        return []


def _obstacles(project: Project, placed: Sequence[Placed]) -> Iterator[str]:
    """Why what is in the store could not be made again without the rows."""
    runs = project.runs()
    sources = project.file.source.values()
    in_use = {each.origin.removeprefix("pypi:") for each in sources if each.is_package}
    seen: Mapping[str, None] = dict.fromkeys(
        each.held.version.name for each in placed if each.held.kind == "source"
    )
    for each in placed:
        package = package_of(project, each.held, runs)
        if package is not None and package.requirement in in_use:
            yield (
                f"{each.held.ref} was read from the package {package.requirement}, which anybody "
                "can fetch again: pin another version of it, or take its sections out of the "
                "project file"
            )
    for name in seen:
        source = project.file.source.get(name)
        if source is not None and not (source.is_package or source.sha256):
            yield (
                f"{source.origin} of source {name} is not there or cannot be read: put it back, or "
                "take the section out of the project file"
            )
