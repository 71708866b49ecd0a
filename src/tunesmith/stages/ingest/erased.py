"""Take local files, objects, or what a database or an API answers, into the store without the
records of people who are to be forgotten.

What is left out of a file stays as long as it was, in lines, so that what follows it keeps its
pointers.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.core import erasure
from tunesmith.core.erasure import keyed
from tunesmith.core.errors import DataError
from tunesmith.core.step import Context
from tunesmith.records.data import Erased, Package
from tunesmith.records.landed import Landed
from tunesmith.stages.ingest import api, database, objects, stream
from tunesmith.stages.ingest.config import DOCUMENTS, SourceConfig
from tunesmith.stages.ingest.container import File, is_container
from tunesmith.stages.ingest.entry import Entry
from tunesmith.stages.ingest.formats import read_file
from tunesmith.stages.ingest.local import pack
from tunesmith.stages.ingest.rows import Ids
from tunesmith.stages.ingest.singer import stored_rows
from tunesmith.stages.ingest.snapshot import Keeps

WHOLE_FILES = frozenset({"front-matter", "text", *DOCUMENTS} - {"mbox"})
"""Formats of which a file is one row, and is left out whole."""
LINES = frozenset({"jsonl", "csv", "tsv"})
"""Formats of which a row stands on lines of its own, which are cut out."""


def land_without(config: SourceConfig, ctx: Context, *, erased: Erased) -> Package:
    """The local files of a source, but for the records that `erased` tells.

    Raises:
        NotFound, DataError, InputChanged: see `land`.
        DataError: a record cannot be cut out of its file.
        StoreError: the key of the digests is not there, or another one is.
    """
    assert ctx.project is not None, "local files are relative to a project's folder"
    counted = cutter(config, ctx.project, erased)
    num_erased = 0

    def cut(name: str, data: bytes) -> bytes | None:
        nonlocal num_erased
        left, num_gone = counted(name, data)
        num_erased += num_gone
        return left

    package = pack(config.landing(), ctx, cut)
    return dataclasses.replace(package, num_erased=num_erased)


def collect_without(config: SourceConfig, ctx: Context, *, erased: Erased) -> Landed:
    """The objects of a bucket, but for the records that `erased` tells.

    Raises:
        NotFound, DataError, InputChanged: see `collect`.
        DataError: a record cannot be cut out of its object.
        StoreError: the key of the digests is not there, or another one is.
    """
    assert ctx.project is not None, "the store is in a project's folder"
    return objects.take(config.collecting(), ctx, cutter(config, ctx.project, erased))


def cutter(
    config: SourceConfig, project: Path, erased: Erased
) -> Callable[[str, bytes], tuple[bytes | None, int]]:
    """What cuts the records that `erased` tells out of a file: of its name and bytes, what is left,
    None where it is nothing, and how many they were.

    Raises:
        StoreError: the key of the digests is not there, or another one is.
    """
    key, digests = erasure.key_called(project, erased.key), frozenset(erased.digests)

    def cut(name: str, data: bytes) -> tuple[bytes | None, int]:
        found = records(config, name, data)
        gone = [each for each in found if is_told(config, name, each, digests, key)]
        if gone and config.format in WHOLE_FILES:
            return None, len(gone)
        return cut_out(config, name, data, gone), len(gone)

    return cut


def query_without(config: SourceConfig, ctx: Context, *, erased: Erased) -> Package:
    """What a database answers, but for the rows that `erased` tells.

    Raises:
        DataError, MissingExtra, InputChanged: see `query`.
        StoreError: the key of the digests is not there, or another one is.
    """
    assert ctx.project is not None, "the store is in a project's folder"
    keeps = keeper(config, ctx.project, erased)
    return database.take(config.querying(), ctx, keeps, without=erased.digests)


def call_without(config: SourceConfig, ctx: Context, *, erased: Erased) -> Package:
    """What an API answers, but for the records that `erased` tells.

    Raises:
        DataError, InputChanged: see `call`.
        StoreError: the key of the digests is not there, or another one is.
    """
    assert ctx.project is not None, "the store is in a project's folder"
    keeps = keeper(config, ctx.project, erased)
    return api.take(config.calling(), ctx, keeps, without=erased.digests)


def stream_without(config: SourceConfig, ctx: Context, *, erased: Erased) -> Landed:
    """What a program tells, but for the rows that `erased` tells.

    Raises:
        DataError, MissingExtra, InputChanged: see `stream`.
        StoreError: the key of the digests is not there, or another one is.
    """
    assert ctx.project is not None, "the store is in a project's folder"
    keeps = keeper(config, ctx.project, erased)
    return stream.take(config.streaming(), ctx, keeps, without=erased.digests)


def keeper(config: SourceConfig, project: Path, erased: Erased) -> Keeps:
    """What says whether a row is none of those that `erased` tells.

    Raises:
        StoreError: the key of the digests is not there, or another one is.
    """
    key, digests = erasure.key_called(project, erased.key), frozenset(erased.digests)
    return lambda name, line: (
        not any(is_told(config, name, each, digests, key) for each in records(config, name, line))
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What stands in a file where a row is, or would be."""

    pointer: str
    data: bytes
    entry: Entry | None
    """None where it cannot be read."""


