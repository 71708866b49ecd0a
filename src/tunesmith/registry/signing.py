"""Signatures of versions: made by whoever has the private key, looked at by whoever has the public
one, and each is evidence."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tunesmith.core import catalog, evidence, lifecycle
from tunesmith.core.canonical import fingerprint
from tunesmith.core.errors import ConfigError, Conflict, SignatureError
from tunesmith.core.lifecycle import Change
from tunesmith.core.ref import Blob, find
from tunesmith.project import Project
from tunesmith.records.model import ModelVersion
from tunesmith.records.release import Release
from tunesmith.registry.roles import Actor
from tunesmith.registry.sealed import verified_reports
from tunesmith.registry.standing import released, version_of
from tunesmith.signing.alias import Pointed, is_signed, newest_move, sign_move
from tunesmith.signing.at_load import require_signed, signatures
from tunesmith.signing.checkpoint import require_like
from tunesmith.signing.keys import PrivateKey, read_private
from tunesmith.signing.model_files import SIGNATURE, files_of
from tunesmith.signing.model_files import sign as sign_files


@dataclass(frozen=True, kw_only=True, slots=True)
class Verified:
    """What was found to be as it was signed."""

    what: str
    """A version, or a folder."""
    key: str
    """The SHA-256 of the public key's PEM."""
    files: Mapping[str, str]
    """File name -> SHA-256."""
    signed_at: str = ""
    signed_by: str = ""
    """Of a version, as the evidence has it."""
    reports: tuple[str, ...] = ()
    """Of a version: a sentence about each report of its gate."""


def require_signed_if_asked(project: Project, model: ModelVersion, version: str) -> None:
    """See to it that a model leaves only as it was signed, where the project file has a public key.

    Raises:
        SignatureError: it is not signed with that key, or the signature does not fit.
    """
    if project.public_key is not None:
        require_signed(project.runner.database, model, project.public_key, version)


def signing_key(project: Project) -> PrivateKey | None:
    """The key that releases are signed with; None where none is set.

    Raises:
        ConfigError: an environment variable that is named is not set.
        SignatureError: the key cannot be used.
    """
    roles = project.file.registry
    where = roles.signing_key
    if where.startswith("$"):
        where = _variable("registry.signing_key", where[1:])
    if not where:
        return None
    variable = roles.signing_password_env
    password = _variable("registry.signing_password_env", variable) if variable else ""
    return read_private(
        project.folder / Path(where).expanduser(), password.encode() or None, project.folder
    )


def _variable(key: str, name: str) -> str:
    if not os.environ.get(name):
        raise ConfigError(
            key,
            f"the environment variable {name} is not set",
            remedy=f"export {name}=...; what it holds is never stored",
        )
    return os.environ[name]


def model_of(project: Project, version: str) -> ModelVersion:
    """The record of "desk@2".

    Raises:
        UsageError: `version` is not of the form MODEL@NUMBER.
        NotFound: there is no such version.
    """
    with project.runner.database.read() as connection:
        digest = version_of(connection, version).digest
    return project.record(ModelVersion, digest)


def sign(project: Project, version: str, key: PrivateKey, actor: Actor) -> Change:
    """Sign what a version is made of, every byte of which is read first.

    Raises:
        NotFound: there is no such version.
        BlobCorrupt, BlobMissing: it is not whole.
        SignatureError: it cannot be signed.
    """
    model = model_of(project, version)
    for blob in find(model, Blob):
        project.runner.blobs.check(blob, deep=True)
    files = files_of(model)
    body = {
        "model": model.name,
        "version": version,
        "why": f"with key {key.id[:12]}",
        "digest": fingerprint(model),
        "key": key.id,
        "signature": sign_files(files, version, key),
        **actor.body(),
    }
    with project.runner.database.write() as connection:
        evidence.append(connection, lifecycle.SIGNED, actor.name, body)
        return lifecycle.changes(connection, model.name)[-1]


