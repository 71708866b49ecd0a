"""States of rows in files, made once for all runs that would make the same ones.

A file has those of rows that follow one another, and is named by all that its bits depend on. They
are computed in the rows' own order, in micro-batches that are cut from the file's first row on, so
that whoever makes it makes the same bits, and whether it was there already shows in no result. It
is put in place whole, with its digest at the end, and looked at before it is used.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import mmap
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch

from tunesmith.core.canonical import fingerprint
from tunesmith.core.failpoint import failpoint
from tunesmith.core.step import Context
from tunesmith.lm.example import Example, MicroBatch, pack
from tunesmith.records.model import BaseModel
from tunesmith.stages.finetune.batches import MICRO_TOKENS

PART_BYTES = 32 * 2**20
"""Of one file, unless a single row has more: the most work that a power cut can cost while it is
written, half a minute of it or so."""
MOST_BYTES = 16 * 2**30
"""On the disk, of all states in one cache. Those that were used longest ago go first; a run whose
own are more keeps none. In files of `PART_BYTES` it is fewer than a process may have open."""
PREFIX = "states-"
DIGEST_BYTES = 32
CHUNK = 2**20
Compute = Callable[[MicroBatch], torch.Tensor]
"""A micro-batch to states, (num_tokens, width)."""


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """Where states lie, and what they are of but for the rows."""

    folder: Path
    workdir: Path
    """A private folder on the same disk, for what is half-written."""
    made_of: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Rows that follow one another and whose states lie in one file."""

    path: Path
    rows: range
    """Their places."""
    num_tokens: int


def shelf_of(ctx: Context, base: BaseModel) -> Shelf:
    """In the cache that runs share, or, where nothing is shared, for this run alone."""
    folder = ctx.cache or ctx.workdir
    folder.mkdir(exist_ok=True, mode=0o700)
    made_of = {
        "base": base.weights.sha256,
        "code": ctx.identity.get("code", ""),
        "environment": ctx.identity.get("environment", {}),
    }
    return Shelf(folder=folder, workdir=ctx.workdir, made_of=made_of)


