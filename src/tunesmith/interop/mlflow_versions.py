"""Model versions and aliases into MLflow's registry, each once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tunesmith.core import lifecycle
from tunesmith.core.catalog import Version
from tunesmith.project import Project
from tunesmith.registry.standing import pointed

STORE, SHA256, VERSION = "tunesmith.store", "tunesmith.sha256", "tunesmith.version"
MODEL = "model"
Models = Mapping[str, Sequence[Version]]


def models_of(versions: Iterable[Version]) -> Models:
    """The versions of each model, oldest first."""
    found: dict[str, list[Version]] = {}
    models = (each for each in versions if each.kind == "model")
    for version in sorted(models, key=lambda each: each.number):
        found.setdefault(version.name, []).append(version)
    return found


def bring_versions(to: Any, store: str, models: Models, runs: Mapping[int, Any]) -> list[str]:
    """Register the model versions that are not there yet; `runs` are MLflow's, by our ids."""
    new = []
    for name, versions in models.items():
        if not any(each.name == name for each in to.search_registered_models(f"name = '{name}'")):
            to.create_registered_model(name, tags={STORE: store})
        there = _versions_there(to, name, store)
        for version in versions:
            if (label := f"{name}@{version.number}") not in there:
                _create_version(to, store, version, runs[version.run_id])
                new.append(label)
    return new


def bring_aliases(
    to: Any, store: str, models: Models, project: Project
) -> tuple[dict[str, str], dict[str, str]]:
    """Set each alias where it points here; what was set, and what was not. One that points at a
    retired version is not set, as nobody is to load that, and is taken away there where it points
    at a version of this store."""
    brought: dict[str, str] = {}
    retired: dict[str, str] = {}
    for name in models:
        there = _versions_there(to, name, store)
        with project.runner.database.read() as connection:
            stands = pointed(project, connection, name)
            closed = lifecycle.closed(connection, name)
        now = {alias: str(at) for alias, at in to.get_registered_model(name).aliases.items()}
        for alias, label in stands.items():
            if closed.get(label) == lifecycle.RETIRED:
                if now.get(alias) in there.values():
                    to.delete_registered_model_alias(name, alias)
                retired[f"{name}/{alias}"] = label
                continue
            if now.get(alias) != there[label]:
                to.set_registered_model_alias(name, alias, there[label])
            brought[f"{name}/{alias}"] = label
    return brought, retired


def _versions_there(to: Any, name: str, store: str) -> dict[str, str]:
    """Ours -> MLflow's number."""
    found = to.search_model_versions(f"name = '{name}'", max_results=10_000)
    return {
        each.tags[VERSION]: str(each.version)
        for each in found
        if each.tags.get(STORE) == store and VERSION in each.tags
    }


def _create_version(to: Any, store: str, version: Version, run: Any) -> None:
    label = f"{version.name}@{version.number}"
    to.create_model_version(
        version.name,
        source=f"{run.info.artifact_uri}/{MODEL}",
        run_id=run.info.run_id,
        tags={STORE: store, VERSION: label, SHA256: version.digest},
        await_creation_for=None,
    )
