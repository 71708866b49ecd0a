"""Take what a program of somebody else's tells into the store: a Singer tap, or a dlt resource.

It is run when a project is opened by somebody who wants to know, and given the state that it left
when its rows were taken in last. What it tells is merged onto those rows by their key; the rows and
its new state commit together, so that one that is killed is asked the same again. `look` keeps what
came in a file beside the blobs, without the records of people who are to be forgotten, and the step
takes it from there. The file is gone when the project is closed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunesmith.core.canonical import canonical_json, fingerprint
from tunesmith.core.errors import DataError, InputChanged, MissingExtra, TunesmithError
from tunesmith.core.step import Context, Progress
from tunesmith.records.landed import Landed
from tunesmith.stages.ingest import dlt_child
from tunesmith.stages.ingest.asking import FILES_OF_TAP, StreamConfig, arguments_of
from tunesmith.stages.ingest.child import Program, lines_of
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.kept import keep, keep_error, kept, place_of
from tunesmith.stages.ingest.last_load import LastLoad
from tunesmith.stages.ingest.local import plain_file
from tunesmith.stages.ingest.origin import DLT, SINGER, is_secret
from tunesmith.stages.ingest.singer import Rekeyed, Rows, row_of
from tunesmith.stages.ingest.snapshot import Keeps, everything, pack

_QUIET = {"RUNTIME__DLTHUB_TELEMETRY": "false", "DO_NOT_TRACK": "1"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Told:
    """What a program told, merged onto what there was."""

    lines: list[bytes]
    memory: Mapping[str, Any]


def stream(config: StreamConfig, ctx: Context) -> Landed:
    """The rows that a program tells of, packed as one file in the order of their keys.

    Raises:
        DataError: it cannot be run, ends badly, falls silent, or tells what is no message.
        MissingExtra: dlt is not installed.
        InputChanged: the rows are not those that `config.sha256` says.
    """
    return take(config, ctx, everything)


def take(
    config: StreamConfig, ctx: Context, keeps: Keeps, *, without: Collection[str] = ()
) -> Landed:
    """As `stream`, but only the rows that `keeps` says: those that none of the digests `without`
    tells."""
    assert ctx.project is not None, "a program's files are in a project's folder"
    target, name = ctx.workdir / "rows", name_of(config)
    there = kept(place_of(ctx.cache, config), config.sha256, without) if ctx.cache else None
    if there is not None:
        _, num_erased = pack(there.lines(), target, name, keeps)
        num_erased += there.num_erased
        memory = there.memory
    else:
        told = told_now(config, ctx.project, None, ctx.progress)
        digest, num_erased = pack(told.lines, target, name, keeps)
        memory = told.memory
        if digest != config.sha256:
            raise InputChanged(
                f"what {shown_of(config)} tells has the SHA-256 {digest}, not {config.sha256}",
                remedy="if rows were written just now, run again; if its section pins a sha256, "
                "find out why they changed, or pin the new one",
            )
    return Landed(
        requirement=config.origin,
        filename=name,
        wheel=ctx.blobs.put(target, "application/zip"),
        num_erased=num_erased,
        memory=ctx.blobs.put(canonical_json(memory), "application/json"),
    )


def look(
    source: SourceConfig,
    project: Path,
    cache: Path,
    last: LastLoad | None,
    keeps: Keeps,
    progress: Progress,
) -> tuple[SourceConfig, Path | None]:
    """The source with the digest of its rows as they are now, and where they are kept for the step.

    `last` is what was taken in last. Where the program does not tell,
    the digest is empty, and what is kept says why not. A source that pins its rows is left as it
    is.
    """
    if source.sha256:
        return source, None
    config = source.streaming()
    path = place_of(cache, config)
    path.unlink(missing_ok=True)  # of a process that was killed
    name = name_of(config)
    base = _told(last) if last else None
    try:
        told = told_now(config, project, base, progress)
    except TunesmithError as error:
        keep_error(path, error)
        return source, path
    judged = [(line, keeps(name, line)) for line in told.lines]
    # Rows of the forgotten are not in what there was, and the tap may tell of them again.
    is_same = base is not None and [line for line, is_kept in judged if is_kept] == base.lines
    digest = keep(
        path,
        judged,
        source.erased.digests if source.erased else (),
        known_as=last.sha256 if last and is_same else "",
        memory=told.memory,
    )
    return source.model_copy(update={"sha256": digest}), path


def told_now(config: StreamConfig, project: Path, base: Told | None, progress: Progress) -> Told:
    """What the program tells now, merged onto `base` if it goes on from there.

    Raises:
        DataError, MissingExtra: see `stream`.
    """
    shown = shown_of(config)
    recipe = _recipe(config, project)
    if base is not None and base.memory["recipe"] != recipe:
        base = None  # another configuration, or another file of code, may tell of other rows
    rows = Rows(
        stream=config.stream or config.origin.rpartition(":")[2].rpartition(".")[2],
        shown=shown,
        key=(config.key,) if config.key else (),
    )
    state = base.memory["state"] if base else None
    if base is not None and goes_on(state, rows.stream):
        _put_back(rows, base)
    else:
        state = None
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
        program = _program(config, project, Path(folder), state)

        def beat(said: str) -> None:
            num = f"{rows.num_records} records" + (f" ({said[:60]})" if said else "")
            progress(0, 0, f"runs {shown}: {num}")

        try:
            with _said_of(config):
                rows.read(lines_of(program, beat))
        except Rekeyed:
            return told_now(config, project, None, progress)
    return Told(lines=rows.lines(), memory=_memory(rows, recipe, state))


def goes_on(state: Any, of: str) -> bool:
    """Whether a tap that is given `state` goes on, and does not tell of every row again."""
    if not isinstance(state, dict) or not state:
        return False
    marks = state.get("bookmarks")
    return bool(marks.get(of)) if isinstance(marks, dict) else marks is None


def name_of(config: StreamConfig) -> str:
    """What the rows are called."""
    return config.stream or config.origin.rpartition(":")[2].replace(".", "-")


def shown_of(config: StreamConfig) -> str:
    """The program, for people."""
    return f"the tap {config.tap[0]}" if config.tap else f"the dlt resource {config.origin[4:]}"


def _memory(rows: Rows, recipe: str, before: Any) -> dict[str, Any]:
    versions = {row.version for row in rows.found.values()}
    version = min(versions, key=str) if versions else None
    others = [row for row in rows.found.values() if row.version != version]
    return {
        "recipe": recipe,
        "state": before if rows.state is None else rows.state,
        "key": list(rows.known_by),
        "version": version,
        "versions": {json.loads(row.line)["key"]: row.version for row in others},
    }


def _put_back(rows: Rows, base: Told) -> None:
    """The rows of before, to which the tap tells what changed."""
    rows.known_by = tuple(base.memory["key"])
    versions = base.memory["versions"]
    for line in base.lines:
        stored = json.loads(line)
        version = versions.get(stored["key"], base.memory["version"])
        key, row = row_of(rows.known_by, stored["record"], stored.get("reason", ""), version)
        rows.found[key] = dataclasses.replace(row, line=line)


def _told(last: LastLoad) -> Told:
    """What was taken in last."""
    with zipfile.ZipFile(last.path) as archive:
        (member,) = archive.namelist()
        return Told(lines=archive.read(member).splitlines(keepends=True), memory=last.memory)


# What is run.


def _recipe(config: StreamConfig, project: Path) -> str:
    """A digest of the files that say what the program tells of."""
    names = [path.relative_to(os.path.realpath(project)) for path in _files(config, project)]
    digests = {name.as_posix(): _sha256(project / name) for name in names}
    return fingerprint(digests)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _files(config: StreamConfig, project: Path) -> Iterator[Path]:
    """The files of the project's folder that the program is given.

    Raises:
        NotFound, DataError: one is not there, or leads out of the project's folder.
    """
    if config.origin.startswith(DLT):
        yield plain_file(project, project / config.origin[len(DLT) :].rpartition(":")[0])
        return
    for name, value in arguments_of(config.tap):
        if name in FILES_OF_TAP:
            yield plain_file(project, project / value)


def _program(config: StreamConfig, project: Path, scratch: Path, state: Any) -> Program:
    lacking = [name for name in config.environment if name not in os.environ]
    if lacking:
        raise DataError(
            f"the environment variable {lacking[0]} is not set",
            remedy=f"{shown_of(config)} needs it, its section says: export {lacking[0]}=...",
        )
    given = {name: os.environ[name] for name in config.environment}
    said = scratch / "state.json"
    if config.origin == SINGER:
        command = [_executable(config.tap[0], project), *config.tap[1:]]
        if state is not None:
            said.write_text(json.dumps(state))
            command += ["--state", str(said)]
    else:
        path, _, resource = config.origin[len(DLT) :].rpartition(":")
        if state is not None:
            said.write_text(state["dlt"])
        # -P: a json.py in the project's folder is not the one that is meant.
        command = [
            sys.executable,
            "-P",
            dlt_child.__file__,
            str(plain_file(project, project / path)),
        ]
        command += [resource, str(said)]
        given = {**_QUIET, "DLT_DATA_DIR": str(scratch), **given}
    return Program(
        command=command,
        shown=shown_of(config),
        folder=project,
        scratch=scratch,
        environment=given,
        secrets=tuple(_secrets(config, project)),
    )


def _executable(name: str, project: Path) -> str:
    found = str(plain_file(project, project / name)) if "/" in name else shutil.which(name)
    if found is None:
        raise DataError(
            f"there is no program {name} on PATH",
            remedy="install the tap, best into a virtual environment of its own, and put that on "
            "PATH; or name a program inside the project's folder by its path",
        )
    return found


def _secrets(config: StreamConfig, project: Path) -> Iterator[str]:
    """What in a tap's configuration is called a secret, and is not to be repeated."""
    if not config.tap:
        return
    for path in _files(config, project):
        try:
            values = json.loads(path.read_bytes())
        except ValueError:  # the tap says what is wrong with it
            continue
        if isinstance(values, dict):
            yield from (str(v) for k, v in values.items() if is_secret(k) and v)


@contextmanager
def _said_of(config: StreamConfig) -> Iterator[None]:
    """What the code says that dlt's child ended with."""
    try:
        yield
    except DataError as error:
        if config.origin.startswith(DLT) and f"ended with {dlt_child.NO_DLT}" in error.message:
            raise MissingExtra("dlt", "dlt") from None
        raise
