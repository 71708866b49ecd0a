"""What a transform is made by, as its files are at this moment."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from tunesmith.core.errors import DataError, NotFound, TunesmithError
from tunesmith.records.transform import Program
from tunesmith.stages.transform.config import FILE, TransformConfig

MAX_BYTES = 1 << 20
_STORE = ".tunesmith"


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
        libraries=dict(sorted(_libraries(text))),
    )


def _read(project: Path, path: str) -> str:
    real, root = Path(os.path.realpath(project / path)), Path(os.path.realpath(project))
    if not real.is_relative_to(root) or real.is_relative_to(root / _STORE):
        raise DataError(
            f"{path} leads out of the project's folder, or into its store",
            remedy="copy the file into the project's folder; links that lead out are not followed",
        )
    if not real.exists():
        raise NotFound(
            f"there is no {path} in {project}",
            remedy="the path of a transform is relative to the folder of the project file",
        )
    try:
        with open(os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as source:
            is_plain = stat.S_ISREG(os.fstat(source.fileno()).st_mode)
            data = source.read(MAX_BYTES + 1) if is_plain else b""
        if is_plain and len(data) <= MAX_BYTES:
            return data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read: {error}", remedy="it must be a readable file of UTF-8 text"
        ) from error
    raise DataError(
        f"{path} is no plain file of at most {MAX_BYTES} bytes", remedy="name a file of text"
    )


def _libraries(text: str) -> Iterator[tuple[str, str]]:
    """(distribution, version) of what a file imports that did not come with Python."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):  # said when it is run
        return
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    names -= sys.stdlib_module_names
    known = importlib.metadata.packages_distributions() if names else {}
    for name in names:
        for distribution in known.get(name, ()):
            yield distribution, importlib.metadata.version(distribution)