def sign_release(project: Project, release: Release, key: PrivateKey) -> None:
    """Sign the version of a release, and that its gate's alias points at it, if it does, unless
    that key has signed it already."""
    model = release.model
    user = project.runner.actor
    actor = Actor(name=user, os_user=user)
    signed = signatures(project.runner.database, model)
    if all(entry.body["key"] != key.id for entry in signed):
        sign(project, version_name(project, model), key, actor)
    to = Pointed(
        model=model.name,
        alias=release.move.alias,
        version=version_name(project, model),
        release=fingerprint(release),
    )
    with project.runner.database.write() as connection:
        move = newest_move(connection, to.model, to.alias)
        if (
            move is not None
            and move.body["digest"] == to.release
            and not is_signed(connection, move, key.id)
        ):
            sign_move(connection, to, key, actor.name, actor.body())


def sign_alias(project: Project, version: str, alias: str, key: PrivateKey, actor: Actor) -> Change:
    """Sign that an alias points at a version, as it does.

    Raises:
        UsageError: `version` is not of the form MODEL@NUMBER.
        NotFound: there is no such version.
        Conflict: the alias points elsewhere, or nowhere.
        StoreError: the evidence does not go on from the checkpoints before.
    """
    with project.runner.database.write() as connection:
        require_like(connection, project.store)
        model = version_of(connection, version).name
        found = catalog.current_alias(connection, "model", model, alias)
        at = released(project, connection, found) if found else None
        if at is None or at.version != version:
            raise Conflict(
                f"{alias!r} of {model} points at {at.version if at else 'nothing'}, not at "
                f"{version}",
                remedy=f"see where: `tunesmith model list {model}`",
            )
        to = Pointed(model=model, alias=alias, version=version, release=at.digest)
        sign_move(connection, to, key, actor.name, actor.body())
        return lifecycle.changes(connection, model)[-1]


def version_name(project: Project, model: ModelVersion) -> str:
    """ "desk@2", of a record.

    Raises:
        NotFound: it is no version of this project.
    """
    with project.runner.database.read() as connection:
        number = catalog.version_number(connection, "model", model.name, fingerprint(model))
    return f"{model.name}@{number}"


def verify_version(project: Project, version: str, public_key: Path | None) -> Verified:
    """See that a version is what was signed with that key, or with the project's: every byte.

    Raises:
        ConfigError: neither is given.
        NotFound: there is no such version.
        SignatureError: it is not signed, or the signature does not fit.
        BlobCorrupt, BlobMissing: bytes are not what was signed.
        StoreError: a report of its gate is not whole.
    """
    path = public_key or project.public_key
    if path is None:
        raise ConfigError(
            "registry.public_key",
            "there is no key to verify with",
            remedy="name one with --public-key FILE, or set it in the project file",
        )
    model = model_of(project, version)
    entry = require_signed(project.runner.database, model, path, version)
    for blob in find(model, Blob):
        project.runner.blobs.check(blob, deep=True)
    return Verified(
        what=version,
        key=entry.body["key"],
        files=files_of(model),
        signed_at=entry.at,
        signed_by=entry.actor,
        reports=verified_reports(project, version, fingerprint(model), path),
    )


def signature_of_export(project: Project, name: str, files: Mapping[str, str]) -> str:
    """The text of `model.sig` for files that are given away (name -> SHA-256); empty where no
    signing key is set. That they were signed is evidence.

    Raises:
        ConfigError, SignatureError: see `signing_key`; a file has the signature's name.
    """
    key = signing_key(project)
    if key is None:
        return ""
    if SIGNATURE in files:
        raise SignatureError(f"a file of the export is called {SIGNATURE}")
    signature = sign_files(files, name, key)
    project.put_on_record(
        "export.signed", {"model": name, "files": fingerprint(files), "key": key.id}
    )
    return signature
