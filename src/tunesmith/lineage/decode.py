"""What a file says, however it is packed, encoded or escaped: for a search that is to prove that
something is not there. It shares no code with the readers of formats, which could be wrong in the
same way; what they make of a document is looked at besides. What cannot be read is told."""

from __future__ import annotations

import bz2
import email
import email.header
import gzip
import io
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from email.errors import InvalidBase64LengthDefect
from email.message import Message
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from tunesmith.core.errors import StoreError
from tunesmith.lineage.decode_documents import pdf, whole_document
from tunesmith.lineage.unread import DAMAGED, HERE, At, Tell
from tunesmith.retrieve.store import Store
from tunesmith.stages.ingest.archive import MAX_RATIO, SMALL_IN_ALL, hostile_listing

PARQUET_MAGIC, ZIP_MAGIC, SQLITE_MAGIC = b"PAR1", b"PK\x03\x04", b"SQLite format 3\0"
MAX_MEMBER_BYTES = 1 << 30
_MAX_DEPTH = 5
"""Archives within archives."""
_WINDOW, _OVERLAP = 64 << 20, 1 << 20
"""Of what is too large to be looked at in one piece."""
_STEP = 1 << 12
"""Where something is damaged, no more than this is lost before it."""
_PDF = b"%PDF-"
_ENCODING = re.compile(
    rb"""<(?:meta|\?xml)\s[^<>]{0,200}?(?:charset|encoding)\s*=\s*["']?([\w.:-]{1,40})""", re.I
)
_READ_ANYWAY = frozenset({"", "utf-8", "utf8", "us-ascii", "ascii", "windows-1252", "iso-8859-1"})
_ENVELOPED = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03"
"""How S/MIME says that what follows is encrypted (RFC 5652, 6.1)."""
_ENCRYPTED = 0x1
_TOO_LARGE = "larger than is unpacked"
_UNKNOWN: Mapping[bytes, str] = {
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "a file of Office of before 2007, or an encrypted one",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\x28\xb5\x2f\xfd": "packed with Zstandard",
    b"PARE": "encrypted Parquet",
    b"-----BEGIN PGP MESSAGE": "encrypted with PGP",
    b"{\\rtf": "an RTF file, of which only plain letters are read",
}
"""How files begin that are not decoded, and what they are."""
_STREAMS: Mapping[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
_DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError, RuntimeError, ValueError,
    OSError, zlib.error, lzma.LZMAError, pa.ArrowException, LookupError,
)  # fmt: skip
_IN_MAIL = (b"=?", b"ransfer-", b"RANSFER-")
_IS_MAIL = re.compile(rb"^content-transfer-encoding:|=\?[\w*-]+\?[bq]\?", re.I | re.M)
_FIELD = re.compile(rb"From |[!-9;-~]{1,60}:[ \t]")
"""How a mailbox begins, and a message."""
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.M)


def contents_of(path: Path, tell: Tell = HERE.tell) -> Iterator[bytes]:
    """What the file at `path` says, in pieces; of one that cannot be unpacked, what it is, and
    `tell` is told."""
    at = At(tell=tell)
    with path.open("rb") as source:
        begin = source.read(_STEP)
        source.seek(0)
        is_large = path.stat().st_size > MAX_MEMBER_BYTES
        is_whole = _is_whole(begin)
        if begin.startswith(SQLITE_MAGIC):
            yield from _index(path)
        elif is_large and begin.startswith(PARQUET_MAGIC):
            yield from _undamaged(_table(source, at), at)
        elif is_large and begin.startswith(ZIP_MAGIC):
            yield from _undamaged(_zip(source, at), at)
        elif is_large and _is_tar(begin):
            yield from _undamaged(_tar(source, at), at)
        elif is_whole and not is_large:
            yield from contents(source.read(), at)
        else:
            if is_whole:
                at.unread(_TOO_LARGE)
            before = b""
            while piece := source.read(_WINDOW):
                yield from contents(before + piece, at)
                before = piece[-_OVERLAP:]


def contents(data: bytes, at: At = HERE) -> Iterator[bytes]:
    """What some bytes say, and what is packed in them, each piece as it stands."""
    yield data
    if encoding := _marked(data) or _wide(data) or _declared(data):
        try:
            yield data.decode(encoding, "replace").encode("utf-8", "replace")
        except (LookupError, ValueError):
            at.unread("in an encoding that is not known")
    if inside := _unpacking(data, at):
        if at.depth < _MAX_DEPTH:
            yield from _undamaged(inside, at)
        else:
            at.unread(f"packed more than {_MAX_DEPTH} deep")
    elif named := next((each for begin, each in _UNKNOWN.items() if data.startswith(begin)), ""):
        at.unread(named)
    elif _ENVELOPED in data[:64]:
        at.unread("encrypted with S/MIME")


