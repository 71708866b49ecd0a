"""Files of runs and logged models: up, down, listed.

Bytes go to the store under their digest; a path is a key of a table. Nothing is written over: of a
path that is written again the newest bytes are shown, and the earlier ones stay.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse

from tunesmith.core.blobs import Blobs, room_for
from tunesmith.core.db import Database
from tunesmith.core.errors import NotFound, UsageError
from tunesmith.core.owner import owner as this_process
from tunesmith.core.ref import Blob
from tunesmith.core.tracked import files, models, runs
from tunesmith.stages.serve.guard import BODY_TIMEOUT_S
from tunesmith.stages.serve.problem import Problem
from tunesmith.stages.serve.tracking.names import artifact_path, location, place
from tunesmith.stages.serve.tracking.wire import RunId, answer


def proxy_routes(database: Database, blobs: Blobs, work: Path, max_bytes: int) -> APIRouter:
    """The routes under /api/2.0/mlflow-artifacts; what comes is first written below `work`."""
    router = APIRouter()

    @router.put("/artifacts/{path:path}")
    async def upload(path: str, request: Request) -> Response:
        owner, name = place(path)
        if not name:
            raise UsageError("a file needs a name", remedy="put it below the artifact_uri")
        await asyncio.to_thread(_require, database, owner)
        work.mkdir(parents=True, exist_ok=True)
        # Only this user may look into it, and what a crash leaves is swept by the next run.
        folder = Path(tempfile.mkdtemp(dir=work, prefix=f"{this_process()}."))
        try:
            with room_for("an artefact"):
                await _receive(request, folder / "incoming", max_bytes)
            await asyncio.to_thread(_keep, database, blobs, owner, name, folder / "incoming")
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return answer()

    @router.get("/artifacts")
    def listed(path: Annotated[str, Query(max_length=2000)]) -> Response:
        owner, name = place(path)
        with database.read() as connection:
            found = files.artifacts(connection, owner)
        return answer({"files": _children(found, name)})

    @router.get("/artifacts/{path:path}")
    def download(path: str) -> Response:
        owner, name = place(path)
        with database.read() as connection:
            blob = files.artifacts(connection, owner).get(name)
        if blob is None:
            raise NotFound(f"there is no artefact {name!r}")
        blobs.check(blob, deep=True)
        return FileResponse(
            blobs.path(blob),
            media_type="application/octet-stream",
            headers={
                "Content-Disposition": "attachment",  # never a page of this address
                "X-Content-Type-Options": "nosniff",
                "ETag": f'"{blob.sha256}"',
            },
        )

    return router


def list_routes(database: Database) -> APIRouter:
    """The routes under /api/2.0/mlflow."""
    router = APIRouter()

    @router.get("/artifacts/list")
    def listed(
        run_id: Annotated[RunId, Query()], path: Annotated[str, Query(max_length=2000)] = ""
    ) -> Response:
        name = artifact_path(path) if path else ""
        with database.read() as connection:
            run = runs.run(connection, run_id)
            found = files.artifacts(connection, run_id)
        entries = [
            {**each, "path": f"{name}/{each['path']}" if name else each["path"]}
            for each in _children(found, name)
        ]
        return answer({"root_uri": location(run.experiment, run_id), "files": entries})

    return router


async def _receive(request: Request, target: Path, max_bytes: int) -> None:
    """Write the body as it comes; counted, since a Content-Length can be absent or wrong."""
    count = 0
    with target.open("wb") as file:
        chunks = request.stream()
        while True:
            try:
                async with asyncio.timeout(BODY_TIMEOUT_S):
                    chunk = await anext(chunks, None)
            except TimeoutError:
                raise Problem(
                    408, f"nothing of the file came for {BODY_TIMEOUT_S:.0f} s", code="timeout"
                ) from None
            if chunk is None:
                return
            count += len(chunk)
            if count > max_bytes:
                raise Problem(
                    413, f"the file is longer than {max_bytes} bytes", code="request_too_large"
                )
            await asyncio.to_thread(file.write, chunk)


def _require(database: Database, owner: str) -> None:
    with database.read() as connection:
        if owner.startswith("m-"):
            models.logged_model(connection, owner)
        else:
            runs.require_run(connection, owner)


def _keep(database: Database, blobs: Blobs, owner: str, name: str, file: Path) -> None:
    """The bytes first, then the row that refers to them."""
    blob = blobs.put(file)
    with database.write() as connection:
        present = files.artifacts(connection, owner)
        if any(name.startswith(f"{each}/") or each.startswith(f"{name}/") for each in present):
            raise UsageError(f"{name!r} would be a file and a folder at once")
        files.add_artifact(connection, owner, name, blob)


def _children(found: dict[str, Blob], folder: str) -> list[dict[str, str | int | bool]]:
    """What lies directly in a folder; of a file, itself."""
    if folder in found:
        size = found[folder].num_bytes
        return [{"path": folder.rpartition("/")[2], "is_dir": False, "file_size": size}]
    entries: dict[str, dict[str, str | int | bool]] = {}
    for path, blob in files.below(found, folder).items():
        name, slash, _ = path.partition("/")
        if slash:
            entries[name] = {"path": name, "is_dir": True}
        else:
            entries[name] = {"path": name, "is_dir": False, "file_size": blob.num_bytes}
    return list(entries.values())
