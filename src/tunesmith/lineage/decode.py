"""What a file says, however it is packed, encoded or escaped: for a search that is to prove that
something is not there. It shares no code with the readers of formats, which could be wrong in the
same way."""

from __future__ import annotations

import bz2
import email
import email.header
import gzip
import html
import io
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from email.message import Message
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from tunesmith.core.errors import StoreError
from tunesmith.retrieve.store import Store
from tunesmith.stages.ingest.archive import MAX_RATIO, SMALL_IN_ALL, hostile_listing

PARQUET_MAGIC, ZIP_MAGIC, SQLITE_MAGIC = b"PAR1", b"PK\x03\x04", b"SQLite format 3\0"
MAX_MEMBER_BYTES = 1 << 30
_MAX_DEPTH = 5
"""Archives within archives."""
_WINDOW, _OVERLAP = 64 << 20, 1 << 20
"""Of what is too large to be looked at in one piece."""
_STEP = 1 << 12
"""Where something is damaged or is no text, no more than this is lost before it."""
_CONTROLS = bytes({*range(32), 127} - {*b"\t\n\v\f\r\x1b"})
"""What is in no text, by and large."""
_STREAMS: Mapping[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
_DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError, RuntimeError, ValueError,
    OSError, zlib.error, lzma.LZMAError, pa.ArrowException, LookupError,
)  # fmt: skip
_ESCAPED = re.compile(
    r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
    r"|\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})|\\x([0-9a-fA-F]{2})"
    r"|\\(\r?\n[ \t]*)|\\(.)"
)
"""A character that JSON or YAML writes by its number or its letter."""
_OF_A_CELL = re.compile(r"_x([0-9a-fA-F]{4})_")
"""The same of a workbook."""
_LETTERS = {
    "n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "0": "\0", "e": "\x1b", "N": "\x85",
    "_": "\xa0", "L": "\u2028", "P": "\u2029", "a": "\a", "v": "\v",
}  # fmt: skip
_ODD = re.compile(rb'\\(?:u[0-9a-fA-F]{4}|[^"\\nrtbfu])')
"""What may be written in another way than those that are looked for."""
_ENTITY = re.compile(rb"&(?:#[0-9xX]|[A-Za-z]{2,8};)")
_BLANKS = tuple(each.encode() for each in "\x85\xa0\u2028\u2029\u202f\u3000")
_TAG = re.compile(r"<[^<>]*>")
_IN_MAIL = (b"=?", b"ransfer-", b"RANSFER-")
_IS_MAIL = re.compile(rb"^content-transfer-encoding:|=\?[\w*-]+\?[bq]\?", re.I | re.M)
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.M)


def contents_of(path: Path) -> Iterator[bytes]:
    """What the file at `path` says, in pieces; of one that cannot be unpacked, what it is."""
    with path.open("rb") as source:
        magic = source.read(16)
        if magic == SQLITE_MAGIC:
            yield from _index(path)
            return
        if path.stat().st_size <= MAX_MEMBER_BYTES or not _is_packed(magic):
            source.seek(0)
            at = b""
            while piece := source.read(_WINDOW):
                if len(piece) == _WINDOW and _is_packed(magic):
                    piece += source.read()
                yield from contents(at + piece)
                at = piece[-_OVERLAP:]
        elif magic.startswith(PARQUET_MAGIC):
            yield from _undamaged(_table(source, 0))
        elif magic.startswith(ZIP_MAGIC):
            yield from _undamaged(_zip(source, 0))


def contents(data: bytes, depth: int = 0) -> Iterator[bytes]:
    """What some bytes say, and what is packed in them, each piece as it stands."""
    yield data
    if depth >= _MAX_DEPTH:
        return
    stream = io.BytesIO(data)
    if data.startswith(PARQUET_MAGIC):
        yield from _undamaged(_table(stream, depth))
    elif data.startswith(ZIP_MAGIC):
        yield from _undamaged(_zip(stream, depth))
    elif opener := next((each for begin, each in _STREAMS.items() if data.startswith(begin)), None):
        with opener(stream) as packed:
            yield from _undamaged(_unpacked(packed, len(data), depth))
    elif data[257:262] == b"ustar":
        yield from _undamaged(_tar(stream, depth))
    elif data.startswith((b"\xff\xfe", b"\xfe\xff")):
        yield data.decode("utf-16", "replace").encode("utf-8", "replace")
    elif any(each in data for each in _IN_MAIL) and _IS_MAIL.search(data):
        yield from _undamaged(_mails(data, depth))


