"""Runs, model versions and digests of artefacts from MLflow, as tracked runs; each once.

A run keeps its id, by which it is known when it is imported again; what was logged of it since is
added. Of artefacts the digests are taken, not the bytes.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tunesmith.core.canonical import fingerprint
from tunesmith.core.db import Transaction
from tunesmith.core.errors import Conflict, NotFound
from tunesmith.core.step import Progress
from tunesmith.core.tracked import models, runs
from tunesmith.core.tracked.runs import Point
from tunesmith.interop.mlflow_client import client, database_file
from tunesmith.project import Project

FROM = "tunesmith.imported_from"
DIGEST = "tunesmith.sha256."
"""A tag for each artefact: this and its path."""
PAGE = 1000


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
    of = client(uri, project.file.project.hosts)
    experiments = [each for each in _pages(of.search_experiments) if each.name]
    num_new = num_known = num_artifacts = 0
    for experiment in experiments:
        here = _experiment(project, experiment.name)
        for run in _pages(partial(of.search_runs, [experiment.experiment_id])):
            progress(num_new + num_known, 0, f"{experiment.name}: {run.info.run_name}")
            is_new = _is_new(project, run.info.run_id)
            digests = dict(_digests(of, run)) if is_new else {}
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
    runs.set_params(connection, info.run_id, run.data.params)
    runs.set_tags(connection, info.run_id, {**run.data.tags, **tags})
    runs.add_points(connection, info.run_id, curves)
    given = run.inputs.dataset_inputs if run.inputs else []
    runs.add_inputs(connection, info.run_id, [_input(each) for each in given])


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


def _digests(of: Any, run: Any) -> Iterator[tuple[str, str]]:
    """Tag and digest of each artefact, which is fetched for it and not kept."""
    found = list(_files(of, run.info.run_id, ""))
    for path in found:
        with tempfile.TemporaryDirectory() as folder:
            local = Path(of.download_artifacts(run.info.run_id, path, folder))
            with local.open("rb") as source:
                digest = hashlib.file_digest(source, "sha256").hexdigest()
        yield f"{DIGEST}{path}"[:250], digest


def _files(of: Any, run: str, folder: str) -> Iterator[str]:
    for entry in of.list_artifacts(run, folder or None):
        if entry.is_dir:
            yield from _files(of, run, entry.path)
        else:
            yield entry.path


def _versions(project: Project, of: Any) -> Iterator[str]:
    """Registered models with their versions and aliases; what was new."""
    for model in _pages(of.search_registered_models):
        found = list(_pages(_search_of(of, model.name)))
        for version in sorted(found, key=lambda each: int(each.version)):
            with project.runner.database.write() as connection:
                if _take_version(connection, model, version):
                    yield f"{model.name}@{version.version}"
        with project.runner.database.write() as connection:
            here = models.aliases(connection, model.name)
            for alias, number in model.aliases.items():
                if here.get(alias) != int(number):
                    models.set_alias(connection, model.name, alias, int(number))


def _search_of(of: Any, name: str) -> Callable[..., Any]:
    quoted = name.replace("'", "''")
    return partial(of.search_model_versions, f"name = '{quoted}'")


def _take_version(connection: Transaction, model: Any, version: Any) -> bool:
    """Whether it is new.

    Raises:
        Conflict: another one is here by that name and number.
    """
    number, name = int(version.version), model.name
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
