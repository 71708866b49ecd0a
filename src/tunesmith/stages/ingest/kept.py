"""What another system answered when a project was opened, kept beside the blobs for the step.

Lines of JSON, then a line that says what they are, then where that begins. So they are written as
they come, and a file of a process that was killed is seen to be none. Who reads one checks it. It
is gone when the project is closed. The objects of a bucket are no lines: `objects` fills a file of
its own form, at the same place, that `opened` makes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tunesmith.core.blobs import room_for
from tunesmith.core.canonical import fingerprint
from tunesmith.core.errors import TunesmithError
from tunesmith.core.execute import rebuilt
from tunesmith.core.section import Section

_END = 17
"""Bytes of the end: where the line before it begins, in hexadecimal digits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """What was kept, and is whole."""

    path: Path
    num_bytes: int
    """Of the lines."""
    num_erased: int
    """Lines that were answered and not kept, since they are to be forgotten."""
    memory: Any
    """What the asker wants to know again; see `keep`."""

    def lines(self) -> Iterator[bytes]:
        """The lines."""
        left = self.num_bytes
        with self.path.open("rb") as source:
            while left > 0:
                line = source.readline()
                left -= len(line)
                yield line


def place_of(cache: Path, config: Section) -> Path:
    """Where what was answered to `config` is kept."""
    return cache / f"answers-{fingerprint(config.model_dump(exclude={'sha256'}))[:32]}"


def keep(
    path: Path,
    judged: Iterable[tuple[bytes, bool]],
    without: Collection[str] = (),
    *,
    known_as: str = "",
    memory: Any = None,
) -> str:
    """Write those of the lines that are to be kept, read without the digests `without`, and a
    `memory` that is JSON.

    Returns:
        What they are `known_as`; if nothing is given, the SHA-256 of all lines.
    """
    answered, written = hashlib.sha256(), hashlib.sha256()
    num_erased = 0
    with opened(path) as sink:
        for line, is_kept in judged:
            answered.update(line)
            if is_kept:
                written.update(line)
                sink.write(line)
            else:
                num_erased += 1
        sha256 = known_as or answered.hexdigest()
        said = {"num_erased": num_erased, "without": sorted(without), "kept": written.hexdigest()}
        _end(sink, {"sha256": sha256, **said, "memory": memory})
    return sha256


def keep_error(path: Path, error: TunesmithError) -> None:
    """Write why nothing was answered: the step says it."""
    with opened(path) as sink:
        said = [type(error).__name__, error.message, error.remedy]
        _end(sink, {"sha256": "", "kept": hashlib.sha256().hexdigest(), "said": said})


def kept(path: Path, sha256: str, without: Collection[str]) -> Kept | None:
    """What was kept, if it is whole, has that SHA-256, and lacks nobody but those of `without`.

    Raises:
        TunesmithError: nothing was answered; says why.
    """
    try:
        with path.open("rb") as source:
            at = _start(source)
            source.seek(at)
            head = json.loads(source.read()[:-_END])
            found = _digest(source, at)
    except (OSError, ValueError):
        return None
    if found != head["kept"] or head["sha256"] != sha256:
        return None
    if "said" in head:
        name, *said = head["said"]
        raise rebuilt(name, *said)
    if not set(head["without"]) <= set(without):
        return None
    return Kept(path=path, num_bytes=at, num_erased=head["num_erased"], memory=head["memory"])


def _start(source: IO[bytes]) -> int:
    source.seek(-_END, os.SEEK_END)
    return int(source.read(), 16)


def _digest(source: IO[bytes], num_bytes: int) -> str:
    digest = hashlib.sha256()
    source.seek(0)
    while num_bytes > 0 and (part := source.read(min(num_bytes, 1 << 20))):
        digest.update(part)
        num_bytes -= len(part)
    return digest.hexdigest()


def _end(sink: IO[bytes], head: Mapping[str, Any]) -> None:
    at = sink.tell()
    sink.write(json.dumps(head).encode() + b"\n" + f"{at:016x}\n".encode())


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A new file for what is kept, that nobody else may read."""
    with room_for(f"what was answered, in {path.parent}"):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.unlink(missing_ok=True)  # of a process that was killed
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "wb") as sink:
            yield sink
