"""What a suite is given beside the project file, as it is at this moment; and lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.core.errors import DataError, TunesmithError
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


def json_lines(text: str, file: str, known: Sequence[str], needed: str) -> list[dict[str, Any]]:
    """The objects of a file, one a line; each has `needed`, a text, and no key but the `known`.

    Raises:
        DataError: it is not so; the message has the line.
    """
    found = []
    for number, line in enumerate(text.split("\n"), start=1):  # others may stand inside a text
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise DataError(f"{file}, line {number}: this is no JSON: {error}") from error
        said = isinstance(value, dict) and isinstance(value.get(needed), str)
        if not said or not value[needed].strip() or set(value) - set(known):
            raise DataError(
                f"{file}, line {number}: it must be an object with {needed!r}, a text",
                remedy=f"and of other keys only: {', '.join(k for k in known if k != needed)}",
            )
        found.append(value)
    if not found:
        raise DataError(f"{file} says nothing", remedy="see the how-to of suites for what it holds")
    return found


def source_of(line: Mapping[str, Any], file: str) -> str:
    """Where a line of a file says that it is from; empty where it says nothing.

    Raises:
        DataError: that is no text.
    """
    source = line.get("source", "")
    if not isinstance(source, str):
        raise DataError(f"{file}: the source {str(source)[:60]!r} is no text")
    return source
