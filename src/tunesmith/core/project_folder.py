"""The folder of a project: where its store is, and which of its files may be read."""

from __future__ import annotations

import errno
import os
import re
import stat
from io import BufferedReader
from pathlib import Path

from tunesmith.core.errors import DataError, NotFound, StoreError, StoreFull

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
STORE = ".tunesmith"
"""The folder of the store, in the project's folder."""


def make_store(project: Path) -> Path:
    """The folder of the store, which is made if it is not there, and which git leaves alone.

    Raises:
        StoreError, StoreFull: it cannot be written.
    """
    store = project / STORE
    try:
        # Rows and requests lie there: for the owner, and for a group that the umask lets in.
        store.mkdir(parents=True, exist_ok=True, mode=0o770)
        (store / "blobs" / "incoming").mkdir(parents=True, exist_ok=True)
        if not (store / ".gitignore").exists():
            (store / ".gitignore").write_text("*\n")
    except OSError as error:
        if error.errno in NO_SPACE:
            raise StoreFull(f"no space left for {store}", remedy="free some space") from error
        raise StoreError(
            f"the store {store} cannot be written: {error.strerror}",
            remedy="check the permissions of the project's folder",
        ) from error
    return store


def require_inside(project: Path, path: Path) -> None:
    """See that `path`, which begins with `project`, is not led elsewhere by a link.

    Raises:
        DataError: it leads out of the project's folder, or into its store.
    """
    real, root = Path(os.path.realpath(path)), Path(os.path.realpath(project))
    if not real.is_relative_to(root) or real.is_relative_to(root / STORE):
        raise DataError(
            f"{path.relative_to(project)} leads out of the project's folder, or into its store",
            remedy="copy the file into the project's folder; links that lead out are not followed",
        )


def open_plain(path: Path) -> BufferedReader | None:
    """A plain file, open for reading; None for a pipe, which would never end, and for a device.

    Raises:
        OSError: it cannot be opened.
    """
    handle = os.open(os.path.realpath(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return open(handle, "rb")
    os.close(handle)
    return None


def read_text(
    path: Path, name: str, max_bytes: int, *, encoding: str = "utf-8", too_long: str = ""
) -> str:
    """The text of a plain file, which people know as `name`; `too_long` is what to do about one
    that is longer, or none.

    Raises:
        DataError: it cannot be read, is no text, no plain file, or has more bytes.
    """
    try:
        if source := open_plain(path):
            with source:
                data = source.read(max_bytes + 1)
            if len(data) <= max_bytes:
                return data.decode(encoding)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{name} cannot be read: {error}", remedy="it must be a readable file of UTF-8 text"
        ) from error
    raise DataError(f"{name} is no plain file of at most {max_bytes} bytes", remedy=too_long)


def read_inside(
    project: Path,
    name: str,
    max_bytes: int,
    *,
    encoding: str = "utf-8",
    missing: str,
    too_long: str = "name a file of text",
) -> str:
    """The text of a file of the project's folder; `missing` is what to do where there is none.

    Raises:
        NotFound: there is none.
        DataError: it leads out of the project's folder; see also `read_text`.
    """
    place = project / name
    require_inside(project, place)
    if not place.exists():
        raise NotFound(f"there is no {name} in {project}", remedy=missing)
    return read_text(place, name, max_bytes, encoding=encoding, too_long=too_long)


def check_path(path: str, end: str, example: str) -> None:
    """Raise ValueError unless `path` leads to a file of that kind inside the project."""
    if not is_inside(path) or not path.endswith(end):
        raise ValueError(f"the path must lead to a {end} file inside the project, as in {example}")


def check_function(python: str, example: str) -> str:
    """`python`, if it is empty, or a file inside the project and a function in it: `PATH.py:NAME`.

    Raises:
        ValueError: it is something else.
    """
    path, _, function = python.rpartition(":")
    if python and not function.isidentifier():
        raise ValueError(f"write PATH.py:FUNCTION, as in {example}")
    if python:
        check_path(path, ".py", example)
    return python


def is_inside(path: str) -> bool:
    """Whether a path, as it is written, stays inside the project and out of its store."""
    is_plain = not re.search(r"[\\\x00-\x1f\x7f:]", path)
    return is_plain and not any(part in ("", ".", "..", STORE) for part in path.split("/"))
