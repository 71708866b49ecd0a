"""The routes as one application, which the service mounts at /mlflow, behind its guard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from tunesmith.core.blobs import Blobs
from tunesmith.core.db import Database
from tunesmith.core.errors import (
    BlobCorrupt,
    BlobMissing,
    Conflict,
    NotAllowed,
    NotFound,
    StoreError,
    StoreFull,
    StoreLocked,
    TunesmithError,
    UsageError,
)
from tunesmith.core.tracked.runs import ensure_default
from tunesmith.stages.serve.problem import Problem
from tunesmith.stages.serve.tracking import artifacts, models, removal, runs

AT = "/mlflow"
UPLOADS = f"{AT}/api/2.0/mlflow-artifacts/artifacts/"
"""Below this a file's bytes are received as they come, not kept in memory first."""
_API = "/api/2.0/mlflow"


def tracking_app(database: Database, blobs: Blobs, work: Path, max_bytes: int) -> FastAPI:
    """MLflow's REST API, as far as training code calls it, over a store.

    Args:
        work: a folder of this store's for files that are being received.
        max_bytes: longest artefact.
    """
    with database.write() as connection:
        ensure_default(connection)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    for router in (
        runs.routes(database),
        models.routes(database),
        removal.routes(database),
        artifacts.list_routes(database),
    ):
        app.include_router(router, prefix=_API)
    proxy = artifacts.proxy_routes(database, blobs, work, max_bytes)
    app.include_router(proxy, prefix=f"{_API}-artifacts")
    _add_error_handlers(app)
    return app


def _add_error_handlers(app: FastAPI) -> None:
    """Errors as MLflow's clients read them: {"error_code", "message"}."""

    @app.exception_handler(TunesmithError)
    async def ours(request: Request, error: TunesmithError) -> Response:
        status, code = _code(error, request.url.path)
        return _error(status, code, str(error))

    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> Response:
        return _error(error.status, "INVALID_PARAMETER_VALUE", error.message)

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        code = "ENDPOINT_NOT_FOUND" if error.status_code in (404, 405) else "BAD_REQUEST"
        return _error(error.status_code, code, f"{error.detail}: not offered here")

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first: Mapping[str, Any] = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:])
        return _error(400, "INVALID_PARAMETER_VALUE", f"{field or 'the body'}: {first['msg']}")


def _code(error: TunesmithError, path: str) -> tuple[int, str]:
    match error:
        case NotFound() | BlobMissing():
            return 404, "RESOURCE_DOES_NOT_EXIST"
        case NotAllowed():
            return 403, "PERMISSION_DENIED"
        case StoreLocked():
            return 503, "TEMPORARILY_UNAVAILABLE"
        case Conflict() if path.endswith("/create"):
            return 400, "RESOURCE_ALREADY_EXISTS"
        case Conflict() | UsageError():
            return 400, "INVALID_PARAMETER_VALUE"
        case StoreFull():
            return 507, "RESOURCE_EXHAUSTED"
        case BlobCorrupt():
            return 500, "DATA_LOSS"
        case StoreError():  # the database is away, say: clients wait and try again
            return 503, "TEMPORARILY_UNAVAILABLE"
        case _:
            return 500, "INTERNAL_ERROR"


def _error(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error_code": code, "message": message}, status_code=status)
