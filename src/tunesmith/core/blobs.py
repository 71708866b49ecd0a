"""The content-addressed store: bytes go in, a digest comes out, and that digest is the only key.

No name, path or address that a client sends ever reaches the disk. A blob is written to a
temporary file in the store, flushed, renamed to its digest, and the folder is flushed, so a crash
at any point leaves either the whole blob or an unreferenced temporary file.

What nothing needs is set aside before it is removed (`core/quarantine.py`): whoever asks for it
meanwhile, gets it, and it is back.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from tunesmith.core.errors import BlobCorrupt, BlobMissing, StoreFull
from tunesmith.core.failpoint import failpoint
from tunesmith.core.hashing import HashedBeside, sha256_of_file
from tunesmith.core.owner import is_gone, owner
from tunesmith.core.project_folder import NO_SPACE
from tunesmith.core.ref import Blob

CHUNK = 1 << 20


@contextlib.contextmanager
def room_for(what: str) -> Iterator[None]:
    """Say it plainly where there is no space for `what`, which the block writes.

    Raises:
        StoreFull: there is none.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise StoreFull(
                f"no space left for {what}",
                remedy="free some space and run it again; nothing was half-written",
            ) from error
        raise


class Blobs(Protocol):
    """Six methods: what object storage can do too."""

    def put(self, data: bytes | Path, media_type: str = ...) -> Blob:
        """Store bytes, or the bytes of a file, and return their address."""
        ...

    def get(self, blob: Blob) -> bytes:
        """The bytes of `blob`, checked against its digest."""
        ...

    def path(self, blob: Blob) -> Path:
        """A local file that holds the bytes of `blob`, not to be written to."""
        ...

    def check(self, blob: Blob, *, deep: bool = False) -> None:
        """Raise unless `blob` is there, whole; `deep` re-computes its digest."""
        ...

    def digests(self) -> Iterator[str]:
        """Every digest in the store, also of what is set aside."""
        ...

    def remove(self, digest: str) -> None:
        """Remove a blob for good; one that is not there is no error."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class BlobFile:
    """A blob as the file that it is."""

    sha256: str
    num_bytes: int
    put_at: float
    """When it was put, or put again; seconds since 1970 by this machine's clock."""


