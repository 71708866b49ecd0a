"""The fact base of a model version: what runs recorded of it, and what people state about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunesmith.core import catalog, evidence, lifecycle
from tunesmith.core.canonical import fingerprint
from tunesmith.core.catalog import Version
from tunesmith.core.errors import NotFound
from tunesmith.core.evidence import Entry
from tunesmith.core.ref import to_plain
from tunesmith.documents import recorded
from tunesmith.documents.checks import of_checks
from tunesmith.documents.status import of_status
from tunesmith.documents.store import Found, Store, known
from tunesmith.project import Project
from tunesmith.records.document import STATED, Fact, FactBase
from tunesmith.stages.document.config import DocumentConfig

FILE_KEY = "tunesmith.toml, {key}"


def fact_base(project: Project, version: str) -> FactBase:
    """Every fact of the model version that "desk@2" names, as of now.

    Raises:
        NotFound: there is no such version.
    """
    name, _, number = version.rpartition("@")
    store = _store(project, _version(project, name, number, version))
    found = [
        *recorded.of_model(store),
        *recorded.of_base(store),
        *recorded.of_dataset(store),
        *recorded.of_judgement(store),
        *of_checks(store),
        *recorded.of_life(store),
        *of_status(store),
        *recorded.of_use(store),
        *_settings(project, name),
        *_stated(project, store.entries, name),
    ]
    facts = [Fact(**each) for each in found if known(each["value"])]
    section = section_of(project, name)
    return FactBase(
        version=version,
        section=section.name if section else name,
        facts={fact.key: fact for fact in facts},
    )


def section_of(project: Project, model: str) -> DocumentConfig | None:
    """The section of the project file that is about a model; None where there is none."""
    return next((each for each in project.file.document.values() if each.model == model), None)


def stated(project: Project, model: str) -> Mapping[str, Any]:
    """What the evidence says of what people state of a model: the body of an entry."""
    section = section_of(project, model)
    statements = section.statements() if section else {}
    return {"model": model, "statements": statements}


def _version(project: Project, name: str, number: str, version: str) -> Version:
    models = [each for each in project.versions() if each.kind == "model"]
    for each in models:
        if each.name == name and str(each.number) == number:
            return each
    there = ", ".join(f"{each.name}@{each.number}" for each in models)
    raise NotFound(
        f"there is no model version {version!r}",
        remedy=f"there is: {there}" if there else "tune one: `tunesmith run`",
    )


def _store(project: Project, version: Version) -> Store:
    """What has to be read once for all facts."""
    with project.runner.database.read() as connection:
        runs = catalog.all_runs(connection)
        made = catalog.run(connection, version.run_id)
        changes = lifecycle.changes(connection, version.name)
        history = catalog.alias_history(connection, "model", version.name)
        entries = list(evidence.entries(connection, *recorded.SAID, STATED, *lifecycle.CHANGES))
    return Store(
        project=project,
        version=version,
        run=made,
        model=project.load(made),
        runs=tuple(run for run in runs if run.status == "succeeded" and run.output),
        changes=tuple(changes),
        history=tuple(history),
        entries=tuple(entries),
        failed=tuple(run for run in runs if run.status == "failed"),
    )


def _settings(project: Project, model: str) -> Iterator[Found]:
    """How the model is watched, served and promoted, as it is set now."""
    file = project.file
    watched = {name: each for name, each in file.monitor.items() if each.model == model}
    served = {
        name: {"models": each.models, "index": each.index}
        for name, each in file.service.items()
        if model in each.models
    }
    scheduled = {
        name: each
        for name, each in file.schedule.items()
        if not each.run
        or f"model:{model}" in each.run
        or any(f"monitor:{of}" in each.run for of in watched)
    }
    # Where it serves is nobody's business who reads a document.
    named: Mapping[str, Mapping[str, Any]] = {
        "monitor": watched,
        "service": served,
        "schedule": scheduled,
    }
    for section, found in named.items():
        where = ", ".join(f"[{section}.{name}]" for name in found)
        values = {name: to_plain(each) for name, each in found.items()}
        yield _declared(f"{section}s", values, FILE_KEY.format(key=where))
    roles = {
        "approvers": list(file.registry.approvers),
        "four_eyes": file.registry.four_eyes,
    }
    if file.registry.approvers:
        yield _declared("registry", roles, FILE_KEY.format(key="[registry]"))


def _stated(project: Project, entries: Sequence[Entry], model: str) -> Iterator[Found]:
    """What people state, and since when that is in the evidence."""
    section = section_of(project, model)
    if section is None:
        return
    body = fingerprint(stated(project, model))
    said = [each for each in entries if each.what == STATED and fingerprint(each.body) == body]
    for key, value in section.statements().items():
        where = FILE_KEY.format(key=f"document.{section.name}.{key}")
        if said:
            where += f" (evidence {said[0].seq}, by {said[0].actor})"
        at = said[0].at if said else ""
        yield _declared(f"declared.{key}", value, where, at)


def _declared(key: str, value: Any, where: str, at: str = "") -> Found:
    return {"key": key, "value": value, "where": where, "at": at, "origin": "declared"}
