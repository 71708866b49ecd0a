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
    columns: Mapping[str, Sequence[Any]]
    """The values by the names of the fields; None where a record has not the field."""
    data: Sequence[bytes]
    records: Sequence[Mapping[str, Any]] | None = None
    """The fields of each; without them each has all columns."""
    is_verbatim: bool = False
    """Whether all values are strings that stand in JSON as they are."""

    @property
    def fields(self) -> Sequence[Mapping[str, Any]]:
        """The fields of each record."""
        if self.records is not None:
            return self.records
        rows = zip(*self.columns.values(), strict=True)
        return [dict(zip(self.columns, values, strict=True)) for values in rows]

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

    Where something unusual was seen the next looks reach less far, so that a file that is full of
    it is not looked at again and again.
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

    def take(self, num_bytes: int, *, before_odd: bool) -> None:
        """Go on behind the first `num_bytes` that were looked at; whether something unusual is
        next."""
        self._buffer.read(num_bytes)
        if before_odd:
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
