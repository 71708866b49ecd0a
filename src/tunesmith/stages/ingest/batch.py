"""Many plain records at once: a faster way to say the same entries.

A reader may give records that stand one behind the other in a file as one `Batch`, if none of them
is unusual. What is unusual it gives by itself, so that a batch ends before it.
"""

from __future__ import annotations

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
    """The fields of each; without them each has all columns, and they hold strings alone."""
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
    it is not looked at again and again. Nothing is read ahead of a line that is at hand: of a
    damaged file each line comes that comes without looks.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._buffer, self._at = b"", 0
        self._reach = BLOCK_BYTES

    def look(self) -> bytes:
        """Whole lines that come next, as many as fit a block, or one; it may be none."""
        reach, self._reach = self._reach, min(2 * self._reach, BLOCK_BYTES)
        return self._lines(reach) or (self._lines(reach) if self._fill() else b"")

    def look_further(self, seen: bytes) -> bytes:
        """What was `seen`, and more, if a record may go on; the same where there is no more."""
        if len(seen) >= BUFFER_BYTES:
            return seen
        more = self._lines(4 * len(seen))
        if len(more) == len(seen) and self._fill():
            more = self._lines(4 * len(seen))
        return more

    def take(self, num_bytes: int, *, before_odd: bool) -> None:
        """Go on behind the first `num_bytes` that were looked at; whether something unusual is
        next."""
        self._at += num_bytes
        if before_odd:
            self._reach = max(num_bytes, _LEAST_BYTES)

    def readline(self, limit: int, /) -> bytes:
        """The next line; of one that is longer, no more than `limit` bytes."""
        line = b""
        while not line.endswith(b"\n") and len(line) < limit:
            if self._at == len(self._buffer) and not self._fill():
                break
            past = self._at + limit - len(line)
            end = self._buffer.find(b"\n", self._at, past) + 1 or min(past, len(self._buffer))
            line += self._buffer[self._at : end]
            self._at = end
        return line

    def _lines(self, reach: int) -> bytes:
        """Lines at hand within the next `reach` bytes; if that is none, the one that is longer."""
        past = self._at + reach
        end = self._buffer.rfind(b"\n", self._at, past) + 1 or self._buffer.find(b"\n", past) + 1
        return self._buffer[self._at : end] if end else b""

    def _fill(self) -> bool:
        """Have more at hand; whether there was more."""
        more = self._stream.read(BUFFER_BYTES)
        self._buffer, self._at = self._buffer[self._at :] + more, 0
        return bool(more)
