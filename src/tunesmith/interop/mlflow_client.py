"""A client of MLflow's, at a place that may be reached, and at no other."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from tunesmith.core.db import SqlError
from tunesmith.core.errors import DataError, MissingExtra, NotFound, UsageError
from tunesmith.interop.only import only
from tunesmith.stages.ingest.reach import Place, place_of

SQLITE = "sqlite:///"


@contextlib.contextmanager
def client(uri: str, hosts: Collection[str]) -> Iterator[Any]:
    """An `MlflowClient` for a SQLite file, or for a server that the project file allows; as long
    as it is used nothing else is reached, whatever the server says.

    Raises:
        UsageError: `uri` is neither.
        DataError: the server may not be reached, or MLflow failed; of what is done with the client,
            too.
        MissingExtra: mlflow is not installed.
    """
    place = server(uri)
    if place is None and not uri.removeprefix(SQLITE):
        raise UsageError(
            "this is no place of MLflow's that can be used",
            remedy="write sqlite:///PATH of its database, or https://HOST of its server",
        )
    # It reports what it is used for to its makers, unless it is told not to.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    # Files come and go through the server, not by addresses elsewhere that it hands out.
    os.environ["MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD"] = "false"
    os.environ["MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD"] = "false"
    try:
        import mlflow
    except ModuleNotFoundError as error:
        raise MissingExtra("mlflow", "mlflow") from error
    from alembic.util import CommandError
    from google.protobuf.json_format import ParseError  # type: ignore[import-untyped]
    from requests import RequestException

    foreign = (mlflow.MlflowException, RequestException, ParseError, CommandError, SqlError)
    with contextlib.ExitStack() as held:
        refused = held.enter_context(only(place, hosts)) if place else []
        try:
            yield mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
        except foreign as error:
            text = str(error)
            for each in refused:  # MLflow repeats it in an exception of its own
                if each.message in text:
                    raise each from error
            raise DataError(
                f"MLflow failed: {text[:1000] or type(error).__name__}",
                remedy="see that it works with MLflow's own client, and run the command again",
            ) from error


def server(uri: str) -> Place | None:
    """Where the server is that `uri` names; None for a SQLite file.

    Raises:
        UsageError: it is neither, or an address that cannot be used.
    """
    if uri.startswith(SQLITE):
        return None
    if not uri.startswith(("http://", "https://")):
        raise UsageError(
            "this is no place of MLflow's that can be used",
            remedy="write sqlite:///PATH of its database, or https://HOST of its server",
        )
    try:
        return place_of(uri)
    except ValueError as error:
        raise UsageError(f"this address cannot be used: {error}") from error


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
