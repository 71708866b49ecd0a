"""Settings of who is told: the `[webhook.NAME]` sections of the project file."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import Field, StringConstraints

from tunesmith.core.section import Section

Event = Annotated[str, StringConstraints(pattern=r"^[a-z*][a-z.*-]*$")]
"""A kind of entry of the evidence, with `*` for any letters: "run.failed", "gate.*"."""


class WebhookConfig(Section):
    """A server that is told what happened, by `tunesmith schedule tick`."""

    name: str = ""
    """Name of the webhook: what follows `webhook.` in the section's heading."""
    url: str
    """Where the messages are sent to (POST): https://, at a host that [project] hosts allows."""
    events: tuple[Event, ...] = Field(min_length=1)
    """Of what it is told, as in ["run.failed", "gate.*", "alias.moved"]."""
    secret_env: str = Field(pattern=r"^[A-Z_][A-Z0-9_]*$")
    """Environment variable with the secret that messages are signed with: "whsec_" and 24 to 64
    bytes in base64. The receiver has the same one."""
    timeout_s: float = Field(default=15.0, gt=0, le=60)
    """How long the receiver may take to answer."""

    def wants(self, event: str) -> bool:
        """Whether it is told of that kind of event."""
        return any(is_of(event, each) for each in self.events)


def is_of(event: str, kind: str) -> bool:
    """Whether `event` is of a kind that `*` may stand in."""
    return fnmatchcase(event, kind)