def readings(data: bytes) -> Iterator[bytes]:
    """What a piece of text says to those who read it as it stands, as JSON or YAML, as JSON within
    JSON, or as XML: each `squashed`. Of what is no text, nothing.

    JSON with none but the short escapes is not decoded: it is looked for as it is escaped.
    """
    if b"\0" in data:
        data = _text_in(data)
    yield squashed(data)
    texts = [data.decode("utf-8", "replace")]
    if "\ufffd" in texts[0]:  # perhaps it is no UTF-8
        texts.append(data.decode("cp1252", "replace"))
        yield squashed(texts[1].encode())
    for text in texts:
        told = text
        for _ in range(2 if _ODD.search(data) else 0):
            told = _ESCAPED.sub(_character, told)
            yield _squashed(told)
        if "</" in text or _ENTITY.search(data):
            for between in ("", " "):  # runs of one text, and texts beside each other
                plain = html.unescape(_TAG.sub(between, text))
                yield _squashed(_OF_A_CELL.sub(lambda match: chr(int(match[1], 16)), plain))


def _text_in(data: bytes) -> bytes:
    """What is text in some bytes that have NULs, with a blank for each of them."""
    blocks = (data[at : at + _STEP] for at in range(0, len(data), _STEP))
    return b"".join(b" " if _is_binary(block) else block.replace(b"\0", b" ") for block in blocks)


def _is_binary(block: bytes) -> bool:
    """Whether one in 32 bytes that are no NULs is a control character; of weights of a model in
    bfloat16 it is one in 19."""
    num_others = len(block) - block.count(0)
    return 32 * (num_others - len(block.translate(None, _CONTROLS))) > num_others


def squashed(text: bytes) -> bytes:
    """A text in UTF-8 with one space wherever it has white space."""
    for blank in _BLANKS:
        text = text.replace(blank, b" ")
    return b" ".join(text.split())


def _squashed(text: str) -> bytes:
    return squashed(text.encode("utf-8", "replace"))


def _character(match: re.Match[str]) -> str:
    high, low, *numbers, folded, letter = match.groups()
    if high:
        return chr(0x10000 + (int(high, 16) - 0xD800 << 10) + int(low, 16) - 0xDC00)
    if number := next((each for each in numbers if each), None):
        code = int(number, 16)
        return chr(code) if code < 0x110000 else match[0]
    if folded:
        return ""
    return _LETTERS.get(letter, letter)


def _is_packed(magic: bytes) -> bool:
    return magic.startswith((PARQUET_MAGIC, ZIP_MAGIC, *_STREAMS))


