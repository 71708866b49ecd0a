"""Where MLflow says that artefacts lie, and whether they are read there.

A run's `artifact_uri` is whatever was written into it. On a server the files are reached that the
server gives out itself, and of a SQLite database those beside it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from tunesmith.core.errors import DataError
from tunesmith.core.hashing import sha256_of_file
from tunesmith.interop.mlflow_client import server
from tunesmith.stages.ingest.reach import Place

SCHEME = "mlflow-artifacts"
MAX_PATH = 1000


def repository(uri: str, place: Place, artifact_uri: str) -> Any:
    """MLflow's access to files that its server at `uri` (which is `place`) gives out itself; None
    where they are elsewhere."""
    parts = _parts(artifact_uri)
    here = ("", f"{place.name}:{place.port}")
    plain = re.fullmatch(r"[^?#%\\\x00-\x1f]*", parts.path) and ".." not in parts.path.split("/")
    if parts.scheme != SCHEME or parts.netloc not in here or not plain or len(parts.path) > 4000:
        return None
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

    # From the location that was looked at: MLflow's client would ask the server for it again.
    return MlflowArtifactsRepository(f"{SCHEME}:/{parts.path.lstrip('/')}", tracking_uri=uri)


def files_at(uri: str, artifact_uri: str) -> Any:
    """MLflow's access to the files of a server, which takes them itself.

    Raises:
        DataError: it says that they go elsewhere.
    """
    place = server(uri)
    assert place is not None
    files = repository(uri, place, artifact_uri or "")
    if files is None:
        raise DataError(
            f"{place.shown} says that files go to {shown(artifact_uri or '')}, which "
            "is not followed",
            remedy="start it with --serve-artifacts and an experiment of its own, or export to the "
            "SQLite database",
        )
    return files


def server_digests(files: Any) -> Iterator[tuple[str, str]]:
    """Path and digest of each file, which is fetched for it and not kept.

    Raises:
        DataError: what the server lists is no file, or its folders have no end.
    """
    for path in _listed(files, ""):
        with tempfile.TemporaryDirectory() as folder:
            local = Path(files.download_artifacts(path, folder))
            if not local.is_file() or not local.resolve().is_relative_to(Path(folder).resolve()):
                raise DataError(f"{path[:100]!r} is listed as a file by MLflow and is none")
            yield path, sha256_of_file(local)


def _listed(files: Any, folder: str) -> Iterator[str]:
    for entry in files.list_artifacts(folder or None):
        if len(entry.path) > MAX_PATH:
            raise DataError(f"MLflow lists a path of an artefact that is too long: {folder[:100]}")
        if entry.is_dir:
            yield from _listed(files, entry.path)
        else:
            yield entry.path


def folder_beside(database: Path, artifact_uri: str) -> Path | None:
    """The folder that a location names, if it is below the database's own; else None."""
    parts = _parts(artifact_uri)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        path = unquote(parts.path)
    elif not parts.scheme:
        path = artifact_uri
    else:
        return None
    if "\x00" in path:
        return None
    beside = database.parent.resolve()
    folder = (beside / path).resolve()
    return folder if beside in folder.parents else None


def folder_digests(folder: Path) -> Iterator[tuple[str, str]]:
    """Path and digest of each file below a folder; links that lead out of it are passed over."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.resolve().is_relative_to(folder):
            yield path.relative_to(folder).as_posix(), sha256_of_file(path)


def _parts(uri: str) -> SplitResult:
    try:
        return urlsplit(uri)
    except ValueError:
        return urlsplit("unreadable:")


def shown(artifact_uri: str) -> str:
    """Scheme and host of a location, for people.

    >>> shown("s3://bucket/1/abc"), shown("/var/lib/mlruns/1"), shown("https://me:pw@store/1")
    ('s3://bucket', 'a folder', 'https://store')
    """
    parts = _parts(artifact_uri)
    if parts.scheme in ("", "file"):
        return "a folder"
    host = parts.netloc.rpartition("@")[2]
    return re.sub(r"[^\x21-\x7e]", "?", f"{parts.scheme}:" + (f"//{host}" if host else ""))[:80]