def _unpacking(data: bytes, at: At) -> Iterator[bytes] | None:
    """What is packed in some bytes; None where they are no such thing."""
    stream = io.BytesIO(data)
    if data.startswith(PARQUET_MAGIC):
        return _table(stream, at)
    if data.startswith(ZIP_MAGIC):
        return _zip(stream, at)
    if opener := next((each for begin, each in _STREAMS.items() if data.startswith(begin)), None):
        return _unpacked(opener(stream), len(data), at)
    if _is_tar(data[: tarfile.BLOCKSIZE]):
        return _tar(stream, at)
    if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(_PDF):
        return pdf(data, at, contents)
    if any(each in data for each in _IN_MAIL) and _IS_MAIL.search(data):
        return _mails(data, at)
    if _PDF in data[:1024] and b"startxref" in data:  # after something else, which PDFium skips
        return pdf(data, at, contents)
    return None


def _marked(data: bytes) -> str:
    """The encoding that a mark tells of, other than UTF-8."""
    if data.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "utf-32"
    return "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else ""


def _wide(data: bytes) -> str:
    """UTF-16 that no mark tells of: of the two bytes of most letters the same one is a NUL."""
    begin = data[:_STEP]
    nuls = (begin[0::2].count(0), begin[1::2].count(0))
    if 8 * max(nuls) < max(len(begin), 8) or 16 * min(nuls) > max(nuls):
        return ""
    return "utf-16-be" if nuls[0] > nuls[1] else "utf-16-le"


def _declared(data: bytes) -> str:
    """The encoding that HTML or XML says that it is in, unless it is one that is read anyway."""
    said = _ENCODING.search(data[:1024])
    name = said[1].decode().lower() if said else ""
    return "" if name in _READ_ANYWAY else name


def _is_tar(begin: bytes) -> bool:
    """Whether a file that begins so is a tar, of the form before POSIX's as well: its header has
    the sum of its bytes in it, those of the sum itself taken for blanks."""
    header = begin[: tarfile.BLOCKSIZE]
    try:
        said = int(header[148:156].strip(b" \0"), 8)
    except ValueError:
        return header[257:262] == b"ustar"
    return said == sum(header[:148]) + 8 * ord(" ") + sum(header[156:])


def _is_whole(begin: bytes) -> bool:
    """Whether what a file says is only to be understood from its beginning on."""
    return bool(
        begin.startswith((PARQUET_MAGIC, ZIP_MAGIC, _PDF, *_STREAMS))
        or _is_tar(begin)
        or _marked(begin)
        or _wide(begin)
        or _declared(begin)
        or _FIELD.match(begin)
    )


def _undamaged(pieces: Iterator[bytes], at: At) -> Iterator[bytes]:
    """What can be read of something that may be damaged: it is looked at as it stands, too."""
    try:
        yield from pieces
    except _DAMAGED:
        at.unread(DAMAGED)


def _index(path: Path) -> Iterator[bytes]:
    try:
        with Store(path) as store:
            yield "\n".join(store.texts()).encode()
    except StoreError:  # no index: what it is was read as it stands
        return


def _zip(source: IO[bytes], at: At) -> Iterator[bytes]:
    with zipfile.ZipFile(source) as archive:
        size = source.seek(0, io.SEEK_END)
        hostile = hostile_listing(
            [each for each in archive.infolist() if not each.flag_bits & _ENCRYPTED], size
        )
        if at.depth and hostile:
            at.unread("an archive that nobody should unpack")
            return
        for member in archive.infolist():
            here = at.within(member.filename)
            yield member.filename.encode("utf-8", "replace")
            if member.flag_bits & _ENCRYPTED:
                here.unread("encrypted")
            elif member.file_size > MAX_MEMBER_BYTES:
                here.unread(_TOO_LARGE)
            else:
                yield from _undamaged(_zipped(archive, member, here), here)
        if size <= MAX_MEMBER_BYTES:
            yield from whole_document(source, archive.namelist())


def _zipped(archive: zipfile.ZipFile, member: zipfile.ZipInfo, at: At) -> Iterator[bytes]:
    with archive.open(member) as packed:
        yield from contents(_as_far_as_it_goes(packed, MAX_MEMBER_BYTES, at), at)


def _tar(source: IO[bytes], at: At) -> Iterator[bytes]:
    """The members of a tar; where a header is damaged, those from the next one that is not."""
    size, start = source.seek(0, io.SEEK_END), 0
    damaged = "a damaged header: the member was read as it stands"
    while start < size:
        source.seek(start)
        archive = None
        try:
            archive = tarfile.TarFile(fileobj=source, ignore_zeros=True)
            end = start
            for member in archive:
                if _says_something(source, end, member.offset):  # it was passed over
                    at.unread(damaged)
                end = archive.offset
                here = at.within(member.name)
                yield member.name.encode("utf-8", "replace")
                yield from _undamaged(_tarred(archive, member, here), here)
            if _says_something(source, end, size):
                at.unread(damaged)
            return
        except _DAMAGED:
            at.unread(damaged)
            start = (archive.offset if archive else start) + tarfile.BLOCKSIZE


