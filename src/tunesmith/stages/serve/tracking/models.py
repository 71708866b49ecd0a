"""Models that are logged, and registered models with their versions and aliases."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import AfterValidator, Field

from tunesmith.core.db import Database, Transaction
from tunesmith.core.errors import NotFound, UsageError
from tunesmith.core.tracked import files, models, runs
from tunesmith.stages.serve.tracking import where, wire
from tunesmith.stages.serve.tracking.names import location, source, storable, version_named
from tunesmith.stages.serve.tracking.wire import (
    Alias,
    Body,
    ExperimentId,
    Key,
    LoggedId,
    LoggedStatus,
    ModelName,
    Name,
    Number,
    Page,
    Pair,
    Value,
    answer,
)


class _NewLogged(Body):
    experiment_id: ExperimentId = 0
    name: Annotated[str, Field(max_length=500), AfterValidator(storable)] = ""
    model_type: Value = ""
    source_run_id: Annotated[str, Field(pattern=r"^([0-9a-f]{32})?$")] = ""
    params: Annotated[tuple[Pair, ...], Field(max_length=1000)] = ()
    tags: Annotated[tuple[Pair, ...], Field(max_length=1000)] = ()


class _Status(Body):
    status: LoggedStatus


class _Tags(Body):
    tags: Annotated[tuple[Pair, ...], Field(max_length=1000)] = ()


class _Params(Body):
    params: Annotated[tuple[Pair, ...], Field(max_length=1000)] = ()


class _LoggedOrder(Body):
    field_name: str
    ascending: bool = True
    dataset_name: str = ""
    dataset_digest: str = ""

    def text(self) -> str:
        """As `order_by` is written elsewhere."""
        if self.dataset_name or self.dataset_digest:
            raise UsageError("order_by a metric of one dataset is not offered")
        return f"{self.field_name} {'ASC' if self.ascending else 'DESC'}"


class _LoggedPage(Page):
    experiment_ids: Annotated[tuple[ExperimentId, ...], Field(max_length=1000)] = ()
    filter: str = ""
    datasets: tuple[Any, ...] = ()
    order_by: Annotated[tuple[_LoggedOrder, ...], Field(max_length=50)] = ()
    max_results: Annotated[int, Field(ge=1, le=1000)] = 100


class _Named(Body):
    name: ModelName


class _NewModel(_Named):
    description: Value = ""
    tags: Annotated[tuple[Pair, ...], Field(max_length=1000)] = ()


class _ModelTag(_Named):
    key: Key
    value: Value = ""


class _Version(_Named):
    version: Number


class _NewVersion(_NewModel):
    source: Name
    run_id: Annotated[str, Field(pattern=r"^([0-9a-f]{32})?$")] = ""
    model_id: Annotated[str, Field(pattern=r"^(m-[0-9a-f]{32})?$")] = ""


class _VersionText(_Version):
    description: Value = ""


class _VersionTag(_Version):
    key: Key
    value: Value = ""


class _Aliased(_Named):
    alias: Alias


class _NewAlias(_Aliased):
    version: Number


class _ModelPage(Page):
    filter: str = ""
    order_by: Annotated[tuple[str, ...], Field(max_length=50)] = ()


# What is asked for and ordered by -> the field of the record.
_TIMES = {"creation_timestamp": "created_ms", "last_updated_timestamp": "changed_ms"}
_LOGGED = {
    "name": "name",
    "model_id": "id",
    "model_type": "type",
    "status": "status",
    "source_run_id": "run",
    "creation_time": "created_ms",
    **_TIMES,
}
_MODEL = {"name": "name", "timestamp": "changed_ms", **_TIMES}
_VERSION = {"name": "name", "version_number": "number", "run_id": "run", **_TIMES}


def routes(database: Database) -> APIRouter:
    """The routes under /api/2.0/mlflow."""
    router = APIRouter()
    _logged(router, database)
    _logged_texts(router, database)
    _registered(router, database)
    _versions(router, database)
    _found_versions(router, database)
    _aliases(router, database)
    return router


def _logged(router: APIRouter, database: Database) -> None:
    @router.post("/logged-models")
    def create(body: _NewLogged) -> Response:
        id = f"m-{uuid.uuid4().hex}"
        with database.write() as connection:
            runs.experiment(connection, body.experiment_id)
            if body.source_run_id:
                runs.require_run(connection, body.source_run_id)
            values = {
                "id": id,
                "experiment": body.experiment_id,
                "name": body.name or f"model-{id[2:10]}",
                "run": body.source_run_id,
                "type": body.model_type,
                "status": "LOGGED_MODEL_PENDING",
            }
            models.create_logged(connection, values)
            runs.set_params(connection, id, _plain(body.params))
            runs.set_tags(connection, id, _plain(body.tags))
        return shown(id)

    @router.get("/logged-models/{model_id}")
    def shown(model_id: LoggedId) -> Response:
        with database.read() as connection:
            found = models.logged_model(connection, model_id)
        return answer({"model": wire.logged(found)})

    @router.patch("/logged-models/{model_id}")
    def finalize(model_id: LoggedId, body: _Status) -> Response:
        with database.write() as connection:
            models.logged_model(connection, model_id)
            models.change_logged(connection, model_id, status=body.status)
        return shown(model_id)

    @router.delete("/logged-models/{model_id}")
    def delete(model_id: LoggedId) -> Response:
        with database.write() as connection:
            models.logged_model(connection, model_id)
            models.change_logged(connection, model_id, stage="deleted")
        return answer()

    @router.post("/logged-models/search")
    def search(body: _LoggedPage) -> Response:
        if body.datasets:
            raise UsageError("searching models by a dataset is not offered")
        asked = where.conditions(body.filter, _LOGGED)
        by = where.orders([each.text() for each in body.order_by], _LOGGED, ("attribute", "metric"))
        with database.read() as connection:
            found = models.logged(connection, experiments=body.experiment_ids)
        page, token = body.cut(where.chosen(found, asked, by, _LOGGED))
        return answer({"models": [wire.logged(each) for each in page], **token})


def _logged_texts(router: APIRouter, database: Database) -> None:
    @router.patch("/logged-models/{model_id}/tags")
    def set_tags(model_id: LoggedId, body: _Tags) -> Response:
        with database.write() as connection:
            models.logged_model(connection, model_id)
            runs.set_tags(connection, model_id, _plain(body.tags))
            found = models.logged_model(connection, model_id)
        return answer({"model": wire.logged(found)})

    @router.delete("/logged-models/{model_id}/tags/{key}")
    def delete_tag(model_id: LoggedId, key: Key) -> Response:
        with database.write() as connection:
            models.logged_model(connection, model_id)
            if not runs.delete_tag(connection, model_id, key):
                raise NotFound(f"logged model {model_id} has no tag {key!r}")
        return answer()

    @router.post("/logged-models/{model_id}/params")
    def set_params(model_id: LoggedId, body: _Params) -> Response:
        with database.write() as connection:
            models.logged_model(connection, model_id)
            runs.set_params(connection, model_id, _plain(body.params))
        return answer()


def _registered(router: APIRouter, database: Database) -> None:
    @router.post("/registered-models/create")
    def create(body: _NewModel) -> Response:
        with database.write() as connection:
            models.register(connection, body.name, body.description)
            runs.set_tags(connection, f"model/{body.name}", _plain(body.tags))
            made = models.registered_model(connection, body.name)
        return answer({"registered_model": wire.registered(made)})

    @router.get("/registered-models/get")
    def get(query: Annotated[_Named, Query()]) -> Response:
        with database.read() as connection:
            found = models.registered_model(connection, query.name)
        return answer({"registered_model": wire.registered(found)})

    @router.get("/registered-models/search")
    def search(query: Annotated[_ModelPage, Query()]) -> Response:
        asked = where.conditions(query.filter, _MODEL)
        by = where.orders(query.order_by, _MODEL, where.ATTRIBUTE)
        with database.read() as connection:
            found = models.registered(connection)
        page, token = query.cut(where.chosen(found, asked, by, _MODEL))
        return answer({"registered_models": [wire.registered(each) for each in page], **token})

    @router.patch("/registered-models/update")
    def update(body: _NewModel) -> Response:
        with database.write() as connection:
            models.describe(connection, body.name, body.description)
            changed = models.registered_model(connection, body.name)
        return answer({"registered_model": wire.registered(changed)})

    @router.post("/registered-models/set-tag")
    def set_tag(body: _ModelTag) -> Response:
        with database.write() as connection:
            models.registered_model(connection, body.name)
            runs.set_tags(connection, f"model/{body.name}", {body.key: body.value})
        return answer()


def _versions(router: APIRouter, database: Database) -> None:
    @router.post("/model-versions/create")
    def create(body: _NewVersion) -> Response:
        with database.write() as connection:
            owner, path, run = _made_of(connection, body)
            tree = files.below(files.artifacts(connection, owner), path)
            values = {
                "owner": owner,
                "path": path,
                "digest": files.tree_digest(tree),
                "run": run,
                "description": body.description,
            }
            number = models.create_version(connection, body.name, values)
            under = models.version_owner(body.name, number)
            runs.set_tags(connection, under, _plain(body.tags))
            made = _shown(connection, models.version(connection, body.name, number))
        return answer({"model_version": made})

    @router.patch("/model-versions/update")
    def update(body: _VersionText) -> Response:
        with database.write() as connection:
            models.describe(connection, body.name, body.description, body.version)
            changed = _shown(connection, models.version(connection, body.name, body.version))
        return answer({"model_version": changed})

    @router.post("/model-versions/set-tag")
    def set_tag(body: _VersionTag) -> Response:
        with database.write() as connection:
            models.version(connection, body.name, body.version)
            under = models.version_owner(body.name, body.version)
            runs.set_tags(connection, under, {body.key: body.value})
        return answer()


def _found_versions(router: APIRouter, database: Database) -> None:
    @router.get("/model-versions/get")
    def get(query: Annotated[_Version, Query()]) -> Response:
        with database.read() as connection:
            found = _shown(connection, models.version(connection, query.name, query.version))
        return answer({"model_version": found})

    @router.get("/model-versions/get-download-uri")
    def get_download_uri(query: Annotated[_Version, Query()]) -> Response:
        with database.read() as connection:
            found = _shown(connection, models.version(connection, query.name, query.version))
        return answer({"artifact_uri": found["source"]})

    @router.get("/model-versions/search")
    def search(query: Annotated[_ModelPage, Query()]) -> Response:
        asked = where.conditions(query.filter, _VERSION)
        by = where.orders(query.order_by, _VERSION, where.ATTRIBUTE)
        with database.read() as connection:
            found = where.chosen(models.versions(connection), asked, by, _VERSION)
            page, token = query.cut(found)
            shown = [_shown(connection, each) for each in page]
        return answer({"model_versions": shown, **token})

    @router.post("/registered-models/get-latest-versions")
    def latest(body: _Named) -> Response:
        with database.read() as connection:
            models.registered_model(connection, body.name)
            found = [_shown(connection, each) for each in models.versions(connection, body.name)]
        return answer({"model_versions": found[:1]})


def _aliases(router: APIRouter, database: Database) -> None:
    @router.post("/registered-models/alias")
    def set_alias(body: _NewAlias) -> Response:
        with database.write() as connection:
            models.set_alias(connection, body.name, body.alias, body.version)
        return answer()

    @router.get("/registered-models/alias")
    def get_by_alias(query: Annotated[_Aliased, Query()]) -> Response:
        with database.read() as connection:
            found = models.registered_model(connection, query.name)
            if query.alias not in found.aliases:
                raise NotFound(f"{query.name!r} has no alias {query.alias!r}")
            number = found.aliases[query.alias]
            shown = _shown(connection, models.version(connection, query.name, number))
        return answer({"model_version": shown})

    @router.delete("/registered-models/alias")
    def delete_alias(body: _Aliased) -> Response:
        with database.write() as connection:
            found = models.registered_model(connection, body.name)
            if body.alias in found.aliases:
                models.set_alias(connection, body.name, body.alias, 0)
        return answer()


def _made_of(connection: Transaction, body: _NewVersion) -> tuple[str, str, str]:
    """Whose artefacts a new version is made of, under which path, and by which run."""
    if copied := version_named(body.source):
        there = models.version(connection, *copied)
        if not there.owner:
            raise NotFound(f"{body.source} was taken over from elsewhere, without its files")
        return there.owner, there.path, body.run_id or there.run
    owner, path = source(body.source)
    if owner.startswith("m-"):
        return owner, path, body.run_id or models.logged_model(connection, owner).run
    runs.require_run(connection, owner)
    return owner, path, body.run_id


def _shown(connection: Transaction, version: models.RegisteredVersion) -> dict[str, Any]:
    if version.owner.startswith("m-"):  # a version stays when the model it was made of is deleted
        experiment = models.logged(connection, id=version.owner)[0].experiment
    elif version.owner:
        experiment = runs.run(connection, version.owner).experiment
    else:  # it was taken over from elsewhere, without its files
        return wire.version(version, "")
    return wire.version(version, location(experiment, version.owner, version.path))


def _plain(pairs: Sequence[Pair]) -> dict[str, str]:
    return {each.key: each.value for each in pairs}
