"""The proof of an erasure: every file of the store is searched for what should be in none, and what
could not be read is said."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tunesmith.core import catalog, erasure
from tunesmith.core.errors import StoreError
from tunesmith.core.project_folder import STORE
from tunesmith.core.ref import Blob
from tunesmith.lineage import journal as journals
from tunesmith.lineage import scan
from tunesmith.project import Project


@dataclass(frozen=True, kw_only=True, slots=True)
class Searched:
    """How much was read, and what for."""

    num_blobs: int
    num_bytes: int
    found: tuple[str, ...]
    """Files in which something was found after all."""
    unread: tuple[str, ...]
    """What could not be read, and why, of the files in which nothing was found."""


def known(project: Project) -> tuple[dict[str, str], dict[str, str], set[str]]:
    """Of each blob what made it, and by which kind of step; and which blobs are records."""
    what: dict[str, str] = {}
    kinds: dict[str, str] = {}
    records: set[str] = set()
    runs = project.runs()
    with project.runner.database.read() as connection:
        for run in runs:
            for blob in catalog.run_blobs(connection, run.id):
                what.setdefault(blob.sha256, f"{blob.media_type} of {run.step}, run {run.id}")
                kinds.setdefault(blob.sha256, run.kind)
            if run.output is not None:
                records.add(run.output.sha256)
    return what, kinds, records


def search(project: Project, store: Path, wanted: scan.Needles) -> Searched:
    """Read every blob, the other files of the store, and the served requests.

    Raises:
        StoreError: requests that have it were served meanwhile.
    """
    what, _, _ = known(project)
    named: dict[Path, str] = {}
    for digest in project.runner.blobs.digests():
        path = project.runner.blobs.path(Blob(sha256=digest, num_bytes=0))
        named[path] = f"blob {digest[:12]} ({what.get(digest, 'of no run')})"
    num_blobs = len(named)
    for path in (path for path in store.rglob("*") if path.is_file()):
        inside = path.relative_to(store)
        is_blob = inside.parts[0] == "blobs" and inside.parts[1] != "incoming"
        if not is_blob and not inside.name.startswith(journals.FILE):
            named[path] = f"{STORE}/{inside}"
    found: list[str] = []
    unread: dict[str, None] = {}
    num_bytes = 0
    for path, name in named.items():
        told: list[str] = []
        num_bytes += path.stat().st_size
        if scan.holds(path, wanted, told.append):
            found.append(name)
        else:
            unread |= dict.fromkeys(f"{name}: {each}" for each in told)
    with project.runner.database.read() as connection:
        num_left = len(list(erasure.traces_with(connection, wanted.texts())))
    if num_left:
        raise StoreError(
            f"{num_left} served requests came in while their texts were erased",
            remedy="stop the service, and run the same command again",
        )
    return Searched(
        num_blobs=num_blobs, num_bytes=num_bytes, found=tuple(found), unread=tuple(unread)
    )
