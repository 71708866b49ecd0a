"""Versions of data assets and datasets: which there are, and where their tables lie."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from tunesmith.core import catalog, data_tags
from tunesmith.core.catalog import Run, Version
from tunesmith.core.copies import Copy, put_on_record
from tunesmith.core.errors import BlobMissing, Conflict, NotFound, StoreError, UsageError
from tunesmith.core.plan import changes
from tunesmith.core.ref import Blob
from tunesmith.documents import frozen
from tunesmith.documents.croissant import FILE
from tunesmith.documents.describe import DatasetFacts, describe
from tunesmith.documents.frozen import CARD, DOCUMENTS, Sealed, sealed_of
from tunesmith.lineage.asset_card import asset_card
from tunesmith.project import Project
from tunesmith.records.data import DataAsset, Dataset
from tunesmith.records.lineage import VersionLine
from tunesmith.records.transform import TransformedAsset
from tunesmith.stages.assess.fields import field_changes, fields_of

KINDS = {"data": "source", "dataset": "dataset"}
"""What the store calls them, and what people write."""
ROWS = "rows"
GONE = {
    **dict.fromkeys(("rows", "train", "test"), ROWS),
    "quarantine": "quarantined rows",
    "dropped": "dropped rows",
    "edges": "rows' origins",
}
"""What is gone when a table was purged; of several, the first is said."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Held:
    """One version, its record and the run that made it first."""

    kind: str
    """"source" or "dataset"."""
    version: Version
    run: Run
    record: DataAsset | Dataset
    purged: frozenset[str]
    """Names of its tables that were purged."""
    tags: tuple[str, ...] = ()
    """Names that people gave it, in the order in which they did."""

    @property
    def ref(self) -> str:
        """What people write, e.g. "visits@2"."""
        return f"{self.version.name}@{self.version.number}"

    @property
    def word(self) -> str:
        """What it is, for people: "source", "transform" or "dataset"."""
        return "transform" if isinstance(self.record, TransformedAsset) else self.kind

    @property
    def gone(self) -> str:
        """What of it was purged, in words; empty where nothing was."""
        return next((what for table, what in GONE.items() if table in self.purged), "")

    @property
    def is_erased(self) -> bool:
        """Whether its rows were purged."""
        return self.gone == ROWS

    @property
    def tables(self) -> Mapping[str, Blob]:
        """Its Parquet tables by name."""
        return tables_of(self.record)


def tables_of(record: DataAsset | Dataset) -> Mapping[str, Blob]:
    """The Parquet tables of a data asset or a dataset, by name."""
    if isinstance(record, DataAsset):
        edges = {"edges": record.edges} if isinstance(record, TransformedAsset) else {}
        return {"rows": record.rows, "quarantine": record.quarantine, **edges}
    return {"train": record.train.rows, "test": record.test.rows, "dropped": record.dropped}


def all_held(project: Project) -> list[Held]:
    """Every version of every data asset and dataset, by kind, name and number."""
    with project.runner.database.read() as connection:
        versions = [v for v in catalog.all_versions(connection) if v.kind in KINDS]
        runs = catalog.runs_of(connection, {v.run_id for v in versions})
        tags: dict[tuple[str, str, int], list[str]] = {}
        for each in data_tags.standing(connection):
            tags.setdefault((each.kind, each.name, each.number), []).append(each.tag)
    return [
        _held(project, v, runs[v.run_id], tags.get((v.kind, v.name, v.number), ()))
        for v in versions
    ]


def find(project: Project, ref: str) -> Held:
    """The version that `ref` names: NAME@NUMBER, NAME@TAG, or NAME for the newest; a `source:` or
    `dataset:` before it says which, where both have the name.

    Raises:
        UsageError: it is no such reference, or two things have the name.
        NotFound: there is no such version.
    """
    return pick(all_held(project), ref)


def pick(every: Sequence[Held], ref: str) -> Held:
    """The one of `every` version that `ref` names; see `find`."""
    name, mark, which = ref.partition("@")
    if mark and not which:
        raise UsageError(f"{ref!r} is no version", remedy="write NAME@NUMBER, e.g. visits@2")
    found = _named(every, name)
    wanted = [each for each in found if not mark or which in (str(each.version.number), *each.tags)]
    if not wanted:
        there = ", ".join(" = ".join((each.ref, *each.tags)) for each in found)
        raise NotFound(f"there is no version {ref}", remedy=f"there is: {there}")
    return wanted[-1]