class States:
    """The states of `rows`, some or all of which are there already; read by row."""

    def __init__(
        self,
        shelf: Shelf,
        made_of: Mapping[str, Any],
        rows: Sequence[Example],
        width: int,
        dtype: torch.dtype,
    ) -> None:
        """`made_of` says of which states these are, beside what the shelf says; `width` is how many
        numbers a token has. Files that are not whole count as not there."""
        self._shelf, self._rows, self._width, self._dtype = shelf, rows, width, dtype
        self._made_of = {**shelf.made_of, **made_of, "dtype": str(dtype)}
        self._sizes: list[int] = []
        row_ids, contents = [], []
        for row in rows:
            row_ids.append(row.row_id)
            self._sizes.append(row.num_tokens)
            contents.append(_content(row))
        most = PART_BYTES // self._token_bytes
        self._parts = [
            self._part(places, contents[places.start : places.stop])
            for places in _cut(self._sizes, range(len(rows)), most)
        ]
        self._where: dict[str, tuple[int, int]] = {}
        for number, part in enumerate(self._parts):
            start = 0
            for place in part.rows:
                self._where[row_ids[place]] = number, start
                start += self._sizes[place]
        self._maps: dict[int, mmap.mmap] = {}
        for number, part in enumerate(self._parts if self.fit else ()):
            if (found := _opened(part.path, self._num_bytes(part))) is not None:
                with found:
                    self._maps[number] = _mapped(found)
                with contextlib.suppress(FileNotFoundError):  # another run has made room
                    os.utime(part.path)  # it is of use still

    @property
    def _token_bytes(self) -> int:
        return self._width * self._dtype.itemsize

    @property
    def num_bytes(self) -> int:
        """On the disk, once all are there."""
        return sum(map(self._num_bytes, self._parts))

    @property
    def fit(self) -> bool:
        """Whether they are few enough to be kept."""
        return self.num_bytes <= MOST_BYTES

    @property
    def complete(self) -> bool:
        """Whether all are there."""
        return len(self._maps) == len(self._parts)

    def missing(self) -> list[range]:
        """The places of the rows of each micro-batch that is to be computed yet."""
        return [
            places
            for number, part in enumerate(self._parts)
            if number not in self._maps
            for places in _cut(self._sizes, part.rows, MICRO_TOKENS)
        ]

    def micro(self, places: range) -> MicroBatch:
        """Those rows end to end."""
        return pack([self._rows[place] for place in places])

    def num_tokens(self, places: range) -> int:
        """Of those rows."""
        return sum(self._sizes[place] for place in places)

    def fill(self, compute: Compute, done: Callable[[int], None]) -> None:
        """Compute what is missing; `done(num_tokens)` is called after each micro-batch.

        Whatever `done` raises, the files that are whole are there the next time.

        Raises:
            OSError: there is no space for it.
        """
        if self.complete:
            return
        self._make_room()
        for number in range(len(self._parts)):
            if number not in self._maps:
                self._write(number, compute, done)

    def read(self, row_ids: Sequence[str], sizes: Sequence[int]) -> torch.Tensor:
        """The states of these rows, of so many tokens each, one after the other.

        Raises:
            KeyError: they have not been computed.
        """
        states = torch.empty(sum(sizes), self._width, dtype=self._dtype)
        left = memoryview(_bytes_of(states)).cast("B")
        for row_id, size in zip(row_ids, sizes, strict=True):
            number, start = self._where[row_id]
            begin, num_bytes = start * self._token_bytes, size * self._token_bytes
            left[:num_bytes] = memoryview(self._maps[number])[begin : begin + num_bytes]
            left = left[num_bytes:]
        for number in {self._where[row_id][0] for row_id in row_ids}:
            # Else what was looked at would count as this process's memory.
            self._maps[number].madvise(mmap.MADV_DONTNEED)
        return states

    def _part(self, places: range, contents: Sequence[str]) -> Part:
        name = fingerprint({**self._made_of, "rows": contents})[:32]
        path = self._shelf.folder / f"{PREFIX}{name}"
        return Part(path=path, rows=places, num_tokens=self.num_tokens(places))

    def _num_bytes(self, part: Part) -> int:
        return part.num_tokens * self._token_bytes

    def _write(self, number: int, compute: Compute, done: Callable[[int], None]) -> None:
        part = self._parts[number]
        half = self._shelf.workdir / f"{part.path.name}.half"
        try:
            with half.open("w+b") as file:
                digest = hashlib.sha256()
                for places in _cut(self._sizes, part.rows, MICRO_TOKENS):
                    micro = self.micro(places)
                    data = _bytes_of(compute(micro))
                    file.write(data)
                    digest.update(data)
                    failpoint("states.writing")
                    done(micro.num_tokens)
                file.write(digest.digest())
                file.flush()
                half.rename(part.path)
                failpoint("states.kept")
                self._maps[number] = _mapped(file)
        finally:
            half.unlink(missing_ok=True)

    def _make_room(self) -> None:
        """Let go of others' states, those that were used longest ago first, as far as these would
        be too many with them, or the disk too full.

        Raises:
            OSError: the disk is too full without them, too.
        """
        missing = sum(
            self._num_bytes(part) + DIGEST_BYTES
            for number, part in enumerate(self._parts)
            if number not in self._maps
        )
        own = {part.path for part in self._parts}
        others = []
        for path in self._shelf.folder.glob(f"{PREFIX}*"):
            with contextlib.suppress(FileNotFoundError):  # another process lets go of it, too
                if path not in own:
                    found = path.stat()
                    others.append((found.st_mtime, path, found.st_size))
        total = self.num_bytes + sum(size for _, _, size in others)
        for _, path, size in sorted(others):
            if total <= MOST_BYTES and self._free() >= missing:
                return
            path.unlink(missing_ok=True)
            total -= size
        if self._free() < missing:  # said now and not when most of it has been computed
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._shelf.folder))

    def _free(self) -> int:
        return shutil.disk_usage(self._shelf.folder).free


def _content(row: Example) -> str:
    """Digest of what of a row its states depend on."""
    content = row.prompt, [(answer.ids, answer.types) for answer in row.answers]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _mapped(file: IO[bytes]) -> mmap.mmap:
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _bytes_of(states: torch.Tensor) -> Any:
    """The memory of a tensor."""
    return states.contiguous().view(torch.uint8).numpy()


def _cut(sizes: Sequence[int], places: range, most: int) -> Iterator[range]:
    """`places` in their order, in ranges of at most `most` tokens (or of one longer row).

    >>> list(_cut([3, 3, 9, 1, 1], range(5), 6))
    [range(0, 2), range(2, 3), range(3, 5)]
    """
    first, num_tokens = places.start, 0
    for place in places:
        if place > first and num_tokens + sizes[place] > most:
            yield range(first, place)
            first, num_tokens = place, 0
        num_tokens += sizes[place]
    if first < places.stop:
        yield range(first, places.stop)


def _opened(path: Path, num_bytes: int) -> IO[bytes] | None:
    """The file at `path`, if there is one with so many bytes and then their digest."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    digest, left = hashlib.sha256(), num_bytes
    while left and (chunk := file.read(min(CHUNK, left))):
        digest.update(chunk)
        left -= len(chunk)
    if left == 0 and file.read() == digest.digest():
        return file
    file.close()
    return None
