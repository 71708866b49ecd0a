"""Experiments, runs and metrics."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field

from tunesmith.core.db import Database
from tunesmith.core.errors import NotFound
from tunesmith.core.tracked import find, models, runs
from tunesmith.core.tracked.write import now_ms
from tunesmith.stages.serve.tracking import where, wire
from tunesmith.stages.serve.tracking.wire import (
    STAGES,
    Body,
    ExperimentId,
    Int64,
    Key,
    LoggedId,
    Long,
    Metric,
    Name,
    Page,
    Pair,
    RunId,
    Status,
    Value,
    View,
    answer,
)

RUN_NAME = "mlflow.runName"
USER = "mlflow.user"
_EXPERIMENT = {
    "name": "name",
    "experiment_id": "id",
    "creation_time": "created_ms",
    "last_update_time": "changed_ms",
}
"""What is asked for and ordered by -> the field of the record."""


class _Experiment(Body):
    name: Name
    tags: Annotated[tuple[Pair, ...], Field(max_length=100)] = ()


class _ExperimentPage(Page):
    filter: str = ""
    order_by: Annotated[tuple[str, ...], Field(max_length=50)] = ()
    view_type: View = "ACTIVE_ONLY"


class _ExperimentId(Body):
    experiment_id: ExperimentId


class _NewName(_ExperimentId):
    new_name: Name


class _ExperimentTag(_ExperimentId):
    key: Key
    value: Value = ""


class _NewRun(Body):
    experiment_id: ExperimentId = 0
    user_id: Value = ""
    run_name: Value = ""
    start_time: Int64 | None = None
    tags: Annotated[tuple[Pair, ...], Field(max_length=200)] = ()


class _Run(Body):
    run_id: RunId


class _ChangedRun(_Run):
    status: Status | None = None
    end_time: Int64 | None = None
    run_name: Value = ""


class _RunPair(_Run):
    key: Key
    value: Value = ""


class _RunMetric(_Run, Metric):
    pass


class _Batch(_Run):
    metrics: Annotated[tuple[Metric, ...], Field(max_length=1000)] = ()
    params: Annotated[tuple[Pair, ...], Field(max_length=1000)] = ()
    tags: Annotated[tuple[Pair, ...], Field(max_length=1000)] = ()


class _Dataset(Body):
    name: Name
    digest: Annotated[str, Field(min_length=1, max_length=64)]
    source_type: Long = ""
    source: Long = ""
    schema_: Annotated[Long, Field(alias="schema")] = ""
    profile: Long = ""


class _DatasetInput(Body):
    tags: Annotated[tuple[Pair, ...], Field(max_length=100)] = ()
    dataset: _Dataset


class _ModelLink(Body):
    model_id: LoggedId
    step: Int64 = 0


class _Inputs(_Run):
    datasets: Annotated[tuple[_DatasetInput, ...], Field(max_length=1000)] = ()
    models: Annotated[tuple[_ModelLink, ...], Field(max_length=1000)] = ()


class _Outputs(_Run):
    models: Annotated[tuple[_ModelLink, ...], Field(max_length=1000)] = ()


class _Search(Page):
    experiment_ids: Annotated[tuple[ExperimentId, ...], Field(max_length=1000)] = ()
    filter: str = ""
    run_view_type: View = "ACTIVE_ONLY"
    order_by: Annotated[tuple[str, ...], Field(max_length=50)] = ()


class _History(Page):
    run_id: RunId
    metric_key: Key
    max_results: Annotated[int, Field(ge=1, le=50_000)] = 25_000


def routes(database: Database) -> APIRouter:
    """The routes under /api/2.0/mlflow."""
    router = APIRouter()
    _experiments(router, database)
    _experiment_changes(router, database)
    _runs(router, database)
    _run_changes(router, database)
    _logging(router, database)
    return router


def _experiments(router: APIRouter, database: Database) -> None:
    @router.post("/experiments/create")
    def create(body: _Experiment) -> Response:
        with database.write() as connection:
            id = runs.create_experiment(connection, body.name)
            runs.set_tags(connection, f"experiment/{id}", _plain(body.tags))
        return answer({"experiment_id": str(id)})

    @router.get("/experiments/get")
    def get(query: Annotated[_ExperimentId, Query()]) -> Response:
        with database.read() as connection:
            found = runs.experiment(connection, query.experiment_id)
        return answer({"experiment": wire.experiment(found)})

    @router.get("/experiments/get-by-name")
    def get_by_name(experiment_name: Annotated[Name, Query()]) -> Response:
        with database.read() as connection:
            found = runs.experiments(connection, name=experiment_name)
        if not found:
            raise NotFound(f"there is no experiment {experiment_name!r}")
        return answer({"experiment": wire.experiment(found[0])})

    @router.post("/experiments/search")
    def search(body: _ExperimentPage) -> Response:
        asked = where.conditions(body.filter, _EXPERIMENT)
        by = where.orders(body.order_by, _EXPERIMENT, where.ATTRIBUTE)
        with database.read() as connection:
            found = runs.experiments(connection, stages=STAGES[body.view_type])
        page, token = body.cut(where.chosen(found, asked, by, _EXPERIMENT))
        return answer({"experiments": [wire.experiment(each) for each in page], **token})

    @router.get("/experiments/search")
    def search_by_query(query: Annotated[_ExperimentPage, Query()]) -> Response:
        return search(query)


def _experiment_changes(router: APIRouter, database: Database) -> None:
    @router.post("/experiments/update")
    def rename(body: _NewName) -> Response:
        with database.write() as connection:
            runs.change_experiment(connection, body.experiment_id, name=body.new_name)
        return answer()

    @router.post("/experiments/delete")
    def delete(body: _ExperimentId) -> Response:
        with database.write() as connection:
            runs.change_experiment(connection, body.experiment_id, stage="deleted")
        return answer()

    @router.post("/experiments/restore")
    def restore(body: _ExperimentId) -> Response:
        with database.write() as connection:
            runs.change_experiment(connection, body.experiment_id, stage="active")
        return answer()

    @router.post("/experiments/set-experiment-tag")
    def set_tag(body: _ExperimentTag) -> Response:
        with database.write() as connection:
            runs.experiment(connection, body.experiment_id)
            owner = f"experiment/{body.experiment_id}"
            runs.set_tags(connection, owner, {body.key: body.value})
        return answer()


def _runs(router: APIRouter, database: Database) -> None:
    @router.post("/runs/create")
    def create(body: _NewRun) -> Response:
        id = uuid.uuid4().hex
        tags = _plain(body.tags)
        name = body.run_name or tags.get(RUN_NAME) or f"run-{id[:8]}"
        with database.write() as connection:
            started = now_ms(connection) if body.start_time is None else body.start_time
            values = {
                "id": id,
                "experiment": body.experiment_id,
                "name": name,
                "status": "RUNNING",
                "user": body.user_id or tags.get(USER, ""),
                "started_ms": started,
            }
            runs.start_run(connection, values)
            runs.set_tags(connection, id, {**tags, RUN_NAME: name})
            made = runs.run(connection, id)
        return answer({"run": wire.run(made, [], {}, {})})

    @router.get("/runs/get")
    def get(query: Annotated[_Run, Query()]) -> Response:
        with database.read() as connection:
            found = _whole(connection, [runs.run(connection, query.run_id)])
        return answer({"run": found[0]})

    @router.post("/runs/search")
    def search(body: _Search) -> Response:
        asked, orders = where.conditions(body.filter), where.orders(body.order_by)
        with database.read() as connection:
            found = find.find_runs(
                connection,
                body.experiment_ids,
                stages=STAGES[body.run_view_type],
                conditions=asked,
                orders=orders,
                limit=body.max_results + 1,
                offset=body.offset,
            )
            whole = _whole(connection, found[: body.max_results])
        return answer({"runs": whole, **body.next(len(found))})

    @router.get("/metrics/get-history")
    def history(query: Annotated[_History, Query()]) -> Response:
        limit = query.max_results + 1
        with database.read() as connection:
            points = runs.history(connection, query.run_id, query.metric_key, limit, query.offset)
        shown = [wire.point(each) for each in points[: query.max_results]]
        return answer({"metrics": shown, **query.next(len(points))})


def _run_changes(router: APIRouter, database: Database) -> None:
    @router.post("/runs/update")
    def update(body: _ChangedRun) -> Response:
        said = {"status": body.status, "ended_ms": body.end_time, "name": body.run_name or None}
        values = {name: value for name, value in said.items() if value is not None}
        with database.write() as connection:
            runs.require_run(connection, body.run_id)
            if values:
                runs.change_run(connection, body.run_id, **values)
            if body.run_name:
                runs.set_tags(connection, body.run_id, {RUN_NAME: body.run_name})
            changed = runs.run(connection, body.run_id)
        return answer({"run_info": wire.info(changed)})

    @router.post("/runs/delete")
    def delete(body: _Run) -> Response:
        with database.write() as connection:
            runs.change_run(connection, body.run_id, stage="deleted")
        return answer()

    @router.post("/runs/restore")
    def restore(body: _Run) -> Response:
        with database.write() as connection:
            runs.change_run(connection, body.run_id, stage="active")
        return answer()

    @router.post("/runs/delete-tag")
    def delete_tag(body: _RunPair) -> Response:
        with database.write() as connection:
            runs.require_run(connection, body.run_id)
            if not runs.delete_tag(connection, body.run_id, body.key):
                raise NotFound(f"run {body.run_id} has no tag {body.key!r}")
        return answer()


def _logging(router: APIRouter, database: Database) -> None:
    def log(body: _Batch) -> Response:
        with database.write() as connection:
            runs.require_run(connection, body.run_id)
            runs.set_params(connection, body.run_id, _plain(body.params))
            tags = _plain(body.tags)
            runs.set_tags(connection, body.run_id, tags)
            if tags.get(RUN_NAME):
                runs.change_run(connection, body.run_id, name=tags[RUN_NAME])
            runs.add_points(connection, body.run_id, [each.point() for each in body.metrics])
            for model in {each.model_id for each in body.metrics if each.model_id}:
                models.logged_model(connection, model)
                of = [each.point() for each in body.metrics if each.model_id == model]
                runs.add_points(connection, model, of)
        return answer()

    @router.post("/runs/log-batch")
    def log_batch(body: _Batch) -> Response:
        return log(body)

    @router.post("/runs/log-metric")
    def log_metric(body: _RunMetric) -> Response:
        return log(_Batch(run_id=body.run_id, metrics=(body,)))

    @router.post("/runs/log-parameter")
    def log_parameter(body: _RunPair) -> Response:
        return log(_Batch(run_id=body.run_id, params=(Pair(key=body.key, value=body.value),)))

    @router.post("/runs/set-tag")
    def set_tag(body: _RunPair) -> Response:
        return log(_Batch(run_id=body.run_id, tags=(Pair(key=body.key, value=body.value),)))

    @router.post("/runs/log-inputs")
    def log_inputs(body: _Inputs) -> Response:
        given = [each.model_dump(by_alias=True) for each in body.datasets]
        with database.write() as connection:
            runs.require_run(connection, body.run_id)
            runs.add_inputs(connection, body.run_id, given)
            models.link(connection, body.run_id, "input", _steps(body.models))
        return answer()

    @router.post("/runs/outputs")
    def log_outputs(body: _Outputs) -> Response:
        with database.write() as connection:
            runs.require_run(connection, body.run_id)
            models.link(connection, body.run_id, "output", _steps(body.models))
        return answer()


def _whole(connection: Any, found: list[runs.TrackedRun]) -> list[dict[str, Any]]:
    """Runs as JSON, with their inputs and outputs."""
    ids = [each.id for each in found]
    given, linked = runs.inputs(connection, ids), models.links(connection, ids)
    return [
        wire.run(
            each,
            given.get(each.id, []),
            linked.get((each.id, "input"), {}),
            linked.get((each.id, "output"), {}),
        )
        for each in found
    ]


def _plain(pairs: Sequence[Pair]) -> dict[str, str]:
    return {each.key: each.value for each in pairs}


def _steps(links: Sequence[_ModelLink]) -> dict[str, int]:
    return {each.model_id: each.step for each in links}
