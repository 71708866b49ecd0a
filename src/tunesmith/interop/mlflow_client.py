"""A client of MLflow's, at a place that may be reached."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tunesmith.core.errors import MissingExtra, NotFound, UsageError
from tunesmith.stages.ingest.reach import allowed_addresses, place_of

SQLITE = "sqlite:///"


def client(uri: str, hosts: Collection[str]) -> Any:
    """An `MlflowClient` for a SQLite file, or for a server that the project file allows.

    Raises:
        UsageError: `uri` is neither.
        DataError: the server may not be reached.
        MissingExtra: mlflow is not installed.
    """
    if uri.startswith(("http://", "https://")):
        try:
            allowed_addresses(place_of(uri), hosts)
        except ValueError as error:
            raise UsageError(f"this address cannot be used: {error}") from error
    elif not uri.startswith(SQLITE) or not uri.removeprefix(SQLITE):
        raise UsageError(
            "this is no place of MLflow's that can be used",
            remedy="write sqlite:///PATH of its database, or https://HOST of its server",
        )
    # It reports what it is used for to its makers, unless it is told not to.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    try:
        import mlflow
    except ModuleNotFoundError as error:
        raise MissingExtra("mlflow", "mlflow") from error
    return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


def database_file(uri: str) -> Path | None:
    """The file that a SQLite address names; None for a server.

    Raises:
        NotFound: its folder is not there.
    """
    if not uri.startswith(SQLITE):
        return None
    path = Path(uri.removeprefix(SQLITE)).resolve()
    if not path.parent.is_dir():
        raise NotFound(f"there is no folder {path.parent}", remedy="make it, or name another")
    return path
