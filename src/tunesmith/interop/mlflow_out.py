"""Runs, model versions and aliases into MLflow, each once.

A run there has the tags `tunesmith.store` and `tunesmith.run_id`, by which it is found again; when
all of it is there, `tunesmith.exported` is its last tag. So an export that was stopped goes on, and
one that is repeated adds what is new.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.core import catalog, evidence
from tunesmith.core.canonical import canonical_json, sha256
from tunesmith.core.catalog import Run, Version
from tunesmith.core.copies import Copy, put_on_record, without_secrets
from tunesmith.core.db import moment
from tunesmith.core.errors import Conflict, NotFound, SignatureError
from tunesmith.core.step import Progress
from tunesmith.interop import mlflow_files
from tunesmith.interop.mlflow_client import client, database_file, server
from tunesmith.interop.mlflow_model import write_model
from tunesmith.interop.mlflow_versions import (
    MODEL,
    SHA256,
    STORE,
    bring_aliases,
    bring_versions,
    models_of,
)
from tunesmith.project import Project
from tunesmith.records.evaluation import Evaluation
from tunesmith.records.model import ModelVersion
from tunesmith.records.release import Release
from tunesmith.registry.choice import is_erased
from tunesmith.registry.signing import require_signed_if_asked

STATUS = {"succeeded": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
RUN_ID, EXPORTED = "tunesmith.run_id", "tunesmith.exported"
DIGEST_LENGTH, PARAM_LENGTH, KEY_LENGTH = 36, 6000, 250  # MLflow's


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """What an export did."""

    to: str
    experiment: str
    num_new: int
    """Runs that were not there, or not whole."""
    num_known: int
    new_versions: tuple[str, ...]
    """e.g. "desk@2"."""
    aliases: Mapping[str, str]
    """e.g. "desk/production" -> "desk@2"; where they point now."""
    retired: Mapping[str, str]
    """Aliases that still point at a retired version here, and so at nothing there."""


@dataclass(frozen=True, kw_only=True)
class _Export:
    """What all parts of an export need."""

    project: Project
    client: Any
    uri: str
    experiment: str
    """Its id."""
    store: str
    versions: Mapping[str, Version]
    """By the digest of the record."""
    with_base: bool


def export_mlflow(
    project: Project,
    uri: str,
    *,
    with_base: bool = False,
    progress: Progress = lambda _done, _total, _note: None,
) -> Exported:
    """Bring every run that has ended, every model version and every alias to MLflow.

    Args:
        uri: sqlite:///PATH, or the address of a server that the project file allows.
        with_base: copy the base model's weights into each model, so that MLflow can load it.

    Raises:
        UsageError, DataError, MissingExtra: see `client`; a server's files go elsewhere, too.
        NotFound: nothing has run yet.
        Conflict: the experiment is deleted there; or somebody is being forgotten.
    """
    runs = [run for run in project.runs() if run.status in STATUS]
    if not runs:
        raise NotFound("nothing has run yet", remedy="run the project first: `tunesmith run`")
    with project.runner.database.read() as connection:
        first = next(evidence.entries(connection))
        versions = {each.digest: each for each in catalog.all_versions(connection)}
    file = database_file(uri)  # before MLflow would make its folder
    with client(uri, project.file.project.hosts) as to:
        experiment = _experiment(to, project.file.project.name, file)
        if server(uri) is not None:  # before anything is there that would lack its files
            mlflow_files.files_at(uri, to.get_experiment(experiment).artifact_location)
        export = _Export(
            project=project,
            client=to,
            uri=uri,
            experiment=experiment,
            store=first.digest[:32],
            versions=versions,
            with_base=with_base,
        )
        return _bring_all(export, runs, progress)


def _bring_all(export: _Export, runs: list[Run], progress: Progress) -> Exported:
    known, num_new = _known(export), 0
    _put_on_record(export, export.uri, [run for run in runs if not _is_there(known.get(run.id))])
    for number, run in enumerate(runs):
        progress(number, len(runs), run.step)
        there = known.get(run.id)
        if not _is_there(there):
            num_new += 1
            known[run.id] = _bring(export, run, there)
    models = models_of(export.versions.values())
    new_versions = bring_versions(export.client, export.store, models, known)
    aliases, retired = bring_aliases(export.client, export.store, models, export.project)
    return Exported(
        to=export.uri,
        experiment=export.project.file.project.name,
        num_new=num_new,
        num_known=len(runs) - num_new,
        new_versions=tuple(new_versions),
        aliases=aliases,
        retired=retired,
    )


def _is_there(there: Any) -> bool:
    """Whether all of a run is there."""
    return there is not None and EXPORTED in there.data.tags


def _put_on_record(export: _Export, uri: str, new: list[Run]) -> None:
    """What is about to leave: the versions of models among what `new` runs made, and records.

    Raises:
        Conflict: somebody is being forgotten.
    """
    database, actor = export.project.runner.database, export.project.runner.actor
    made = [export.versions.get(run.output.sha256) for run in new if run.output is not None]
    file = database_file(uri)
    where = str(file) if file is not None else without_secrets(uri)
    models = [each for each in made if each is not None and each.kind == "model"]
    if models:
        left = Copy(
            form="MLflow's model",
            of=tuple(f"model {each.name}@{each.number}" for each in models),
            digests=tuple(each.digest for each in models),
            has="weights",
            where=where,
        )
        put_on_record(database, actor, left)
    if new:
        left = Copy(form="MLflow's runs", of=(), digests=(), has="records", where=where)
        put_on_record(database, actor, left)


def _experiment(to: Any, name: str, file: Path | None) -> str:
    found = to.get_experiment_by_name(name)
    if found is None:
        # Beside the database: the client's own default is the folder where it happens to run.
        place = (file.parent / "mlartifacts" / name).as_uri() if file else None
        made: str = to.create_experiment(name, artifact_location=place)
        return made
    if found.lifecycle_stage != "active":
        raise Conflict(
            f"experiment {name!r} is deleted there",
            remedy="restore it in MLflow, or give [project] another name",
        )
    id: str = found.experiment_id
    return id


def _known(export: _Export) -> dict[int, Any]:
    """The runs of this store that are there, by our ids."""
    found: dict[int, Any] = {}
    token = None
    while True:
        page = export.client.search_runs(
            [export.experiment],
            f"tags.`{STORE}` = '{export.store}'",
            max_results=1000,
            page_token=token,
        )
        found |= {int(run.data.tags[RUN_ID]): run for run in page}
        token = page.token
        if not token:
            return found


def _bring(export: _Export, run: Run, there: Any) -> Any:
    """One run with all of it; `there` is what an export that was stopped left of it."""
    to = export.client
    tags = {STORE: export.store, RUN_ID: str(run.id)}
    if there is None:
        there = to.create_run(
            export.experiment, start_time=_ms(run.started_at), tags=tags, run_name=run.step
        )
    id = there.info.run_id
    erased = run.output is None or run.output.sha256 in export.project.purged
    record = None if erased else export.project.load(run)
    _log(to, id, _params(run), _points(export, run, record), _tags(run))
    _log_inputs(export, id, run)
    _log_files(export, there.info, run, record)
    to.set_terminated(id, STATUS[run.status], _ms(run.finished_at or run.started_at))
    to.set_tag(id, EXPORTED, "yes")
    return to.get_run(id)


def _log(
    to: Any, id: str, params: Mapping[str, str], points: list[Any], tags: Mapping[str, str]
) -> None:
    """In as many batches as MLflow's limits ask for."""
    from mlflow.entities import Param, RunTag

    said = [Param(key, value) for key, value in params.items()]
    for part in _parts(said, 100):
        to.log_batch(id, params=part)
    for part in _parts([RunTag(key, value) for key, value in tags.items()], 100):
        to.log_batch(id, tags=part)
    for part in _parts(points, 1000):
        to.log_batch(id, metrics=part)


