"""Runs, model versions and digests of artefacts from MLflow, as tracked runs; each once.

A run keeps its id, by which it is known when it is imported again; what was logged of it since is
added. Of artefacts the digests are taken, not the bytes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from tunesmith.core.canonical import fingerprint
from tunesmith.core.db import Transaction
from tunesmith.core.errors import Conflict, DataError, NotFound
from tunesmith.core.step import Progress
from tunesmith.core.tracked import models, runs
from tunesmith.core.tracked.runs import Point
from tunesmith.interop import mlflow_files
from tunesmith.interop.mlflow_client import client, database_file, server
from tunesmith.project import Project
from tunesmith.stages.serve.tracking.names import storable

FROM = "tunesmith.imported_from"
DIGEST = "tunesmith.sha256."
"""A tag for each artefact: this and its path."""
PAGE = 1000
KEY_LENGTH, NAME_LENGTH, MODEL_LENGTH, DIGEST_LENGTH = 250, 500, 256, 64
"""What is in an index, in characters, as the service takes it."""
LEAVE = "leave it out there, or rename it, and import again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """What an import brought."""

    uri: str
    num_experiments: int
    num_new: int
    """Runs that were not here."""
    num_known: int
    """Runs that were here; what was logged of them since was added."""
    num_artifacts: int
    """Artefacts of new runs whose digest was taken."""
    left_out: Mapping[str, int]
    """New runs whose artefacts were not read, by where they are said to lie."""
    new_versions: tuple[str, ...]
    """e.g. "clf@2"."""


def import_mlflow(
    project: Project,
    uri: str,
    *,
    progress: Progress = lambda _done, _total, _note: None,
) -> Imported:
    """Take every run and model version of an MLflow database or server over.

    Raises:
        UsageError, DataError, MissingExtra: see `mlflow_client.client`.
        NotFound: the database is not there.
        Conflict: a model version of that name and number is here and is another one.
    """
    file = database_file(uri)
    if file is not None and not file.is_file():  # the client would make a new, empty one
        raise NotFound(f"there is no file {file}", remedy="name the database of an MLflow server")
    with client(uri, project.file.project.hosts) as of:
        return _import(project, of, uri, progress)


def _import(project: Project, of: Any, uri: str, progress: Progress) -> Imported:
    experiments = [each for each in _pages(of.search_experiments) if each.name]
    num_new = num_known = num_artifacts = 0
    left_out: Counter[str] = Counter()
    for experiment in experiments:
        here = _experiment(project, experiment.name)
        for run in _pages(partial(of.search_runs, [experiment.experiment_id])):
            progress(num_new + num_known, 0, f"{experiment.name}: {run.info.run_name}")
            is_new = _is_new(project, run.info.run_id)
            found = _digests(uri, run.info.artifact_uri or "") if is_new else {}
            if found is None:
                left_out[mlflow_files.shown(run.info.artifact_uri)] += 1
            digests = {f"{DIGEST}{path}"[:250]: digest for path, digest in (found or {}).items()}
            curves = [
                Point(each.key, each.value, each.step, each.timestamp)
                for key in run.data.metrics
                for each in of.get_metric_history(run.info.run_id, key)
            ]
            with project.runner.database.write() as connection:
                _take(connection, here, run, curves, {**digests, FROM: _shown(uri)}, is_new)
            num_new += is_new
            num_known += not is_new
            num_artifacts += len(digests)
    return Imported(
        uri=_shown(uri),
        num_experiments=len(experiments),
        num_new=num_new,
        num_known=num_known,
        num_artifacts=num_artifacts,
        left_out=dict(left_out),
        new_versions=tuple(_versions(project, of)),
    )


def _pages(search: Callable[..., Any]) -> Iterator[Any]:
    token = None
    while True:
        page = search(max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _experiment(project: Project, name: str) -> int:
    _require_storable("an experiment", [name], NAME_LENGTH)
    with project.runner.database.write() as connection:
        runs.ensure_default(connection)
        found = runs.experiments(connection, name=name)
        return found[0].id if found else runs.create_experiment(connection, name)


def _is_new(project: Project, id: str) -> bool:
    if not re.fullmatch("[0-9a-f]{32}", id):
        raise Conflict(
            f"run {id[:50]!r} has an id that cannot be kept", remedy="leave it out there"
        )
    with project.runner.database.read() as connection:
        try:
            runs.run(connection, id)
        except NotFound:
            return True
    return False


def _take(
    connection: Transaction,
    experiment: int,
    run: Any,
    curves: list[Point],
    tags: dict[str, str],
    is_new: bool,
) -> None:
    """One run with all that was logged of it, in one transaction."""
    info = run.info
    values = {
        "name": info.run_name or f"run-{info.run_id[:8]}",
        "status": info.status,
        "ended_ms": info.end_time,
    }
    if is_new:
        started = {"started_ms": info.start_time or 0, "user": info.user_id or ""}
        id = {"id": info.run_id, "experiment": experiment}
        runs.start_run(connection, {**id, **values, **started})
    else:
        runs.require_run(connection, info.run_id)
        runs.change_run(connection, info.run_id, **values)
    tags = {**run.data.tags, **tags}
    given = [_input(each) for each in (run.inputs.dataset_inputs if run.inputs else [])]
    what = f"run {info.run_id}"
    datasets = [each["dataset"] for each in given]
    _require_storable(what, [*run.data.params, *tags, *(each.key for each in curves)], KEY_LENGTH)
    _require_storable(what, (each["name"] for each in datasets), NAME_LENGTH)
    _require_storable(what, (each["digest"] for each in datasets), DIGEST_LENGTH)
    _require_storable(what, [info.run_name or "", info.user_id or ""])
    _require_storable(what, [*run.data.params.values(), *tags.values()])
    runs.set_params(connection, info.run_id, run.data.params)
    runs.set_tags(connection, info.run_id, tags)
    runs.add_points(connection, info.run_id, curves)
    runs.add_inputs(connection, info.run_id, given)


def _require_storable(what: str, texts: Iterable[str], longest: int | None = None) -> None:
    """
    Raises:
        DataError: one of the texts is one that not every database can hold, or index.
    """
    for text in texts:
        try:
            storable(text)
        except ValueError as error:
            raise DataError(f"{what} has the text {text[:50]!r}: {error}", remedy=LEAVE) from None
        if longest is not None and len(text) > longest:
            raise DataError(
                f"{what} has a name of {len(text)} characters, and at most {longest} are kept: "
                f"{text[:50]!r}",
                remedy=LEAVE,
            )


def _number(version: Any) -> int:
    """
    Raises:
        DataError: it is no number of a version.
    """
    if not re.fullmatch("[1-9][0-9]{0,8}", str(version)):
        raise DataError(f"{str(version)[:50]!r} is no number of a model version", remedy=LEAVE)
    return int(version)


def _input(given: Any) -> dict[str, Any]:
    of = given.dataset
    return {
        "tags": [{"key": tag.key, "value": tag.value} for tag in given.tags],
        "dataset": {
            "name": of.name,
            "digest": of.digest,
            "source_type": of.source_type or "",
            "source": of.source or "",
            "schema": of.schema or "",
            "profile": of.profile or "",
        },
    }


def _digests(uri: str, artifact_uri: str) -> dict[str, str] | None:
    """By path the digests of a run's files; None where they lie at a place that is not read."""
    place, file = server(uri), database_file(uri)
    if place is not None:
        files = mlflow_files.repository(uri, place, artifact_uri)
        return None if files is None else dict(mlflow_files.server_digests(files))
    assert file is not None
    folder = mlflow_files.folder_beside(file, artifact_uri)
    return None if folder is None else dict(mlflow_files.folder_digests(folder))


