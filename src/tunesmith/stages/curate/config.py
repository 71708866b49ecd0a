"""Settings of datasets: the `[dataset.NAME]` sections of the project file."""

from __future__ import annotations

import pydantic
from pydantic import Field

from tunesmith.core.section import Section

SHORT_SIMILARITY = 0.8
"""Where one of two texts has fewer than 20 words their sets of words are compared instead of their
5-grams, and it takes at least this much to be near duplicates. Not a setting: short notices of
different licences share half of their words as a matter of course, so a lower figure would throw
away what tells them apart."""
SHORT_LEAK_SIMILARITY = 0.7
"""... and at least this much to be put on one side of the split. Lower ones chain most short texts
into a single component."""


class DatasetConfig(Section):
    """A frozen, split training set for the task "name the label of a text"."""

    name: str = ""
    """Name of the dataset: what follows `dataset.` in the section's heading."""
    sources: tuple[str, ...] = Field(min_length=1)
    """Names of the sources that it is cut from; of two equal rows the first source's is kept."""
    base: str
    """Name of the base model; rows are measured with its tokenizer and its chat template."""
    instruction: str = Field(min_length=1)
    """The system message that every row starts with, at tuning and at serving."""
    num_labels: int = Field(default=10, ge=2)
    """Keep this many labels: the commonest, counted after duplicates are gone; ties by name."""
    labels: tuple[str, ...] = ()
    """Keep exactly these labels instead; each must occur."""
    train_per_label: int = Field(default=40, ge=1)
    """At most this many rows of a label to tune on."""
    test_per_label: int = Field(default=8, ge=1)
    """At most this many rows of a label to test on."""
    max_tokens: int = Field(default=512, ge=8)
    """Drop rows whose whole conversation (instruction, text, answer) has more tokens than this."""
    min_chars: int = Field(default=20, ge=1)
    """Drop rows whose text is shorter than this many characters."""
    similarity: float = Field(default=0.6, gt=0, le=1)
    """Drop one of two rows of a label that share this much (Jaccard similarity of their word
    5-grams; of their words, and at least 0.8, if either has fewer than 20 words)."""
    leak_similarity: float = Field(default=0.4, gt=0, le=1)
    """Rows that share this much, whatever their labels, are all put on one side of the split (in
    words, at least 0.7, if either has fewer than 20)."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> DatasetConfig:
        if self.leak_similarity > self.similarity:
            raise ValueError("leak_similarity must not be above similarity")
        if len(set(self.labels)) != len(self.labels) or len(self.labels) == 1:
            raise ValueError("labels must name at least two, each once")
        return self
