"""Repairs of a person's records: taken out of the files beside the project file, and what of them
steps were given found in the store. Which records were theirs is known by id and by subject."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence

import pyarrow.parquet as pq

from tunesmith.core.canonical import one_form
from tunesmith.core.catalog import Run
from tunesmith.core.errors import StoreError
from tunesmith.lineage import scan
from tunesmith.lineage.journal import Journal
from tunesmith.lineage.person import Person
from tunesmith.lineage.trace import package_of
from tunesmith.lineage.versions import all_held, readable
from tunesmith.project import Project
from tunesmith.records.repair import Repair, Repairs
from tunesmith.stages.ingest import repairs as kept


def blobs_with(project: Project, person: Person, runs: Sequence[Run]) -> tuple[set[str], set[str]]:
    """Digests of what data assets were read or made with that has a repair of the person's records;
    and of what has the records as they were before: in a version's quarantine, and in what it was
    read from.

    The latter may be in use: it is to go unless it still is when all was made again.
    """
    given = {
        (run.step.partition(":")[2], digest)
        for run in runs
        for digest in run.identity["inputs"].get("repairs", ())
    }
    made = {name: list(kept.read(project.folder, name)) for name in project.file.assets}
    wanted = scan.needles(person.texts)
    found: set[str] = set()
    for name, digest in given:
        try:
            repairs = project.record(Repairs, digest).repairs
        except StoreError:  # erased before, or damaged: `tunesmith verify` says which
            continue
        if any(_theirs(project, name, repairs, person.subject, person.row_ids, wanted)):
            found.add(digest)
        made.setdefault(name, []).extend(repairs)
    pointers = {
        (name, repair.pointer)
        for name, repairs in made.items()
        for repair in _theirs(project, name, repairs, person.subject, person.row_ids, wanted)
    }
    return found, set(_as_they_were(project, pointers, runs)) if pointers else set()


def _as_they_were(
    project: Project, pointers: Collection[tuple[str, str]], runs: Sequence[Run]
) -> Iterator[str]:
    """Digests of the quarantines that have one of the (source, pointer), and what each was read
    from."""
    every = all_held(project)
    for held, _, path in readable(project, every, "source", ("quarantine",)):
        column = pq.read_table(path, columns=["pointer"]).column("pointer").to_pylist()
        if any((held.version.name, pointer) in pointers for pointer in column):
            yield held.tables["quarantine"].sha256
            package = package_of(project, held, runs)
            if package is not None:
                yield package.wheel.sha256


def remove(project: Project, journal: Journal) -> list[str]:
    """Take the repairs of the person's records out of the project's files; says what was done."""
    subject = "" if journal.plan.named_by == "row id" else journal.plan.subject
    wanted = scan.needles(journal.texts)
    done = []
    for name in project.file.assets:
        made = kept.read(project.folder, name)
        gone = list(_theirs(project, name, made, subject, journal.row_ids, wanted))
        if gone:
            kept.write(project.folder, name, [each for each in made if each not in gone])
            what = "a repair" if len(gone) == 1 else f"{len(gone)} repairs"
            done.append(f"{kept.file_of(name).as_posix()} ({what} less)")
    return done


def _theirs(
    project: Project,
    name: str,
    repairs: Sequence[Repair],
    subject: str,
    row_ids: Collection[str],
    wanted: scan.Needles,
) -> Iterator[Repair]:
    """The repairs of records that are among the rows, are about the subject, or have a text of
    theirs in them."""
    source = project.file.assets.get(name)
    field = source.subject if source else ""
    for repair in repairs:
        said = json.dumps(
            [
                json.loads(side)
                for change in repair.changes
                for side in (change.before, change.after)
                if side is not None
            ],
            ensure_ascii=False,
        )
        if (
            repair.record in row_ids
            or (subject and subject in map(one_form, kept.subjects_of(repair, field)))
            or wanted.are_in(f"{repair.why}\0{said}".encode())
        ):
            yield repair