def _versions(project: Project, of: Any) -> Iterator[str]:
    """Registered models with their versions and aliases; what was new."""
    for model in _pages(of.search_registered_models):
        found = list(_pages(_search_of(of, model.name)))
        for version in sorted(found, key=lambda each: _number(each.version)):
            with project.runner.database.write() as connection:
                if _take_version(connection, model, version):
                    yield f"{model.name}@{version.version}"
        with project.runner.database.write() as connection:
            here = models.aliases(connection, model.name)
            for alias, number in model.aliases.items():
                if here.get(alias) != _number(number):
                    _require_storable(f"model {model.name}", [alias])
                    models.set_alias(connection, model.name, alias, _number(number))


def _search_of(of: Any, name: str) -> Callable[..., Any]:
    quoted = name.replace("'", "''")
    return partial(of.search_model_versions, f"name = '{quoted}'")


def _take_version(connection: Transaction, model: Any, version: Any) -> bool:
    """Whether it is new.

    Raises:
        Conflict: another one is here by that name and number.
    """
    number, name = _number(version.version), model.name
    what = f"model {name}"
    _require_storable(what, [name], MODEL_LENGTH)
    _require_storable(what, [*model.tags, *version.tags], KEY_LENGTH)
    _require_storable(what, [*model.tags.values(), *version.tags.values()])
    _require_storable(what, [model.description or "", version.description or ""])
    _require_storable(what, [version.source or ""])
    _require_storable(what, [version.run_id or ""], 32)
    if not models.registered(connection, name=name):
        models.register(connection, name, model.description or "")
        runs.set_tags(connection, f"model/{name}", dict(model.tags))
    # The bytes are elsewhere; what is kept of them is where they were, and of which run.
    digest = fingerprint([version.source or "", version.run_id or ""])
    for there in models.versions(connection, name):
        if there.number == number:
            if there.digest != digest:
                raise Conflict(
                    f"model version {name}@{number} is here already and is another one",
                    remedy="rename the model there, and import again",
                )
            return False
    values = {
        "number": number,
        "owner": "",
        "path": "",
        "digest": digest,
        "run": version.run_id or "",
        "description": version.description or "",
    }
    models.create_version(connection, name, values)
    tags = {**version.tags, "tunesmith.source": (version.source or "")[:5000]}
    runs.set_tags(connection, models.version_owner(name, number), tags)
    return True


def _shown(uri: str) -> str:
    """Without what an address may hold of secrets."""
    return uri.partition("?")[0]
