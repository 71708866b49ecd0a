"""What comes in a request, checked; and records as MLflow's JSON."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from fastapi import Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tunesmith.core.tracked.models import LoggedModel, RegisteredModel, RegisteredVersion
from tunesmith.core.tracked.runs import Experiment, Point, TrackedRun
from tunesmith.stages.serve.tracking.names import LOGGED_ID, RUN_ID, location, storable

Key = Annotated[str, Field(min_length=1, max_length=250), AfterValidator(storable)]
Name = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(storable)]
Value = Annotated[str, Field(max_length=100_000), AfterValidator(storable)]
Long = Annotated[str, AfterValidator(storable)]
Int64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
ExperimentId = Annotated[int, Field(ge=0, le=2**31 - 1)]
RunId = Annotated[str, Field(pattern=RUN_ID)]
LoggedId = Annotated[str, Field(pattern=LOGGED_ID)]
ModelName = Annotated[
    str,
    Field(min_length=1, max_length=250, pattern=r"^[^/:\\\x00-\x1f]+$"),
    AfterValidator(storable),
]
Alias = Annotated[str, Field(max_length=250, pattern=r"^[A-Za-z0-9_.\-]+$")]
Number = Annotated[int, Field(ge=1, le=2**31 - 1)]
Status = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
View = Literal["ACTIVE_ONLY", "DELETED_ONLY", "ALL"]
LoggedStatus = Literal["LOGGED_MODEL_PENDING", "LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED"]
Stages = tuple[Literal["active", "deleted"], ...]
STAGES: dict[str, Stages] = {
    "ACTIVE_ONLY": ("active",),
    "DELETED_ONLY": ("deleted",),
    "ALL": ("active", "deleted"),
}


class Body(BaseModel):
    """A request; fields of other versions of the client are passed over."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class Pair(Body):
    """A key and a text."""

    key: Key
    value: Value = ""


class Metric(Body):
    """A point of a metric."""

    key: Key
    value: float
    timestamp: Int64
    step: Int64 = 0
    model_id: LoggedId | None = None

    def point(self) -> Point:
        """As a record."""
        return Point(self.key, self.value, self.step, self.timestamp)


class Page(Body):
    """Which part of a listing."""

    max_results: Annotated[int, Field(ge=1, le=50_000)] = 1000
    page_token: Annotated[str, Field(pattern=r"^[0-9]{0,9}$")] = ""

    @property
    def offset(self) -> int:
        """How many were given already."""
        return int(self.page_token or 0)

    def cut(self, found: list[Any]) -> tuple[list[Any], dict[str, str]]:
        """This page of all of them, and the token of the next."""
        page = found[self.offset : self.offset + self.max_results]
        return page, self.next(len(found) - self.offset)

    def next(self, num_left: int) -> dict[str, str]:
        """The token of the next page, if more is left than this one shows."""
        more = num_left > self.max_results
        return {"next_page_token": str(self.offset + self.max_results)} if more else {}


def answer(value: Any = None) -> Response:
    """JSON."""
    return Response(orjson.dumps(value or {}), media_type="application/json")


def pairs(values: Any) -> list[dict[str, str]]:
    """Tags or parameters."""
    return [{"key": key, "value": value} for key, value in values.items()]


def point(of: Point) -> dict[str, Any]:
    """A point."""
    return {"key": of.key, "value": of.said, "timestamp": of.at_ms, "step": of.step}


def experiment(of: Experiment) -> dict[str, Any]:
    """An experiment."""
    return {
        "experiment_id": str(of.id),
        "name": of.name,
        "artifact_location": f"mlflow-artifacts:/{of.id}",
        "lifecycle_stage": of.stage,
        "creation_time": of.created_ms,
        "last_update_time": of.changed_ms,
        "tags": pairs(of.tags),
    }


def info(of: TrackedRun) -> dict[str, Any]:
    """What a run is."""
    ended = {} if of.ended_ms is None else {"end_time": of.ended_ms}
    return {
        "run_id": of.id,
        "run_uuid": of.id,
        "run_name": of.name,
        "experiment_id": str(of.experiment),
        "user_id": of.user,
        "status": of.status,
        "start_time": of.started_ms,
        **ended,
        "artifact_uri": location(of.experiment, of.id),
        "lifecycle_stage": of.stage,
    }


def run(
    of: TrackedRun,
    inputs: list[dict[str, Any]],
    given: dict[str, int],
    made: dict[str, int],
) -> dict[str, Any]:
    """A run with all that was logged of it; `given` and `made` are logged models -> step."""
    return {
        "info": info(of),
        "data": {
            "metrics": [point(each) for each in of.latest],
            "params": pairs(of.params),
            "tags": pairs(of.tags),
        },
        "inputs": {
            "dataset_inputs": inputs,
            "model_inputs": [{"model_id": model} for model in given],
        },
        "outputs": {
            "model_outputs": [{"model_id": model, "step": step} for model, step in made.items()]
        },
    }


def logged(of: LoggedModel) -> dict[str, Any]:
    """A logged model."""
    return {
        "info": {
            "model_id": of.id,
            "experiment_id": str(of.experiment),
            "name": of.name,
            "creation_timestamp_ms": of.created_ms,
            "last_updated_timestamp_ms": of.changed_ms,
            "artifact_uri": location(of.experiment, of.id),
            "status": of.status,
            "model_type": of.type,
            "source_run_id": of.run,
            "tags": pairs(of.tags),
        },
        "data": {
            "params": pairs(of.params),
            "metrics": [{**point(each), "model_id": of.id, "run_id": of.run} for each in of.latest],
        },
    }


def registered(of: RegisteredModel) -> dict[str, Any]:
    """A registered model."""
    return {
        "name": of.name,
        "creation_timestamp": of.created_ms,
        "last_updated_timestamp": of.changed_ms,
        "description": of.description,
        "tags": pairs(of.tags),
        "aliases": [
            {"alias": alias, "version": str(number)} for alias, number in of.aliases.items()
        ],
    }


def version(of: RegisteredVersion, source: str) -> dict[str, Any]:
    """A version; `source` is where it lies, as the server says it."""
    model = {"model_id": of.owner} if of.owner.startswith("m-") else {}
    return {
        "name": of.name,
        "version": str(of.number),
        "creation_timestamp": of.created_ms,
        "last_updated_timestamp": of.changed_ms,
        "current_stage": "None",
        "description": of.description,
        "source": source,
        "run_id": of.run,
        "status": "READY",
        "tags": [*pairs(of.tags), {"key": "tunesmith.sha256", "value": of.digest}],
        "aliases": list(of.aliases),
        **model,
    }
