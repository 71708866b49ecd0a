"""Artefacts: a path of a run or a logged model, and the digest of its bytes in the store.

A path is a key of a table and nothing else: no path that a client sends reaches the disk.
"""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tunesmith.core import tables
from tunesmith.core.canonical import fingerprint
from tunesmith.core.db import clock
from tunesmith.core.ref import Blob


def add_artifact(connection: Connection, owner: str, path: str, blob: Blob) -> None:
    """Say which bytes a path has from now on; those that it had are kept."""
    connection.execute(
        tables.tracked_artifacts.insert().values(
            owner=owner,
            path=path,
            sha256=blob.sha256,
            num_bytes=blob.num_bytes,
            at=clock(connection),
        )
    )


def artifacts(connection: Connection, owner: str) -> dict[str, Blob]:
    """By path, as they are now; sorted."""
    of = tables.tracked_artifacts.c
    rows = connection.execute(
        sa.select(of.path, of.sha256, of.num_bytes).where(of.owner == owner).order_by(of.id)
    )
    found = {path: Blob(sha256=sha256, num_bytes=num_bytes) for path, sha256, num_bytes in rows}
    return dict(sorted(found.items()))


def below(found: dict[str, Blob], path: str) -> dict[str, Blob]:
    """Those of `found` under a folder; by the rest of the path."""
    if not path:
        return found
    return {
        each.removeprefix(f"{path}/"): blob
        for each, blob in found.items()
        if each.startswith(f"{path}/")
    }


def tree_digest(found: dict[str, Blob]) -> str:
    """The digest of a folder: of the canonical JSON of its (path, bytes, digest)."""
    return fingerprint([[path, blob.num_bytes, blob.sha256] for path, blob in found.items()])


def in_use(connection: Connection) -> Iterator[tuple[str, str, Blob]]:
    """(owner, path, bytes) of every artefact whose bytes are in use, of earlier ones too: all but
    those of runs and logged models that were deleted, as far as no version was made of them."""
    runs, logged = tables.tracked_runs.c, tables.tracked_logged.c
    experiments, versions = tables.tracked_experiments.c, tables.tracked_versions.c
    is_gone = sa.union(
        sa.select(runs.id).where(runs.stage == "deleted"),
        sa.select(logged.id).where(logged.stage == "deleted"),
        sa.select(logged.id)
        .join(tables.tracked_experiments, experiments.id == logged.experiment)
        .where(experiments.stage == "deleted"),
    )
    deleted = set(connection.execute(is_gone).scalars())
    made_of: dict[str, list[str]] = {}
    for owner, path in connection.execute(sa.select(versions.owner, versions.path)):
        made_of.setdefault(owner, []).append(path)
    of = tables.tracked_artifacts.c
    rows = sa.select(of.owner, of.path, of.sha256, of.num_bytes).order_by(of.sha256, of.id)
    for owner, path, sha256, num_bytes in connection.execute(rows):
        if owner not in deleted or any(_is_below(path, top) for top in made_of.get(owner, ())):
            yield owner, path, Blob(sha256=sha256, num_bytes=num_bytes)


def blobs(connection: Connection) -> list[Blob]:
    """Every blob of an artefact that is in use, once."""
    return list(dict.fromkeys(blob for _, _, blob in in_use(connection)))


def _is_below(path: str, top: str) -> bool:
    return top in ("", path) or path.startswith(f"{top}/")
