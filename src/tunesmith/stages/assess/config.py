"""Settings of assessing a data asset; they follow from the project file."""

from __future__ import annotations

from tunesmith.core.section import Section


class AssessConfig(Section):
    """What is asked beside what is asked of every data asset."""

    dates: tuple[str, ...] = ()
    """Fields that hold dates: the newest of each is looked for."""
