"""The folder of a project: where its store is, and which of its files may be read."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

from tunesmith.core.errors import DataError, StoreError, StoreFull

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
