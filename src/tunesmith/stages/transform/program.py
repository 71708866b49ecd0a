"""What a transform is made by, as its files are at this moment."""

from __future__ import annotations

from pathlib import Path

from tunesmith.core.errors import DataError, NotFound, TunesmithError
from tunesmith.core.function import libraries_of
from tunesmith.core.project_folder import open_plain, require_inside
from tunesmith.records.transform import Program
from tunesmith.stages.transform.config import FILE, TransformConfig

MAX_BYTES = 1 << 20


def as_it_is_now(config: TransformConfig, project: Path) -> TransformConfig:
    """The transform with its program; without one where that cannot be read.

    Why not is said by `read_program`, when it is needed.
    """
    try:
        return config.made_by(read_program(config, project))
    except TunesmithError:
        return config.made_by(None)


def read_program(config: TransformConfig, project: Path) -> Program:
    """The query, or the text of the function's file and what it imports.

    Raises:
        NotFound: there is no such file.
        DataError: it leads out of the project's folder, or is no text.
    """
    if config.sql.startswith(FILE):
        return Program(sql=_read(project, config.sql.removeprefix(FILE)))
    if config.sql:
        return Program(sql=config.sql)
    path, _, function = config.python.rpartition(":")
    text = _read(project, path)
    return Program(
        python=text,
        file=path.rpartition("/")[2],
        function=function,
        libraries=dict(sorted(libraries_of(text))),
    )


def _read(project: Path, path: str) -> str:
    place = project / path
    require_inside(project, place)
    if not place.exists():
        raise NotFound(
            f"there is no {path} in {project}",
            remedy="the path of a transform is relative to the folder of the project file",
        )
    try:
        if source := open_plain(place):
            with source:
                data = source.read(MAX_BYTES + 1)
            if len(data) <= MAX_BYTES:
                return data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read: {error}", remedy="it must be a readable file of UTF-8 text"
        ) from error
    raise DataError(
        f"{path} is no plain file of at most {MAX_BYTES} bytes", remedy="name a file of text"
    )
