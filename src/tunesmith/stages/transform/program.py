"""What a transform is made by, as its files are at this moment."""

from __future__ import annotations

from pathlib import Path

from tunesmith.core.errors import TunesmithError
from tunesmith.core.project_folder import read_inside
from tunesmith.records.transform import Program, python_program
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
    return python_program(config.python, _read(project, config.python.rpartition(":")[0]))


def _read(project: Path, path: str) -> str:
    missing = "the path of a transform is relative to the folder of the project file"
    return read_inside(project, path, MAX_BYTES, missing=missing)
