"""A service of the project file as an application: what it serves, loaded, and where it logs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tunesmith.core.canonical import fingerprint
from tunesmith.core.project_folder import STORE
from tunesmith.project import Project
from tunesmith.records.index import Index
from tunesmith.records.release import Release
from tunesmith.retrieve.answer import ask
from tunesmith.signing.alias import Pointed, require_signed_alias
from tunesmith.signing.at_load import as_signed
from tunesmith.stages.serve.config import ServiceConfig

if TYPE_CHECKING:
    from fastapi import FastAPI

    from tunesmith.lm.engine import Engine


def endpoint(project: Project, config: ServiceConfig, index: Index | None) -> FastAPI:
    """A service as an application: the models in use, and an index to answer from.

    Raises:
        NotFound: no version of one of the models is released.
        Conflict: one is retired.
        SignatureError: one is not what was signed, or is not where an alias was signed to point,
            where a public key is set.
    """
    from tunesmith.stages.serve.app import Served, create_app
    from tunesmith.stages.serve.tracking.app import tracking_app

    found = [serving(project, name) for name in config.models]
    blobs, database = project.runner.blobs, project.runner.database
    signed = [(release.model, version) for release, version in found]
    engines: list[Engine] = []
    if signed:  # a service that only tracks needs no torch
        from tunesmith.lm.generate import torch_engines

        with as_signed(signed, blobs, database, project.public_key) as copies:
            engines += torch_engines([model for model, _ in signed], copies)
    work = project.folder / STORE / "work"
    return create_app(
        [
            Served(model_id=version, engine=engine, instruction=release.model.instruction)
            for (release, version), engine in zip(found, engines, strict=True)
        ],
        config=config,
        record_trace=project.add_trace,
        ask=partial(ask, index, blobs.path(index.database)) if index else None,
        tracking=tracking_app(database, blobs, work, config.max_artifact_bytes)
        if config.tracking
        else None,
    )


def serving(project: Project, model: str) -> tuple[Release, str]:
    """The release that serves, and its version; with a public key only if the alias was signed to
    point there.

    Raises:
        NotFound, Conflict, SignatureError: see `endpoint`.
    """
    release, version = project.in_use(model)
    if project.public_key is not None:
        to = Pointed(
            model=model,
            alias=project.alias_in_use(model),
            version=version,
            release=fingerprint(release),
        )
        require_signed_alias(project.runner.database, project.store, to, project.public_key)
    return release, version
