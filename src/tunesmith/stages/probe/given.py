"""What a suite is given beside the project file, as it is at this moment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tunesmith.core.errors import DataError, NotFound, TunesmithError
from tunesmith.core.project_folder import open_plain, require_inside

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
    place = project / file
    require_inside(project, place)
    if not place.exists():
        raise NotFound(
            f"there is no {file} in {project}",
            remedy="the file of a suite is relative to the folder of the project file",
        )
    try:
        if source := open_plain(place):
            with source:
                data = source.read(MAX_BYTES + 1)
            if len(data) <= MAX_BYTES:
                return Given(text=data.decode())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{file} cannot be read: {error}", remedy="it must be a readable file of UTF-8 text"
        ) from error
    raise DataError(
        f"{file} is no plain file of at most {MAX_BYTES} bytes", remedy="name a file of text"
    )


def given_now(file: str, project: Path) -> Given | None:
    """The same; None without a file, or where it cannot be read: why not is said when it is
    needed."""
    try:
        return read_given(file, project) if file else None
    except TunesmithError:
        return None
