"""Settings of sources whose rows were generated."""

from __future__ import annotations

from pydantic import Field, model_validator

from tunesmith.core.section import Section
from tunesmith.records.data import Synthetic

NO_SEEDS = "none"


class SyntheticConfig(Section):
    """Which fields of a source's records say how they were generated."""

    generator: str = Field(min_length=1)
    """Field with the name of what made a row, such as a model and its version."""
    prompt: str = Field(min_length=1)
    """Field with what it was asked, or with its digest."""
    seeds: str = Field(min_length=1)
    """Field with the ids of the rows that it was made from, a list or one text; or "none", where no
    row was made from others."""
    of: tuple[str, ...] = ()
    """Names of the sources that the seeds are rows of."""

    @model_validator(mode="after")
    def _check(self) -> SyntheticConfig:
        if (self.seeds == NO_SEEDS) == bool(self.of):
            raise ValueError(
                "seeds and of go together: name the sources whose rows the seeds are, or set "
                f'seeds = "{NO_SEEDS}" and leave `of` out'
            )
        return self

    def record(self) -> Synthetic:
        """The same, for the data asset."""
        seeds = "" if self.seeds == NO_SEEDS else self.seeds
        return Synthetic(generator=self.generator, prompt=self.prompt, seeds=seeds)
