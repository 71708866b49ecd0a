"""EML and MBOX: messages. The text is the plain body, or what is seen of the HTML one; subject,
people and date are fields, attachments are listed and not read; a message that was forwarded whole
is one.

Headers are decoded one by one, as far as they can be: senders write what they like into them.
"""

from __future__ import annotations

import email
import email.errors
import email.header
import email.policy
import email.utils
from collections.abc import Iterator
from email.message import Message
from typing import IO, Any

from tunesmith.stages.ingest.documents.canonical import Part, Writer, document
from tunesmith.stages.ingest.documents.encoding import decoded
from tunesmith.stages.ingest.documents.html import write_html
from tunesmith.stages.ingest.entry import (
    ERASED,
    MAX_FILE_BYTES,
    MAX_ROW_BYTES,
    Entry,
    Quarantined,
    Unreadable,
    quarantined,
    too_large,
)

MAX_PARTS = 1000
_AS_IT_STANDS = email.policy.compat32.clone(max_line_length=None)
"""No header is folded anew."""
_HEADERS = {
    "subject": "Subject", "from": "From", "to": "To", "cc": "Cc", "message_id": "Message-ID",
    "in_reply_to": "In-Reply-To", "list_id": "List-ID",
}  # fmt: skip


def read_message(member: str, data: bytes) -> Iterator[Entry]:
    """The one message of a file.

    Raises:
        Unreadable: it is no message, is nested without end, or has no text.
    """
    yield _message(member, data)


def read_mbox(member: str, stream: IO[bytes]) -> Iterator[Entry | Quarantined]:
    """The messages of a mailbox, each behind a line that begins with "From ".

    Raises:
        Unreadable: the file does not begin with such a line.
    """
    for number, message in enumerate(_messages(stream), start=1):
        pointer = f"{member}#{number}"
        if message is None:
            yield too_large(pointer, f"more than {MAX_FILE_BYTES} bytes")
            continue
        if message.strip() == ERASED.encode():
            continue
        try:
            yield _message(pointer, message)
        except Unreadable as error:
            yield quarantined(pointer, error.rule, str(error), error.value)


def _messages(stream: IO[bytes]) -> Iterator[bytes | None]:
    """The messages of a mailbox without their first lines; None for one that is too large."""
    lines: list[bytes] = []
    size = -1
    for begins, line in lines_of(stream):
        if begins:
            if size >= 0:
                yield b"".join(lines) if size <= MAX_FILE_BYTES else None
            lines, size = [], 0
        elif size < 0:
            if line.strip():
                raise Unreadable("bad-mbox", 'it does not begin with a line "From "', repr(line))
        else:
            size += len(line)
            if line.startswith(b">") and line.lstrip(b">").startswith(b"From "):
                line = line[1:]
            if size <= MAX_FILE_BYTES:
                lines.append(line)
            else:
                lines.clear()
    if size >= 0:
        yield b"".join(lines) if size <= MAX_FILE_BYTES else None


def lines_of(stream: IO[bytes]) -> Iterator[tuple[bool, bytes]]:
    """The lines of a mailbox, and whether a message begins behind each."""
    is_blank = True
    while line := stream.readline(MAX_ROW_BYTES):
        yield is_blank and line.startswith(b"From "), line
        is_blank = line in (b"\n", b"\r\n")


def _message(pointer: str, data: bytes) -> Entry:
    try:
        message = email.message_from_bytes(data, policy=email.policy.compat32)
        parts = [part for part in _walk(message) if not _has_parts(part)]
        attached = [part for part in parts if _is_attached(part)]
        listed = [_listed(part) for part in attached]
    except RecursionError:
        raise Unreadable("hostile", "its parts are nested without end") from None
    if not any(message.get(name) for name in ("From", "Subject", "Date", "Message-ID", "Received")):
        raise Unreadable("bad-message", "it has no header of a message", repr(data[:80]))
    bodies = [part for part in parts if not _is_attached(part)]
    fields: dict[str, Any] = {
        name: _header(message.get(header)) for name, header in _HEADERS.items()
    }
    fields["title"] = fields["subject"]
    fields["date"] = _date(message.get("Date"))
    fields["attachments"] = listed or None
    body = _body(bodies)
    if not body.strip() and fields["subject"]:
        body = fields["subject"]
    return document(pointer, data, [Part(page=None, text=body)], fields)


def _walk(message: Message) -> Iterator[Message]:
    """A message and its parts in order, without recursion; an attached message is one part."""
    waiting = [message]
    for _ in range(MAX_PARTS):
        if not waiting:
            return
        part = waiting.pop()
        yield part
        if _has_parts(part):
            waiting += reversed(_inside(part))
    raise Unreadable("hostile", f"it has more than {MAX_PARTS} parts")


def _has_parts(part: Message) -> bool:
    return part.is_multipart() and part.get_content_maintype() == "multipart"


def _inside(part: Message) -> list[Message]:
    """The parts of a part; of an attached message, that one."""
    payload = part.get_payload()
    found = payload if isinstance(payload, list) else []
    return [each for each in found if isinstance(each, Message)]


def _listed(part: Message) -> dict[str, Any]:
    """What is said of an attachment. A message that has no name of a file goes by its subject."""
    inside = _inside(part)
    size = sum(len(each.as_bytes(policy=_AS_IT_STANDS)) for each in inside)
    name = _file_name(part) or (_header(inside[0].get("Subject")) if inside else "")
    return {"name": name, "type": part.get_content_type(), "bytes": size or len(_bytes(part))}


def _is_attached(part: Message) -> bool:
    return (
        part.get_content_disposition() == "attachment"
        or bool(part.get_param("name"))
        or part.get_content_type() not in ("text/plain", "text/html")
    )


def _body(parts: list[Message]) -> str:
    """What the plain parts say, or, where there is none, the HTML ones."""
    plain = [part for part in parts if part.get_content_type() == "text/plain"]
    if any(_bytes(part).strip() for part in plain):
        return "\n\n".join(_text(part) for part in plain)
    writer = Writer()
    for part in parts:
        if part.get_content_type() == "text/html":
            write_html(writer, _text(part))
            writer.paragraph()
    return "\n\n".join(part.text for part in writer.parts())


def _text(part: Message) -> str:
    charset = part.get_param("charset")
    return decoded(_bytes(part), charset if isinstance(charset, str) else "")


def _bytes(part: Message) -> bytes:
    """The content of a part; one that is damaged is as it stands."""
    try:
        content = part.get_payload(decode=True)
    except (ValueError, LookupError):
        content = None
    return content if isinstance(content, bytes) else b""


def _header(value: Any) -> str:
    """A header as people read it, or as it stands where its encoding is none."""
    if value is None:
        return ""
    said = str(value)
    try:
        pieces = [
            decoded(piece, charset or "utf-8") if isinstance(piece, bytes) else piece
            for piece, charset in email.header.decode_header(said)
        ]
        said = "".join(pieces)
    except (ValueError, LookupError, email.errors.HeaderParseError):
        pass
    return " ".join(said.encode("utf-8", "replace").decode().split())


def _date(value: Any) -> str:
    """A date in ISO 8601; empty where it is none."""
    try:
        return email.utils.parsedate_to_datetime(str(value)).isoformat() if value else ""
    except (ValueError, TypeError, IndexError, OverflowError):
        return ""


def _file_name(part: Message) -> str:
    try:
        return _header(part.get_filename())
    except (ValueError, LookupError, TypeError):
        return ""