class FolderBlobs:
    """Blobs in a local folder: `blobs/ab/cdef...`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / "incoming"
        self.quarantine = root / "quarantine"
        """Where blobs are set aside, a folder for each time."""
        self._incoming.mkdir(parents=True, exist_ok=True)

    def put(self, data: bytes | Path, media_type: str = "application/octet-stream") -> Blob:
        """Store bytes, or the bytes of a file, and return their address.

        Raises:
            StoreFull: no space; nothing is left behind.
        """
        temporary = None
        try:
            with room_for(f"a blob in {self._root}"):
                handle, name = tempfile.mkstemp(dir=self._incoming, prefix=f"{owner()}.")
                temporary = Path(name)
                with os.fdopen(handle, "wb") as target:
                    digest, num_bytes = _copy(data, target)
                    target.flush()
                    os.fsync(target.fileno())
                failpoint("blob.written")
                with self._publishing():
                    self._publish(temporary, digest)
        finally:
            if temporary is not None:
                temporary.unlink(missing_ok=True)
        return Blob(sha256=digest, num_bytes=num_bytes, media_type=media_type)

    def get(self, blob: Blob) -> bytes:
        """The bytes of `blob`, checked against its digest."""
        try:
            data = self.path(blob).read_bytes()
        except FileNotFoundError:  # it was set aside in between
            data = self.path(blob).read_bytes()
        found = hashlib.sha256(data).hexdigest()
        if found != blob.sha256:
            raise self._corrupt(blob, found)
        return data

    def path(self, blob: Blob) -> Path:
        """A local file that holds the bytes of `blob`, not to be written to."""
        path = self._path(blob.sha256)
        if not path.is_file() and not self.bring_back(blob.sha256):
            raise BlobMissing(
                f"blob {blob.sha256[:12]} is not in {self._root}",
                remedy="`tunesmith run` makes it again; `tunesmith verify` lists what is missing",
            )
        return path

    def check(self, blob: Blob, *, deep: bool = False) -> None:
        """Raise unless `blob` is there, whole; `deep` re-computes its digest."""
        path = self.path(blob)
        size = path.stat().st_size
        if size != blob.num_bytes:
            raise self._corrupt(blob, f"{size} bytes")
        if deep:
            found = sha256_of_file(path)
            if found != blob.sha256:
                raise self._corrupt(blob, found)

    def digests(self) -> Iterator[str]:
        """Every digest in the store, also of what is set aside."""
        yield from sorted({each.sha256 for each in (*self.files(), *self.set_aside())})

    def remove(self, digest: str) -> None:
        """Remove a blob for good; one that is not there is no error."""
        for path in [self._path(digest), *self._copies_aside(digest)]:
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                sync(path.parent)

    # Setting aside. The lock is the operating system's, so it ends with the process that holds it.

    def files(self) -> Iterator[BlobFile]:
        """Every blob that is not set aside."""
        yield from _files(self._root.glob("??"))

    def set_aside(self, batch: str = "*") -> Iterator[BlobFile]:
        """What is set aside, in one batch or in all."""
        yield from _files(self.quarantine.glob(f"{batch}/??"))

    def move_aside(self, digest: str, batch: str, put_before: float) -> bool:
        """Set a blob aside, unless it was put, or put again, since."""
        source = self._path(digest)
        target = self.quarantine / batch / digest[:2] / digest[2:]
        with self._publishing(alone=True):
            try:
                if source.stat().st_mtime >= put_before:
                    return False
                target.parent.mkdir(parents=True, exist_ok=True)
                source.rename(target)
            except FileNotFoundError:
                return False
        return True

    def bring_back(self, digest: str) -> bool:
        """Put a blob that was set aside back in its place; False when it is not set aside."""
        for source in self._copies_aside(digest):
            target = self._path(digest)
            with contextlib.suppress(FileNotFoundError):  # another process brought it back
                target.parent.mkdir(exist_ok=True)
                os.utime(source)
                source.rename(target)
                sync(target.parent)
        return self._path(digest).is_file()

    def _copies_aside(self, digest: str) -> list[Path]:
        name = self._path(digest)
        return list(self.quarantine.glob(f"*/{name.parent.name}/{name.name}"))

    @contextlib.contextmanager
    def _publishing(self, *, alone: bool = False) -> Iterator[None]:
        """Between the look whether a blob is there and the relying on it, none is set aside."""
        with (self._root / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            yield

    def sweep(self) -> None:
        """Remove the temporary files of processes that have ended."""
        for path in self._incoming.iterdir():
            if is_gone(path.name.rpartition(".")[0]):
                path.unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise BlobMissing(f"{digest[:80]!r} is not a SHA-256 digest")
        return self._root / digest[:2] / digest[2:]

    def _publish(self, temporary: Path, digest: str) -> None:
        target = self._path(digest)
        if target.exists():
            is_whole = sha256_of_file(target) == digest
            # It is put now, for whoever looks for what is old; only its owner may say so.
            with contextlib.suppress(PermissionError):
                if is_whole:
                    os.utime(target)
                    sync(target.parent)  # whoever renamed it may not have come so far
                    return
            # A damaged copy stands there: the good one takes its place.
        with contextlib.suppress(FileExistsError):
            target.parent.mkdir()
            sync(self._root)
        temporary.chmod(0o444)
        temporary.replace(target)
        failpoint("blob.renamed")
        sync(target.parent)

    def _corrupt(self, blob: Blob, found: str) -> BlobCorrupt:
        return BlobCorrupt(
            f"blob {blob.sha256[:12]} in {self._root} is damaged (found {found[:12]})",
            remedy="`tunesmith run` makes it again from its inputs",
        )


def _files(folders: Iterable[Path]) -> Iterator[BlobFile]:
    for folder in sorted(folders):
        with os.scandir(folder) as found:
            for entry in found:
                with contextlib.suppress(FileNotFoundError):  # gone, or moved, meanwhile
                    about = entry.stat()
                    yield BlobFile(
                        sha256=folder.name + entry.name,
                        num_bytes=about.st_size,
                        put_at=about.st_mtime,
                    )


def _copy(data: bytes | Path, target: IO[bytes]) -> tuple[str, int]:
    num_bytes = 0
    with HashedBeside() as digest:
        for chunk in _chunks(data):
            digest.update(chunk)
            num_bytes += len(chunk)
            target.write(chunk)
        return digest.hexdigest(), num_bytes


def _chunks(data: bytes | Path) -> Iterator[bytes]:
    if isinstance(data, Path):
        with data.open("rb") as source:
            while chunk := source.read(CHUNK):
                yield chunk
    else:
        yield data


def sync(path: Path) -> None:
    """Return when a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