def named(project: Project, name: str) -> list[Held]:
    """The versions of one data asset or dataset, oldest first.

    Raises:
        UsageError: a data asset and a dataset have the name.
        NotFound: there is none.
    """
    return _named(all_held(project), name)


def _named(every: Sequence[Held], name: str) -> list[Held]:
    kind, colon, plain = name.rpartition(":")
    found = [h for h in every if h.version.name == plain and (not colon or h.kind == kind)]
    if len({held.kind for held in found}) > 1:
        raise UsageError(
            f"a source and a dataset are called {plain!r}",
            remedy=f"write source:{plain} or dataset:{plain}",
        )
    if not found:
        names = sorted({held.version.name for held in every})
        raise NotFound(
            f"there is no version of a source or dataset {name!r}",
            remedy=f"there is: {', '.join(names)}" if names else "run the project: `tunesmith run`",
        )
    return found


def dataset_facts(project: Project, ref: str) -> DatasetFacts:
    """What is recorded of the version of a dataset that `ref` names; see `find`.

    Raises:
        UsageError: it is no such reference.
        NotFound: there is no such version.
    """
    return _facts(project, dataset_version(project, ref))


def dataset_version(project: Project, ref: str) -> Held:
    """The version of a dataset that `ref` names; see `find`.

    Raises:
        UsageError: it is no such reference.
        NotFound: there is no such version.
    """
    name = ref.partition("@")[0].removeprefix("dataset:")
    every = all_held(project)
    known = dict.fromkeys(held.version.name for held in every if held.kind == "dataset")
    if name not in known:
        raise NotFound(
            f"there is no version of a dataset {name!r}",
            remedy=f"there is: {', '.join(known)}" if known else "run the project: `tunesmith run`",
        )
    return pick(every, f"dataset:{ref.removeprefix('dataset:')}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """A document about a dataset's version."""

    text: str
    sealed: Sealed | None
    """What was sealed when it was frozen; None of a version of before that was done."""
    differs: bool
    """Whether the text is not the sealed one."""


def said_now(project: Project, ref: str, document: str) -> Said:
    """The Croissant description, or the sheet (by its file's name), of the version of a dataset
    that `ref` names, by what is on record now.

    Raises:
        UsageError, NotFound: see `dataset_facts`; or the files that it describes were erased.
    """
    held = dataset_version(project, ref)
    if document == FILE:
        for name in ("train", "test"):
            path_of(project, held, name)
    text = frozen.document(document, _facts(project, held))
    then = said_then(project, held, document)
    return replace(then, text=text, differs=then.sealed is not None and then.text != text)


def said_then(project: Project, held: Held, document: str) -> Said:
    """A document (of `documents.frozen.DOCUMENTS`) about a version as it was sealed; as it would
    have been where nothing was, or where it had a word of somebody who was forgotten since."""
    sealed = sealed_of(project, held.version.digest)
    if sealed is not None and sealed.documents[document].sha256 not in project.purged:
        text = project.runner.blobs.get(sealed.documents[document]).decode()
        return Said(text=text, sealed=sealed, differs=False)
    if document == CARD:
        assert isinstance(held.record, Dataset)
        text = frozen.card(held.record, held.version, project.runner.blobs)
    else:
        text = frozen.document(document, frozen.as_frozen(_facts(project, held)))
    return Said(text=text, sealed=None, differs=False)


def _facts(project: Project, held: Held) -> DatasetFacts:
    assert isinstance(held.record, Dataset)
    return describe(project, held.version, held.run, held.record, is_erased=held.is_erased)


def log(project: Project, name: str = "") -> list[VersionLine]:
    """What is known of each version, oldest first; of all, of those of one name, or of the one that
    `name` says.

    Raises:
        UsageError, NotFound: see `named` and `find`.
    """
    if "@" in name:
        number = find(project, name).version.number
        return [line for line in log(project, name.partition("@")[0]) if line.number == number]
    every = named(project, name) if name else all_held(project)
    lines = [line_of(every[0], None)] if every else []
    had: Mapping[str, str] = {}
    for before, held in pairwise(every):
        if (before.kind, before.version.name) != (held.kind, held.version.name):
            lines.append(line_of(held, None))
            had = {}
            continue
        had, has = had or known_fields(project, before), known_fields(project, held)
        fields = field_changes(had, has) if had and has else ()
        lines.append(replace(line_of(held, before), fields=fields))
        had = has
    return lines


def known_fields(project: Project, held: Held) -> Mapping[str, str]:
    """The fields of a data asset's version with their types; none of a dataset's, or where they
    cannot be read: it was erased, or damaged."""
    if not isinstance(held.record, DataAsset):
        return {}
    try:
        return fields_of(path_of(project, held, "rows"), held.record.num_rows)
    except (NotFound, StoreError):
        return {}


def line_of(held: Held, before: Held | None) -> VersionLine:
    """What is known of a version; `before` is the one before it."""
    record, version = held.record, held.version
    if isinstance(record, DataAsset):
        num_rows, quarantined = record.num_rows, record.num_quarantined
        left_out, erased, repaired = record.num_filtered, record.num_erased, record.num_repaired
    else:
        num_rows, quarantined = record.train.num_rows + record.test.num_rows, 0
        left_out, erased, repaired = record.num_dropped, 0, 0
    changed: tuple[str, ...] = ("first version",)
    if before is not None:
        changed = tuple(changes(before.run.identity, held.run.identity)) or (
            "nothing that is seen",
        )
    return VersionLine(
        kind=held.word,
        name=version.name,
        number=version.number,
        made_at=version.created_at,
        digest=version.digest,
        num_in=record.num_in,
        num_read=record.num_read if isinstance(record, TransformedAsset) else 0,
        num_rows=num_rows,
        num_quarantined=quarantined,
        num_left_out=left_out,
        num_erased=erased,
        num_repaired=repaired,
        is_erased=held.is_erased,
        gone=held.gone,
        changed=changed,
        tags=held.tags,
    )


def path_of(project: Project, held: Held, table: str) -> Path:
    """Where a table of a version lies.

    Raises:
        NotFound: it was purged when somebody was forgotten.
        BlobMissing: it is gone for no reason that is known.
    """
    try:
        return project.runner.blobs.path(held.tables[table])
    except BlobMissing as error:
        if table in held.purged:
            what = held.ref if GONE[table] == ROWS else f"table {table!r} of {held.ref}"
            raise NotFound(
                f"{what} was erased: it had rows of somebody who was forgotten",
                remedy=f"take a newer version: `tunesmith data log {held.version.name}`",
            ) from error
        raise


def readable(
    project: Project, every: Sequence[Held], kind: str, tables: Collection[str]
) -> Iterator[tuple[Held, str, str]]:
    """(version, table, path) of what of `kind` was not purged."""
    for held in every:
        if held.kind != kind:
            continue
        for name in (table for table in tables if table in held.tables):
            try:
                yield held, name, str(path_of(project, held, name))
            except (NotFound, StoreError):  # erased, or damaged: `tunesmith verify` says which
                continue


def checkout(project: Project, ref: str, folder: Path) -> list[Path]:
    """Write a version's tables and its card into the new or empty `folder`; of a dataset also its
    description in Croissant, by which others' software reads the folder, and its training-content
    sheet, as they were sealed.

    Raises:
        Conflict: there is something in the folder; or somebody is being forgotten.
        NotFound: there is no such version, or it was erased.
    """
    held = find(project, ref)
    sources = {f"{name}.parquet": path_of(project, held, name) for name in held.tables}
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise Conflict(f"{folder} is not empty", remedy="name a new folder")
    left = Copy(
        form="tables that were checked out",
        of=(f"{held.kind} {held.ref}",),
        digests=(held.version.digest,),
        has="rows",
        where=str(folder.resolve()),
    )
    put_on_record(project.runner.database, project.runner.actor, left)
    for name, source in sources.items():
        shutil.copyfile(source, folder / name)
    texts = {CARD: card_of(project, held)}
    if isinstance(held.record, Dataset):
        texts = {name: said_then(project, held, name).text for name in DOCUMENTS}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in (*sources, *texts)]


def card_of(project: Project, held: Held) -> str:
    """What people are told of a version (Markdown)."""
    record = held.record
    if isinstance(record, Dataset):
        return said_then(project, held, CARD).text
    return "\n".join(asset_card(record, held.ref, held.version)) + "\n"


def _held(project: Project, version: Version, run: Run, tags: Sequence[str]) -> Held:
    record = project.load(run)
    assert isinstance(record, DataAsset | Dataset)
    return Held(
        kind=KINDS[version.kind],
        version=version,
        run=run,
        record=record,
        purged=frozenset(
            table for table, blob in tables_of(record).items() if blob.sha256 in project.purged
        ),
        tags=tuple(tags),
    )
