"""Archives among the files of a source: a zip, a tar, or one packed file. Each is checked as a
whole before anything in it is read; a hostile or damaged one is one quarantined entry."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from tunesmith.stages.ingest.archive import (
    MAX_BYTES,
    MAX_MEMBERS,
    MAX_RATIO,
    SMALL_IN_ALL,
    glob_expression,
    hostile_listing,
    hostile_name,
    whole_or_unreadable,
)
from tunesmith.stages.ingest.entry import Quarantined, Unreadable, quarantined

_PACKED: Mapping[str, Callable[..., Any]] = {
    ".gz": gzip.open, ".tgz": gzip.open, ".bz2": bz2.open, ".tbz2": bz2.open,
    ".xz": lzma.open, ".txz": lzma.open,
}  # fmt: skip
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_BEGINS: Mapping[bytes, str] = {
    b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\0": "xz",
    b"\x04\x22\x4d\x18": "LZ4", b"7z\xbc\xaf\x27\x1c": "7-Zip", b"Rar!\x1a\x07": "RAR",
    **{b"BZh%d1AY&SY" % size: "bzip2" for size in range(1, 10)},
}  # fmt: skip
"""How packed files begin that no name led to: they are no text, and no format that is read."""
_AT_ONCE = 1 << 20
_LONGEST_READ = 16 << 20
"""More than any header of a tar needs; a longer one would be read into memory as a whole."""


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A file to read, open."""

    name: str
    """In the source; of a member of an archive, behind the archive's own: "mail.zip/a.eml"."""
    stream: IO[bytes]


def is_container(name: str) -> bool:
    """Whether a file of that name is an archive, or packed."""
    return name.lower().endswith((".zip", ".gz", *_TARS))


def refuse_packed(stream: IO[bytes]) -> None:
    """Say of a file that is still packed that it is, before it is taken for text.

    Raises:
        Unreadable: it is.
    """
    if not isinstance(stream, io.BufferedReader | zipfile.ZipExtFile):
        return  # it was unpacked just now
    start = stream.peek(16)
    for begins, by in _BEGINS.items():
        if start.startswith(begins):
            opened = ", ".join((".zip", ".gz", *_TARS))
            reason = (
                f"it is packed by {by}, and by its name none of those that are opened: {opened}"
            )
            raise Unreadable("unknown-format", reason, repr(start[:16]))


def files_of(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, patterns: Sequence[str], folder: Path
) -> Iterator[File | Quarantined]:
    """The file that a member is; of an archive, those of its files that match any of `patterns`.

    An archive inside an archive is a file like any other. `folder` is for what is unpacked. Each
    file is to be read before the next is asked for.
    """
    with ExitStack() as stack:
        stream = stack.enter_context(archive.open(member))
        yield from _files(member.filename, member.file_size, stream, patterns, folder, stack)


def files_in(name: str, data: bytes, patterns: Sequence[str]) -> Iterator[File | Quarantined]:
    """The same of a file called `name` that is in memory, where all of it stays."""
    with ExitStack() as stack:
        yield from _files(name, len(data), io.BytesIO(data), patterns, None, stack)


def _files(
    name: str,
    size: int,
    stream: IO[bytes],
    patterns: Sequence[str],
    folder: Path | None,
    stack: ExitStack,
) -> Iterator[File | Quarantined]:
    try:
        with whole_or_unreadable("archive"):
            opened = _opened(name, size, stream, patterns, folder, stack)
    except Unreadable as error:
        yield quarantined(name, error.rule, str(error), error.value)
        return
    yield from opened


def _opened(
    name: str,
    size: int,
    stream: IO[bytes],
    patterns: Sequence[str],
    folder: Path | None,
    stack: ExitStack,
) -> Iterator[File]:
    """The files of an archive that was checked as a whole; of another file, that one."""
    lower = name.lower()
    if lower.endswith(".zip"):
        copy = stack.enter_context(_copied(stream, MAX_BYTES, folder))
        return _zip_members(name, copy, patterns, stack)
    if lower.endswith(_TARS):
        copy = stack.enter_context(_unpacked(lower, stream, size, folder))
        return _tar_members(name, copy, patterns, stack)
    if lower.endswith(".gz"):
        copy = stack.enter_context(_unpacked(lower, stream, size, folder))
        return iter([File(name=name[: -len(".gz")], stream=copy)])
    # A member's own way to read a line is slow: it is written in Python.
    return iter([File(name=name, stream=io.BufferedReader(cast("Any", stream), _AT_ONCE))])