def records(config: SourceConfig, member: str, data: bytes) -> Iterator[Record]:
    """The records of one file; of what cannot be read, the line, or the whole file.

    Raises:
        DataError: it is an archive, of which nothing can be cut out.
    """
    if is_container(member):
        raise DataError(
            f"{member} is an archive: no record can be cut out of it",
            remedy="unpack it into the source's folder, and leave the archive out",
        )
    if config.format == "stream":  # what breaks its schema can be read all the same
        for row, _ in stored_rows(member, io.BytesIO(data)):
            entry = row if isinstance(row, Entry) else None
            yield Record(pointer=row.pointer, data=entry.data if entry else data, entry=entry)
        return
    lines = data.split(b"\n")
    for found in read_file(config, File(name=member, stream=io.BytesIO(data))):
        if isinstance(found, Entry):
            yield Record(pointer=found.pointer, data=found.data, entry=found)
        else:
            line = _line(found.pointer)
            there = lines[line - 1].strip() if 0 < line <= len(lines) else data
            yield Record(pointer=found.pointer, data=there, entry=None)


def is_told(
    config: SourceConfig, member: str, record: Record, digests: Collection[str], key: bytes
) -> bool:
    """Whether a record is among what was erased: by what it says, by its subject, by its place."""
    if keyed(key, "record", record.data) in digests:
        return True
    if record.entry is None:
        return False
    first = Ids(config, member).first(record.entry.data)
    return keyed(key, "row", first) in digests or erasure.is_told(
        key, _subject(config, record.entry), digests
    )


def records_of(
    config: SourceConfig,
    member: str,
    data: bytes,
    row_ids: Collection[str],
    tells: Callable[[bytes], bool],
) -> list[bytes]:
    """The records of one file that became the rows `row_ids`, and those that cannot be read and
    have something in them that `tells` of the person.

    Raises:
        DataError: one of them could not be cut out of the file.
    """
    gone = [
        each
        for each in records(config, member, data)
        if (
            Ids(config, member).first(each.entry.data) in row_ids
            if each.entry
            else tells(each.data)
        )
    ]
    if config.format not in WHOLE_FILES:
        cut_out(config, member, data, gone)
    return [record.data for record in gone]


def _subject(config: SourceConfig, entry: Entry) -> str:
    """Whom a record is about; empty where its source does not say, or it names nobody."""
    return erasure.subject_of(entry.fields.get(config.subject)) if config.subject else ""


def _line(pointer: str) -> int:
    """The line of a pointer; 0 where a file is one row."""
    number = pointer.rpartition("#")[2] if "#" in pointer else ""
    return int(number) if number.isdecimal() else 0


def cut_out(config: SourceConfig, name: str, data: bytes, gone: Sequence[Record]) -> bytes:
    """`data` without the lines that the records `gone` stand on: of each its end is left.

    Raises:
        DataError: one does not stand on the lines that its pointer names.
    """
    lines = data.split(b"\n")
    for record in gone:
        first = _line(record.pointer) - 1
        past = first + 1 + record.data.count(b"\n")
        is_there = first >= 0 and record.data in b"\n".join(lines[first:past])
        if config.format not in LINES or not is_there:
            raise DataError(
                f"{record.pointer} is to be forgotten, and cannot be cut out of {name}",
                remedy=f"take the record out of {name} yourself, then run the same command again",
            )
        lines[first:past] = [b""] * (past - first)
    return b"\n".join(lines)
