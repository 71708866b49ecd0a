"""Changes of where versions stand: each is evidence, in one transaction with the alias it moves."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunesmith.core import catalog, evidence, lifecycle
from tunesmith.core.db import Transaction
from tunesmith.core.errors import Conflict, NotAllowed, NotFound, UsageError
from tunesmith.core.lifecycle import Change
from tunesmith.project import Project
from tunesmith.records.release import PRODUCTION
from tunesmith.registry.admission import admitted, require_whole
from tunesmith.registry.checkpoint import checkpoint_in
from tunesmith.registry.rehearsal import Rehearsed, known_lost, rehearse
from tunesmith.registry.roles import Actor, others, person, require_asker, require_role
from tunesmith.registry.signing import require_signed_if_asked, signing_key
from tunesmith.registry.standing import (
    Released,
    pointed,
    previous,
    released,
    released_version,
    split,
    version_of,
    way_back,
    would_go_back_to,
)
from tunesmith.signing.alias import Pointed, sign_move
from tunesmith.signing.checkpoint import Checkpoint, keep
from tunesmith.signing.keys import PrivateKey


@dataclass(frozen=True, kw_only=True, slots=True)
class Moved:
    """An alias that was moved."""

    alias: str
    version: str
    before: str
    """The version that it pointed at until now; empty: none."""
    wall_s: float
    checkpoint: str = ""
    """Of the evidence with the move in it, "NUMBER:DIGEST"; empty: nothing was signed, as the
    project file names no signing key."""
    way_back: str = ""
    """Of an approval: where a rollback would lead, and whether that was seen to work."""
    warning: str = ""
    """Of a rollback: that this version could not be loaded when the one after it was approved."""


def promote(project: Project, version: str, alias: str, actor: Actor, why: str) -> Change:
    """Ask that an alias be pointed at a version; somebody else approves it.

    Raises:
        UsageError: `alias` can be none, the gate moves it, or `why` is blank; so of all below.
        NotAllowed: this user may not ask.
        GateFailed: the gate, as it is set now, has not let the version pass beside what the alias
            points at now, or its documents are not as complete as the project file requires.
        Conflict: it stands there, somebody asked already, or it is deprecated or retired.
        StoreError: some of it is gone from the store.
    """
    require_why(why)
    require_asker(project, actor)
    released_version(project, version)
    name, _ = split(version)
    if alias == project.file.alias_of(name):
        raise UsageError(
            f"the alias {alias!r} is moved by the gate", remedy=f"promote to {PRODUCTION!r}"
        )
    with project.runner.database.read() as connection:  # before documents are compiled for nothing
        asked = admitted(project, connection, version, alias)
    require_whole(project, asked.released)
    documents = _documents(project, version)
    with project.runner.database.write() as connection:
        asked = admitted(project, connection, version, alias)
        found, gate = asked.released, asked.released.release.gate
        changes = lifecycle.changes(connection, name)
        if lifecycle.waiting(changes, version, alias):
            raise Conflict(
                f"{version} waits for approval as {alias!r} already",
                remedy=f"`tunesmith model approve {version}`, by somebody else",
            )
        body = {
            "alias": alias,
            "before": asked.before,
            "release": found.digest,
            "run": found.run_id,
            "gate": {"name": gate.gate, "verdict": gate.verdict},
            **({"documents": documents} if documents else {}),
        }
        return _say(connection, lifecycle.ASKED, actor, version, why, body)


def approve(
    project: Project,
    version: str,
    alias: str,
    actor: Actor,
    why: str,
    *,
    without_way_back: str = "",
) -> Moved:
    """Point the alias at a version that somebody else asked for, if it may be.

    That there is a way back is rehearsed first: the version before is read, every byte of it,
    loaded and asked, and the alias is moved and rolled back in a part of the transaction that is
    undone. `without_way_back` says why the version is to stand there though there is none.

    Raises:
        ConfigError: nobody may approve.
        NotAllowed: this user may not, or tuned, judged or asked for it himself.
        NotFound: nobody asked for it.
        GateFailed, Conflict: see `promote`; things may have changed since. Or the version before
            cannot be loaded.
        SignatureError: it is not signed, where the project file names a public key; or the signing
            key that it names cannot be used.
        StoreError: the evidence does not go on from its checkpoints, where one is to be signed.
    """
    require_why(why, without_way_back)
    roles = require_role(project, actor, "approve")
    key = signing_key(project)
    released_version(project, version)
    with project.runner.database.read() as connection:  # before a model is loaded for nothing
        found, _ = _agreed(project, connection, version, alias, actor)
        before = would_go_back_to(project, connection, version, alias)
    require_whole(project, found, deep=True)
    require_signed_if_asked(project, found.release.model, version)  # or it could not be served
    documents = _documents(project, version)
    rehearsed = rehearse(project, before, without_way_back)
    started = time.monotonic()
    with project.runner.database.write() as connection:
        found, agreed = _agreed(project, connection, version, alias, actor)
        body = {
            "alias": alias,
            **agreed,
            **rehearsed.body(),
            **_moved_back(project, connection, found, alias, actor, rehearsed),
            "roles": roles,
            **({"documents": documents} if documents else {}),
        }
        _say(connection, lifecycle.APPROVED, actor, version, why, body)
        _point(connection, found, alias, actor, f"promoted: {why}")
        signed = _seal(project, connection, found, alias, actor, key)
    if signed is not None:
        keep(project.store, signed)
    return Moved(
        alias=alias,
        version=version,
        before=agreed["before"],
        wall_s=time.monotonic() - started,
        checkpoint=str(signed or ""),
        way_back=rehearsed.said,
    )


def _agreed(
    project: Project, connection: Transaction, version: str, alias: str, actor: Actor
) -> tuple[Released, dict[str, Any]]:
    """That a version may be approved now, by that user; what the evidence says of it."""
    now = admitted(project, connection, version, alias)
    found = now.released
    request = _waiting(connection, version, alias)
    if request.body["release"] != found.digest:
        raise Conflict(
            f"{version} was judged anew after it was asked for",
            remedy=f"reject that request, and ask again: `tunesmith model promote {version}`",
        )
    roles = project.file.registry
    makers = set(map(person, (*_makers(connection, found), request.actor)))
    four_eyes = person(actor.name) not in makers
    if roles.four_eyes and not four_eyes:
        raise NotAllowed(
            f"{actor.name} tuned, judged or asked for {version}, so another has to approve it",
            remedy=f"ask one of: {others(roles.approvers, makers)}",
        )
    return found, {"before": now.before, "asked": request.seq, "four_eyes": four_eyes}


def reject(project: Project, version: str, alias: str, actor: Actor, why: str) -> Change:
    """Answer a request with no.

    Raises:
        ConfigError: nobody may approve or reject.
        NotAllowed: this user may not.
        NotFound: nobody asked for it.
    """
    require_why(why)
    roles = require_role(project, actor, "reject")
    with project.runner.database.write() as connection:
        request = _waiting(connection, version, alias)
        body = {"alias": alias, "asked": request.seq, "roles": roles}
        return _say(connection, lifecycle.REJECTED, actor, version, why, body)


def roll_back(project: Project, model: str, alias: str, actor: Actor, why: str) -> Moved:
    """Point the alias at the version before, by one row; anybody may, as it was approved once.

    Raises:
        NotFound: the alias points nowhere, or there is no version before that is not retired.
        ConfigError, SignatureError: the signing key that the project file names cannot be used.
        StoreError: the evidence does not go on from its checkpoints, where one is to be signed.
    """
    require_why(why)
    key = signing_key(project)
    started = time.monotonic()
    with project.runner.database.write() as connection:
        now, found = _go_back(project, connection, model, alias, actor, why)
        body = {
            "alias": alias,
            "before": now.version,
            "release": found.digest,
            "wall_ms": round(1000 * (time.monotonic() - started), 3),
        }
        warning = known_lost(lifecycle.changes(connection, model), found.version)
        _say(connection, lifecycle.ROLLED_BACK, actor, found.version, why, body)
        signed = _seal(project, connection, found, alias, actor, key)
    if signed is not None:
        keep(project.store, signed)
    return Moved(
        alias=alias,
        version=found.version,
        before=now.version,
        wall_s=time.monotonic() - started,
        checkpoint=str(signed or ""),
        warning=warning,
    )


def _go_back(
    project: Project, connection: Transaction, model: str, alias: str, actor: Actor, why: str
) -> tuple[Released, Released]:
    """Move the alias back; where it stood, and where it stands now."""
    history = catalog.alias_history(connection, "model", model, alias)
    stack = way_back(history)
    if not stack:
        raise NotFound(f"no version of {model} is {alias!r}", remedy="`tunesmith model list`")
    now = released(project, connection, stack.pop())
    found = previous(project, connection, stack, now.version)
    if found is None:
        raise NotFound(
            f"there is no version before {now.version} that {alias!r} could go back to",
            remedy="promote another version",
        )
    _point(connection, found, alias, actor, f"{lifecycle.WENT_BACK}{why}")
    return now, found


def _moved_back(
    project: Project,
    connection: Transaction,
    to: Released,
    alias: str,
    actor: Actor,
    rehearsed: Rehearsed,
) -> dict[str, Any]:
    """How long the way back takes from a version that is about to stand there: the alias is moved,
    rolled back, and looked at, and then all of that is undone. Nothing, where there is none."""
    name, _ = split(to.version)
    with connection.begin_nested() as part:
        _point(connection, to, alias, actor, "rehearsed")
        started = time.monotonic()
        try:
            back = _go_back(project, connection, name, alias, actor, "rehearsed")[1].version
        except NotFound:
            back = ""
        wall_ms = round(1000 * (time.monotonic() - started), 3)
        stands = pointed(project, connection, name)[alias]
        part.rollback()
    if back != rehearsed.version:
        raise Conflict(
            f"{alias!r} moved, or a version was retired, meanwhile",
            remedy="look again, and approve again",
        )
    if back and stands != back:
        raise Conflict(
            f"a rollback of {alias!r} was rehearsed, and it would point at {stands}, not at {back}",
            remedy="`tunesmith verify` says what does not hold",
        )
    return {"way_back_ms": wall_ms} if back else {}


def close(project: Project, version: str, what: str, actor: Actor, why: str) -> Change:
    """Deprecate a version (it serves on, with a warning) or retire it (it serves no more).

    Raises:
        ConfigError, NotAllowed: to retire is for those who may approve.
        Conflict: it is in production and would be retired, or it is so already.
        NotFound: there is no such version.
    """
    require_why(why)
    if what == lifecycle.RETIRED:
        require_role(project, actor, "retire")
    with project.runner.database.write() as connection:
        name = version_of(connection, version).name
        now = lifecycle.closed(connection, name).get(version)
        if now in (what, lifecycle.RETIRED):
            raise Conflict(f"{version} is {now} already")
        held = [at for at, of in pointed(project, connection, name).items() if of == version]
        if what == lifecycle.RETIRED and PRODUCTION in held:
            raise Conflict(
                f"{version} is in production",
                remedy=f"promote another, or go back: `tunesmith model rollback {name}`",
            )
        return _say(connection, f"version.{what}", actor, version, why, {"aliases": held})


def require_why(why: str, without_way_back: str = "") -> None:
    """That a reason says something, and the one for going without a way back, if one is given.

    Raises:
        UsageError: one is blank.
    """
    for option, reason in (("--why", why), ("--without-way-back", without_way_back or why)):
        if not reason.strip():
            raise UsageError(
                f"{option} is blank, and the evidence keeps the reason of each change",
                remedy=f'say it in a few words: {option} "better on the notices of May"',
            )


def _documents(project: Project, version: str) -> Mapping[str, Any]:
    """What documents a version has, all that are required among them."""
    # Half a second of imports, which who goes back does not wait for.
    from tunesmith.documents.compile import require_complete

    return require_complete(project, version)


def _makers(connection: Transaction, found: Released) -> set[str]:
    """Who ran what the version and its release came of."""
    runs = (found.run_id, version_of(connection, found.version).run_id)
    return {catalog.run(connection, run).actor for run in runs}


def _waiting(connection: Transaction, version: str, alias: str) -> Change:
    name, _ = split(version)
    request = lifecycle.waiting(lifecycle.changes(connection, name), version, alias)
    if request is None:
        raise NotFound(
            f"nobody asks for {version} to be {alias!r}",
            remedy=f"ask: `tunesmith model promote {version} --to {alias}`",
        )
    return request


def _say(
    connection: Transaction,
    what: str,
    actor: Actor,
    version: str,
    why: str,
    body: Mapping[str, Any],
) -> Change:
    name, _ = split(version)
    said = {"model": name, "version": version, "why": why, **body, **actor.body()}
    evidence.append(connection, what, actor.name, said)
    return lifecycle.changes(connection, name)[-1]


def _point(connection: Transaction, to: Released, alias: str, actor: Actor, reason: str) -> None:
    """The alias points at that release from now on."""
    name, _ = split(to.version)
    moved = {
        "kind": "model",
        "name": name,
        "alias": alias,
        "reason": reason,
        "digest": to.digest,
        "run_id": to.run_id,
        "actor": actor.name,
    }
    lifecycle.move_alias(connection, moved)


def _seal(
    project: Project,
    connection: Transaction,
    to: Released,
    alias: str,
    actor: Actor,
    key: PrivateKey | None,
) -> Checkpoint | None:
    """Sign the move that was just made, and the evidence with it; None without a key."""
    if key is None:
        return None
    name, _ = split(to.version)
    at = Pointed(model=name, alias=alias, version=to.version, release=to.digest)
    sign_move(connection, at, key, actor.name, actor.body())
    return checkpoint_in(project, connection, actor.name, key)
