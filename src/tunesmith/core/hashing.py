"""SHA-256 of files, and of what is written meanwhile."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

_LEAST_BYTES = 1 << 18
"""Of a piece that is worth a thread."""
_READ_AT_ONCE = 1 << 20


def sha256_of_file(path: Path) -> str:
    """The hexadecimal SHA-256 of a file's bytes.

    `hashlib.file_digest` clears a buffer of 256 KiB for each file, which takes longer than to read
    a small one; so a small one is read at once.
    """
    with path.open("rb", buffering=0) as source:
        if os.fstat(source.fileno()).st_size < _READ_AT_ONCE:
            return hashlib.sha256(source.readall()).hexdigest()
        return hashlib.file_digest(source, "sha256").hexdigest()


class HashedBeside:
    """The digest of pieces that their caller writes: large ones are hashed by a thread meanwhile.

    Both go on beside Python's lock, and hashing takes as long as the page cache does.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._thread: ThreadPoolExecutor | None = None
        self._last: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def update(self, piece: bytes) -> None:
        """Add a piece. No more than this one and the one before are held."""
        self._wait()
        if len(piece) < _LEAST_BYTES:
            self._digest.update(piece)
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="sha256")
        self._last = self._thread.submit(self._digest.update, piece)

    def hexdigest(self) -> str:
        """Of all pieces so far."""
        self._wait()
        return self._digest.hexdigest()

    def _wait(self) -> None:
        if self._last is not None:
            self._last.result()
            self._last = None

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._thread is not None:
            self._thread.shutdown()
