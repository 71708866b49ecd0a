"""Digests of files that lie as they lay when they were last read, and need not be read again.

Every command that opens a project asks whether its files have changed; to read twenty thousand of
them takes seconds, to look at them does not. A file is known again by its size, its inode and the
times of its last changes, to the nanosecond: an edit that keeps the size and puts the one time back
cannot put back the other (ctime). A time that lies less than `SETTLED_NS` before the look is not
trusted, as another edit in the same tick of the file system's clock would leave no trace (git calls
such a file racy), nor would one by a program that has the file mapped into its memory, until the
system has written the page out; nor is one ahead of the clock, which may have been set back. Such a
file is read.

What is kept here decides whether a file is loaded anew, never what of it is loaded: whoever loads
it computes its digest from the bytes that they take.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

KEPT = "files.json"
"""Name of the file that digests are kept in, in the folder that all steps share."""
SETTLED_NS = 60_000_000_000
"""Longer than a tick of any file system's clock (FAT's takes two seconds), and than Linux keeps a
page that was written to before it writes it out (thirty, and five more until it looks)."""

_Known = dict[str, list[int | str]]
"""By name: how the file lay, and its digest."""


@dataclass(kw_only=True)
class FileDigests:
    """The digests of a project's files by their names, kept from one look at them to the next."""

    kept: Path | None = None
    """The file that they are kept in. What is missing, damaged or cannot be read counts as empty;
    None where they are not kept."""
    now_ns: int = field(default_factory=time.time_ns)
    """Nanoseconds since 1970, before the first of the files is looked at."""
    _before: _Known = field(init=False)
    _seen: _Known = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._before = _read(self.kept) if self.kept else {}

    def find(self, name: str, lies: os.stat_result) -> str | None:
        """The SHA-256 of a file; None where it has to be read."""
        known = self._before.get(name)
        if known is None or known[:-1] != _as_it_lies(lies) or not self._is_settled(lies):
            return None
        self._seen[name] = known
        return str(known[-1])

    def put(self, name: str, lay: os.stat_result, lies: os.stat_result, sha256: str) -> None:
        """Keep the digest of a file that was read, if it lay so before and lies so since."""
        if _as_it_lies(lay) == _as_it_lies(lies) and self._is_settled(lies):
            self._seen[name] = [*_as_it_lies(lies), sha256]

    def save(self) -> None:
        """Keep what was found or put, in place of what was kept before. Of several processes the
        last one counts; where it cannot be written, the files are read again next time."""
        if self.kept is None or self._seen == self._before:
            return
        body = json.dumps(self._seen, separators=(",", ":")).encode()
        temporary = self.kept.with_name(f"{self.kept.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self.kept.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(_digest_line(body) + body)
            temporary.replace(self.kept)

    def _is_settled(self, lies: os.stat_result) -> bool:
        return max(lies.st_mtime_ns, lies.st_ctime_ns) < self.now_ns - SETTLED_NS


def _as_it_lies(lies: os.stat_result) -> list[int | str]:
    return [lies.st_size, lies.st_mtime_ns, lies.st_ctime_ns, lies.st_ino]


def _read(path: Path) -> _Known:
    try:
        data = path.read_bytes()
    except OSError:
        return {}
    body = data[data.find(b"\n") + 1 :]
    if data[: -len(body)] != _digest_line(body):
        return {}
    known: _Known = json.loads(body)
    return known


def _digest_line(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode() + b"\n"
