"""Blobs that are used as they were when they were opened: what is checked is what is read."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunesmith.core.blobs import CHUNK, Blobs, room_for
from tunesmith.core.errors import BlobCorrupt
from tunesmith.core.ref import Blob


@contextmanager
def checked_copies(blobs: Blobs) -> Iterator[Blobs]:
    """`blobs`, of which every path is a private copy that was checked while it was made.

    Between a check of a file and its use somebody else who may write to the store can put another
    in its place; of these copies, in a folder of this user's alone, there is none to replace. They
    are gone at the end: what was opened before may be read on.
    """
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
        yield _Copies(blobs, Path(folder))


class _Copies:
    """See `checked_copies`."""

    def __init__(self, blobs: Blobs, folder: Path) -> None:
        self._blobs = blobs
        self._folder = folder

    def path(self, blob: Blob) -> Path:
        """A copy of the bytes of `blob`, which are those that its digest promises."""
        target = self._folder / blob.sha256
        if not target.exists():
            part = target.with_suffix(".part")
            copy_checked(self._blobs, blob, part)
            part.replace(target)
        return target

    def get(self, blob: Blob) -> bytes:
        """The bytes of `blob`, checked against its digest."""
        return self._blobs.get(blob)

    def put(self, data: bytes | Path, media_type: str = "application/octet-stream") -> Blob:
        """Store bytes, or the bytes of a file, and return their address."""
        return self._blobs.put(data, media_type)

    def check(self, blob: Blob, *, deep: bool = False) -> None:
        """Raise unless `blob` is there, whole; `deep` re-computes its digest."""
        self._blobs.check(blob, deep=deep)

    def digests(self) -> Iterator[str]:
        """Every digest in the store."""
        return self._blobs.digests()

    def remove(self, digest: str) -> None:
        """Remove a blob for good; one that is not there is no error."""
        self._blobs.remove(digest)


def copy_checked(blobs: Blobs, blob: Blob, target: Path) -> None:
    """Copy the bytes of `blob` to `target`, a new file; nothing is left there if they are not those
    that its digest promises.

    Raises:
        BlobCorrupt: they are not.
        BlobMissing: there is no such blob.
        StoreFull: no space.
    """
    digest = hashlib.sha256()
    with room_for(f"a copy of blob {blob.sha256[:12]}"), blobs.path(blob).open("rb") as source:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with open(handle, "wb") as out:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                out.write(chunk)
    if digest.hexdigest() != blob.sha256:
        target.unlink()
        raise BlobCorrupt(
            f"blob {blob.sha256[:12]} is damaged (found {digest.hexdigest()[:12]})",
            remedy="`tunesmith verify` lists what is; `tunesmith run` makes it again",
        )
