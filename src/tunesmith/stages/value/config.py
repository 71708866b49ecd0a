"""Settings of valuing the rows of a dataset; they are flags of `tunesmith data value`."""

from __future__ import annotations

from pydantic import Field

from tunesmith.core.section import Section


class EmbedConfig(Section):
    """Nothing bears on the vectors of a dataset but the dataset and the base model."""


class ValueConfig(Section):
    """Whose vote a row takes part in."""

    neighbours: int = Field(default=5, ge=1)
    """How many of the nearest training rows vote on the label of a test row."""