def _undamaged(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """What can be read of something that may be damaged: it is looked at as it stands, too."""
    try:
        yield from pieces
    except _DAMAGED:
        return


def _index(path: Path) -> Iterator[bytes]:
    try:
        with Store(path) as store:
            yield "\n".join(store.texts()).encode()
    except StoreError:  # no index: what it is was read as it stands
        return


def _zip(source: IO[bytes], depth: int) -> Iterator[bytes]:
    with zipfile.ZipFile(source) as archive:
        size = source.seek(0, io.SEEK_END)
        if depth and hostile_listing(archive.infolist(), size):
            return  # nobody read it either
        for member in archive.infolist():
            if member.file_size <= MAX_MEMBER_BYTES:
                yield member.filename.encode("utf-8", "replace")
                yield from _undamaged(_zipped(archive, member, depth))


def _zipped(archive: zipfile.ZipFile, member: zipfile.ZipInfo, depth: int) -> Iterator[bytes]:
    with archive.open(member) as packed:
        yield from contents(_as_far_as_it_goes(packed, MAX_MEMBER_BYTES), depth + 1)


def _tar(source: IO[bytes], depth: int) -> Iterator[bytes]:
    """The members of a tar; where a header is damaged, those from the next one that is not."""
    size, start = source.seek(0, io.SEEK_END), 0
    while start < size:
        source.seek(start)
        archive = None
        try:
            archive = tarfile.TarFile(fileobj=source, ignore_zeros=True)
            for member in archive:
                yield member.name.encode("utf-8", "replace")
                yield from _undamaged(_tarred(archive, member, depth))
            return
        except _DAMAGED:
            start = (archive.offset if archive else start) + tarfile.BLOCKSIZE


def _tarred(archive: tarfile.TarFile, member: tarfile.TarInfo, depth: int) -> Iterator[bytes]:
    inside = archive.extractfile(member) if member.isreg() else None
    if inside is not None:
        yield from contents(inside.read(), depth + 1)


def _unpacked(packed: IO[bytes], size: int, depth: int) -> Iterator[bytes]:
    limit = min(MAX_MEMBER_BYTES, max(SMALL_IN_ALL, MAX_RATIO * size))
    yield from contents(_as_far_as_it_goes(packed, limit), depth + 1)


def _as_far_as_it_goes(packed: Any, limit: int) -> bytes:
    """What can be unpacked, up to where it is damaged."""
    pieces = []
    try:
        while limit > 0 and (piece := packed.read1(min(limit, _STEP))):
            pieces.append(piece)
            limit -= len(piece)
    except _DAMAGED:
        pass
    return b"".join(pieces)


def _table(source: IO[bytes], depth: int) -> Iterator[bytes]:
    """The strings of a table, also those that only stand in a dictionary: no row says them."""
    metadata = pq.ParquetFile(source).metadata
    texts = {
        metadata.schema.column(at).path
        for at in range(metadata.num_columns)
        if metadata.schema.column(at).physical_type == "BYTE_ARRAY"
    }
    table = pq.ParquetFile(source, read_dictionary=sorted(texts))
    for group in range(table.num_row_groups):
        for name in dict.fromkeys(path.partition(".")[0] for path in sorted(texts)):
            yield from _undamaged(_column(table, group, name, depth))


def _column(table: pq.ParquetFile, group: int, name: str, depth: int) -> Iterator[bytes]:
    for column in table.read_row_group(group, columns=[name]).columns:
        for chunk in column.chunks:
            yield from _strings(chunk, depth)


def _strings(array: Any, depth: int) -> Iterator[bytes]:
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        yield from _strings(array.storage, depth)
    elif pa.types.is_dictionary(kind):
        yield from _strings(array.dictionary, depth)
    elif pa.types.is_map(kind):
        yield from _strings(array.keys, depth)
        yield from _strings(array.items, depth)
    elif pa.types.is_struct(kind):
        for child in array.flatten():
            yield from _strings(child, depth)
    elif (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    ):
        yield from _strings(array.flatten(), depth)
    elif (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    ):
        yield "\n".join(filter(None, array.to_pylist())).encode()
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        for value in filter(None, array.to_pylist()):
            yield from contents(value, depth + 1)


def _mails(data: bytes, depth: int) -> Iterator[bytes]:
    """The headers and the bodies of messages, decoded."""
    for message in re.split(rb"^(?=From )", data, flags=re.M):
        yield from _undamaged(_mail(message, depth))


def _mail(data: bytes, depth: int) -> Iterator[bytes]:
    for part in email.message_from_bytes(data).walk():
        said = " ".join(f"{name}: {_header(value)}" for name, value in part.items())
        yield said.encode("utf-8", "replace")
        yield from _undamaged(_body(part, depth))


def _header(value: Any) -> str:
    try:
        return str(email.header.make_header(email.header.decode_header(value)))
    except _DAMAGED:
        return str(value)


def _body(part: Message, depth: int) -> Iterator[bytes]:
    body = part.get_payload(decode=True)
    if isinstance(body, bytes):
        body = _QUOTED_FROM.sub(rb"\1", body)
        yield from contents(body, depth + 1)
        if charset := part.get_content_charset():
            yield body.decode(charset, "replace").encode("utf-8", "replace")
