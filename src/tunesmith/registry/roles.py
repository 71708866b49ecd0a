"""Who acts, and who may."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tunesmith.core.canonical import one_form
from tunesmith.core.errors import ConfigError, NotAllowed, UsageError
from tunesmith.core.ref import to_plain
from tunesmith.project import Project


@dataclass(frozen=True, kw_only=True, slots=True)
class Actor:
    """Who does it."""

    name: str
    os_user: str

    def body(self) -> dict[str, Any]:
        """What evidence says beside the name."""
        return {"os_user": self.os_user} if self.os_user != self.name else {}


def acting(project: Project, name: str = "") -> Actor:
    """Who acts: the operating system's user, or `name` where the project file lets it be said.

    Raises:
        UsageError: `name` is blank.
        NotAllowed: the project file does not.
    """
    user = project.runner.actor
    if name and not name.strip():
        raise UsageError("--as is blank", remedy="name the user, or leave it out")
    name = one_form(name)
    if name and name != user and not project.file.registry.allow_as:
        raise NotAllowed(
            f"{user} may not act as {name}",
            remedy="ask the other to run it; or, where a trusted program tells people apart, set "
            "allow_as in [registry] of the project file",
        )
    return Actor(name=name or user, os_user=user)


def person(name: str) -> str:
    """What two spellings of one name have in common: who types another is nobody else."""
    return one_form(one_form(name).casefold())


def require_asker(project: Project, actor: Actor) -> None:
    """That this user may ask for a promotion: all whom the project file names, and, where it names
    no askers, whoever is a user of the operating system.

    Raises:
        NotAllowed: `actor` may not; it may be a name that is misspelt.
    """
    roles = project.file.registry
    known = dict.fromkeys((*roles.approvers, *roles.askers))
    is_said = actor.name != actor.os_user
    if actor.name in known or not (roles.askers or (is_said and roles.approvers)):
        return
    near = [each for each in known if person(each) == person(actor.name)]
    near = near or difflib.get_close_matches(actor.name, known, n=1)
    raise NotAllowed(
        f"{actor.name} may not ask for a promotion: [registry] of the project file does not name "
        "them",
        remedy=f"did you mean {near[0]!r}?"
        if near
        else f'name them there, as one who may ask: askers = ["{actor.name}"]',
    )


def require_role(project: Project, actor: Actor, verb: str) -> dict[str, Any]:
    """The roles as they are now, for the evidence.

    Raises:
        ConfigError: nobody has the role.
        NotAllowed: `actor` has not.
    """
    roles = project.file.registry
    if not roles.approvers:
        raise ConfigError(
            "registry.approvers",
            f"nobody may {verb}",
            remedy='name users: [registry] approvers = ["..."]',
        )
    if actor.name not in roles.approvers:
        raise NotAllowed(
            f"{actor.name} may not {verb}", remedy=f"ask one of: {', '.join(roles.approvers)}"
        )
    plain: dict[str, Any] = to_plain(roles)
    # Where somebody's private key lies is nobody's business.
    return {name: value for name, value in plain.items() if not name.startswith("signing_")}


def others(approvers: Collection[str], makers: Collection[str]) -> str:
    """Who could approve what `makers` made, for people; `makers` as `person` writes them."""
    return ", ".join(name for name in approvers if person(name) not in makers) or (
        "nobody yet; name another in [registry] approvers"
    )
