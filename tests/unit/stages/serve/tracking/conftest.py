"""A real service that only tracks, on a free port, and MLflow's real client."""

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.db import Database
from tunesmith.core.migrations import migrate
from tunesmith.stages.serve.app import create_app
from tunesmith.stages.serve.config import ServiceConfig
from tunesmith.stages.serve.run import _listen
from tunesmith.stages.serve.tracking.app import tracking_app


@dataclasses.dataclass
class Tracking:
    """A service that runs, and its store."""

    url: str
    app: FastAPI
    folder: Path
    database: Database
    blobs: FolderBlobs
    http: httpx.Client

    def post(self, path: str, /, **body) -> httpx.Response:
        return self.http.post(f"/mlflow/api/2.0/mlflow/{path}", json=body)

    def get(self, path: str, /, **query) -> httpx.Response:
        return self.http.get(f"/mlflow/api/2.0/mlflow/{path}", params=query)

    def new_run(self, **body) -> str:
        run: str = self.post("runs/create", experiment_id="0", **body).json()["run"]["info"][
            "run_id"
        ]
        return run


@contextlib.contextmanager
def _running(folder: Path, max_bytes: int = 1_000_000) -> Iterator[Tracking]:
    database = Database(f"sqlite:///{folder / 'tunesmith.db'}")
    migrate(database, folder)
    blobs = FolderBlobs(folder / "blobs")
    app = create_app(
        [],
        config=ServiceConfig(name="tracking", tracking=True),
        record_trace=lambda _trace: None,
        ask=None,
        tracking=tracking_app(database, blobs, folder / "work", max_bytes),
    )
    with _listen("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            with httpx.Client(base_url=url) as http:
                yield Tracking(url, app, folder, database, blobs, http)
        finally:
            server.should_exit = True
            thread.join(timeout=60)
            database.close()
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Tracking]:
    """One service for a module's tests, which use names of their own."""
    with _running(tmp_path_factory.mktemp("tracking")) as running:
        yield running
