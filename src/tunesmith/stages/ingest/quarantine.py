"""Read a source again, to see which of its records are in quarantine, and what repairs would do."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.asset.checks import all_hold, evaluate
from tunesmith.asset.contract import read_as
from tunesmith.asset.row import Row
from tunesmith.asset.table import Table
from tunesmith.core.blobs import Blobs
from tunesmith.records.contract import ContractResult
from tunesmith.records.data import Package
from tunesmith.records.repair import BadRecord, Repairs
from tunesmith.stages.ingest.archive import open_archive
from tunesmith.stages.ingest.config import STRINGS_ONLY, SourceConfig
from tunesmith.stages.ingest.container import files_of
from tunesmith.stages.ingest.entry import Entry, Quarantined
from tunesmith.stages.ingest.formats import read_file
from tunesmith.stages.ingest.repairs import Mending
from tunesmith.stages.ingest.rows import Ids, to_row
from tunesmith.stages.ingest.run import contract_of, members_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Looked:
    """A record that is in quarantine, or that a repair is of."""

    record: str
    """Empty where it could not be read."""
    pointer: str
    as_read: Mapping[str, Any] | None
    """Its fields as they stand in the source."""
    fields: Mapping[str, Any] | None
    """... and after its repair, if there is one."""
    is_repaired: bool
    bad: Quarantined | None
    """What it breaks; None of a repaired one that can be used, or is not asked for."""
    is_asked_for: bool

    def as_bad(self) -> BadRecord:
        """What people are told of one that is in quarantine."""
        assert self.bad is not None
        return BadRecord(
            record=self.record,
            pointer=self.pointer,
            rule=self.bad.rule,
            reason=self.bad.reason,
            fields=self.fields,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class AsRead:
    """A record as it stands in a source, whatever is wrong with it."""

    record: str
    """Its id."""
    first: str
    """The id of the first record of its file that says the same."""
    entry: Entry


def read_again(
    config: SourceConfig, blobs: Blobs, package: Package, folder: Path, pointers: Collection[str]
) -> Iterator[AsRead]:
    """The records of a package that stand at `pointers` and can be read, just as `ingest` reads
    them; `folder` is for what is unpacked.

    Raises:
        PackageError, NotFound: see `ingest`.
    """
    files = {"#".join(p.split("#")[: n + 1]) for p in pointers for n in range(p.count("#") + 1)}
    for entry, record, ids in _entries(config, blobs, package, folder, files):
        if isinstance(entry, Entry) and ids is not None and entry.pointer in pointers:
            yield AsRead(record=record, first=ids.first(entry.data), entry=entry)


def look(
    config: SourceConfig, blobs: Blobs, package: Package, folder: Path, repairs: Repairs | None
) -> Iterator[Looked]:
    """The records of a package that are bad or repaired, read just as `ingest` does; `folder` is
    for what is unpacked.

    Raises:
        PackageError, NotFound: see `ingest`.
    """
    mending = Mending(repairs)
    for entry, record, found in _found(config, blobs, package, folder, mending):
        if isinstance(entry, Quarantined):
            yield _unreadable(entry)
            continue
        bad = found if isinstance(found, Quarantined) else None
        if bad is not None or record in mending:
            yield Looked(
                record=record,
                pointer=entry.pointer,
                as_read=entry.fields,
                fields=mending.mend(entry, record).fields,
                is_repaired=record in mending,
                bad=bad,
                is_asked_for=found is not None,
            )


def judge(
    config: SourceConfig, blobs: Blobs, package: Package, folder: Path, repairs: Repairs | None
) -> ContractResult:
    """What the contract says of the records of a package; nothing is kept.

    Raises:
        PackageError, NotFound: see `ingest`.
        DataError: a check cannot be made, see `evaluate`.
    """
    broken: Counter[str] = Counter()
    with Table(folder / "rows", Row._fields) as rows:
        for entry, _, found in _found(config, blobs, package, folder, Mending(repairs)):
            bad = entry if isinstance(entry, Quarantined) else found
            if isinstance(bad, Quarantined):
                broken[bad.rule] += 1
            elif bad is not None:
                rows.add(bad)
    results = evaluate(
        config.checks,
        config.contract,
        rows.path,
        has_strings_only=config.format in STRINGS_ONLY,
    )
    return ContractResult(
        source=config.name,
        num_rows=rows.num_rows,
        broken=dict(broken.most_common()),
        checks=tuple(results),
        holds=not broken and all_hold(results),
    )


def _found(
    config: SourceConfig, blobs: Blobs, package: Package, folder: Path, mending: Mending
) -> Iterator[tuple[Entry | Quarantined, str, Row | Quarantined | None]]:
    """(record as it was read, its id, what it is after its repair); of one that could not be read,
    what is wrong with it, twice."""
    contract = contract_of(config)
    for entry, record, _ in _entries(config, blobs, package, folder):
        if isinstance(entry, Quarantined):
            yield entry, "", entry
            continue
        yield entry, record, to_row(config, contract, mending.mend(entry, record), record)


def _entries(
    config: SourceConfig,
    blobs: Blobs,
    package: Package,
    folder: Path,
    names: Collection[str] | None = None,
) -> Iterator[tuple[Entry | Quarantined, str, Ids | None]]:
    """(record as it was read, its id, the ids of its file), of all files or of those with one of
    `names`; of one that could not be read what is wrong with it, and no id."""
    with open_archive(blobs.path(package.wheel), package.filename) as archive:
        for member in members_of(archive, config, package):
            for file in files_of(archive, member, config.members, folder):
                if isinstance(file, Quarantined):
                    yield file, "", None
                    continue
                if names is not None and file.name not in names:
                    continue
                ids = Ids(config, file.name)
                for entry in read_file(config, file):
                    yield entry, ids.next(entry.data) if isinstance(entry, Entry) else "", ids


def _unreadable(bad: Quarantined) -> Looked:
    return Looked(
        record="",
        pointer=bad.pointer,
        as_read=None,
        fields=None,
        is_repaired=False,
        bad=bad,
        is_asked_for=True,
    )


def as_cell(value: Any) -> str:
    """A value as a table of texts shows it: a string as it is, nothing as nothing, else JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def from_cell(config: SourceConfig, field: str, text: str) -> Any:
    """What a text that was written into a table says: of what the contract says the field is, a
    string where it says nothing, or the format knows strings only."""
    rule = config.contract.get(field)
    if rule is None or config.format in STRINGS_ONLY:
        return text
    return read_as(rule.type, text)
