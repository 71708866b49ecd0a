"""Artefacts: a path of a run or a logged model, and the digest of its bytes in the store.

A path is a key of a table and nothing else: no path that a client sends reaches the disk.
"""

from __future__ import annotations

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


def blobs(connection: Connection) -> list[Blob]:
    """Every blob that a tracked artefact refers to, of earlier ones too: these are in use."""
    of = tables.tracked_artifacts.c
    rows = connection.execute(sa.select(of.sha256, of.num_bytes).distinct().order_by(of.sha256))
    return [Blob(sha256=sha256, num_bytes=num_bytes) for sha256, num_bytes in rows]
