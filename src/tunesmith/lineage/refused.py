"""Records of a person that versions have in quarantine.

A quarantine shows no more of a record than fits a line, and neither its id nor, as a rule, the
field that says whose it is. So the records are read again, from what was taken in, as they were
when the version was made.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pydantic import ValidationError

from tunesmith.asset.row import label_of
from tunesmith.core import erasure
from tunesmith.core.canonical import one_form
from tunesmith.core.catalog import Run
from tunesmith.core.errors import BlobMissing
from tunesmith.lineage import words
from tunesmith.lineage.trace import Placed, package_of
from tunesmith.lineage.versions import Held, readable
from tunesmith.lineage.words import subject_fields
from tunesmith.project import Project
from tunesmith.records.data import DataAsset, Package
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.quarantine import AsRead, read_again


@dataclass(frozen=True, kw_only=True)
class RefusedRecord:
    """A record of theirs in the quarantine of a version."""

    record: str
    """Its id; empty where what it was read from is gone."""
    pointer: str
    text: str
    label: str
    values: tuple[str, ...] = ()
    """What it says, string by string; none where it can no longer be read."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A version with records of theirs in its quarantine."""

    held: Held
    records: tuple[RefusedRecord, ...]
    """None where it has one of which nobody can tell any more whose it is: what it was read from
    was erased, and its quarantine has to go after it."""


@dataclass(frozen=True, kw_only=True)
class _Sought:
    """Who is looked for, in one version."""

    subject: str
    """In its one form; empty where ids are given."""
    ids: Collection[str]
    fields: Sequence[str]
    """Those that say whose a record is."""

    def is_theirs(self, said: Mapping[str, Any]) -> bool:
        """Whether a record with these fields is theirs by its subject."""
        return bool(self.subject) and any(
            one_form(erasure.subject_of(said.get(name))) == self.subject for name in self.fields
        )


def refusals(
    project: Project, every: Sequence[Held], subject: str, ids: Collection[str]
) -> list[Refusal]:
    """The versions that have records of `subject`, or of these ids, in quarantine.

    Raises:
        PackageError, NotFound: what one was read from is damaged, or not what it was.
    """
    found, runs = [], project.runs()
    for held, _, path in readable(project, every, "source", ("quarantine",)):
        assert isinstance(held.record, DataAsset)
        if not held.record.num_quarantined:
            continue
        sought = _Sought(subject=subject, ids=ids, fields=subject_fields(project, held))
        if not (ids or sought.fields):
            continue
        table = pq.read_table(path).to_pylist()
        is_made = held.word == "transform"
        theirs = (
            _of_transform(table, sought)
            if is_made
            else _of_source(project, held, table, sought, runs)
        )
        if theirs is not None:
            found.append(Refusal(held=held, records=tuple(theirs)))
    return found


def with_refusals(placed: Sequence[Placed], refused: Sequence[Refusal]) -> list[Placed]:
    """Where rows of theirs are, with those that are in quarantine."""
    counts = {each.held.version: len(each.records) for each in refused if each.records}
    of = {each.held.version: each.held for each in refused}
    found = [
        replace(each, counts={**each.counts, "quarantine": number})
        if each.held.kind == "source" and (number := counts.pop(each.held.version, 0))
        else each
        for each in placed
    ]
    only = [
        Placed(held=of[version], counts={"quarantine": number}, detail="")
        for version, number in counts.items()
    ]
    return [*only, *found]


def _of_transform(
    table: Sequence[Mapping[str, str]], sought: _Sought
) -> list[RefusedRecord] | None:
    """Rows that a transform refused: they have ids, and what shows of their fields."""
    found = [
        RefusedRecord(record=row["row_id"], pointer=row["pointer"], text="", label="")
        for row in table
        if row["row_id"] in sought.ids or _shown(row["value"], sought)
    ]
    return found or None


def _of_source(
    project: Project,
    held: Held,
    table: Sequence[Mapping[str, str]],
    sought: _Sought,
    runs: Sequence[Run],
) -> list[RefusedRecord] | None:
    """Records that a source refused; none of them where only a doubt is left."""
    shown = [_shown(row["value"], sought) for row in table]
    if not sought.ids and not any(each is not False for each in shown):
        return None
    package = package_of(project, held, runs)
    config = _as_it_was(project, held)
    if package is not None and config is not None and _is_there(project, package):
        return _read(project, config, package, {row["pointer"] for row in table}, sought) or None
    theirs = [
        RefusedRecord(record="", pointer=row["pointer"], text="", label="")
        for row, is_theirs in zip(table, shown, strict=True)
        if is_theirs
    ]
    is_erased = package is not None and package.wheel.sha256 in project.purged
    return theirs or ([] if is_erased and None in shown else None)


def _read(
    project: Project,
    config: SourceConfig,
    package: Package,
    pointers: Collection[str],
    sought: _Sought,
) -> list[RefusedRecord]:
    """Those of the records at `pointers` that are theirs, and those that say the same."""
    with tempfile.TemporaryDirectory() as folder:
        there = list(read_again(config, project.runner.blobs, package, Path(folder), pointers))
    theirs = {
        each.first
        for each in there
        if each.record in sought.ids or sought.is_theirs(each.entry.fields)
    }
    return [_refused(config, each, sought) for each in there if each.first in theirs]


def _refused(config: SourceConfig, each: AsRead, sought: _Sought) -> RefusedRecord:
    entry = each.entry
    text = entry.text if entry.text is not None else entry.fields.get(config.text)
    text = text if isinstance(text, str) else ""
    label = label_of(entry.fields.get(config.label)) if config.label else ""
    without = {*sought.fields, config.synthetic.seeds if config.synthetic else ""}
    said = [*words.strings(text), *words.of_fields(entry.fields, without)]
    return RefusedRecord(
        record=each.record,
        pointer=entry.pointer,
        text=text,
        label=label or "",
        values=tuple(dict.fromkeys(said)),
    )


def _as_it_was(project: Project, held: Held) -> SourceConfig | None:
    """The section of a source as the version was read by it."""
    try:
        return SourceConfig.model_validate(held.run.identity["config"])
    except ValidationError:  # another version of this program wrote it
        return project.file.source.get(held.version.name)


def _is_there(project: Project, package: Package) -> bool:
    try:
        project.runner.blobs.path(package.wheel)
    except BlobMissing:
        return False
    return True


def _shown(value: str, sought: _Sought) -> bool | None:
    """Whether a record is theirs, by what its quarantine shows of it; None where that does not show
    all fields, or not the one that says so."""
    try:
        fields = json.loads(value)
    except ValueError:  # it was cut off, or is a line that could not be read
        return any(sought.is_theirs({name: said}) for name, said in _pairs(value, sought)) or None
    if isinstance(fields, dict) and not fields.keys().isdisjoint(sought.fields):
        return sought.is_theirs(fields)
    return None


def _pairs(value: str, sought: _Sought) -> Iterator[tuple[str, str]]:
    """(name, value) of the fields that are strings, of JSON that was cut off."""
    for name in sought.fields:
        key = re.escape(json.dumps(name, ensure_ascii=False))
        for match in re.finditer(rf'{key}\s*:\s*("(?:[^"\\]|\\.)*")', value):
            yield name, json.loads(match[1], strict=False)
