"""Registered models and their versions are deleted; tags of these and of experiments, too."""

from __future__ import annotations

from fastapi import APIRouter, Response

from tunesmith.core.db import Database
from tunesmith.core.errors import NotFound
from tunesmith.core.owner import actor
from tunesmith.core.tracked import models, remove, runs
from tunesmith.stages.serve.tracking.wire import Body, ExperimentId, Key, ModelName, Number, answer


class _Model(Body):
    name: ModelName


class _Version(_Model):
    version: Number


class _ModelTag(_Model):
    key: Key


class _VersionTag(_Version):
    key: Key


class _ExperimentTag(Body):
    experiment_id: ExperimentId
    key: Key


def routes(database: Database) -> APIRouter:
    """The routes under /api/2.0/mlflow. A local service has no accounts, so what is deleted was
    deleted by who runs it."""
    router = APIRouter()

    @router.delete("/registered-models/delete")
    def delete_model(body: _Model) -> Response:
        with database.write() as connection:
            remove.delete_model(connection, body.name, actor())
        return answer()

    @router.delete("/model-versions/delete")
    def delete_version(body: _Version) -> Response:
        with database.write() as connection:
            remove.delete_version(connection, body.name, body.version, actor())
        return answer()

    @router.delete("/registered-models/delete-tag")
    def delete_model_tag(body: _ModelTag) -> Response:
        with database.write() as connection:
            models.registered_model(connection, body.name)
            runs.delete_tag(connection, f"model/{body.name}", body.key)
        return answer()

    @router.delete("/model-versions/delete-tag")
    def delete_version_tag(body: _VersionTag) -> Response:
        with database.write() as connection:
            models.version(connection, body.name, body.version)
            runs.delete_tag(connection, models.version_owner(body.name, body.version), body.key)
        return answer()

    @router.post("/experiments/delete-experiment-tag")
    def delete_experiment_tag(body: _ExperimentTag) -> Response:
        with database.write() as connection:
            runs.experiment(connection, body.experiment_id)
            owner = f"experiment/{body.experiment_id}"
            if not runs.delete_tag(connection, owner, body.key):
                raise NotFound(f"experiment {body.experiment_id} has no tag {body.key!r}")
        return answer()

    return router
