"""Take local files, objects, or what a database or an API answers, into the store without the
records of people who are to be forgotten.

What is left out of a file leaves its place there, so that what follows it keeps its pointers. What
is left is read again, and is used only if that gives what was there, but for what is left out.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tunesmith.core import erasure
from tunesmith.core.erasure import keyed
from tunesmith.core.step import Context
from tunesmith.records.data import Erased, Package
from tunesmith.records.landed import Landed
from tunesmith.stages.ingest import api, database, objects, stream
from tunesmith.stages.ingest.archive import whole_or_unreadable
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.container import File, files_in, is_container
from tunesmith.stages.ingest.cutting.forms import WHOLE, cannot, cut_out, form_of, said_in
from tunesmith.stages.ingest.cutting.packed import packed
from tunesmith.stages.ingest.entry import Entry, Quarantined, Unreadable
from tunesmith.stages.ingest.formats import read_file
from tunesmith.stages.ingest.local import pack
from tunesmith.stages.ingest.rows import Ids
from tunesmith.stages.ingest.singer import stored_rows
from tunesmith.stages.ingest.snapshot import Keeps

IsGone = Callable[[str, "Record"], bool]
"""Whether a record of the file of that name is to go."""


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

    def is_gone(name: str, record: Record) -> bool:
        return is_told(config, name, record, digests, key)

    def cut(name: str, data: bytes) -> tuple[bytes | None, int]:
        left, gone = without(config, name, data, is_gone)
        return left, len(gone)

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
    """The records of one file that is no archive; of what cannot be read, what stands where it
    would be, or the whole file."""
    if config.format == "stream":  # what breaks its schema can be read all the same
        for row, _ in stored_rows(member, io.BytesIO(data)):
            entry = row if isinstance(row, Entry) else None
            yield Record(pointer=row.pointer, data=entry.data if entry else data, entry=entry)
        return
    bad: Mapping[str, bytes] | None = None
    stream = io.BufferedReader(io.BytesIO(data))
    every = list(read_file(config, File(name=member, stream=stream)))
    for found in every:
        if isinstance(found, Entry):
            yield Record(pointer=found.pointer, data=found.data, entry=found)
            continue
        if bad is None:  # where a bad record ends, the next one tells
            bad = said_in(config, member, data, [each.pointer for each in every])
        yield Record(pointer=found.pointer, data=bad.get(found.pointer, data), entry=None)


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

    def is_gone(name: str, record: Record) -> bool:
        if record.entry is None:
            return tells(record.data)
        return Ids(config, name).first(record.entry.data) in row_ids

    return [record.data for record in without(config, member, data, is_gone)[1]]


def without(
    config: SourceConfig, member: str, data: bytes, is_gone: IsGone
) -> tuple[bytes | None, list[Record]]:
    """What is left of one file, None where it is nothing, and the records that are gone; what is
    left of an archive is packed anew.

    Raises:
        DataError: one of them cannot be cut out of the file.
    """
    left: dict[str, bytes] = {}
    gone: list[Record] = []
    damaged = ""
    for file in files_in(member, data, config.members):
        if isinstance(file, Quarantined):
            record = Record(pointer=file.pointer, data=data, entry=None)
            if is_gone(member, record):
                raise cannot(member, member)
            return data, []
        try:
            with whole_or_unreadable("file"), file.stream:
                inside = file.stream.read()
        except Unreadable:  # of a member that is damaged nothing is read
            damaged = damaged or file.name
            continue
        rest, theirs = _without(config, file.name, inside, is_gone)
        gone += theirs
        if rest is not None:
            left[file.name] = rest
    if not gone:
        return data, []
    if damaged:
        raise cannot(member, damaged)
    if not left:
        return None, gone
    return (packed(member, left) if is_container(member) else left[member]), gone


def _without(
    config: SourceConfig, name: str, data: bytes, is_gone: IsGone
) -> tuple[bytes | None, list[Record]]:
    """The same of a file that is no archive."""
    every = list(records(config, name, data))
    gone = {each.pointer: each for each in every if is_gone(name, each)}
    theirs = list(gone.values())
    if not gone:
        return data, []
    if form_of(config.format, name) in WHOLE or {each.pointer for each in every} == {name}:
        return None, theirs
    left = cut_out(config, name, data, {each.pointer: each.data for each in theirs})
    stays = [(each.pointer, each.data) for each in every if each.pointer not in gone]
    if [(each.pointer, each.data) for each in records(config, name, left)] != stays:
        raise cannot(name, theirs[0].pointer)
    return left, theirs


def _subject(config: SourceConfig, entry: Entry) -> str:
    """Whom a record is about; empty where its source does not say, or it names nobody."""
    return erasure.subject_of(entry.fields.get(config.subject)) if config.subject else ""
