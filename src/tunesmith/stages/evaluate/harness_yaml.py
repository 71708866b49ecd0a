"""The YAML files of lm-evaluation-harness: what they include, and which tasks a group is of."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tunesmith.core.errors import DataError, NotFound
from tunesmith.core.project_folder import read_text, require_inside
from tunesmith.stages.evaluate.harness_shapes import require_shapes, short

MAX_BYTES = 64 << 20
MAX_INCLUDED = 8
"""Files that include one another, and groups that are of one another."""
MAX_FILES = 5000
"""Files beneath a group's folder."""
TASKS = "tasks"
"""The folder of a harness's tasks, out of which no file includes another."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the harness's own: it is named, and not run."""

    name: str


class _Loader(yaml.SafeLoader):
    """YAML without objects; a function of the harness's own is only its name."""


_Loader.add_constructor("!function", lambda _loader, node: Function(str(node.value)))
# A date is rendered as it is written, and JSON has none.
_Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda _loader, node: str(node.value))


def whole(path: Path) -> dict[str, Any]:
    """What a file says, over what the files say that it includes.

    Those lie in its folder or, where it lies somewhere in a folder called `tasks`, as the
    harness's own do, in that.

    Raises:
        NotFound: there is no such file.
        DataError: it is none of the harness's, or includes what lies elsewhere.
    """
    path = Path(os.path.abspath(path))
    around = [each for each in path.parents if each.name == TASKS]
    return _whole(path, around[0] if around else path.parent, 0)


def members(path: Path, group: Mapping[str, Any]) -> list[tuple[Path, dict[str, Any]]]:
    """The tasks of a group, in its order: the file of each, and what the group says over it.

    Raises:
        DataError: one of them is not beneath the group's folder, or is written in Python.
    """
    known: dict[str, list[tuple[Path, dict[str, Any]]]] = {}
    for file in sorted(path.parent.rglob("*.yaml"))[:MAX_FILES]:
        try:
            found = whole(file)
        except (DataError, NotFound):  # it is not of this group, or is missed by its name below
            continue
        tags = found.get("tag") or []
        names = [found.get("task"), found.get("group")]
        for name in [*names, *(tags if isinstance(tags, list) else [tags])]:
            if isinstance(name, str):
                known.setdefault(name, []).append((file, found))
    made = dict(_members(path, group, known, 0))
    return list(made.items())


def beside(path: Path, name: str) -> Path:
    """The file of that name in the folder of `path`; what lies elsewhere is not read.

    Raises:
        DataError: it leads out of the folder.
    """
    place = path.parent / name.lstrip("/")
    require_inside(path.parent, place)
    return place


def text_of(path: Path) -> str:
    """The text of a file.

    Raises:
        NotFound: there is none.
        DataError: it is too long, or no text.
    """
    if not path.exists():
        raise NotFound(f"there is no {path}", remedy="rows are looked for beside the YAML file")
    return read_text(path, path.name, MAX_BYTES, encoding="utf-8-sig")


def _whole(path: Path, root: Path, depth: int) -> dict[str, Any]:
    try:
        found = _Loader(text_of(path)).get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"{path.name} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict) or depth > MAX_INCLUDED:
        raise DataError(f"{path.name} is no task of the harness")
    named = found.pop("include", None) or []
    require_shapes(path.name, {"include": named})
    under: dict[str, Any] = {}
    for name in [named] if isinstance(named, str) else named:
        place = Path(os.path.normpath(path.parent / name.lstrip("/")))
        if not place.is_relative_to(root):
            raise DataError(
                f"{path.name} includes {name}, which leads out of the folder {root.name}",
                remedy="copy it there, or the tasks with what they include into a folder `tasks`",
            )
        require_inside(root, place)
        under |= _whole(place, root, depth + 1)
    return under | found


def _members(
    path: Path,
    group: Mapping[str, Any],
    known: Mapping[str, list[tuple[Path, dict[str, Any]]]],
    depth: int,
) -> Iterator[tuple[Path, dict[str, Any]]]:
    named = group["task"]
    for each in [named] if isinstance(named, str) else named:
        over = dict(each) if isinstance(each, dict) else {"task": each}
        name = over.pop("task", None)
        files = known.get(name, []) if isinstance(name, str) else []
        if not files or depth > MAX_INCLUDED or "class" in over:
            raise DataError(
                f"{path.name}: its task {short(repr(each))} is none of the YAML files in its "
                "folder",
                remedy="import its tasks one by one",
            )
        for file, found in files:
            if isinstance(found.get("task"), list):
                inner = _members(file, found, known, depth + 1)
                yield from ((below, what | over) for below, what in inner)
            else:
                yield file, over
