"""A folder of results for somebody outside of the store: it appears whole, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunesmith.core.errors import Conflict


@contextmanager
def new_folder(folder: Path, option: str) -> Iterator[Path]:
    """Where to write what is to stand in `folder` once this ends without an error; it may be there
    already if it is empty. `option` names the flag that says another.

    Raises:
        Conflict: it is there and is not an empty folder, before or by now.
    """
    require_free(folder, option)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        yield temporary
        temporary.chmod(0o755)
        try:
            os.rename(temporary, folder)
        except OSError as error:  # somebody has put something there meanwhile
            raise _taken(folder, option) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_free(folder: Path, option: str) -> None:
    """Raise Conflict unless `folder` is new or empty."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise _taken(folder, option)


def _taken(folder: Path, option: str) -> Conflict:
    return Conflict(
        f"{folder} is there already and is not an empty folder",
        remedy=f"name another folder with {option}, or remove it",
    )
