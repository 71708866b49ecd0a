"""Who acts, and who may."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tunesmith.core.errors import ConfigError, NotAllowed
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
        NotAllowed: the project file does not.
    """
    user = project.runner.actor
    if name and name != user and not project.file.registry.allow_as:
        raise NotAllowed(
            f"{user} may not act as {name}",
            remedy="ask the other to run it; or, where a trusted program tells people apart, set "
            "allow_as in [registry] of the project file",
        )
    return Actor(name=name or user, os_user=user)


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
    """Who could approve what `makers` made, for people."""
    return ", ".join(name for name in approvers if name not in makers) or (
        "nobody yet; name another in [registry] approvers"
    )
