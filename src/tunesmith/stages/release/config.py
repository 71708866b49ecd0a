"""Settings of a release; the alias comes from the `[gate.NAME]` section of the project file."""

from __future__ import annotations

from pydantic import Field

from tunesmith.core.section import Section


class ReleaseConfig(Section):
    """What a model version is released as."""

    alias: str = Field(default="candidate", min_length=1)
    """The alias that is pointed at the release."""
    name: str = Field(min_length=1)
    """Name of the model that the alias belongs to."""