def _params(run: Run) -> dict[str, str]:
    """The settings, flat, and what else is in the step's key."""
    flat: dict[str, str] = {"kind": run.kind, "seed": str(run.identity.get("seed", ""))}
    for path, value in _flat(run.identity.get("config", {})):
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if len(text) > PARAM_LENGTH:
            mark = f"... ({len(text)} characters, sha256 {sha256(text.encode())})"
            text = text[: PARAM_LENGTH - len(mark)] + mark
        flat.setdefault(_key(path), text)
    return flat


def _flat(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        path = f"{where}.{name}" if where else str(name)
        if isinstance(inner, Mapping) and inner:
            yield from _flat(inner, path)
        else:
            yield path, inner


def _points(export: _Export, run: Run, record: Any) -> list[Any]:
    """Curves with their steps, what the run used, and what an evaluation found."""
    from mlflow.entities import Metric

    with export.project.runner.database.read() as connection:
        curves = catalog.run_metrics(connection, run.id)
    at = _ms(run.finished_at or run.started_at)
    found = [
        Metric(_key(name), value, at, step)
        for name, curve in curves.items()
        for step, value in curve
    ]
    single: dict[str, float] = {}
    if isinstance(record, Evaluation):
        single |= record.metrics()
    for name, value in (run.usage or {}).items():
        if isinstance(value, int | float):
            single[f"usage.{name}"] = float(value)
    return [*found, *(Metric(_key(name), value, at, 0) for name, value in single.items())]


def _tags(run: Run) -> dict[str, str]:
    tags = {
        "mlflow.user": run.actor,
        "mlflow.source.name": run.kind,
        "tunesmith.key": run.key,
        "tunesmith.code": str(run.identity.get("code", "")),
    }
    if run.output:
        tags[SHA256] = run.output.sha256
    if run.error:  # its class: a message may cite a row
        tags["tunesmith.error"] = run.error.partition(":")[0]
    return {key: value for key, value in tags.items() if value}


def _log_inputs(export: _Export, id: str, run: Run) -> None:
    """The versions of data that a run was given, each by our digest."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    given = run.identity["inputs"].items()
    found = []
    for argument, digest in ((name, digest) for name, digests in given for digest in digests):
        version = export.versions.get(digest)
        if version is None or version.kind not in ("data", "dataset"):
            continue
        name = f"{version.name}@{version.number}"
        source = {"uri": f"tunesmith:{export.project.file.project.name}/{version.kind}/{name}"}
        dataset = Dataset(name, digest[:DIGEST_LENGTH], "tunesmith", json.dumps(source))
        tags = [InputTag("mlflow.data.context", argument), InputTag(SHA256, digest)]
        found.append(DatasetInput(dataset, tags))
    if found:
        export.client.log_inputs(id, found)


def _log_files(export: _Export, there: Any, run: Run, record: Any) -> None:
    """The record; of a model its folder; of a release its card. No rows leave."""
    if record is None:
        return
    blobs = export.project.runner.blobs
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "record.json").write_bytes(canonical_json(record))
        if isinstance(record, Release):
            (folder / "card.md").write_bytes(blobs.get(record.card))
        if isinstance(record, ModelVersion) and not is_erased(export.project, record):
            assert run.output is not None
            version = export.versions.get(run.output.sha256)
            name = f"{version.name}@{version.number}" if version else record.name
            digest = run.output.sha256
            try:
                require_signed_if_asked(export.project, record, name)
            except SignatureError as error:
                export.client.set_tag(there.run_id, "tunesmith.left_out", error.message)
            else:
                write_model(record, name, digest, blobs, folder / MODEL, with_base=export.with_base)
        if server(export.uri) is None:
            export.client.log_artifacts(there.run_id, temporary)
        else:
            mlflow_files.files_at(export.uri, there.artifact_uri).log_artifacts(temporary)


def _key(name: str) -> str:
    """A name as MLflow takes it.

    >>> _key("recall@1"), _key("tag F1"), _key("a/../b")
    ('recall_at_1', 'tag F1', 'a/__/b')
    """
    plain = re.sub(r"[^\w\-. :/]", "_", name.replace("@", "_at_"), flags=re.ASCII)
    parts = [re.sub(r"^\.+$", lambda dots: "_" * len(dots[0]), p) for p in plain.split("/") if p]
    return "/".join(parts)[:KEY_LENGTH] or "_"


def _ms(text: str) -> int:
    return round(moment(text).timestamp() * 1000)


def _parts(values: list[Any], size: int) -> Iterator[list[Any]]:
    return (values[start : start + size] for start in range(0, len(values), size))
