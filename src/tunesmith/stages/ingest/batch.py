"""Many plain records at once: a faster way to say the same entries.

A reader may give records that stand one behind the other in a file as one `Batch`, if none of them
is unusual. What is unusual it gives by itself, so that a batch ends before it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple

from tunesmith.stages.ingest.entry import Entry, Quarantined

BUFFER_BYTES = 1 << 20
BLOCK_BYTES = 1 << 15
"""Looked at together: what is made of so many stays in the processor's cache."""
_LEAST_BYTES = 1 << 9


class Batch(NamedTuple):
    """Records of one file; each value is a string, a number, a boolean or None."""

    pointers: Sequence[str]
    fields: Sequence[Mapping[str, Any]]
    columns: Mapping[str, Sequence[Any]]
    """The same by the names of the fields; None where a record has not the field."""
    data: Sequence[bytes]

    def entries(self) -> Iterator[Entry]:
        """The same one by one."""
        for pointer, fields, data in zip(self.pointers, self.fields, self.data, strict=True):
            yield Entry(pointer=pointer, fields=fields, text=None, data=data)


def one_by_one(found: Iterable[Entry | Quarantined | Batch]) -> Iterator[Entry | Quarantined]:
    """The records of a file each by itself."""
    for each in found:
        if isinstance(each, Batch):
            yield from each.entries()
        else:
            yield each


class Blocks:
    """A file of lines, of which many can be looked at before they are taken.

    Where a look was in vain in part the next ones reach less far, so that a file that is full of
    what is unusual is not looked at again and again.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._buffer = io.BufferedReader(_Lent(stream), BUFFER_BYTES)
        self.stream: IO[bytes] = self._buffer
        """To read on from where the lines that were taken end."""
        self._reach = BLOCK_BYTES

    def look(self) -> bytes:
        """Whole lines that come next, as many as are at hand; it may be none."""
        block = self._buffer.peek()[: self._reach]
        self._reach = min(2 * self._reach, BLOCK_BYTES)
        return block[: block.rfind(b"\n") + 1]

    def take(self, num_bytes: int, num_seen: int) -> None:
        """Go on behind the first `num_bytes` of the `num_seen` that were looked at."""
        self._buffer.read(num_bytes)
        if num_bytes < num_seen:
            self._reach = max(num_bytes, _LEAST_BYTES)


class _Lent(io.RawIOBase):
    """A stream that somebody else will close."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as there is something to read; how many bytes that were."""
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
