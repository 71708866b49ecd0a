"""Settings of a retraining proposal; they come from the `[monitor.NAME]` section."""

from __future__ import annotations

from tunesmith.core.section import Section


class RetrainConfig(Section):
    """When monitoring finds something: what could be done about it."""

    model: str
    """Name of the model that would be tuned again."""
    add_sources: tuple[str, ...] = ()
    """Names of labelled sources that could be added to its dataset; without any, no retraining is
    proposed."""
