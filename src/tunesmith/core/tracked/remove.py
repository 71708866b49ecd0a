"""Registered models and versions are taken away; what they were, by whom and when, is on record."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Connection

from tunesmith.core import evidence, tables
from tunesmith.core.errors import NotAllowed
from tunesmith.core.tracked.models import (
    LAST,
    OF_PROJECT,
    RegisteredVersion,
    is_of_project,
    last_number,
    registered,
    registered_model,
    set_alias,
    version,
    version_owner,
    versions,
)
from tunesmith.core.tracked.write import now_ms, put

MODEL_DELETED = "tracked.model_deleted"
VERSION_DELETED = "tracked.version_deleted"


def delete_version(connection: Connection, name: str, number: int, actor: str) -> None:
    """Take a version away, with its tags and the aliases that point at it; files stay with the run
    or logged model that they are of.

    Raises:
        NotFound: there is none.
        NotAllowed: the model is one of this project.
    """
    _require_tracked(connection, name)
    found = version(connection, name, number)
    highest = max(versions(connection, name)[0].number, last_number(connection, name))
    for alias in found.aliases:
        set_alias(connection, name, alias, 0)
    _forget_fields(connection, version_owner(name, number))
    of = tables.tracked_versions.c
    connection.execute(tables.tracked_versions.delete().where(of.name == name, of.number == number))
    row = {"owner": f"model/{name}", "what": LAST, "key": "version", "value": str(highest)}
    put(connection, tables.tracked_fields, [row])
    model = tables.tracked_models
    connection.execute(
        model.update().where(model.c.name == name).values(changed_ms=now_ms(connection))
    )
    evidence.append(connection, VERSION_DELETED, actor, _body(found))


def delete_model(connection: Connection, name: str, actor: str) -> None:
    """Take a registered model away, with its versions, tags and aliases; a new one of the name
    begins with version 1, as in MLflow.

    Raises:
        NotFound: there is none.
        NotAllowed: the model is one of this project.
    """
    _require_tracked(connection, name)
    found = registered_model(connection, name)
    made = versions(connection, name)
    for each in made:
        _forget_fields(connection, version_owner(name, each.number))
    _forget_fields(connection, f"model/{name}")
    for table in (tables.tracked_aliases, tables.tracked_versions, tables.tracked_models):
        connection.execute(table.delete().where(table.c.name == name))
    body = {
        "model": name,
        "tags": sorted(found.tags),
        "versions": [_body(each) for each in made],
    }
    evidence.append(connection, MODEL_DELETED, actor, body)


def _require_tracked(connection: Connection, name: str) -> None:
    """Let only a model of other programs be deleted.

    Raises:
        NotAllowed: it is one of this project, whose versions are evidence.
    """
    if not registered(connection, name=name) and is_of_project(connection, name):
        raise NotAllowed(f"the model {name!r} cannot be deleted", remedy=OF_PROJECT)


def _forget_fields(connection: Connection, owner: str) -> None:
    of = tables.tracked_fields
    connection.execute(of.delete().where(of.c.owner == owner))


def _body(of: RegisteredVersion) -> dict[str, Any]:
    """What a version was."""
    return {
        "model": of.name,
        "version": of.number,
        "owner": of.owner,
        "path": of.path,
        "sha256_of_folder": of.digest,
        "run": of.run,
        "created_ms": of.created_ms,
        "tags": sorted(of.tags),  # what they say may be about somebody, and stays erasable
        "aliases": list(of.aliases),
    }
