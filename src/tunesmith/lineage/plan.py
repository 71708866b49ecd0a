"""Whom to forget: their rows, what holds them, and what each model's remedy costs. Nothing is
changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tunesmith.core import catalog, erasure
from tunesmith.core.canonical import one_form
from tunesmith.core.errors import DataError, TunesmithError
from tunesmith.core.plan import Planned
from tunesmith.core.step import Step
from tunesmith.graph import build
from tunesmith.ledger.cost import zero
from tunesmith.ledger.plan import price_plan
from tunesmith.lineage import query
from tunesmith.lineage.copies import copies
from tunesmith.lineage.person import Person, person_of
from tunesmith.lineage.refused import with_refusals
from tunesmith.lineage.scan import holds, needles
from tunesmith.lineage.trace import Placed, downwards, package_of, place, place_by_words
from tunesmith.lineage.versions import all_held
from tunesmith.project import Project
from tunesmith.records.lineage import ErasurePlan, Holder, Remedy
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.erased import records_of
from tunesmith.stages.ingest.local import local_files

_ONCE = "tuned on rows of theirs that its dataset no longer has, or taught by one that was"


def plan(project: Project, wanted: Sequence[str]) -> tuple[Person, ErasurePlan]:
    """What forgetting would take: `wanted` is one value of a subject field, or row ids.

    Raises:
        NotFound: no version that is still there has such rows.
        UsageError: several people were named.
    """
    wanted = [one_form(each) for each in wanted]
    every = all_held(project)
    with query.opened() as connection:
        person, named_by, others, orphans = person_of(project, connection, every, wanted)
        placed = place(project, connection, every, person.row_ids)
    by_id = with_refusals(placed, person.refused)
    placed = place_by_words(project, every, by_id, needles(person.words), needles(person.names))
    labels = {row.label for row in person.rows}
    holders = list(downwards(project, every, placed, project.runs(), person.row_ids, labels))
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
        obstacles=(*orphans, *_obstacles(project, by_id)),
        copies=tuple(
            copies(
                project,
                every,
                placed,
                person.sources,
                {holder.name for holder in holders if holder.kind == "model"},
            )
        ),
        num_quarantined=person.num_quarantined,
        num_shared=person.num_shared,
        num_too_short=person.num_too_short,
    )


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
    """Files of the project's folder that still have a record, a text or the name of the person; and
    the databases and APIs that their rows came from, which are not searched."""
    wanted = needles(person.texts)
    places = {(row.source, row.pointer.partition("#")[0]) for row in person.rows}
    for name in sorted(person.sources & project.file.source.keys()):
        source = project.file.source[name]
        if source.is_asked:
            yield source.origin
        members = [member for of, member in places if of == name]
        for file, path in files_of(project, source):
            is_named = any(f"{each}/".startswith(f"{file}/") for each in members)
            if holds(path, wanted) or (is_named and _has_rows(source, file, path, person.row_ids)):
                yield path.relative_to(project.folder).as_posix()


def _has_rows(source: SourceConfig, file: str, path: Path, row_ids: Sequence[str]) -> bool:
    """Whether a file still has a record of the rows."""
    try:
        return bool(records_of(source, file, path.read_bytes(), row_ids, lambda _: False))
    except DataError:  # it has, and cannot be cut: to forget them says so before it does anything
        return True


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