def _says_something(source: IO[bytes], start: int, end: int) -> bool:
    """Whether there is anything but zeros from one byte to another."""
    source.seek(start)
    return any(
        source.read(min(_OVERLAP, end - at)).strip(b"\0") for at in range(start, end, _OVERLAP)
    )


def _tarred(archive: tarfile.TarFile, member: tarfile.TarInfo, at: At) -> Iterator[bytes]:
    inside = archive.extractfile(member) if member.isreg() else None
    if member.size > MAX_MEMBER_BYTES:
        at.unread(_TOO_LARGE)
    elif inside is not None:
        yield from contents(inside.read(), at)


def _unpacked(packed: IO[bytes], size: int, at: At) -> Iterator[bytes]:
    limit = min(MAX_MEMBER_BYTES, max(SMALL_IN_ALL, MAX_RATIO * size))
    inside = replace(at, depth=at.depth + 1)
    with packed:
        yield from contents(_as_far_as_it_goes(packed, limit, at), inside)


def _as_far_as_it_goes(packed: Any, limit: int, at: At) -> bytes:
    """What can be unpacked, up to where it is damaged."""
    pieces = []
    try:
        while limit > 0 and (piece := packed.read1(min(limit, _STEP))):
            pieces.append(piece)
            limit -= len(piece)
        if not limit and packed.read1(1):
            at.unread(_TOO_LARGE)
    except _DAMAGED:
        at.unread(DAMAGED)
    return b"".join(pieces)


def _table(source: IO[bytes], at: At) -> Iterator[bytes]:
    """The strings of a table, also those that only stand in a dictionary: no row says them."""
    metadata = pq.ParquetFile(source).metadata
    columns = [metadata.schema.column(number) for number in range(metadata.num_columns)]
    texts = {each.path for each in columns if each.physical_type.endswith("BYTE_ARRAY")}
    coded = sorted(each.path for each in columns if each.physical_type == "BYTE_ARRAY")
    table = pq.ParquetFile(source, read_dictionary=coded)
    for group in range(table.num_row_groups):
        for name in dict.fromkeys(path.partition(".")[0] for path in sorted(texts)):
            here = at.within(f"row group {group + 1}, column {name}")
            yield from _undamaged(_column(table, group, name, here), here)


def _column(table: pq.ParquetFile, group: int, name: str, at: At) -> Iterator[bytes]:
    for column in table.read_row_group(group, columns=[name]).columns:
        for chunk in column.chunks:
            yield from _strings(chunk, at)


def _strings(array: Any, at: At) -> Iterator[bytes]:
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        yield from _strings(array.storage, at)
    elif pa.types.is_dictionary(kind):
        yield from _strings(array.dictionary, at)
    elif pa.types.is_map(kind):
        yield from _strings(array.keys, at)
        yield from _strings(array.items, at)
    elif pa.types.is_struct(kind):
        for child in array.flatten():
            yield from _strings(child, at)
    elif (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    ):
        yield from _strings(array.flatten(), at)
    elif (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    ):
        yield "\n".join(filter(None, array.to_pylist())).encode()
    elif (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    ):
        for value in filter(None, array.to_pylist()):
            yield from contents(value, at)


def _mails(data: bytes, at: At) -> Iterator[bytes]:
    """The headers and the bodies of messages, decoded."""
    messages = re.split(rb"^(?=From )", data, flags=re.M)
    for number, message in enumerate(messages, start=1):
        here = at.part(f"message {number}") if len(messages) > 1 else at
        yield from _undamaged(_mail(message, here), here)


def _mail(data: bytes, at: At) -> Iterator[bytes]:
    for number, part in enumerate(email.message_from_bytes(data).walk(), start=1):
        name = _header(part.get_filename())
        headers = (f"{field}: {_header(value)}" for field, value in part.items())
        yield " ".join([*headers, name]).encode("utf-8", "replace")
        here = at.within(name or f"part {number}")
        yield from _undamaged(_body(part, here, data), here)


def _header(value: Any) -> str:
    try:
        return str(email.header.make_header(email.header.decode_header(value or "")))
    except _DAMAGED:
        return str(value)


def _body(part: Message, at: At, whole: bytes) -> Iterator[bytes]:
    body = part.get_payload(decode=True)
    if any(isinstance(each, InvalidBase64LengthDefect) for each in part.defects):
        at.unread("damaged base64")
    if isinstance(body, bytes):
        body = _QUOTED_FROM.sub(rb"\1", body)
        if body.strip() != whole.strip():  # else it is no mail, and quotes a header of one
            yield from contents(body, at)
        if charset := part.get_content_charset():
            yield body.decode(charset, "replace").encode("utf-8", "replace")
