"""What a suite is given beside the project file, as it is at this moment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tunesmith.core.errors import TunesmithError
from tunesmith.core.project_folder import read_inside

MAX_BYTES = 4 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """The text of a file."""

    text: str


def read_given(file: str, project: Path) -> Given:
    """What `file`, in the folder of the project, says.

    Raises:
        NotFound: there is no such file.
        DataError: it leads out of the project's folder, is no text, or is too long.
    """
    missing = "the file of a suite is relative to the folder of the project file"
    return Given(text=read_inside(project, file, MAX_BYTES, missing=missing))


def given_now(file: str, project: Path) -> Given | None:
    """The same; None without a file, or where it cannot be read: why not is said when it is
    needed."""
    try:
        return read_given(file, project) if file else None
    except TunesmithError:
        return None
