"""Cut messages out of a mailbox: of each the line before it goes, too, since it names a sender."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator

from tunesmith.stages.ingest.documents.mail import lines_of
from tunesmith.stages.ingest.entry import ERASED

_HOLE = f"From -\n{ERASED}\n\n".encode()


def cut_mbox(name: str, data: bytes, gone: Collection[str]) -> bytes:
    """`data` without the messages at the pointers `gone`."""
    return b"".join(
        _HOLE if pointer in gone else message for pointer, message in _messages(name, data)
    )


def said_in_mbox(name: str, data: bytes) -> dict[str, bytes]:
    """The messages by pointer, as they stand."""
    return dict(_messages(name, data))


def _messages(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """(pointer, message with the line before it); what stands before the first has the number 0."""
    number, lines = 0, list[bytes]()
    for begins, line in lines_of(io.BytesIO(data)):
        if begins:
            yield f"{name}#{number}", b"".join(lines)
            number, lines = number + 1, []
        lines.append(line)
    yield f"{name}#{number}", b"".join(lines)
