"""What stands where: versions, the aliases that point at them, and what became of each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tunesmith.core import catalog, lifecycle
from tunesmith.core.canonical import fingerprint
from tunesmith.core.catalog import Alias, Version
from tunesmith.core.db import Transaction
from tunesmith.core.errors import GateFailed, NotFound, UsageError
from tunesmith.core.lifecycle import Change
from tunesmith.project import Project
from tunesmith.records.release import PRODUCTION, Release


@dataclass(frozen=True, kw_only=True, slots=True)
class Released:
    """A release of one version, and the run that made it."""

    version: str
    release: Release
    digest: str
    """Of the release's record: what an alias points at."""
    run_id: int


NUMBER = re.compile(r"[1-9][0-9]*", re.ASCII)
"""Of a version. Each has one spelling: what is said of "desk@01" would be said of nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One model version as `tunesmith model list` prints it."""

    version: Version
    name: str
    """e.g. "desk@2"."""
    state: str
    """made, candidate, asked, rejected, production, deprecated or retired."""
    aliases: tuple[str, ...]
    changes: tuple[Change, ...]
    """A rollback is one of the version that it went back to, and of the one that it left."""


def split(version: str) -> tuple[str, int]:
    """Name and number of "desk@2".

    Raises:
        UsageError: it is not of that form.
    """
    name, _, number = version.rpartition("@")
    if not name or not NUMBER.fullmatch(number):
        raise UsageError(
            f"{version!r} is not a version", remedy="write MODEL@NUMBER, such as desk@2"
        )
    return name, int(number)


def numbered(project: Project, version: str) -> str:
    """ "desk@2", of itself or of an alias that points there now, such as "desk@production".

    Raises:
        UsageError: `version` is neither.
        NotFound: that alias points nowhere.
    """
    name, _, which = version.rpartition("@")
    if not name or not which or which.isdecimal():
        split(version)
        return version
    with project.runner.database.read() as connection:
        found = catalog.current_alias(connection, "model", name, which)
        if found is None:
            raise NotFound(
                f"{version!r} is no version: no alias {which!r} of {name} points anywhere",
                remedy="write MODEL@NUMBER, such as desk@2, or an alias that `tunesmith model "
                "list` shows",
            )
        return released(project, connection, found).version


def version_of(connection: Transaction, version: str) -> Version:
    """The model version that "desk@2" names.

    Raises:
        UsageError: `version` is not of the form MODEL@NUMBER.
        NotFound: there is no such version.
    """
    sought = ("model", *split(version))
    for each in catalog.all_versions(connection):
        if (each.kind, each.name, each.number) == sought:
            return each
    raise NotFound(f"there is no model version {version}", remedy="see `tunesmith model list`")


def listed(project: Project, model: str = "") -> list[Entry]:
    """Every model version, or those of one model, with what became of it."""
    versions = [
        each
        for each in project.versions()
        if each.kind == "model" and (not model or each.name == model)
    ]
    found: list[Entry] = []
    with project.runner.database.read() as connection:
        for name in dict.fromkeys(version.name for version in versions):
            stands = pointed(project, connection, name)
            changes = lifecycle.changes(connection, name)
            for version in (each for each in versions if each.name == name):
                label = f"{name}@{version.number}"
                of_it = tuple(change for change in changes if label in _told_of(change))
                aliases = tuple(alias for alias, at in stands.items() if at == label)
                state = _state(aliases, list(of_it))
                found.append(
                    Entry(version=version, name=label, state=state, aliases=aliases, changes=of_it)
                )
    return found


def released_version(project: Project, version: str) -> Released:
    """The newest release of a version.

    Raises:
        UsageError: `version` is not of the form MODEL@NUMBER.
        NotFound: there is no such version.
        GateFailed: it never passed its gate.
    """
    with project.runner.database.read() as connection:
        for found in releases(project, connection, version):
            return found
    raise GateFailed(
        f"{version} never passed its gate, so there is no release of it",
        remedy="run the project (`tunesmith run`) and see what the gate says",
    )


def releases(project: Project, connection: Transaction, version: str) -> Iterator[Released]:
    """The releases of a version, the newest first.

    Raises:
        UsageError, NotFound: see `version_of`.
    """
    name = version_of(connection, version).name
    for row in reversed(catalog.alias_history(connection, "model", name)):
        found = released(project, connection, row)
        if found.version == version:
            yield found


def pointed(project: Project, connection: Transaction, model: str) -> dict[str, str]:
    """Alias -> the version that it points at."""
    newest = {row.alias: row for row in catalog.alias_history(connection, "model", model)}
    return {alias: released(project, connection, row).version for alias, row in newest.items()}


def released(project: Project, connection: Transaction, row: Alias) -> Released:
    """What a row of an alias's history points at."""
    release: Release = project.load(catalog.run(connection, row.run_id))
    number = catalog.version_number(connection, "model", row.name, fingerprint(release.model))
    return Released(
        version=f"{row.name}@{number}", release=release, digest=row.digest, run_id=row.run_id
    )


def way_back(history: Sequence[Alias]) -> list[Alias]:
    """Where an alias would go back to, the newest last: a row that went back takes one away."""
    stack: list[Alias] = []
    for row in history:
        if row.reason.startswith(lifecycle.WENT_BACK):
            while stack and stack[-1].digest != row.digest:
                stack.pop()
        if not stack or stack[-1].digest != row.digest:
            stack.append(row)
    return stack


def previous(
    project: Project, connection: Transaction, stack: Sequence[Alias], than: str
) -> Released | None:
    """The newest of `stack` that is not retired, and another version than `than`."""
    model, _ = split(than)
    closed = lifecycle.closed(connection, model)
    for row in reversed(stack):
        back = released(project, connection, row)
        if closed.get(back.version) != lifecycle.RETIRED and back.version != than:
            return back
    return None


def would_go_back_to(
    project: Project, connection: Transaction, version: str, alias: str
) -> Released | None:
    """Where an alias would go back to, if it pointed at `version`."""
    model, _ = split(version)
    stack = way_back(catalog.alias_history(connection, "model", model, alias))
    return previous(project, connection, stack, version)


def _told_of(change: Change) -> tuple[str, ...]:
    """The versions that a change is of."""
    if change.what == lifecycle.CHANGES[lifecycle.ROLLED_BACK]:
        return (change.version, change.body["before"])
    return (change.version,)


def _state(aliases: tuple[str, ...], changes: list[Change]) -> str:
    closed = [
        each.what for each in changes if each.what in (lifecycle.DEPRECATED, lifecycle.RETIRED)
    ]
    if closed:
        return closed[-1]
    if PRODUCTION in aliases:
        return PRODUCTION
    asked = [each for each in changes if each.what in ("asked", "approved", "rejected")]
    if asked and asked[-1].what != "approved":
        return asked[-1].what
    return aliases[0] if aliases else "made"