def _zip_members(
    name: str, copy: IO[bytes], patterns: Sequence[str], stack: ExitStack
) -> Iterator[File]:
    archive = stack.enter_context(zipfile.ZipFile(copy))
    if reason := hostile_listing(archive.infolist(), _size(copy)):
        raise _hostile(reason)
    members = {one.filename: one for one in archive.infolist() if not one.is_dir()}
    return (
        File(name=f"{name}/{path}", stream=archive.open(members[path]))
        for path in _wanted(members, patterns)
    )


def _tar_members(
    name: str, copy: IO[bytes], patterns: Sequence[str], stack: ExitStack
) -> Iterator[File]:
    careful = _Careful(copy)
    source = cast("IO[bytes]", careful)
    archive = stack.enter_context(tarfile.TarFile(fileobj=source, mode="r"))
    members: dict[str, tarfile.TarInfo] = {}
    num_members = 0
    for one in _listed(archive):
        num_members += 1
        path = one.name.removeprefix("./").removesuffix("/")
        if num_members > MAX_MEMBERS:
            raise _hostile(f"it has more than {MAX_MEMBERS} members")
        if path == "." and one.isdir():
            continue
        if not (one.isreg() or one.isdir()) or one.issparse():
            raise _hostile(f"member {one.name[:200]!r} is a link or a device")
        if reason := hostile_name(path):
            raise _hostile(f"member {one.name[:200]!r} {reason}")
        if path in members:
            raise _hostile(f"member {path!r} is there twice")
        if one.isreg():
            members[path] = one
    careful.is_listing = False
    # A damaged header ends the listing without a word; an honest end is a block of zeros.
    copy.seek(archive.offset)
    if num_members == 0 or copy.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
        raise Unreadable("not-whole", f"not a whole tar: it ends after {num_members} members")
    return (
        File(name=f"{name}/{path}", stream=_tar_stream(archive, members[path]))
        for path in _wanted(members, patterns)
    )


def _listed(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    try:
        yield from archive
    except Unreadable:
        raise
    except ValueError as error:  # a field of a header that is no number
        raise Unreadable("not-whole", f"not a whole tar: {error}") from None


def _tar_stream(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    stream = archive.extractfile(member)
    assert stream is not None, "it is a plain file"
    return stream


class _Careful:
    """A file that, while it is listed, refuses to be read in one piece that fills the memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell
        self.is_listing = True

    def read(self, size: int = -1) -> bytes:
        if self.is_listing and not 0 <= size <= _LONGEST_READ:
            raise _hostile(f"a header of it asks for {size} bytes")
        return self._file.read(size)


def _wanted(members: dict[str, Any], patterns: Sequence[str]) -> list[str]:
    """Which are meant, by name."""
    if not patterns:
        return sorted(
            path for path in members if not f"/{path}".count("/.") and "__MACOSX" not in path
        )
    expressions = [glob_expression(pattern) for pattern in patterns]
    return sorted(path for path in members if any(e.fullmatch(path) for e in expressions))


def _unpacked(lower: str, stream: IO[bytes], size: int, folder: Path | None) -> IO[bytes]:
    """What is packed in a stream of `size` bytes, or the stream itself."""
    limit = min(MAX_BYTES, max(SMALL_IN_ALL, MAX_RATIO * size))
    for suffix, opened in _PACKED.items():
        if lower.endswith(suffix):
            with opened(stream, "rb") as source:
                return _copied(source, limit, folder)
    return _copied(stream, MAX_BYTES, folder)


def _copied(source: IO[bytes], limit: int, folder: Path | None) -> IO[bytes]:
    """A copy of a stream that can be read in any order; gone when it is closed. Without a folder
    it is in memory.

    Raises:
        Unreadable: it has more than `limit` bytes.
    """
    with ExitStack() as stack:
        copy = cast("IO[bytes]", io.BytesIO())
        if folder:
            copy = stack.enter_context(tempfile.TemporaryFile(dir=folder))
        while chunk := source.read(_AT_ONCE):
            if copy.tell() + len(chunk) > limit:
                raise _hostile(f"it unpacks to more than {limit} bytes")
            copy.write(chunk)
        copy.seek(0)
        stack.pop_all()  # whole: the caller closes it
    return copy


def _size(file: IO[bytes]) -> int:
    at = file.tell()
    size = file.seek(0, 2)
    file.seek(at)
    return size


def _hostile(what: str) -> Unreadable:
    return Unreadable("hostile", f"it is refused: {what}")
