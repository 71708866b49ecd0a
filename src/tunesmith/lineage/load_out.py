"""Versions of data that leave the store, as tables for others.

A copy is in the evidence before anybody can see it: the log may have one that was never finished,
never the other way round. It says what left and where to, no text of a row and no password.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from tunesmith.core import evidence
from tunesmith.core.canonical import fingerprint
from tunesmith.core.copies import require_none_forgotten
from tunesmith.core.errors import NotFound, UsageError
from tunesmith.core.hashing import sha256_of_file
from tunesmith.core.new_folder import new_folder, require_free
from tunesmith.core.project_folder import STORE
from tunesmith.core.ref import to_plain
from tunesmith.lineage.versions import GONE, ROWS, Held, card_of, find, path_of
from tunesmith.project import Project
from tunesmith.records.data import DataAsset, Dataset
from tunesmith.records.lineage import LoadedOut
from tunesmith.stages.ingest.reach import postgres_server
from tunesmith.stages.load_out import sql
from tunesmith.stages.load_out.files import FileFormat, write_files
from tunesmith.stages.load_out.table import Table, alike, asset_table, dataset_table

LOADED_OUT = "data.loaded_out"
OPTION = "--to"
"""Which flag says where to."""
Format = Literal[FileFormat, "sql"]


def load_out(project: Project, ref: str, where: str, format: Format, table: str = "") -> LoadedOut:
    """Write the version that `ref` names where others read it: a new folder, or a database's table.

    Raises:
        NotFound: there is no such version, or it was erased.
        UsageError: `where` is in the store, or no database; `ref` is no version.
        Conflict: there is something at `where` that is not this program's; or an erasure was begun
            and is not done.
        DataError: the database cannot be written to.
    """
    held = find(project, ref)
    sides = _sides(project, held)
    _require_outside(project, where.removeprefix(sql.SQLITE))
    made = LoadedOut(
        kind=held.kind,
        version=held.ref,
        digest=held.version.digest,
        format=format,
        where=where,
        table="",
        num_rows={side: each.num_rows for side, each in sides.items()},
        files={},
        licences=_licences(held),
        is_new=True,
    )
    if format == "sql":
        sql.check_address(where)
        if where.startswith(sql.SQLITE):
            where = f"{sql.SQLITE}{Path(where.removeprefix(sql.SQLITE)).absolute()}"
            server = {}
        else:
            server = postgres_server(where, project.file.project.hosts)
        made = dataclasses.replace(made, where=where, table=table or held.version.name)
        is_new = sql.write_table(
            where,
            made.table,
            sides,
            digest=held.version.digest,
            server=server,
            before_it_shows=lambda: _put_on_record(project, held, made),
        )
        return dataclasses.replace(made, is_new=is_new)
    if table:
        raise UsageError("only databases have tables", remedy="leave out --table, or use --as sql")
    made = dataclasses.replace(made, where=str(Path(where).absolute()))
    return _to_folder(project, held, sides, format, made)


def _to_folder(
    project: Project, held: Held, sides: Mapping[str, Table], format: FileFormat, made: LoadedOut
) -> LoadedOut:
    """All of it appears at once, or nothing."""
    folder = Path(made.where)
    with new_folder(folder, OPTION) as temporary:
        card = card_of(project, held)
        name = held.version.name
        write_files(temporary, format, sides, name=name, card=card, licences=made.licences)
        made = dataclasses.replace(made, files=dict(_digests(temporary)))
        require_free(folder, OPTION)  # before it is on record
        _put_on_record(project, held, made)
    return made


def _sides(project: Project, held: Held) -> dict[str, Table]:
    """The tables of a version that may leave, by side; of a data asset there is one."""
    if held.is_erased:
        raise NotFound(
            f"{held.ref} was erased: it had rows of somebody who was forgotten",
            remedy=f"take a newer version: `tunesmith data log {held.version.name}`",
        )
    if isinstance(held.record, DataAsset):
        return {held.version.name: asset_table(path_of(project, held, "rows"))}
    of = held.record.format
    return alike(
        {side: dataset_table(path_of(project, held, side), of) for side in ("train", "test")}
    )


def _licences(held: Held) -> tuple[str, ...]:
    record = held.record
    return record.licences if isinstance(record, Dataset) else (record.licence,)


def _digests(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), sha256_of_file(path)


def _put_on_record(project: Project, held: Held, made: LoadedOut) -> None:
    """The entry that says what leaves, unless it may not leave any more.

    Raises:
        Conflict: somebody is being forgotten, or was, since it was read.
    """
    body = to_plain(made) | {"files": fingerprint(made.files) if made.files else ""}
    with project.runner.database.write() as connection:
        rows = [blob.sha256 for table, blob in held.tables.items() if GONE[table] == ROWS]
        require_none_forgotten(connection, held.ref, rows)
        evidence.append(connection, LOADED_OUT, project.runner.actor, body)


def _require_outside(project: Project, where: str) -> None:
    if Path(where).absolute().resolve().is_relative_to(project.folder / STORE):
        raise UsageError(f"{where} is in the store", remedy="name a place outside of it")
