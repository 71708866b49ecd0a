"""Open a wheel as the zip that it is, unless anything in it is hostile."""

from __future__ import annotations

import errno
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunesmith.core.errors import PackageError
from tunesmith.stages.ingest.entry import Unreadable, is_text

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can hold; equal contents must have equal bytes."""
MAX_MEMBERS = 1_000_000
MAX_BYTES = 64 << 30
"""Unpacked, over all members."""
MAX_RATIO = 200
"""Unpacked over packed size; text reaches about 20, a file of zeros 1000."""
_SMALL = 1 << 20
"""Members of up to this size may be packed as tightly as they like."""
SMALL_IN_ALL = 64 << 20
_ENCRYPTED = 0x1
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError, UnicodeError, OSError,
    zlib.error, lzma.LZMAError,
)  # fmt: skip
"""What reading damaged bytes raises."""


@contextmanager
def whole_or_unreadable(kind: str) -> Iterator[None]:
    """What reading a damaged file, a `kind` of file, raises becomes `Unreadable`; a disk that is
    full, or fails, is no fault of the file's and stays an error."""
    try:
        yield
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        said = " ".join(str(error).split())[:200]
        raise Unreadable("not-whole", f"not a whole {kind}: {said}") from None


@contextmanager
def open_archive(path: Path, name: str) -> Iterator[zipfile.ZipFile]:
    """The zip at `path`, checked as a whole before anything is read from it.

    Raises:
        PackageError: it is no whole zip, or a member is hostile; nothing of it is then used.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if reason := hostile_listing(archive.infolist(), path.stat().st_size):
                raise _hostile(name, reason)
            yield archive
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise PackageError(
            f"{name} is not a whole zip: {error}", remedy="fetch it again, or use another version"
        ) from error


def glob_expression(pattern: str) -> re.Pattern[str]:
    """The regular expression of a glob, to be matched in full: only `**` crosses folders.

    >>> rules = glob_expression("rules/*.RULE")
    >>> bool(rules.fullmatch("rules/mit.RULE")), bool(rules.fullmatch("rules/old/mit.RULE"))
    (True, False)
    """
    wild = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(wild.get(part) or re.escape(part) for part in parts), re.DOTALL)


def hostile_listing(members: list[zipfile.ZipInfo], size: int) -> str:
    """Why nobody should unpack a zip of `size` bytes with these members; empty if there is no
    reason."""
    if len(members) > MAX_MEMBERS:
        return f"it has {len(members)} members"
    seen: set[str] = set()
    total = 0
    for member in members:
        if reason := hostile_reason(member):
            return f"member {member.orig_filename[:200]!r} {reason}"
        if member.filename in seen:
            return f"member {member.filename!r} is there twice"
        seen.add(member.filename)
        total += member.file_size
    # Members that share their packed bytes are each small enough, and together are not.
    if total > MAX_BYTES or total > max(SMALL_IN_ALL, MAX_RATIO * size):
        return f"it unpacks {size} bytes to {total}"
    return ""


def hostile_name(path: str) -> str | None:
    """Why no member of an archive should be called `path`, or None."""
    if not is_text(path):
        return "has a name that is not UTF-8"
    if any(ord(character) < 32 or ord(character) == 127 for character in path):
        return "has a control character in its name"
    if "\\" in path:
        return "has a backslash in its name"
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        return "has an absolute path"
    if any(part in ("", ".", "..") for part in path.removesuffix("/").split("/")):
        return "has a path that is not plain"
    return None


def hostile_reason(member: zipfile.ZipInfo) -> str | None:
    """Why nobody should unpack `member`, or None."""
    # As written: `filename` is already cut at a NUL.
    if reason := hostile_name(member.orig_filename):
        return reason
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    if member.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if member.file_size > max(_SMALL, MAX_RATIO * member.compress_size):
        return f"unpacks {member.compress_size} bytes to {member.file_size}"
    return None


def _hostile(name: str, what: str) -> PackageError:
    return PackageError(
        f"{name} is refused: {what}",
        remedy="do not use this package; a wheel made by the usual tools never looks like this",
    )
